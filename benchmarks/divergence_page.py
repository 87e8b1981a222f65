def as_page(*a):
    return ""
