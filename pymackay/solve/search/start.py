"""Start values from the data: moment estimates of each block's covariance, and further starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import TermLayout, lower_factor, symmetric_basis
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.values import Factors


def noise_level(gram: Bases, term: int) -> float:
    """Return the relative variance of one level's least-squares effect (columns are whitened)."""
    for block in gram.blocks:
        if term in block.terms:
            return block.n_levels / gram.n
    raise KeyError(term)


def noise_levels(gram: Bases) -> list[float]:
    """Return `noise_level` of every term."""
    return [noise_level(gram, term) for term in range(len(gram.layouts))]


def moment_start(gram: Bases, *, reml: bool = True) -> list[np.ndarray]:
    """Return a relative factor per term, (q, q), from `MomentEquations` of each block by itself."""
    if gram.structured and max(block.q for block in gram.blocks) > limits.MANY_EFFECTS:
        return _simple_start(gram)
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    moments = [_moments(*gram.level_moments(k), gram, reml) for k in range(len(gram.blocks))]
    sigma2 = moments[0].noise_alone() if len(moments) == 1 else _unexplained(moments, gram)
    for block, estimates in zip(gram.blocks, moments, strict=True):
        G = estimates.relative_covariance(sigma2)
        for term, columns in gram.block_slices(block):
            noise = noise_level(gram, term)
            factors[term] = start_inside(G[columns, columns], gram.layouts[term], noise)
    return factors


def _simple_start(gram: Bases) -> list[np.ndarray]:
    """Return a relative factor per term, (q, q), where the moments' equations would be too many.

    The second moments of each level's ridged least-squares effects, each element over the levels
    that have rows for both its effects; half of the variance left over counts as noise.
    """
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    for k, block in enumerate(gram.blocks):
        A, C = gram.level_moments(k)
        size = np.einsum("jaa->ja", A)
        ridge = limits.RIDGE * float(size.sum()) / (block.n_levels * block.q)
        b = (_ridged_inverse(A, ridge) @ C[:, :, -1:])[:, :, 0]
        seen = (size > limits.NOTHING * size.max()).astype(np.float64)
        second = b.T @ b / np.maximum(seen.T @ seen, 1.0)
        noise = noise_level(gram, block.terms[0])
        sigma2 = 0.5 / gram.n  # the response has length one
        G = second / sigma2 - noise * np.eye(block.q)
        for term, columns in gram.block_slices(block):
            part = G[columns, columns] / len(gram.blocks)
            factors[term] = start_inside(part, gram.layouts[term], noise_level(gram, term))
    return factors


def start_inside(G: np.ndarray, layout: TermLayout, noise: float) -> np.ndarray:
    """Return factors of relative covariances, (..., q, q), of a term's structure if it has one."""
    if layout.structure is None:
        return inside(G, noise)
    par = layout.structure.start(G, limits.START_FLOOR * noise, limits.START_CEILING)
    return layout.structure.factor(par, layout.q)


def inside(G: np.ndarray, noise: float) -> np.ndarray:
    """Return the factors of relative covariances, (..., q, q), put where a search can start."""
    values, vectors = np.linalg.eigh(G)
    sizes = np.clip(values, limits.START_FLOOR * noise, limits.START_CEILING)
    return lower_factor(vectors * np.sqrt(sizes)[..., None, :])


def within_reach(factors: Factors, noise: Sequence[float]) -> Factors:
    """Return factors, each (B, q, q), made smaller where a variance leaves the criterion no digits.

    ``Λ'Z'ZΛ + I`` is then ``Λ'Z'ZΛ`` in float64, and its derivatives are those of rounding errors.
    """
    nearer = []
    for factor, level in zip(factors, noise, strict=True):
        variance = np.einsum("...ab,...ab->...a", factor, factor).max(axis=-1)
        size = np.sqrt(limits.REACH * level / np.maximum(variance, limits.REACH * level))
        nearer.append(size[..., None, None] * factor)
    return tuple(nearer)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Moment estimates from one block, with the other blocks left out.

    Attributes
    ----------
    equations : MomentEquations
    covariance : numpy.ndarray, shape (q, q)
        Estimate of σ²G, noise included.
    remainder : float
        Sum of squares that the block's effects leave of the response, which has one.
    """

    equations: MomentEquations
    covariance: np.ndarray
    remainder: float

    def relative_covariance(self, sigma2: float) -> np.ndarray:
        """Return the effects' covariance by unit of σ², not always positive definite."""
        return self.covariance / sigma2 - self.equations.noise

    def noise_alone(self) -> float:
        """Return σ² where there is no other block."""
        return float(self.equations.variance(np.asarray(self.remainder), self.covariance))


def _moments(A: np.ndarray, C: np.ndarray, gram: Bases, reml: bool) -> _Moments:
    freedom = gram.n - gram.p if reml else gram.n
    equations = MomentEquations.of(A, C[:, :, :-1], freedom, reml=reml)
    c = C[:, :, -1]
    b = np.einsum("jab,jb->ja", equations.shrinkage, c)
    explained = np.einsum("ja,ja->", c, b) + equations.ridge * np.einsum("ja,ja->", b, b)
    return _Moments(equations, equations.covariance(b.T @ b), 1.0 - float(explained))


def _unexplained(moments: list[_Moments], gram: Bases) -> float:
    """Return σ²: what all blocks leave where they are orthogonal, else what the best one leaves."""
    total = gram.n - gram.p
    freedoms = [block.equations.freedom for block in moments]
    least = min(
        max(block.remainder, limits.LEFT) / max(freedom, 1.0)
        for block, freedom in zip(moments, freedoms, strict=True)
    )
    remainder = 1.0 - sum(1.0 - block.remainder for block in moments)
    still_free = total - sum(total - freedom for freedom in freedoms)
    if remainder <= 0.0 or still_free <= 0.0:
        return least
    return min(least, max(remainder / still_free, limits.OVERLAP * least))


@dataclass(frozen=True, eq=False)
class MomentEquations:
    """One block's equations, the other blocks left out; they depend on the design alone.

    With r the least-squares residual, ``b_j = B_j Z_j'r`` and ``B_j = (A_j + ridge I)⁻¹``, the
    expectations of ``Σ b b'`` and of ``|r − Zb|²`` are linear in σ² and in σ²G. Henderson's first
    method in spirit (1953, Biometrics 9): free of bias, and with one grouping factor, balanced,
    whose columns span those of X, it gives the REML estimate itself.

    Attributes
    ----------
    ridge : float
    shrinkage : numpy.ndarray, shape (J, q, q)
        B.
    inverse : numpy.ndarray, shape (m, m)
        From the elements of ``Σ b b'`` to those of σ²G, noise included.
    noise : numpy.ndarray, shape (q, q)
        That noise by unit of σ².
    freedom : float
        Degrees of freedom of ``|r − Zb|²``.
    leak : numpy.ndarray, shape (q, q)
        What of σ²G is in ``|r − Zb|²``, element by element.
    """

    ridge: float
    shrinkage: np.ndarray
    inverse: np.ndarray
    noise: np.ndarray
    freedom: float
    leak: np.ndarray

    @classmethod
    def of(
        cls,
        A: np.ndarray,
        X: np.ndarray,
        freedom: int,
        *,
        reml: bool,
        counts: np.ndarray | None = None,
    ) -> MomentEquations:
        """Sum the equations up over the levels.

        With X orthonormal and ``M = I − XX'``, ``E r r' = M (σ²I + σ²Z G Z') M``.

        Parameters
        ----------
        A : numpy.ndarray, shape (J, q, q)
            ``Z_j'Z_j``.
        X : numpy.ndarray, shape (J, q, p)
            ``Z_j'X``.
        freedom : int
            Of r: rows less fixed columns for REML, rows for ML.
        reml : bool
            Whether to allow for the coefficients that r has lost; without, it is the estimate
            by maximum likelihood that balanced data lead to.
        counts : numpy.ndarray, shape (J,), optional
            How many levels each of these stands for.
        """
        J, q, p = X.shape
        weights = np.ones(J) if counts is None else counts
        if not reml or J * (q * p) ** 2 > limits.AFFORDABLE:
            X = X[:, :, :0]
        levels = float(weights.sum())
        ridge = limits.RIDGE * float(weights @ np.einsum("jaa->j", A)) / (levels * q)
        B = _ridged_inverse(A, ridge)
        F = B @ X
        E = F @ X.transpose(0, 2, 1)
        D = np.eye(q) - ridge * B
        XX, FF = _pairs(X, X, counts), _pairs(F, F, counts)
        squared = np.einsum("abbc->ac", _pairs(B, B, counts))
        turned = np.einsum("abbc->ac", _pairs(B, E, counts))
        carried = np.einsum("aman->mn", _pairs(X, F, counts) + ridge * FF)
        seen = np.einsum("j,jab->ab", weights, B) - ridge * squared
        DE = _pairs(D, E, counts)
        direct = _pairs(D, D, counts) - DE - DE.transpose(2, 3, 0, 1)
        inverse = _inverse(direct.transpose(0, 2, 1, 3) + _through(FF, XX))
        left_out = np.eye(len(carried)) - carried
        leak = ridge**2 * (seen - turned - turned.T) + np.einsum("ambn,mn->ab", XX, left_out)
        spent = levels * q - ridge**2 * float(np.trace(squared)) - float(np.trace(carried))
        noise = _solved(inverse, seen - np.einsum("ambm->ab", FF))
        return cls(ridge, B, inverse, noise, freedom - spent, leak)

    def covariance(self, second: np.ndarray) -> np.ndarray:
        """Return σ²G, noise included, from ``Σ b b'``; both have shape (..., q, q)."""
        return _solved(self.inverse, second)

    def variance(self, remainder: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return σ² where there is no other block.

        Parameters
        ----------
        remainder : numpy.ndarray, shape (...)
            ``|r − Zb|²``, r at unit length.
        covariance : numpy.ndarray, shape (..., q, q)
            As `covariance` returns it.
        """
        residual = remainder - np.einsum("ab,...ab->...", self.leak, covariance)
        freedom = self.freedom - float((self.leak * self.noise).sum())
        alone = np.maximum(remainder, limits.LEFT) / max(self.freedom, 1.0)
        return np.where(
            (residual > limits.LEFT) & (freedom > 0.5), residual / max(freedom, 0.5), alone
        )


def _pairs(M: np.ndarray, N: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """Return the sum over levels of the products of their elements, ``[a, b, c, d]``."""
    levels = len(M)
    first = M.reshape(levels, -1)
    if counts is not None:
        first = first * counts[:, None]
    products = first.T @ N.reshape(levels, -1)
    return products.reshape(*M.shape[1:], *N.shape[1:])


def _through(FF: np.ndarray, XX: np.ndarray) -> np.ndarray:
    """Return what maps G to ``Σ_j F_j (Σ_k X_k'G X_k) F_j'``, ``[a, b, c, d]``."""
    q = len(FF)
    out = FF.transpose(0, 2, 1, 3).reshape(q * q, -1)
    return (out @ XX.transpose(1, 3, 0, 2).reshape(-1, q * q)).reshape(q, q, q, q)


def _inverse(effect: np.ndarray) -> np.ndarray:
    """Return the inverse of a map of symmetric matrices, ``[a, b, c, d]``, in their elements."""
    q = len(effect)
    layout = TermLayout.of(q, 0)
    basis = symmetric_basis(layout, q, 0).reshape(-1, q * q).T
    kept = effect.reshape(q * q, q * q)[layout.rows * q + layout.columns]
    return np.linalg.pinv(kept @ basis, rcond=limits.BLIND)


def _solved(inverse: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Apply `_inverse` to symmetric matrices, shape (..., q, q)."""
    layout = TermLayout.of(matrices.shape[-1], 0)
    elements = layout.elements(matrices) @ inverse.T
    solved = np.empty_like(matrices)
    solved[..., layout.rows, layout.columns] = elements
    solved[..., layout.columns, layout.rows] = elements
    return solved


def _ridged_inverse(A: np.ndarray, ridge: float) -> np.ndarray:
    """Return ``(A_j + ridge I)⁻¹`` of every level, shape (J, q, q)."""
    M = A + ridge * np.eye(A.shape[1])
    if M.shape[1] != 2:
        return 1.0 / M if M.shape[1] == 1 else np.linalg.inv(M)
    a, b, c = M[:, 0, 0], M[:, 0, 1], M[:, 1, 1]  # LAPACK takes ten times as long for these
    inverse = np.stack([c, -b, -b, a], axis=1) / (a * c - b * b)[:, None]
    return inverse.reshape(-1, 2, 2)


def may_scan(gram: Bases) -> bool:
    """Say whether the criterion's other valleys can be looked for (`search.valleys`) cheaply."""
    if not gram.one_variance:
        return gram.n <= limits.FEW_ROWS
    return gram.blocks[0].n_levels * (gram.p + 1) ** 2 <= limits.PROFILE_CELLS


def further_starts(
    gram: Bases, factors: Factors, *, sure: np.ndarray, worse_than_none: np.ndarray
) -> Iterator[tuple[Factors, np.ndarray]]:
    """Yield where else B searches may start, when what they have reached may be a local optimum.

    Parameters
    ----------
    gram : Gram
        Of the design: the response has no part in this.
    factors : tuple of numpy.ndarray, each (B, q, q)
        Where one search each has ended.
    sure : numpy.ndarray of bool, shape (B,)
        Whether that is certified and inside the cone of covariance matrices.
    worse_than_none : numpy.ndarray of bool, shape (B,)
        Whether the criterion is lower without any random effects.

    Yields
    ------
    factors : tuple of numpy.ndarray, each (B, q, q)
    which : numpy.ndarray of bool, shape (B,)
        The searches that should start there; one at least.
    """
    ambiguous = [*_hidden(gram), *_entangled(gram)]
    doubtful = np.ones_like(sure) if ambiguous else ~sure
    if not (doubtful | worse_than_none).any():
        return
    noise = np.sqrt(noise_levels(gram))
    alone = tuple(
        np.broadcast_to(size * np.eye(layout.q), factor.shape)
        for size, layout, factor in zip(noise, gram.layouts, factors, strict=True)
    )
    if doubtful.any():
        for spread in limits.SPREADS:
            yield tuple(spread * start for start in alone), doubtful
    if worse_than_none.any():
        yield tuple(limits.NEAR_ZERO * start for start in alone), worse_than_none
    for sizes in ambiguous:
        for others in (factors, alone):
            start = [
                np.broadcast_to(noise[k] * sizes[k], f.shape) if k in sizes else f
                for k, f in enumerate(others)
            ]
            yield tuple(start), doubtful


def _hidden(gram: Bases) -> Iterator[dict[int, np.ndarray]]:
    """Yield terms with an effect that the fixed effects nearly span, one at a time, and a factor.

    The mean of such an effect over the levels can suggest another variance than the differences
    between levels do. It has much less weight, so that the criterion can have one optimum for
    each. The factor exceeds the noise level in inverse proportion to that weight.
    """
    if not gram.p:
        return
    for k, block in enumerate(gram.blocks):
        A, C = gram.level_moments(k)
        whole, carried = A.sum(axis=0), C[:, :, : gram.p].sum(axis=0)
        for term, columns in gram.block_slices(block):
            values, vectors = np.linalg.eigh(whole[columns, columns])
            floor = limits.NOTHING * values[-1]
            unit = vectors / np.sqrt(np.where(values > floor, values, np.inf))
            lost = unit.T @ carried[columns]
            share, axes = np.linalg.eigh(np.eye(len(unit)) - lost @ lost.T)
            nearly = (share > limits.NOTHING) & (share < limits.HIDDEN)
            if nearly.any():
                size = np.where(nearly, 1.0 / np.sqrt(np.maximum(share, limits.NOTHING)), 1.0)
                root = vectors @ axes * size
                if gram.layouts[term].structure is not None:
                    root = start_inside(root @ root.T, gram.layouts[term], noise_level(gram, term))
                yield {term: lower_factor(root)}


def _entangled(gram: Bases) -> Iterator[dict[int, np.ndarray]]:
    """Yield the terms of a factor whose columns are nearly collinear together, with their factors.

    An example is ``(x || g)`` with x far from zero. Each effect by itself suggests a small
    variance; the part in which the effects cancel suggests larger ones, in inverse proportion to
    the share of the columns that this part has.
    """
    for k, block in enumerate(gram.blocks):
        if len(block.terms) == 1 and gram.layouts[block.terms[0]].structure is None:
            continue  # its correlations say what the effects do together
        whole = gram.level_moments(k)[0].sum(axis=0)
        scale = np.sqrt(np.maximum(np.diag(whole), np.finfo(np.float64).tiny))
        share = float(np.linalg.eigvalsh(whole / np.outer(scale, scale))[0])
        if limits.NOTHING < share < limits.HIDDEN:
            size = 1.0 / np.sqrt(share)
            yield {term: size * np.eye(gram.layouts[term].q) for term in block.terms}
