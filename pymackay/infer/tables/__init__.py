"""A fit as tables: summary, tidy, glance."""
