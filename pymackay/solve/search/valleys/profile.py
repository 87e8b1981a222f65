"""`Profile`: the criterion at many variances at once, and the starts in its valleys.

The criterion of few rows can have several minima (valleys). With one variance, the profile over
log theta is evaluated on a grid that is finer than any of its features; with several parameters
and few rows, points spread over the covariances go down first (`basins`). A search then
starts in every valley. Only criteria are computed here, by the Cholesky factors of
`pymackay.solve.exact.eliminated`: all points of all responses share one design, so that each point
is factored once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.sums.gram import Gram
from pymackay.solve.search import limits
from pymackay.solve.search.start import noise_levels
from pymackay.solve.search.valleys.basins import descend, follows_basins
from pymackay.solve.search.valleys.spread import logs_of, lowest_of_cells, places, spread
from pymackay.solve.search.values import Factors
from pymackay.solve.solver import least_residual


@dataclass(frozen=True, eq=False)
class Profile:
    """Cross-products of B responses to one design, as the criterion alone needs them.

    Attributes
    ----------
    gram : Gram
        Of the design.
    reml : bool
    counts : numpy.ndarray, shape (K,)
        Levels of the leading block of each kind; ones where every level stands for itself.
    A : numpy.ndarray, shape (K, q, q)
        ``Z_j'Z_j``.
    C : numpy.ndarray, shape (K, q, k)
        ``Z_j'R``, R being the other random effects and X.
    s : numpy.ndarray, shape (K, q, B)
        ``Σ_j Z_j'y`` over the levels of a kind.
    M : numpy.ndarray, shape (K, q, q, B)
        ``Σ_j Z_j'y y'Z_j``.
    along : numpy.ndarray, shape (k, B)
        ``R'y``.
    squares : numpy.ndarray, shape (B,)
        ``y'y``.
    without_effects : numpy.ndarray, shape (B,)
        The criteria where no random effect varies.
    """

    gram: Gram
    reml: bool
    counts: np.ndarray
    A: np.ndarray
    C: np.ndarray
    s: np.ndarray
    M: np.ndarray
    along: np.ndarray
    squares: np.ndarray
    without_effects: np.ndarray

    @classmethod
    def of(cls, gram: Gram, without_effects: np.ndarray, *, reml: bool) -> Profile:
        """Return the profile of the response that was summed up with the design."""
        J, q = gram.A.shape[:2]
        C = gram.C if isinstance(gram.C, np.ndarray) else gram.C.toarray().reshape(J, q, -1)
        c = C[:, :, -1]
        return cls(
            gram,
            reml,
            np.ones(J),
            gram.A,
            C[:, :, :-1],
            c[:, :, None],
            (c[:, :, None] * c[:, None, :])[..., None],
            gram.D[:-1, -1:],
            gram.D[-1:, -1],
            without_effects,
        )

    def criteria(self, factors: Factors) -> np.ndarray:
        """Return the criteria, (S, B), at S relative factors, term by term (S, q, q).

        Infinite where float64 has no digits left.
        """
        size = self.A.shape[1] * len(self.A) * (self.C.shape[2] + self.s.shape[2])
        parts = max(1, limits.SCAN_CELLS // max(size, 1))
        S = len(factors[0])
        slices = [slice(start, start + parts) for start in range(0, S, parts)]
        return np.concatenate([self._criteria(tuple(f[part] for f in factors)) for part in slices])

    @np.errstate(all="ignore")
    def _criteria(self, factors: Factors) -> np.ndarray:
        """Compute ``log|V| + log|X'V⁻¹X| + ν log r2``, (S, B), by two Cholesky factors."""
        gram, k = self.gram, self.C.shape[2]
        leading = self._lead_of_one if k == gram.p and self.A.shape[1] == 1 else self._lead
        logdet, K, along, r2 = leading(_joined(gram, 0, factors))
        for index, span in enumerate(gram.other_slices, start=1):
            factor = _joined(gram, index, factors)
            along = _scale_rows(along, span, factor)
            K = _scale_rows(_scale_rows(K, span, factor).swapaxes(1, 2), span, factor)
        others = np.arange(gram.n_others)
        K[:, others, others] += 1.0
        if k:
            L = _cholesky(K)
            r2 = r2 - (np.linalg.solve(L, along) ** 2).sum(axis=1)
            logs = 2.0 * np.log(np.einsum("saa->sa", L))
            logdet = logdet + logs[:, : k if self.reml else len(others)].sum(axis=1)
        nu = gram.n - gram.p if self.reml else gram.n
        values = self.without_effects + logdet[:, None] + nu * np.log(r2)
        return np.where(r2 > least_residual(gram.n), values, np.inf)

    def _lead(self, factor: np.ndarray) -> tuple[np.ndarray, ...]:
        """Eliminate the leading block at S factors, (S, q, q).

        Returns log|V₁|, (S,), and ``R'V₁⁻¹R``, ``R'V₁⁻¹y`` and ``y'V₁⁻¹y``: (S, k, k), (S, k, B)
        and (S, B).
        """
        S, q, k = len(factor), self.A.shape[1], self.C.shape[2]
        upper = factor.swapaxes(1, 2)[:, None]
        L = _cholesky(np.eye(q) + upper @ self.A @ factor[:, None])
        half = np.linalg.solve(L, np.broadcast_to(upper, L.shape))
        logdet = 2.0 * np.log(np.einsum("skaa->ska", L)).sum(axis=2) @ self.counts
        scaled = half @ self.C
        effects = len(self.A) * q
        rows = (scaled * self.counts[:, None, None]).reshape(S, effects, k)
        scaled = scaled.reshape(S, effects, k).swapaxes(1, 2)
        K = self.gram.D[:k, :k] - scaled @ rows
        along = self.along - scaled @ (half @ self.s).reshape(S, effects, -1)
        F = (half.swapaxes(2, 3) @ half).reshape(S, -1)
        return logdet, K, along, self.squares - F @ self.M.reshape(F.shape[1], -1)

    def _lead_of_one(self, factor: np.ndarray) -> tuple[np.ndarray, ...]:
        """Compute what `_lead` does for one effect a level: all depends on A_j alone.

        ``F_j = t/(1 + t A_j)`` with t the variance, and sums over the levels with equal A_j.
        """
        (k, B), C = (self.C.shape[2], self.s.shape[2]), self.C[:, 0]
        t = factor[:, 0] ** 2
        digits = np.round(self.A[:, 0, 0] / self.A.max(), limits.ALIKE_DIGITS)
        order = np.argsort(digits, kind="stable")
        first = np.flatnonzero(np.diff(digits[order], prepend=-1.0))
        columns = [
            self.counts[:, None],
            (self.counts[:, None, None] * C[:, :, None] * C[:, None, :]).reshape(len(C), k * k),
            (C[:, :, None] * self.s).reshape(len(C), k * B),
            self.M[:, 0, 0],
        ]
        sums = np.add.reduceat(np.concatenate(columns, axis=1)[order], first, axis=0)
        tA = t * self.A[order[first], 0, 0]
        parts = np.split((t / (1.0 + tA)) @ sums[:, 1:], [k * k, k * (k + B)], axis=1)
        K = self.gram.D[:k, :k] - parts[0].reshape(len(t), k, k)
        along = self.along - parts[1].reshape(len(t), k, B)
        return np.log1p(tA) @ sums[:, 0], K, along, self.squares - parts[2]

    def starts(self, criteria: np.ndarray, best: Factors) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield factors in the profile's valleys, and which responses have the valley.

        Parameters
        ----------
        criteria : numpy.ndarray, shape (B,)
            What has been reached; valleys of one variance that cannot be lower are left out.
        best : tuple of numpy.ndarray, each (B, q, q)
            Where that is. Of a single response, points from which the criterion falls all the way
            to there are left out: they lie in the same valley.

        Yields
        ------
        factors : tuple of numpy.ndarray, each (b, q, q)
        which : numpy.ndarray of int, shape (b,)
        """
        if follows_basins(self.gram):
            yield from self._lower_basins(float(criteria[0]))
            return
        one = self.gram.one_variance
        points = min(limits.SPREAD_POINTS * (self.gram.n_theta + 1), limits.SPREAD_MOST)
        factors = _grid(self.gram) if one else self._spread(points)
        values = self.criteria(factors)
        lowest = _line_minima(values) if one else _minima(values, _neighbours(factors))
        if one:
            floor = limits.VALLEY_MARGIN + self.gram.n * limits.VALLEY_STEP**2 / 8.0
            lowest &= values < criteria + floor
            place = np.log(factors[0][:, :, 0])
            reached = np.log(np.maximum(best[0][:, 0, 0], np.finfo(float).tiny))
            reached = np.clip(reached, place[0], place[-1])
            lowest &= np.abs(place - reached) > limits.VALLEY_STEP  # of the sd: two points
        if len(criteria) == 1:
            candidates = np.flatnonzero(lowest[:, 0])
            lowest[candidates, 0] = self._apart(tuple(f[candidates] for f in factors), best)
        order = np.argsort(np.where(lowest, values, np.inf), axis=0, kind="stable")
        number = lowest.sum(axis=0)
        for rank in range(min(int(number.max(initial=0)), limits.VALLEYS)):
            which = np.flatnonzero(number > rank)
            yield tuple(f[order[rank, which]] for f in factors), which

    def _spread(self, points: int) -> Factors:
        return spread(self.gram.layouts, noise_levels(self.gram), points)

    def _lower_basins(self, reached: float) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield the bottoms of valleys that lie below what has been reached by the only response.

        Points spread all over are divided into cells, and the lowest of each cell goes down.
        """
        points = self._spread(limits.BASIN_POINTS)
        is_free = all(layout.structure is None for layout in self.gram.layouts)
        cells = limits.BASIN_CELLS if is_free else limits.STRUCTURED_CELLS
        return self._lower(self._lowest_of_cells(points, cells), reached)

    def beside(
        self, criteria: np.ndarray, best: Factors, which: np.ndarray
    ) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield lower bottoms that differ in one term at first from the best factors.

        Parameters
        ----------
        criteria : numpy.ndarray, shape (1,)
            At the best factors, of the only response.
        best : tuple of numpy.ndarray, each (1, q, q)
        which : numpy.ndarray of int
            Of a `Profile` with one response, its number, 0.

        Yields
        ------
        As `starts`; nothing where there are other responses, or one variance.
        """
        if not follows_basins(self.gram) or len(best) == 1:
            return
        chosen = []
        for term, factor in enumerate(self._spread(limits.TERM_POINTS)):
            points = [np.broadcast_to(f, factor.shape[:1] + f.shape[1:]) for f in best]
            points[term] = factor
            chosen.append(self._lowest_of_cells(tuple(points), limits.TERM_CELLS))
        together = tuple(np.concatenate(parts) for parts in zip(*chosen, strict=True))
        yield from self._lower(together, float(criteria[0]))

    def _lowest_of_cells(self, factors: Factors, cells: int) -> Factors:
        """Return the lowest of the points, (S, q, q), in each cell around the first of them."""
        chosen = lowest_of_cells(self.criteria(factors), places(factors), cells)[:, 0]
        return tuple(factor[chosen] for factor in factors)

    def _lower(self, factors: Factors, reached: float) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield where the points, (S, q, q), go down to below the criterion `reached`."""
        floors = np.sqrt(noise_levels(self.gram)).tolist()
        bottoms, values = descend(
            lambda points: self.criteria(points)[:, 0], factors, floors, self.gram.layouts
        )
        order = np.argsort(values, kind="stable")
        apart = np.diff(values[order], prepend=-np.inf) > limits.BASIN_APART
        lower = values[order] < reached - limits.WAY_RISE
        for rank in order[apart & lower][: limits.VALLEYS]:
            yield tuple(f[rank : rank + 1] for f in bottoms), np.zeros(1, dtype=np.intp)

    def _apart(self, factors: Factors, best: Factors) -> np.ndarray:
        """Say from which factors, (S, q, q) a term, the way to the best one, (1, q, q), rises.

        The way is straight in the logs of the covariances; S answers.
        """
        S = len(factors[0])
        if not S:  # all in the valley that has been reached
            return np.zeros(0, dtype=bool)
        share = np.linspace(0.0, 1.0, limits.WAY_POINTS)[:, None, None, None]
        floors = [limits.WAY_FLOOR * level for level in noise_levels(self.gram)]
        way = []
        for here, there, floor in zip(factors, best, floors, strict=True):
            logs = (1.0 - share) * logs_of(here, floor) + share * logs_of(there, floor)
            values, U = np.linalg.eigh(logs.reshape(-1, *here.shape[1:]))
            way.append(lower_factor(U * np.exp(0.5 * values)[:, None, :]))
        values = self.criteria(tuple(way)).reshape(-1, S)
        with np.errstate(invalid="ignore"):
            return np.asarray(~(np.diff(values, axis=0) < limits.WAY_RISE).all(axis=0))


def _joined(gram: Gram, index: int, factors: Factors) -> np.ndarray:
    """Put the factors of a block's terms on one diagonal, (S, q, q)."""
    block = gram.blocks[index]
    joined = np.zeros((len(factors[0]), block.q, block.q))
    for term, columns in gram.block_slices(block):
        joined[:, columns, columns] = factors[term]
    return joined


def _scale_rows(M: np.ndarray, span: slice, factor: np.ndarray) -> np.ndarray:
    """Multiply the rows of one block, in M (S, k, c), by Λ', one factor (S, q, q) per point."""
    scaled = M.copy()
    S, _, width = M.shape
    rows = M[:, span].reshape(S, -1, factor.shape[1], width)
    scaled[:, span] = (factor.swapaxes(1, 2)[:, None] @ rows).reshape(S, -1, width)
    return scaled


def _cholesky(M: np.ndarray) -> np.ndarray:
    """Return Cholesky factors of many matrices, (..., a, a); nan where there is none."""
    if M.shape[-1] == 1:
        return np.sqrt(M)
    try:
        return np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh(np.where(np.isfinite(M), M, 0.0))[..., 0]
        good = (values > 0.0) & np.isfinite(M).all(axis=(-2, -1))
        L = np.full_like(M, np.nan)
        L[good] = np.linalg.cholesky(M[good] + 1e-15 * np.eye(M.shape[-1]))
        return L


def _grid(gram: Gram) -> Factors:
    """Return the factors, (S, 1, 1), of a grid in the log of the only variance."""
    A = gram.A[:, 0, 0]
    A = A[limits.NOTHING * A.max() < A]
    low, high = np.log(limits.VALLEY_LOW / A.max()), np.log(limits.VALLEY_HIGH / A.min())
    points = np.linspace(low, high, int(np.ceil((high - low) / limits.VALLEY_STEP)) + 1)
    return (np.exp(0.5 * points)[:, None, None],)


def _neighbours(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the nearest other points of each point by the logs of their covariances, (S, k)."""
    place = places(factors)
    squares = (place**2).sum(axis=1)
    distance = squares[:, None] + squares - 2.0 * place @ place.T
    np.fill_diagonal(distance, np.inf)
    m = sum(factor.shape[1] * (factor.shape[1] + 1) // 2 for factor in factors)
    return np.argsort(distance, axis=1)[:, : min(2 * m + 1, len(place) - 1)]


def _minima(values: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Say which values, (S, B), are finite and not above any of their neighbours', (S, k)."""
    return np.isfinite(values) & (values <= values[neighbours].min(axis=1))


def _line_minima(values: np.ndarray) -> np.ndarray:
    """Say which values on a line, (S, B), are finite and not above those beside them."""
    walled = np.pad(values, ((1, 1), (0, 0)), constant_values=np.inf)
    return np.isfinite(values) & (values <= walled[:-2]) & (values < walled[2:])
