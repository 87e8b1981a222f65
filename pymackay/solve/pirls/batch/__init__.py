"""Laplace's criterion of one design at many parameters side by side, and searches of it."""
