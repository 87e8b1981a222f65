"""Bases of columns: polynomials, splines, scaling and rank."""
