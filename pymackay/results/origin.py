"""Where a fit comes from: its model, how the search for it ended, and the engine that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pymackay.covariance.varcorr import TermSummary


@dataclass(frozen=True, eq=False)
class ModelSummary:
    """What makes two models the same model (compared before any number is).

    Attributes
    ----------
    response : str
        The response as R deparses it: ``"Reaction"``, ``"log(y)"``.
    rows : pandas.Index, length n
        Labels of the data frame's rows that were kept.
    fixed : tuple of str
        Names of the p columns of X that were kept, R's names.
    terms : tuple of TermSummary
        Random-effects terms in lme4's order, ``||`` expanded.
    levels : mapping of str to tuple of str
        Grouping factor to its levels, in order.
    contrasts : mapping of str to str
        Factor of the fixed part to the name of its contrasts (``"contr.treatment"``; a matrix
        given by hand is ``"matrix"``).
    weights, offset : numpy.ndarray of shape (n,) or None
        Prior weights and the offset, when the model has them.
    """

    response: str
    rows: pd.Index
    fixed: tuple[str, ...]
    terms: tuple[TermSummary, ...]
    levels: Mapping[str, tuple[str, ...]]
    contrasts: Mapping[str, str] = field(default_factory=dict)
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None


@dataclass(frozen=True)
class Convergence:
    """How an optimiser ended, in statistical units.

    Attributes
    ----------
    converged : bool
        Whether the optimum was certified.
    message : str
        How it ended, in words.
    iterations, evaluations : int
        Steps taken, and criterion evaluations paid.
    decrement : float
        Newton decrement: by how much the criterion's quadratic model says it could still fall.
    gradient : float
        Largest element of the projected gradient, each in units of its parameter's
        standard error.
    curvature : float
        Smallest eigenvalue of the scaled curvature over the free parameters
        (positive at a minimum; nan where it was not computed).
    monte_carlo_error : mapping of str to float
        Where random probe vectors stood in for exact traces: standard error that they leave in
        each variance and covariance (``"user.(Intercept)"``, ``"Residual"``) and in the
        criterion (``"criterion"``), in the user's units. Empty for exact fits.
    probes : int
        Probe vectors used.
    solver_iterations : int
        Iterations of the linear solver, the most that one solve of the last evaluation took.
    """

    converged: bool
    message: str
    iterations: int = 0
    evaluations: int = 0
    decrement: float = float("nan")
    gradient: float = float("nan")
    curvature: float = float("nan")
    monte_carlo_error: Mapping[str, float] = field(default_factory=dict)
    probes: int = 0
    solver_iterations: int = 0


@dataclass(frozen=True)
class Engine:
    """Who made a fit.

    Attributes
    ----------
    name : str
        ``"pymackay"`` or ``"lme4"``.
    versions : mapping of str to str
        Package to version: ``{"tensorflow": "2.21.0"}``.
    source : str
        ``"live"`` for a computation made now, ``"recorded"`` for one read from a file.
    """

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str = "live"

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.name} ({'; '.join(part for part in (self.source, versions) if part)})"
