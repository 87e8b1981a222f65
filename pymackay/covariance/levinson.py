"""Correlations by lag and partial autocorrelations: the recursions of Levinson and Durbin.

The correlation matrix of equally spaced effects, ``R_ij = r_|i−j|``, is positive definite if and
only if all partial autocorrelations lie between −1 and 1 (Barndorff-Nielsen and Schou 1973).
Arrays may have leading axes, for many matrices side by side.
"""

from __future__ import annotations

import numpy as np

_LEAST = 1e-14  # innovation variance below which the effects before determine the next one


def lag_correlations(partial: np.ndarray) -> np.ndarray:
    """Return the correlations at lags 1 to r, (..., r), of partial autocorrelations, (..., r)."""
    lags, _, _ = lag_derivatives(partial, order=0)
    return lags


def lag_derivatives(
    partial: np.ndarray, order: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the correlations by lag, and their derivatives by the partial autocorrelations.

    ``r_k = p_k v_(k−1) + Σ_j φ_j r_(k−j)`` with the prediction from k − 1 effects before, φ, of
    variance v, which become ``φ_j − p_k φ_(k−j)`` and ``v (1 − p_k²)``: polynomials without a
    division (Durbin 1960).

    Parameters
    ----------
    partial : numpy.ndarray, shape (..., r)
    order : {0, 1, 2}
        Of the derivatives that are wanted; those of a higher order are zero.

    Returns
    -------
    correlations : numpy.ndarray, shape (..., r)
    first : numpy.ndarray, shape (..., r, r)
        At (k, a), of the correlation at lag k + 1 by p_a.
    second : numpy.ndarray, shape (..., r, r, r)
    """
    r = partial.shape[-1]
    one = _Jet.constant(partial, 1.0, order)
    phi: list[_Jet] = []
    lags: list[_Jet] = []
    variance = one
    for k in range(r):
        p = _Jet.variable(partial, k, order)
        lag = p * variance
        for j in range(k):
            lag = lag + phi[j] * lags[k - 1 - j]
        lags.append(lag)
        phi = [phi[j] - p * phi[k - 1 - j] for j in range(k)] + [p]
        variance = variance * (one - p * p)
    shape = partial.shape
    if not r:
        return np.zeros(shape), np.zeros((*shape, 0)), np.zeros((*shape, 0, 0))
    return (
        np.stack([lag.value for lag in lags], axis=-1),
        np.stack([lag.first for lag in lags], axis=-2),
        np.stack([lag.second for lag in lags], axis=-3),
    )


def partial_autocorrelations(lags: np.ndarray) -> np.ndarray:
    """Return partial autocorrelations, (..., r), of correlations at lags 1 to r, (..., r).

    Correlations that belong to no positive semidefinite matrix give the nearest partial
    autocorrelation within −1 and 1, lag by lag. Behind one of ±1 the others are zero.
    """
    r = lags.shape[-1]
    partial = np.zeros(lags.shape)
    phi = np.zeros(lags.shape)
    variance = np.ones(lags.shape[:-1])
    for k in range(r):
        back = lags[..., k - 1 :: -1] if k else lags[..., :0]
        rest = lags[..., k] - (phi[..., :k] * back).sum(axis=-1)
        known = variance > _LEAST
        p = np.where(known, np.clip(rest / np.where(known, variance, 1.0), -1.0, 1.0), 0.0)
        partial[..., k] = p
        phi[..., :k] = phi[..., :k] - p[..., None] * phi[..., :k][..., ::-1]
        phi[..., k] = p
        variance = variance * (1.0 - p) * (1.0 + p)
    return partial


def lattice_root(partial: np.ndarray) -> np.ndarray:
    """Return the lower-triangular factor of R, (..., q, q), of partial autocorrelations (..., r).

    Effect t is made from independent innovations by the rotations of a normalised lattice, with
    sines p_k (Gray and Markel 1975). Nothing is divided or squared: exact at ±1 too.
    """
    q = partial.shape[-1] + 1
    shape = partial.shape[:-1]
    cosine = np.sqrt(np.maximum((1.0 - partial) * (1.0 + partial), 0.0))
    root = np.zeros((*shape, q, q))
    before: list[np.ndarray] = []
    for t in range(q):
        forward = np.zeros((*shape, q))
        forward[..., t] = 1.0
        behind = [np.zeros(0)] * (t + 1)
        for k in range(t, 0, -1):
            c, p = cosine[..., k - 1, None], partial[..., k - 1, None]
            behind[k] = c * before[k - 1] - p * forward
            forward = c * forward + p * before[k - 1]
        behind[0] = forward
        root[..., t, :] = forward
        before = behind
    return root


class _Jet:
    """A polynomial of the partial autocorrelations at points: value, gradient and Hessian."""

    def __init__(self, value: np.ndarray, first: np.ndarray, second: np.ndarray, order: int):
        self.value, self.first, self.second, self.order = value, first, second, order

    @classmethod
    def constant(cls, at: np.ndarray, value: float, order: int) -> _Jet:
        """Return a constant."""
        shape, r = at.shape[:-1], at.shape[-1]
        zeros = np.zeros((*shape, r)), np.zeros((*shape, r, r))
        return cls(np.full(shape, value), *zeros, order)

    @classmethod
    def variable(cls, at: np.ndarray, k: int, order: int) -> _Jet:
        """Return the k-th of the variables."""
        jet = cls.constant(at, 0.0, order)
        jet.value = at[..., k]
        jet.first[..., k] = 1.0
        return jet

    def __add__(self, other: _Jet) -> _Jet:
        return _Jet(
            self.value + other.value,
            self.first + other.first,
            self.second + other.second,
            self.order,
        )

    def __sub__(self, other: _Jet) -> _Jet:
        return _Jet(
            self.value - other.value,
            self.first - other.first,
            self.second - other.second,
            self.order,
        )

    def __mul__(self, other: _Jet) -> _Jet:
        first, second = self.first, self.second
        a, b = self.value[..., None], other.value[..., None]
        if self.order > 0:
            first = a * other.first + b * self.first
        if self.order > 1:
            across = self.first[..., :, None] * other.first[..., None, :]
            second = a[..., None] * other.second + b[..., None] * self.second
            second = second + across + across.swapaxes(-1, -2)
        return _Jet(self.value * other.value, first, second, self.order)
