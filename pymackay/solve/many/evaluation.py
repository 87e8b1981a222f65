"""The criterion of many responses, each at its own theta: value, score and observed curvature.

What `pymackay.solve.exact.solver` computes for one response, for all at once, and with levels
of one kind summed beforehand (`pymackay.solve.many.kinds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.linalg.batch import (
    batch_first,
    batch_last,
    cholesky,
    inverse_lower,
    product,
)
from pymackay.solve.many.kinds import Kinds, ResponseSums
from pymackay.solve.search.points import rounding
from pymackay.solve.search.values import Values
from pymackay.solve.solver import least_residual

_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class _Levels:
    """What depends on theta alone.

    All but log |V|, (B,), have shape (q, q, kinds, B): A Λ, the inverse of the Cholesky factor of
    ``Λ'A Λ + I``, and F.
    """

    AL: np.ndarray
    inverse: np.ndarray
    F: np.ndarray
    logdet: np.ndarray


@dataclass(frozen=True, eq=False)
class _Fixed:
    """The fixed effects: root (p, p, B), beta (p, B), log |X'V⁻¹X| and r², (B,)."""

    root: np.ndarray
    beta: np.ndarray
    logdet: np.ndarray
    r2: np.ndarray


@np.errstate(all="ignore")
def evaluate_many(kinds: Kinds, sums: ResponseSums, factors: np.ndarray) -> Values:
    """Evaluate each response at its relative factor, shape (B, q, q), lower triangles.

    Returns
    -------
    Values
        Not finite where float64 ends; its answers are beta, (B, p), and R with
        ``R R' = (X'V⁻¹X)⁻¹``, (B, p, p).
    """
    factor = batch_last(factors)[:, :, None, :]
    levels = _levels(kinds, factor)
    fixed = _fixed(kinds, sums, levels.F)
    sigma2 = fixed.r2 / kinds.nu
    criterion = _criterion(kinds, sums, levels, fixed)
    N = _inverse_sums(kinds, levels, factor)
    score, curvature = _derivatives(kinds, sums, N, fixed, sigma2)
    score = 0.5 * (score + score.swapaxes(1, 2))
    return Values(
        criterion=criterion,
        sigma2=sigma2,
        rounding=np.maximum(
            rounding(criterion, sigma2, kinds.n), _cancelled(kinds, sums, levels.F, fixed)
        ),
        score=tuple(score[:, place, place] for place in kinds.terms),
        curvature=curvature,
        answers=(batch_first(fixed.beta), batch_first(fixed.root)),
    )


@np.errstate(all="ignore")
def criteria_many(kinds: Kinds, sums: ResponseSums, factors: np.ndarray) -> np.ndarray:
    """Return each response's criterion, (B,), at its relative factor, (B, q, q); or infinity."""
    levels = _levels(kinds, batch_last(factors)[:, :, None, :])
    criterion = _criterion(kinds, sums, levels, _fixed(kinds, sums, levels.F))
    return np.where(np.isnan(criterion), np.inf, criterion)


def _criterion(kinds: Kinds, sums: ResponseSums, levels: _Levels, fixed: _Fixed) -> np.ndarray:
    """Return ``log|V| + ν log r² + constant``, (B,), and log|X'V⁻¹X| for REML."""
    criterion = levels.logdet + kinds.nu * (np.log(fixed.r2) + 2.0 * np.log(sums.scale))
    if kinds.reml:
        criterion = criterion + fixed.logdet
    criterion = criterion + kinds.constant
    criterion[~(fixed.r2 > least_residual(kinds.n))] = np.inf
    return criterion


def _levels(kinds: Kinds, factor: np.ndarray) -> _Levels:
    """Eliminate the levels; `factor` is (q, q, 1, B)."""
    q = kinds.q
    upper = factor.swapaxes(0, 1)
    AL = product(kinds.A[..., None], factor)
    M = product(upper, AL)
    M[np.arange(q), np.arange(q)] += 1.0
    L = cholesky(M)
    pivots = np.log(L[np.arange(q), np.arange(q)]).sum(axis=0)
    inverse = inverse_lower(L)
    half = product(inverse, upper)
    F = product(half.swapaxes(0, 1), half)
    return _Levels(AL, inverse, F, 2.0 * (kinds.counts @ pivots))


def _inverse_sums(kinds: Kinds, levels: _Levels, factor: np.ndarray) -> np.ndarray:
    """Return N, ``(I + A G)⁻¹``, (q, q, kinds, B), at a factor (q, q, 1, B)."""
    inverse = levels.inverse
    if kinds.q == 1:
        return inverse * inverse
    if kinds.q == 2:
        AG = product(levels.AL, factor.swapaxes(0, 1))
        return _inverse_pairs(AG, (inverse[0, 0] * inverse[1, 1]) ** 2)
    return _inverses(kinds.A[..., None], levels.F, inverse, factor)


def _inverse_pairs(AG: np.ndarray, by_determinant: np.ndarray) -> np.ndarray:
    """Return ``(I + A G)⁻¹`` of 2 × 2 matrices by one over their determinant."""
    N = -AG
    N[0, 0], N[1, 1] = 1.0 + AG[1, 1], 1.0 + AG[0, 0]
    return N * by_determinant


def _inverses(A: np.ndarray, F: np.ndarray, inverse: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return ``(I + A G)⁻¹``; for a regular Λ as ``Λ⁻ᵀ M⁻¹ Λ'``, good also where A G is large."""
    q = len(A)
    eye = np.eye(q)[:, :, None, None]
    diagonal = np.abs(factor[np.arange(q), np.arange(q)])
    regular = diagonal.min(axis=0) > 1e-3 * diagonal.max(axis=0)
    inverse_factor = inverse_lower(np.where(regular, factor, eye)).swapaxes(0, 1)
    right = product(inverse.swapaxes(0, 1), product(inverse, factor.swapaxes(0, 1)))
    return np.where(regular, product(inverse_factor, right), eye - product(A, F))


def _fixed(kinds: Kinds, sums: ResponseSums, F: np.ndarray) -> _Fixed:
    """Solve ``X'V⁻¹X beta = X'V⁻¹y`` with ``X'V⁻¹X = D − Σ_j X_j'F_jX_j``, X_j = Z_j'X.

    F is (q, q, kinds, B); ``X'V⁻¹y = along − Σ_j X_j'F_jc_j``, r² by ``squares − Σ_j c_j'F_jc_j``.
    """
    q, p, n_kinds, B = kinds.q, kinds.p, len(kinds.counts), len(sums)
    X = kinds.X.transpose(0, 2, 1)  # (q, kinds, p)
    FX = product(F[:, :, :, None, :], X[:, None, :, :, None]).reshape(q * n_kinds, p * B)
    weighted = (X * kinds.counts[:, None]).reshape(q * n_kinds, p).T
    XX = kinds.D[:, :, None] - (weighted @ FX).reshape(p, p, B)
    Fc = product(F, sums.c[:, None])
    Xy = sums.along - X.reshape(q * n_kinds, p).T @ Fc.reshape(q * n_kinds, B)
    yy = sums.squares - (F * sums.cc).sum(axis=(0, 1, 2))
    L = cholesky(XX)
    root = inverse_lower(L).swapaxes(0, 1)
    half = product(root.swapaxes(0, 1), Xy[:, None])
    return _Fixed(
        root=root,
        beta=product(root, half)[:, 0],
        logdet=2.0 * np.log(L[np.arange(p), np.arange(p)]).sum(axis=0),
        r2=yy - (half * half).sum(axis=(0, 1)),
    )


def _cancelled(kinds: Kinds, sums: ResponseSums, F: np.ndarray, fixed: _Fixed) -> np.ndarray:
    """Return how wrong the criterion may be by the differences ``r² − tr(F cc)`` and ``D − X'F X``.

    Shape (B,). F, (q, q, kinds, B), is large where columns are nearly equal; both then lose digits.
    """
    size = np.abs(F)
    lost = kinds.nu * (size * np.abs(sums.cc)).sum(axis=(0, 1, 2)) / fixed.r2
    if kinds.reml:
        XFX = (size * kinds.X_sizes[..., None]).sum(axis=(0, 1, 2))
        lost = lost + XFX * (fixed.root**2).sum(axis=(0, 1))
    return _EPS * lost


def _derivatives(
    kinds: Kinds, sums: ResponseSums, N: np.ndarray, fixed: _Fixed, sigma2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return score, (B, q, q), and observed curvature, (B, m, m), with T = XR XR'.

    XR, (q, p, kinds, B), is N_jX_j times the root R of `_Fixed`, so that ``Z_j'PZ_j = H_j − T_j``.
    """
    q, p, n_kinds, B = kinds.q, kinds.p, len(kinds.counts), len(sums)
    counts = kinds.counts[:, None]
    a, aa = _residual_sums(kinds, sums, N, fixed.beta)
    H = product(N, kinds.A[..., None])
    XR = product(product(N, kinds.X[..., None]), fixed.root[:, :, None, :])
    T = product(XR, XR.swapaxes(0, 1)).reshape(q * q, n_kinds, B)
    flat_H, flat_XR = H.reshape(q * q, n_kinds, B), XR.reshape(q * p, n_kinds, B)
    others = [counts * flat_H, counts * T, aa.reshape(q * q, n_kinds, B)]
    total = np.concatenate([part.sum(axis=1) for part in others]).T.reshape(B, 3, q, q)
    HH, HT, Haa = np.moveaxis(_moments(flat_H, others).reshape(B, q * q, 3, q * q), 2, 0)
    both = _moments(flat_XR, [counts * flat_XR, a.reshape(q, n_kinds, B)])
    XX, Xa = np.split(both.reshape(B, q, p, q * p + q), [q * p], axis=3)
    curvature = _curvature(kinds, (HH, HT, Haa), (XX, Xa), total[:, 2], sigma2)
    traces = total[:, 0] - total[:, 1] if kinds.reml else total[:, 0]
    return traces - total[:, 2] / sigma2[:, None, None], curvature


def _residual_sums(
    kinds: Kinds, sums: ResponseSums, N: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``Σ a_j`` and ``Σ a_j a_j'`` over the levels of each kind, a_j = N_j(c_j − X_j beta).

    Shapes (q, 1, kinds, B) and (q, q, kinds, B); N is (q, q, kinds, B), beta (p, B).
    """
    q, p, n_kinds = kinds.X.shape
    X = kinds.X.transpose(0, 2, 1).reshape(q * n_kinds, p)
    mean = (X @ beta).reshape(q, 1, n_kinds, -1)
    counts = kinds.counts[:, None]
    c = sums.c[:, None]
    cross = product(c - 0.5 * counts * mean, mean.swapaxes(0, 1))
    ee = sums.cc - cross - cross.swapaxes(0, 1)
    return product(N, c - counts * mean), product(product(N, ee), N.swapaxes(0, 1))


def _moments(left: np.ndarray, right: list[np.ndarray]) -> np.ndarray:
    """Return ``Σ_k left_k right_k'`` of every response; vectors come as (length, kinds, B)."""
    first = np.ascontiguousarray(left.transpose(2, 0, 1))
    second = np.concatenate(right).transpose(2, 1, 0)
    return np.matmul(first, np.ascontiguousarray(second))


def _curvature(
    kinds: Kinds,
    products: tuple[np.ndarray, np.ndarray, np.ndarray],
    fixed: tuple[np.ndarray, np.ndarray],
    aa: np.ndarray,
    sigma2: np.ndarray,
) -> np.ndarray:
    """Return the observed curvature in G, (B, m, m): −tr(PV̇PV̇) + 2 y'PV̇PV̇Py/σ² − s s'/(ν σ⁴).

    Parameters
    ----------
    kinds : Kinds
    products : tuple of numpy.ndarray, each (B, q², q²)
        Σ of products of elements of H_j with those of H_j, T_j and a_j a_j'.
    fixed : tuple of numpy.ndarray, shapes (B, q, p, q p) and (B, q, p, q)
        Σ of products of elements of N_jX_jR with their own and with those of a_j.
    aa : numpy.ndarray, shape (B, q, q)
        ``Σ a_j a_j'``.
    sigma2 : numpy.ndarray, shape (B,)
    """
    q, p, E, B = kinds.q, kinds.p, kinds.flat, len(sigma2)
    HH, HT, Haa = products
    XX, Xa = fixed
    pairs = Haa.reshape(B, q, q, q, q).transpose(0, 1, 3, 2, 4)
    Xa = _combine(E, Xa.transpose(0, 1, 3, 2), p)
    quadratic = _on_both_sides(E, pairs) - Xa @ Xa.transpose(0, 2, 1)
    trace = _crosswise(HH, q)
    if kinds.reml:
        trace = trace - 2.0 * _crosswise(HT, q)
    trace = _on_both_sides(E, trace)
    if kinds.reml:
        XX = XX.reshape(B, q, p, q, p).transpose(0, 1, 3, 2, 4)
        XX = _combine(E, XX, p * p)
        trace += XX @ XX.transpose(0, 2, 1)
    squares = aa.reshape(B, q * q) @ E.T
    sigma2 = sigma2[:, None, None]
    rank_one = squares[:, :, None] * squares[:, None, :]
    curvature = -trace + 2.0 * quadratic / sigma2 - rank_one / (kinds.nu * sigma2**2)
    return 0.5 * (curvature + curvature.transpose(0, 2, 1))


def _crosswise(products: np.ndarray, q: int) -> np.ndarray:
    """Reorder Σ H_ab T_cd so that ``E_i · E_j`` gives Σ tr(H E_i T E_j), (B, q, q, q, q)."""
    return products.reshape(-1, q, q, q, q).transpose(0, 2, 3, 4, 1)


def _combine(E: np.ndarray, values: np.ndarray, width: int) -> np.ndarray:
    """Return ``E @ values``, (B, m, width), values (B, q², width) in any shape: one product."""
    (m, size), B = E.shape, len(values)
    rows = values.reshape(B, size, width).transpose(0, 2, 1).reshape(B * width, size)
    return (rows @ E.T).reshape(B, width, m).transpose(0, 2, 1)


def _on_both_sides(E: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``E @ values @ E'``, (B, m, m), for values (B, q², q²) in any shape."""
    (m, size), B = E.shape, len(values)
    right = (values.reshape(B * size, size) @ E.T).reshape(B, size, m)
    return _combine(E, right, m)
