"""A comparison as text, as a page and as a report."""
