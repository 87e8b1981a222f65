"""`shaken`: how rounding of the cross-products changes the numbers of a fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.linalg import block_diag

from pymackay.infer.kinds import any_kind
from pymackay.model.sums.gram import Gram
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, evaluate_at

_DRAWS = 3
_MOST = 2000  # columns beside those of the leading block; with more, nothing is computed


@any_kind
def shaken(fit: Fit) -> Iterator[Fit]:
    """Yield fits of the same problem at the same theta, with perturbed cross-products.

    The first is computed from the cross-products as they are. For three more, each cross-product is
    multiplied by ``1 + eps √n u`` with its own random u in (−1, 1), which is about the rounding
    error of a sum of n products. An ill-conditioned model magnifies these errors, in any engine
    that eliminates the random effects.

    Parameters
    ----------
    fit : Fit
        Made by this package. Nothing is yielded for fits of other engines, of the iterative solver,
        of large models, or of generalised ones, which stand on no cross-products.

    Raises
    ------
    PymackayError
        If float64 has no digits for the perturbed problem.
    """
    special = fit.general is not None or fit.residual_covariance is not None
    if special or fit.problem is None:
        return
    solver = fit.problem.solver.exact(0)
    if solver is None or len(solver.sums.D) > _MOST:
        return
    yield evaluate_at(fit.problem, fit.theta.to_numpy())
    for seed in range(_DRAWS):
        sums = _shaken_gram(solver.sums, np.random.default_rng(seed))
        problem = Problem(fit.problem.model, solver.with_sums(sums))
        yield evaluate_at(problem, fit.theta.to_numpy())


def _shaken_gram(gram: Gram, rng: np.random.Generator) -> Gram:
    """Return sums of which the cross-products of the user's columns are perturbed.

    A, (J, q, q), C, (J, q, m + 1), and D, (m + 1, m + 1), are transformed to the user's units,
    perturbed, and transformed back.
    """
    size = np.finfo(np.float64).eps * np.sqrt(gram.n)

    def perturbed(values: np.ndarray) -> np.ndarray:
        return values * (1.0 + size * rng.uniform(-1.0, 1.0, values.shape))

    C = gram.C if isinstance(gram.C, np.ndarray) else gram.C.toarray()
    C = C.reshape(len(gram.A), -1, len(gram.D))
    lead, rest = gram.joined(gram.blocks[0], gram.transforms), _rest_from_users(gram)
    from_lead, from_rest = np.linalg.inv(lead), np.linalg.inv(rest)
    A = lead.T @ _symmetric(perturbed(from_lead.T @ gram.A @ from_lead)) @ lead
    D = rest.T @ _symmetric(perturbed(from_rest.T @ gram.D @ from_rest)) @ rest
    C = lead.T @ perturbed(from_lead.T @ C @ from_rest) @ rest
    # without rows, from which the solver would make sums within levels that lose no digits: other
    # engines do not have them
    summed = replace(gram.model, X=gram.model.X[:0])
    if isinstance(gram.C, np.ndarray):
        return replace(gram, model=summed, A=A, C=C, D=D)
    return replace(gram, model=summed, A=A, C=sp.csr_matrix(C.reshape(-1, len(gram.D))), D=D)


def _rest_from_users(gram: Gram) -> np.ndarray:
    """Return the matrix, (m + 1, m + 1), from the user's units to the bases; 1 for the response."""
    blocks = [
        np.kron(np.eye(block.n_levels), gram.joined(block, gram.transforms))
        for block in gram.blocks[1:]
    ]
    return block_diag(*blocks, gram.basis.from_basis(np.eye(gram.p)), np.eye(1))


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """Return symmetric matrices with the lower triangles of `matrices`, (..., k, k)."""
    return np.tril(matrices) + np.swapaxes(np.tril(matrices, -1), -1, -2)
