"""Saving fits in files, and loading them."""
