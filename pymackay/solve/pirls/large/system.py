"""`LargeSystem`: the equations ``H x = g`` where the Schur complement S is too large to be formed.

S is solved by conjugate gradients. What the criterion's gradient needs of ``S⁻¹`` is estimated with
random signs z: with ``y = S⁻¹z``, ``E z y' = S⁻¹`` (Hutchinson 1990, Commun. Stat. Simul. 19). What
the leading block contributes is exact, and so is what the diagonal blocks S₀ of S contribute, and
directions along which all levels of a block move together (`pymackay.solve.pirls.large.common`):
random is only what is left. The same signs at all points make the estimates smooth functions of the
parameters, and the search converges as an exact one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from pymackay.solve.iterative.conjugate import conjugate_gradients
from pymackay.solve.iterative.logdet import log_quadrature
from pymackay.solve.iterative.probes import draw_signs
from pymackay.solve.linalg.batch import cholesky, inverse_lower
from pymackay.solve.linalg.batch import product as batch_product
from pymackay.solve.pirls.large.common import common_moves, separate_parts
from pymackay.solve.pirls.large.leverages import RandomPart
from pymackay.solve.pirls.large.products import Patterns, Products, by_level
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import (
    eliminated_lead,
    scale_others,
    unscale_others,
    with_lead,
)

_TOLERANCE = 1e-8  # relative residual of a solve, in the preconditioner's norm
_MOST = 2000  # iterations of a solve


@dataclass(frozen=True, eq=False)
class Probing:
    """What solves and estimates rest on besides weights and factors.

    Attributes
    ----------
    patterns : Patterns
        Of the design.
    signs : numpy.ndarray, shape (m, N)
        The probes.
    parts : tuple of numpy.ndarray of int, each (J,)
        The separate part of the design that each level belongs to, by other block.
    seed : int
        From which they were drawn.
    """

    patterns: Patterns
    signs: np.ndarray
    parts: tuple[np.ndarray, ...]
    seed: int = 0

    @classmethod
    def of(cls, rows: Rows, count: int, seed: int = 0) -> Probing:
        """Prepare a design with so many probes."""
        m = rows.n_effects - rows.lead
        signs = draw_signs(m, count, seed).astype(np.float64)
        return cls(Patterns.of(rows), signs, tuple(separate_parts(rows)), seed)

    def with_count(self, count: int, seed: int = 0) -> Probing:
        """Return the same with more probes; the first ones stay."""
        signs = draw_signs(len(self.signs), count, seed).astype(np.float64)
        return replace(self, signs=signs, seed=seed)

    def system(self, rows: Rows, products: Any, factors: list[np.ndarray]) -> LargeSystem:
        """Return H, given `Rows.products` at its weights, and how many of these are negative.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a weight is negative: whether H is positive definite is not seen then.
        """
        sums, negative = products
        if negative:
            raise np.linalg.LinAlgError(
                "with this link the weights of some rows are negative, which the iterative solver "
                "does not allow; use solver='exact', or the canonical link"
            )
        return LargeSystem(rows, self, Products(rows, self.patterns, sums), factors)


class LargeSystem:
    """H at some weights and factors; answers as `pymackay.solve.pirls.system.System` does.

    Parameters
    ----------
    rows : Rows
    probing : Probing
    sums : Products
    factors : list of numpy.ndarray, each (q, q)
        Λ of each block.

    Attributes
    ----------
    root, half : numpy.ndarray, each (q, q, J)
        As of `System`.
    iterations : int
        Most iterations that a solve has taken.
    """

    still = 1e-13  # of `System`: solves have no more digits

    def __init__(
        self, rows: Rows, probing: Probing, sums: Products, factors: list[np.ndarray]
    ) -> None:
        self.rows, self.probing, self.sums, self.factors = rows, probing, sums, factors
        self.root, self.half, self._logdet_lead = eliminated_lead(sums.A, factors[0])
        self.kept = sums.kept(self.F)
        roots, logdet = [], 0.0
        for kept, factor in zip(self.kept, factors[1:], strict=True):
            M = batch_product(batch_product(_cast(factor.T), kept), _cast(factor))
            M[np.arange(len(M)), np.arange(len(M))] += 1.0
            L = cholesky(M)
            if not np.isfinite(L).all():
                raise np.linalg.LinAlgError("a level's block is not positive definite")
            logdet += 2.0 * float(np.log(np.einsum("aaj->aj", L)).sum())
            roots.append(inverse_lower(L))
        self._roots, self._logdet_diagonal = roots, logdet
        self.iterations = 0

    def closed(self, rows: Rows) -> LargeSystem:
        """Return the same equations with a design whose rows are not read any more."""
        made = copy.copy(self)
        made.rows = rows
        return made

    @cached_property
    def F(self) -> np.ndarray:
        """``Λ(I + Λ'A_jΛ)⁻¹Λ'``, (q, q, J)."""
        return batch_product(self.half.transpose(1, 0, 2), self.half)

    def reduced(self, b: np.ndarray) -> np.ndarray:
        """Return ``K b``, (m, k)."""
        lead = np.einsum("abj,bjk->ajk", self.F, self.sums.to_lead(b))
        return self.sums.among(b) - self.sums.from_lead(lead)

    def schur(self, x: np.ndarray) -> np.ndarray:
        """Return ``S x``, (m, k)."""
        b = unscale_others(x, self.rows, self.factors)
        return x + scale_others(self.reduced(b), self.rows, self.factors)

    def _by_roots(self, x: np.ndarray, *, transposed: bool) -> np.ndarray:
        """Return the inverse factors of S's diagonal blocks, or their transposes, times x."""
        parts = zip(self._roots, self.sums.spans, strict=True)
        sides = ((root.transpose(1, 0, 2) if transposed else root, span) for root, span in parts)
        return np.concatenate([by_level(side, x[span]) for side, span in sides])

    def _precondition(self, x: np.ndarray) -> np.ndarray:
        return self._by_roots(self._by_roots(x, transposed=False), transposed=True)

    def _solve_schur(self, right: np.ndarray) -> np.ndarray:
        """Return ``S⁻¹ right``, (m, k).

        Raises
        ------
        numpy.linalg.LinAlgError
            If the iterations run out.
        """
        solution = conjugate_gradients(
            self.schur, self._precondition, right, start=None, tolerance=_TOLERANCE, most=_MOST
        )
        self.iterations = max(self.iterations, solution.iterations)
        if not solution.residual <= 10.0 * _TOLERANCE:
            raise np.linalg.LinAlgError(f"a solve did not converge in {_MOST} iterations")
        return solution.x

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return ``H⁻¹ right``, (N, k)."""
        lead, q = self.rows.lead, len(self.root)
        first = np.einsum("abj,bjk->ajk", self.root, right[:lead].reshape(q, -1, right.shape[1]))
        carried = self.sums.from_lead(np.einsum("baj,bjk->ajk", self.half, first))
        x = self._solve_schur(right[lead:] - scale_others(carried, self.rows, self.factors))
        back = self.sums.to_lead(unscale_others(x, self.rows, self.factors))
        first = first - np.einsum("abj,bjk->ajk", self.half, back)
        solved = np.einsum("baj,bjk->ajk", self.root, first).reshape(lead, -1)
        return np.concatenate([solved, x])

    @cached_property
    def _common(self) -> np.ndarray:
        """Orthonormal directions along which the levels of a block move together, (m, r)."""
        inverses = [batch_product(root.transpose(1, 0, 2), root) for root in self._roots]
        return common_moves(self.probing.parts, inverses)

    @cached_property
    def _columns(self) -> np.ndarray:
        """Common directions and random ones orthogonal to them, x; ``E Σ x x' = I``, (m, r + N)."""
        signs, common = self.probing.signs, self._common
        orthogonal = signs - common @ (common.T @ signs)
        return np.concatenate([common, orthogonal / np.sqrt(signs.shape[1])], axis=1)

    def _weights(self, probe: int | None) -> np.ndarray:
        """Return the weights of the columns, (r + N,), in an estimate by all probes or by one."""
        r, count = self._common.shape[1], self.probing.signs.shape[1]
        if probe is None:
            return np.ones(r + count)
        return np.concatenate([np.ones(r), count * np.eye(count)[probe]])

    @cached_property
    def _solved(self) -> np.ndarray:
        """``y = (S⁻¹ − S₀⁻¹)x``, (m, r + N): ``S⁻¹`` is ``S₀⁻¹ + Σ x y'`` on average."""
        return self._solve_schur(self._columns) - self._precondition(self._columns)

    @cached_property
    def _effects(self) -> tuple[np.ndarray, np.ndarray]:
        """``Λ₂x`` and ``Λ₂y``, (m, r + N): what their products and `_alone` add up to is V.

        V is the covariance of the other blocks' effects b given β.
        """
        columns = unscale_others(self._columns, self.rows, self.factors)
        return columns, unscale_others(self._solved, self.rows, self.factors)

    @cached_property
    def _carried(self) -> tuple[np.ndarray, np.ndarray]:
        """``C Λ₂x`` and ``C Λ₂y``, each (q, J, r + N)."""
        columns, solved = self._effects
        return self.sums.to_lead(columns), self.sums.to_lead(solved)

    @cached_property
    def logdet(self) -> float:
        """An estimate of log |H|, with an error that `logdet_error` tells."""
        return self._logdet_lead + self._logdet_diagonal + float(self._log_samples.mean())

    @property
    def logdet_error(self) -> float:
        """Monte-Carlo standard error of `logdet`."""
        samples = self._log_samples
        return float(samples.std(ddof=1) / np.sqrt(len(samples)))

    @cached_property
    def _log_samples(self) -> np.ndarray:
        """Estimates of ``log |S|`` less its diagonal blocks' part, (N,)."""

        def operator(x: np.ndarray) -> np.ndarray:
            return self._by_roots(self.schur(self._by_roots(x, transposed=True)), transposed=False)

        signs = self.probing.signs
        return len(signs) * log_quadrature(operator, signs)

    @property
    def _lead_quadratics(self) -> np.ndarray:
        """Estimates of ``C_j V C_j'``, (q, q, J)."""
        return self._quadratics_of(None)

    @cached_property
    def _crossed(self) -> list[np.ndarray]:
        """``C`` times `_alone` at the pairs of each leading meeting, (q_left, q_right, pairs)."""
        return self.sums.crossed(self._alone)

    @cached_property
    def _known_quadratics(self) -> np.ndarray:
        """What `_alone` contributes to ``C_j V C_j'``, (q, q, J)."""
        return self.sums.quadratics(self._crossed)

    def _quadratics_of(self, probe: int | None) -> np.ndarray:
        """Return `_lead_quadratics` by all probes, or by one of them."""
        columns, solved = self._carried
        which = np.flatnonzero(self._weights(probe))
        left = columns[:, :, which] * self._weights(probe)[which]
        made = np.einsum("ajk,bjk->abj", left, solved[:, :, which])
        return self._known_quadratics + 0.5 * (made + made.transpose(1, 0, 2))

    def leverages(self, rows: Rows) -> np.ndarray:
        """Return estimates of ``s_i = a_i'H⁻¹a_i`` of the rows, (n,).

        The leading block's part is exact; the rest is ``r_i'S⁻¹r_i`` with ``Λ₂'(z₂ − C'F z₁)``
        for r_i.
        """
        made = self._known_leverages(rows, self._random.by_level())
        made += self._random.between_blocks(rows)
        return made

    def _known_leverages(self, rows: Rows, more: list[np.ndarray]) -> np.ndarray:
        """Return what the leading block and S₀ contribute to the leverages of the rows, (n,).

        `more`, (q, q, J) by block, is added to the effects' covariances.
        """
        around = batch_product(batch_product(self.F, self._known_quadratics), self.F)
        made = rows.blocks[0].quadratic(self.F + around + more[0])
        for i, (block, V) in enumerate(zip(rows.blocks[1:], self._alone, strict=True)):
            made += block.quadratic(V + more[i + 1])
            made -= 2.0 * with_lead(rows.meetings[0][i], self.F, self._crossed[i])
        return made

    @cached_property
    def _random(self) -> RandomPart:
        """What columns x and y contribute to the leverages."""
        pairs = zip(self._effects, self._carried, strict=True)
        return RandomPart(*(self._by_block(*pair) for pair in pairs))

    def _by_block(self, others: np.ndarray, carried: np.ndarray) -> list[np.ndarray]:
        """Return each block's part of ``r_i'x``, (q, J, r + N)."""
        lead = np.einsum("abj,bjk->ajk", self.F, carried)
        made = [np.ascontiguousarray(-lead)]
        for block, span in zip(self.rows.blocks[1:], self.sums.spans, strict=True):
            made.append(others[span].reshape(block.q, block.n_levels, -1))
        return made

    def leverage_sums(self, rows: Rows, columns: np.ndarray) -> np.ndarray:
        """Return ``columns' s`` with s as each probe alone estimates it, (P, N), for (n, P)."""
        nothing = [np.zeros((block.q, block.q, 1)) for block in rows.blocks]
        exact = columns.T @ self._known_leverages(rows, nothing)
        r, count = self._common.shape[1], self.probing.signs.shape[1]
        made = self._random.sums(rows, columns)
        return (exact + made[:, :r].sum(axis=1))[:, None] + count * made[:, r:]

    def factor_slopes(self, probe: int | None = None) -> list[np.ndarray]:
        """Return half the derivative of log|H| by each block's Λ at fixed weights, (q, q).

        As all probes estimate it, or one of them.
        """
        A, lead = self.sums.A, self.factors[0]
        own = batch_product(A, batch_product(self.half.transpose(1, 0, 2), self.root))
        N = self._complement
        around = batch_product(batch_product(N, self._quadratics_of(probe)), N.transpose(1, 0, 2))
        made = [own.sum(axis=2) - around.sum(axis=2) @ lead]
        columns, slopes = self._columns * self._weights(probe), self._slopes
        others = zip(self.rows.blocks[1:], self.sums.spans, self._known_slopes, strict=True)
        for block, span, known in others:
            cut = [
                slice(span.start + start, span.start + stop)
                for start, stop in pairwise(range(0, block.size + 1, block.n_levels))
            ]
            rest = [[np.vdot(slopes[a], columns[b]) for b in cut] for a in cut]
            made.append(known + np.array(rest))
        return made

    @property
    def _known_slopes(self) -> list[np.ndarray]:
        """What S₀ contributes to `factor_slopes` of the other blocks, (q, q)."""
        made = []
        for kept, root, factor in zip(self.kept, self._roots, self.factors[1:], strict=True):
            inverse = batch_product(root.transpose(1, 0, 2), root)
            made.append(batch_product(batch_product(kept, _cast(factor)), inverse).sum(axis=2))
        return made

    @cached_property
    def _slopes(self) -> np.ndarray:
        """``K Λ₂y``, (m, r + N)."""
        return self.reduced(self._effects[1])

    @cached_property
    def _complement(self) -> np.ndarray:
        """``I − A_jF_j``, (q, q, J)."""
        N = -batch_product(self.sums.A, self.F)
        N[np.arange(len(N)), np.arange(len(N))] += 1.0
        return N

    def traces(self) -> list[np.ndarray]:
        """Return ``T_j = [Z'(W⁻¹ + ZGZ')⁻¹Z]_jj`` of each level, block by block, (q, q, J).

        Of the other blocks as if their levels did not meet: the curvature needs no more.
        """
        A, N = self.sums.A, self._complement
        around = batch_product(batch_product(N, self._lead_quadratics), N.transpose(1, 0, 2))
        made = [batch_product(N, A) - around]
        for kept, covariance in zip(self.kept, self._alone, strict=True):
            carried = batch_product(batch_product(kept, covariance), kept)
            made.append(kept - carried)
        return made

    @cached_property
    def _alone(self) -> list[np.ndarray]:
        """Covariances of the other blocks' effects as if their levels did not meet, (q, q, J)."""
        made = []
        for root, factor in zip(self._roots, self.factors[1:], strict=True):
            half = batch_product(root, _cast(factor.T))
            made.append(batch_product(half.transpose(1, 0, 2), half))
        return made

    def level_covariances(self) -> list[np.ndarray]:
        """Return covariances of each level's effects b given β, (q, q, J), nearly.

        Of the other blocks as if their levels did not meet: starts need no more.
        """
        around = batch_product(batch_product(self.F, self._lead_quadratics), self.F)
        return [self.F + around, *self._alone]


def _cast(factor: np.ndarray) -> np.ndarray:
    """Return a factor, (q, q), as the same for all levels, (q, q, 1)."""
    return factor[:, :, None]
