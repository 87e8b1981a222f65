"""Smaller models: which random effects and which terms a fit can do without."""
