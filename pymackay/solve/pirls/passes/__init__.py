"""Rows of a generalised model that are read again in every pass over them, and not kept."""
