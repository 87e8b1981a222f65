"""A formula and a table in, a fit out."""
