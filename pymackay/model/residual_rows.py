"""`ResidualRows`: what the covariance of the residuals depends on, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.residual.structure import ResidualStructure


@dataclass(frozen=True, eq=False)
class ResidualRows:
    """What the covariance of the residuals depends on.

    Attributes
    ----------
    text : str
        The argument `residual` as it came.
    tag : str
        ``"ar1"``, ``"us"``, ...; ``"varident"`` where residuals are independent.
    structure : ResidualStructure
    groups : numpy.ndarray of int, shape (n,)
        Residuals of different groups are independent.
    group : str
        Name of the groups; empty if all residuals are independent.
    n_groups : int
    strata : numpy.ndarray of int, shape (n,)
        Place of each row's standard deviation among `structure.levels`.
    times : numpy.ndarray, shape (n,)
        Time or place of the visit.
    visits : tuple of str
        The visits in order; empty if all residuals are independent.
    """

    text: str
    tag: str
    structure: ResidualStructure
    groups: np.ndarray
    group: str
    n_groups: int
    strata: np.ndarray
    times: np.ndarray
    visits: tuple[str, ...]
