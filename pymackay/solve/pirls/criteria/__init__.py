"""Criteria of generalised models: Laplace, quadrature, the exact likelihood, the joint mode."""
