"""`shaken`: what a fit's numbers become when the sums that they rest on round another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from pymackay.model.gram import Gram
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, evaluate_at
from pymackay.solve.solvers import make_solver

__all__ = ["shaken"]

_DRAWS = 3


def shaken(fit: Fit) -> Iterator[Fit]:
    """Yield what its problem gives at a fit's theta, as it is and with changed cross-products.

    A sum of n products is good to about √n roundings: every one is changed by a random share of
    its own, and all else is computed anew, three times. An ill-conditioned model magnifies that,
    in any engine that eliminates the random effects.

    Parameters
    ----------
    fit : Fit
        Made by this package's exact solver; of others nothing is yielded.

    Raises
    ------
    PymackayError
        If no digits are left.
    """
    gram = None if fit.problem is None else fit.problem.solver.gram
    if not isinstance(gram, Gram):
        return
    yield evaluate_at(fit.problem, fit.theta.to_numpy())
    for seed in range(_DRAWS):
        solver = make_solver(_shaken_gram(gram, np.random.default_rng(seed)), reml=fit.reml)
        yield evaluate_at(Problem(fit.problem.model, solver), fit.theta.to_numpy())


def _shaken_gram(gram: Gram, rng: np.random.Generator) -> Gram:
    size = np.finfo(np.float64).eps * np.sqrt(gram.n)

    def moved(values: np.ndarray) -> np.ndarray:
        return values * (1.0 + size * rng.uniform(-1.0, 1.0, values.shape))

    if sp.issparse(gram.C):
        C = gram.C.copy()
        C.data = moved(C.data)
    else:
        C = moved(gram.C)
    return replace(gram, A=_symmetric(moved(gram.A)), C=C, D=_symmetric(moved(gram.D)))


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """Copy what stands under the diagonal to above it."""
    return np.tril(matrices) + np.swapaxes(np.tril(matrices, -1), -1, -2)
