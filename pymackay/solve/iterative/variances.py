"""Error variances of the random effects: exact by solves where few, else by probing."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from pymackay.solve.iterative.conjugate import conjugate_gradients
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.couplings import block_times
from pymackay.solve.iterative.equations import Equations
from pymackay.solve.iterative.logdet import dense_schur
from pymackay.solve.iterative.traces import Probes, draw_signs

__all__ = ["EXACT_SIZE", "LEAST_PROBES", "conditional_variances"]

EXACT_SIZE = 2048  # effects that are not eliminated up to which the variances are exact
LEAST_PROBES = 64
_TOLERANCE = 1e-4
_BATCH = 16
_CHUNK = 1024


def conditional_variances(
    equations: Equations, probes: Probes, control: IterativeControl
) -> list[np.ndarray]:
    """Return Var(b | y, beta) / sigma² of every level, block by block, each (J, q, q)."""
    if equations.couplings.size <= EXACT_SIZE:
        return _exact(equations)
    return _probed(equations, max(probes.count, LEAST_PROBES), control)


def _exact(equations: Equations) -> list[np.ndarray]:
    couplings, gram = equations.couplings, equations.gram
    S = dense_schur(equations)
    inverse = scipy.linalg.cho_solve(scipy.linalg.cho_factor(S), np.eye(len(S)))
    Q = equations.scale(equations.scale(inverse).T)
    found = [equations.F + _through_lead(equations, Q)]
    for block, span in zip(gram.blocks[1:], couplings.slices, strict=True):
        rows = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
        found.append(Q[rows[:, :, None], rows[:, None, :]])
    return found


def _through_lead(equations: Equations, Q: np.ndarray) -> np.ndarray:
    """Return ``F C_j Q C_j' F`` of each leading level, some levels at a time."""
    lead, C = equations.gram.blocks[0], equations.couplings.lead_matrix()
    found = np.empty_like(equations.F)
    for first in range(0, lead.n_levels, _CHUNK):
        span = slice(first, min(first + _CHUNK, lead.n_levels))
        rows = C[span.start * lead.q : span.stop * lead.q].toarray()
        rows = block_times(equations.F[span], rows)
        shape = (span.stop - span.start, lead.q, -1)
        found[span] = (rows @ Q).reshape(shape) @ rows.reshape(shape).swapaxes(1, 2)
    return found


def _probed(equations: Equations, count: int, control: IterativeControl) -> list[np.ndarray]:
    """Estimate the diagonal blocks (Bekas, Kokiopoulou, Saad 2007, Appl. Numer. Math. 57).

    As for the traces, what the preconditioner knows is exact, and only the rest is estimated.
    """
    couplings = equations.couplings
    z = draw_signs(couplings.size, count, control.seed)
    lead_q = len(equations.factors[0])
    sums = [np.zeros_like(equations.F), *(np.zeros_like(i) for i in equations.inverse)]
    for first in range(0, count, _BATCH):
        part = z[:, first : first + _BATCH]
        v = equations.jacobi(part)
        x = conjugate_gradients(
            equations.schur,
            equations.precondition,
            part,
            start=v,
            tolerance=_TOLERANCE,
            most=control.max_solver_iterations,
        ).x
        left = x - (2.0 * v - equations.jacobi(equations.schur(v)))
        F_z = equations.eliminate(equations.lead_part(equations.scale(part)))
        F_x = equations.eliminate(equations.lead_part(equations.scale(x - v)))
        sums[0] += _outer(F_z, F_x, lead_q)
        for k, span in enumerate(couplings.slices):
            sums[k + 1] += _outer(part[span], left[span], len(equations.factors[k + 1]))
    found = [equations.F + _known_lead(equations) + sums[0] / count]
    for factor, inverse, total in zip(
        equations.factors[1:], equations.inverse, sums[1:], strict=True
    ):
        found.append(factor @ (inverse + total / count) @ factor.T)
    return found


def _known_lead(equations: Equations) -> np.ndarray:
    known = np.zeros_like(equations.F)
    for k, inverse in enumerate(equations.inverse):
        factor = equations.factors[k + 1]
        known += equations.couplings.row_quadratics(k, factor @ inverse @ factor.T)
    return equations.F @ known @ equations.F


def _outer(a: np.ndarray, b: np.ndarray, q: int) -> np.ndarray:
    """Return the sum over columns of the symmetric part of ``a_j b_j'``, shape (J, q, q)."""
    shape = (-1, q, a.shape[1])
    found = np.einsum("jan,jbn->jab", a.reshape(shape), b.reshape(shape), dtype=np.float64)
    return np.asarray(0.5 * (found + found.swapaxes(1, 2)))
