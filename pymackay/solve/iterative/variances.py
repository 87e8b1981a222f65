"""Error variances of the random effects: exact if there are few effects, else by probes."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from pymackay.model.bases.scaling import chunks
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.equations import Equations, block_times
from pymackay.solve.iterative.probes import Probes, draw_signs
from pymackay.solve.solver import ErrorVariance

EXACT_SIZE = 2048  # effects that are not eliminated, up to which the variances are exact
LEAST_PROBES = 64
_TOLERANCE = 1e-5  # relative residual of the solves
_BATCH = 16  # probes at a time
_CHUNK = 1024  # leading levels at a time


def conditional_variances(
    equations: Equations, probes: Probes, control: IterativeControl, bases: list[np.ndarray]
) -> ErrorVariance:
    """Return Var(b | y, beta) / sigma² of every level, exact if there are few effects.

    Parameters
    ----------
    equations : Equations
    probes : Probes
        Gives the number of probes; at least `LEAST_PROBES` are used.
    control : IterativeControl
    bases : list of numpy.ndarray, each (q, q)
        U of each block: the standard errors are those of the diagonals of U C U', C being the
        error variance of a level.
    """
    if equations.couplings.size <= EXACT_SIZE:
        return ErrorVariance.exact(_exact(equations))
    return _probed(equations, max(probes.count, LEAST_PROBES), control, bases)


def _exact(equations: Equations) -> list[np.ndarray]:
    """Return, block by block, (J, q, q), the diagonal blocks of Λ₂S⁻¹Λ₂' and, for the leading one,
    ``F + F C_j Q C_j' F``.
    """
    couplings, gram = equations.couplings, equations.gram
    S = equations.dense_schur()
    inverse = scipy.linalg.cho_solve(scipy.linalg.cho_factor(S), np.eye(len(S)))
    Q = equations.scale(equations.scale(inverse).T)
    values = [equations.F + _through_lead(equations, Q)]
    for block, span in zip(gram.blocks[1:], couplings.slices, strict=True):
        rows = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
        values.append(Q[rows[:, :, None], rows[:, None, :]])
    return values


def _through_lead(equations: Equations, Q: np.ndarray) -> np.ndarray:
    """Return ``F C_j Q C_j' F`` of each leading level, some levels at a time."""
    lead, C = equations.gram.blocks[0], equations.couplings.lead_matrix()
    products = np.empty_like(equations.F)
    for span in chunks(lead.n_levels, _CHUNK):
        rows = C[span.start * lead.q : span.stop * lead.q].toarray()
        rows = block_times(equations.F[span], rows)
        shape = (span.stop - span.start, lead.q, -1)
        products[span] = (rows @ Q).reshape(shape) @ rows.reshape(shape).swapaxes(1, 2)
    return products


def _probed(
    equations: Equations, count: int, control: IterativeControl, bases: list[np.ndarray]
) -> ErrorVariance:
    """Estimate the diagonal blocks (Bekas, Kokiopoulou, Saad 2007, Appl. Numer. Math. 57).

    As for the traces, the part that S₀ gives and the part along common moves are exact; only the
    rest is estimated, with `count` random probes.
    """
    couplings = equations.couplings
    none = np.arange(0)
    common = equations.common_moves(none)
    columns = Probes(none, draw_signs(couplings.size, count, control.seed)).columns(common)
    shapes = [equations.F.shape, *(inverse.shape for inverse in equations.inverse)]
    sums = [_Sums(shape, U) for shape, U in zip(shapes, bases, strict=True)]
    certain = common.shape[1]
    for span in [slice(0, certain), *_batches(certain, columns.shape[1])]:
        part = columns[:, span]
        v = equations.jacobi(part)
        x = equations.solve(part, v, _TOLERANCE, control.max_solver_iterations).x
        beyond = x - (2.0 * v - equations.jacobi(equations.schur(v)))
        b_part, b_beyond = equations.scale(part), equations.scale(beyond)
        F_part = equations.eliminate(couplings.to_lead(b_part))
        F_x = equations.eliminate(couplings.to_lead(equations.scale(x - v)))
        pairs = [(F_part, F_x), *((b_part[span], b_beyond[span]) for span in couplings.slices)]
        for total, (a, b) in zip(sums, pairs, strict=True):
            total.add(a, b, random=span.start >= certain)
    exact_parts = [equations.F + _known_lead(equations)]
    for factor, inverse in zip(equations.factors[1:], equations.inverse, strict=True):
        exact_parts.append(factor @ inverse @ factor.T)
    return ErrorVariance(
        tuple(part + total.mean(count) for part, total in zip(exact_parts, sums, strict=True)),
        tuple(total.error(count) for total in sums),
    )


def _batches(first: int, stop: int) -> list[slice]:
    return [slice(i, min(i + _BATCH, stop)) for i in range(first, stop, _BATCH)]


class _Sums:
    """Sums over probes of one block's estimates: of the matrices, and of squared diagonals."""

    def __init__(self, shape: tuple[int, ...], basis: np.ndarray) -> None:
        self.basis = basis
        self.certain, self.random = np.zeros(shape), np.zeros(shape)
        self.squares = np.zeros(shape[:2])

    def add(self, a: np.ndarray, b: np.ndarray, *, random: bool) -> None:
        """Add the symmetric part of ``a_j b_j'``, summed over columns; a, b are (J q, columns)."""
        shape = (*self.squares.shape, a.shape[1])
        a, b = a.reshape(shape), b.reshape(shape)
        outer = np.einsum("jan,jbn->jab", a, b, dtype=np.float64)
        outer = 0.5 * (outer + outer.swapaxes(1, 2))
        if not random:
            self.certain += outer
            return
        self.random += outer
        first, second = (np.einsum("ba,jan->jbn", self.basis, part) for part in (a, b))
        self.squares += ((first * second) ** 2).sum(axis=2)

    def mean(self, count: int) -> np.ndarray:
        """Return the estimate, (J, q, q)."""
        return self.certain + self.random / count

    def error(self, count: int) -> np.ndarray:
        """Return the standard errors of the diagonal in the basis, (J, q)."""
        mean = np.einsum("ia,jab,ib->ji", self.basis, self.random, self.basis) / count
        spread = np.maximum(self.squares / count - mean**2, 0.0)
        return np.asarray(np.sqrt(spread / (count - 1)))


def _known_lead(equations: Equations) -> np.ndarray:
    """Return ``F C_j Q₀ C_j' F``, (J, q, q), of the leading block, with ``Q₀ = Λ₂S₀⁻¹Λ₂'``."""
    inner = np.zeros_like(equations.F)
    for k, inverse in enumerate(equations.inverse):
        factor = equations.factors[k + 1]
        inner += equations.couplings.row_quadratics(k, factor @ inverse @ factor.T)
    return equations.F @ inner @ equations.F
