"""Generalised models: the mode of the random effects, the criterion, and what has no optimum."""
