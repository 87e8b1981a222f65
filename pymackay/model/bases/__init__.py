"""Bases of columns: contrasts, polynomials, splines, scaling and rank."""
