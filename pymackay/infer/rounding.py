"""`shaken`: what a fit's numbers become when the sums that they rest on round another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.linalg import block_diag

from pymackay.model.sums.gram import Gram
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, evaluate_at

_DRAWS = 3
_MOST = 2000  # columns beside the leading block's, of which a dense matrix is made


def shaken(fit: Fit) -> Iterator[Fit]:
    """Yield what its problem gives at a fit's theta, as it is and with changed cross-products.

    A sum of n products is good to about √n roundings: every one is changed by a random share of
    its own, and all else is computed anew, three times. An ill-conditioned model magnifies that,
    in any engine that eliminates the random effects.

    Parameters
    ----------
    fit : Fit
        Made by this package's exact solver, of moderate size; of others nothing is yielded.

    Raises
    ------
    PymackayError
        If no digits are left.
    """
    solver = None if fit.problem is None else fit.problem.solver.exact(0)
    if solver is None or len(solver.sums.D) > _MOST:
        return
    yield evaluate_at(fit.problem, fit.theta.to_numpy())
    for seed in range(_DRAWS):
        sums = _shaken_gram(solver.sums, np.random.default_rng(seed))
        problem = Problem(fit.problem.model, solver.with_sums(sums))
        yield evaluate_at(problem, fit.theta.to_numpy())


def _shaken_gram(gram: Gram, rng: np.random.Generator) -> Gram:
    """Change the cross-products of the user's own columns, which other engines compute with."""
    size = np.finfo(np.float64).eps * np.sqrt(gram.n)

    def moved(values: np.ndarray) -> np.ndarray:
        return values * (1.0 + size * rng.uniform(-1.0, 1.0, values.shape))

    C = gram.C if isinstance(gram.C, np.ndarray) else gram.C.toarray()
    C = C.reshape(len(gram.A), -1, len(gram.D))
    lead, rest = gram.joined(gram.blocks[0], gram.transforms), _rest_from_users(gram)
    own, others = np.linalg.inv(lead), np.linalg.inv(rest)
    A = lead.T @ _symmetric(moved(own.T @ gram.A @ own)) @ lead
    D = rest.T @ _symmetric(moved(others.T @ gram.D @ others)) @ rest
    C = lead.T @ moved(own.T @ C @ others) @ rest
    if isinstance(gram.C, np.ndarray):
        return replace(gram, A=A, C=C, D=D)
    return replace(gram, A=A, C=sp.csr_matrix(C.reshape(-1, len(gram.D))), D=D)


def _rest_from_users(gram: Gram) -> np.ndarray:
    """Return what takes all other columns from the user's units; the response stays as it is."""
    blocks = [
        np.kron(np.eye(block.n_levels), gram.joined(block, gram.transforms))
        for block in gram.blocks[1:]
    ]
    return block_diag(*blocks, gram.basis.from_basis(np.eye(gram.p)), np.eye(1))


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """Copy what stands under the diagonal to above it."""
    return np.tril(matrices) + np.swapaxes(np.tril(matrices, -1), -1, -2)
