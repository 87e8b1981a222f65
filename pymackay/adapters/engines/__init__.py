"""Adapters for other packages that fit mixed models, one file for each."""
