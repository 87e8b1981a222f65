"""Covariance parameters of random-effects terms: their order, factors and roots."""
