"""`Values`: what a search asks of the criterion at points, and the factors that are such points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Factors = tuple[np.ndarray, ...]  # relative factors, whitened columns: a (B, q, q) for each term


@dataclass(frozen=True, eq=False)
class Values:
    """What a search asks of the criterion at B points.

    Attributes
    ----------
    criterion : numpy.ndarray, shape (B,)
        Not finite where a point is too far out for float64.
    sigma2 : numpy.ndarray, shape (B,)
        Residual variance, for a response of unit length.
    rounding : numpy.ndarray, shape (B,)
        Size of the criterion's own rounding error.
    score : tuple of numpy.ndarray, each (B, q, q)
        Term by term, the symmetric matrix S with d criterion = tr(S dG).
    curvature : numpy.ndarray, shape (B, m, m)
        Second derivatives by the elements of G, as in `pymackay.solve.solver.Evaluation`.
    answers : tuple of numpy.ndarray, each (B, ...)
        What else is to be kept of the point.
    exact : bool
        Whether `curvature` is the observed one; otherwise the average information.
    """

    criterion: np.ndarray
    sigma2: np.ndarray
    rounding: np.ndarray
    score: tuple[np.ndarray, ...]
    curvature: np.ndarray
    answers: tuple[np.ndarray, ...]
    exact: bool = True
