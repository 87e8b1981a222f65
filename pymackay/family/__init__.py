"""Families of generalised models: densities, links and their derivatives, one file a family."""
