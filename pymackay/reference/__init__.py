"""Fits by R's lme4: run live over rpy2, or read from recordings of its answers."""
