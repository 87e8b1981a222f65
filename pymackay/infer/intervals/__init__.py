"""Intervals: profile likelihood, bootstrap, and the power that is computed with them."""
