"""Marginal means, their comparisons and trends over a reference grid."""
