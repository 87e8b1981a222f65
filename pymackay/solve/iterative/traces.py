"""Traces by probe vectors: ``Σ_j Z_j'V⁻¹Z_j`` of every block, and how well they are known.

With probes z of random signs, z z' is I on average, so that ``z'Mz`` has the trace of M as its mean
(Hutchinson 1990, Commun. Stat. Simul. Comput. 19). One solve ``x = S⁻¹z`` serves all blocks. What
S₀⁻¹ (the inverse of the diagonal blocks of S) gives for the same probe, and whose mean is known
exactly, is subtracted: after the control variate ``z'(2S₀⁻¹ − S₀⁻¹SS₀⁻¹)z`` the error is of second
order in S − S₀.

S₀ is a bad approximation along directions in which all levels of a block move together, because
other blocks or fixed effects can explain such a move as well. With random probes, one such
direction w would cause most of the variance, through the square ``(z'w)²`` of one random number,
whose distribution is so skewed that the spread over a few probes does not show the error. For
these directions the traces are computed with a solve each, and the probes are made orthogonal to
them (deflation, as in Meyer, Musco, Musco, Woodruff 2021, SIAM Symp. Simplicity Algorithms).

The random signs are the same at every theta, so that the estimate is a smooth function of theta.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pymackay.solve.iterative.equations import Equations, block_times
from pymackay.solve.iterative.probes import Probes

_BATCH = 16  # probes in one product: 16 float32 numbers fill a cache line
_WELL_DETERMINED = 0.003  # mean λ² Z'V₁⁻¹Z above which γ from the trace of S⁻¹ keeps its digits
_FULL_SIGNAL = 0.1  # below it, γ is a small difference that needs more accurate solves


@dataclass(frozen=True, eq=False)
class Traces:
    """Estimates of ``Σ_j Z_j'V⁻¹Z_j``.

    Attributes
    ----------
    samples : list of numpy.ndarray, each (N, q, q)
        Block by block, one estimate for each random probe; one in total if there are none.
    x : numpy.ndarray of float32, shape (size, m + r + N)
        ``S⁻¹`` times unit vectors, common moves and probes.
    iterations : int
        Conjugate gradient iterations of the slowest batch.
    """

    samples: list[np.ndarray]
    x: np.ndarray
    iterations: int


def estimate_traces(
    equations: Equations, probes: Probes, start: np.ndarray | None, tolerance: float, most: int
) -> Traces:
    """Estimate the traces of all blocks at one theta.

    Parameters
    ----------
    equations : Equations
    probes : Probes
    start : numpy.ndarray, shape (size, at most m + r + N), or None
        Solutions at an earlier theta.
    tolerance, most
        As in `conjugate_gradients`.
    """
    known = _Known(equations)
    common = equations.common_moves(probes.units)
    columns = probes.columns(common)
    x = np.empty_like(columns)
    parts: list[list[np.ndarray]] = [[] for _ in equations.factors]
    iterations = 0
    certain = len(probes.units) + common.shape[1]
    for span in _batches(certain, columns.shape[1]):
        z = columns[:, span]
        v = equations.jacobi(z)
        first = v.copy()
        if start is not None and span.start < start.shape[1]:
            earlier = start[:, span]
            first[:, : earlier.shape[1]] = earlier
        solution = equations.solve(z, first, tolerance * known.tightness, most)
        x[:, span] = solution.x
        iterations = max(iterations, solution.iterations)
        for part, deviation in zip(parts, known.deviations(z, v, solution.x), strict=True):
            part.append(deviation)
    samples = []
    for constant, part in zip(known.constants, parts, strict=True):
        deviations = np.concatenate(part)
        exact = constant + deviations[:certain].sum(axis=0)
        samples.append(exact[None] if probes.exact else exact + deviations[certain:])
    return Traces(samples, x, iterations)


def _batches(certain: int, count: int) -> list[slice]:
    """Return batches of the columns; the first `certain` ones, slower to converge, are apart."""
    cuts = [*range(0, certain, _BATCH), *range(certain, count, _BATCH), count]
    return [slice(first, stop) for first, stop in pairwise(cuts)]


class _Known:
    """The part of the traces that S₀ gives exactly, and the deviations from it of some probes."""

    def __init__(self, equations: Equations) -> None:
        self.equations = equations
        self.couplings = equations.couplings
        A, N = equations.gram.diagonals[0], equations.N
        self.lead_total = (A @ N.swapaxes(1, 2)).sum(axis=0)
        self.lead_known = np.zeros_like(self.lead_total)
        self.others = []
        for k, inverse in enumerate(equations.inverse):
            factor = equations.factors[k + 1]
            rows = self.couplings.row_quadratics(k, factor @ inverse @ factor.T)
            self.lead_known += (N @ rows @ N.swapaxes(1, 2)).sum(axis=0)
            self.others.append(_BlockTrace(factor, inverse, equations.kept[k]))

    @property
    def tightness(self) -> float:
        """Factor of the solves' tolerance with which γ keeps its digits."""
        signals = [trace.signal[trace.strong].min(initial=1.0) for trace in self.others]
        return min(1.0, *(signal / _FULL_SIGNAL for signal in signals))

    @property
    def constants(self) -> list[np.ndarray]:
        """The part that S₀ gives, block by block, each (q, q)."""
        return [self.lead_total - self.lead_known, *(trace.known for trace in self.others)]

    def deviations(self, z: np.ndarray, v: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        """Return the deviation of each probe, block by block, each (probes, q, q).

        Parameters
        ----------
        z, v, x : numpy.ndarray, shape (size, probes)
            The probes, ``v = S₀⁻¹z`` and ``x = S⁻¹z``.
        """
        equations = self.equations
        b_v, b_x, b_z = (equations.scale(part) for part in (v, x, z))
        lead_v, lead_x, lead_z = (self.couplings.to_lead(b) for b in (b_v, b_x, b_z))
        N = equations.N.astype(z.dtype)
        N_z, N_beyond = block_times(N, lead_z), block_times(N, lead_x - lead_v)
        parts_by_block = [-_products(N_z, N_beyond, len(N[0]))]
        S_v = v + equations.scale(equations.reduced(b_v, lead_v), transposed=True)
        residual = x - (2.0 * v - equations.jacobi(S_v))
        K_z = K_x = z
        if not all(trace.all_strong for trace in self.others):
            K_z, K_x = equations.reduced(b_z, lead_z), equations.reduced(b_x, lead_x)
        for trace, span in zip(self.others, self.couplings.slices, strict=True):
            parts = (z, residual, x - v, K_z, K_x)
            parts_by_block.append(trace.deviations(*(part[span] for part in parts)))
        return parts_by_block


class _BlockTrace:
    """The trace of one block that is not eliminated, along the axes of its covariance matrix.

    The axes are those of the singular value decomposition ``Λ = turn diag(sizes) back'``. The trace
    of H = Z'V⁻¹Z is computed in one of three ways:

    - between two axes that the data determine (`strong`), from
      ``back'(I − S⁻¹)back = sizes turn'H turn sizes``, which keeps its digits where γ is near J;
    - between two of the others, whose size may be zero, from ``H = K − KΛS⁻¹Λ'K``;
    - between one of each, from ``sizes turn'H = back'S⁻¹Λ'K``.
    """

    def __init__(self, factor: np.ndarray, inverse: np.ndarray, kept: np.ndarray) -> None:
        self.q = len(factor)
        self.turn, self.sizes, other = np.linalg.svd(factor)
        self.back = other.T
        total = self.turn.T @ kept.sum(axis=0) @ self.turn
        self.signal = self.sizes**2 * np.diag(total) / len(kept)
        self.strong = self.signal > _WELL_DETERMINED
        self.all_strong = bool(self.strong.all())
        gamma = len(kept) * np.eye(self.q) - self.back.T @ inverse.sum(0) @ self.back
        mixed = np.einsum("jab,bc,jcd->ad", inverse, factor.T, kept, optimize=True)
        mixed = self.back.T @ mixed @ self.turn
        self.known = self._assembled(gamma[None], total[None], mixed[None])[0]

    def _assembled(self, gamma: np.ndarray, direct: np.ndarray, crossed: np.ndarray) -> np.ndarray:
        """Combine the three kinds of parts, and return to the effects' coordinates, (k, q, q)."""
        strong, weak = self.strong, ~self.strong
        size = np.where(strong, self.sizes, 1.0)
        trace = gamma / np.outer(size, size)
        if weak.any():
            crossed = crossed / size[:, None]
            trace[:, weak[:, None] & weak] = direct[:, weak[:, None] & weak]
            trace[:, strong[:, None] & weak] = crossed[:, strong[:, None] & weak]
            trace[:, weak[:, None] & strong] = crossed.swapaxes(1, 2)[:, weak[:, None] & strong]
        return np.asarray(self.turn @ trace @ self.turn.T)

    def deviations(
        self,
        z: np.ndarray,
        residual: np.ndarray,
        beyond: np.ndarray,
        K_z: np.ndarray,
        K_x: np.ndarray,
    ) -> np.ndarray:
        """Return the deviation of each probe, shape (probes, q, q).

        Parameters
        ----------
        z, residual, beyond : numpy.ndarray, shape (J q, probes)
            The probes z; S⁻¹z less its control variate; S⁻¹z − S₀⁻¹z.
        K_z, K_x : numpy.ndarray, shape (J q, probes)
            ``KΛz`` and ``KΛS⁻¹z``; used for axes that the data do not determine.
        """
        gamma = -self.back.T @ _products(z, residual, self.q) @ self.back
        if self.all_strong:
            return self._assembled(gamma, gamma, gamma)
        direct = -self.turn.T @ _products(K_z, K_x, self.q) @ self.turn
        crossed = self.back.T @ _one_sided(beyond, K_z, self.q) @ self.turn
        return self._assembled(gamma, direct, crossed)


def _one_sided(a: np.ndarray, b: np.ndarray, q: int) -> np.ndarray:
    """Return ``Σ_j a_j b_j'`` of each column, shape (columns, q, q)."""
    shape = (-1, q, a.shape[1])
    return np.asarray(
        np.einsum(
            "jan,jbn->nab", a.reshape(shape), b.reshape(shape), dtype=np.float64, optimize=False
        )
    )


def _products(a: np.ndarray, b: np.ndarray, q: int) -> np.ndarray:
    """Return the symmetric part of ``Σ_j a_j b_j'``, shape (columns, q, q)."""
    sums = _one_sided(a, b, q)
    return 0.5 * (sums + sums.swapaxes(1, 2))
