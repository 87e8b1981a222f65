"""Predictions, simulated responses, and their errors."""
