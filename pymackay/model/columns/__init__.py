"""Columns of a data frame, as numbers and factors."""
