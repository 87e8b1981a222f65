"""Fits kept in files."""
