"""Compares two fits of one model: differences of the models, distances, verdict."""
