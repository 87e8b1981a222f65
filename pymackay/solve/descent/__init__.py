"""Gradient descent on the penalised least squares of the article."""
