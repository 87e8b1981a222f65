"""Equations of moments: what the between-level moments of a response say of G and of sigma²."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import TermLayout, symmetric_basis

__all__ = ["MomentEquations"]

_RIDGE = 0.03  # of the mean information: keeps levels with few rows from dominating
_BLIND = 1e-8  # share of the largest effect below which a direction tells nothing
_AFFORDABLE = 10**8  # products that the fixed columns' own part in the moments may take


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
        if not reml or J * (q * p) ** 2 > _AFFORDABLE:
            X = X[:, :, :0]
        levels = float(weights.sum())
        ridge = _RIDGE * float(weights @ np.einsum("jaa->j", A)) / (levels * q)
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
        own = _pairs(D, D, counts) - DE - DE.transpose(2, 3, 0, 1)
        inverse = _inverse(own.transpose(0, 2, 1, 3) + _through(FF, XX))
        left_out = np.eye(len(carried)) - carried
        leak = ridge**2 * (seen - turned - turned.T) + np.einsum("ambn,mn->ab", XX, left_out)
        spent = levels * q - ridge**2 * float(np.trace(squared)) - float(np.trace(carried))
        noise = _solved(inverse, seen - np.einsum("ambm->ab", FF))
        return cls(ridge, B, inverse, noise, freedom - spent, leak)

    def covariance(self, second: np.ndarray) -> np.ndarray:
        """Return σ²G, noise included, from ``Σ b b'``; both have shape (..., q, q)."""
        return _solved(self.inverse, second)

    def variance(self, left: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return σ² where there is no other block.

        Parameters
        ----------
        left : numpy.ndarray, shape (...)
            ``|r − Zb|²``, r at unit length.
        covariance : numpy.ndarray, shape (..., q, q)
            As `covariance` returns it.
        """
        own = left - np.einsum("ab,...ab->...", self.leak, covariance)
        freedom = self.freedom - float((self.leak * self.noise).sum())
        alone = np.maximum(left, 1e-10) / max(self.freedom, 1.0)
        return np.where((own > 1e-10) & (freedom > 0.5), own / max(freedom, 0.5), alone)


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
    return np.linalg.pinv(kept @ basis, rcond=_BLIND)


def _solved(inverse: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Apply `_inverse` to symmetric matrices, shape (..., q, q)."""
    layout = TermLayout.of(wanted.shape[-1], 0)
    rows, columns = layout.rows, layout.columns
    elements = wanted[..., rows, columns] @ inverse.T
    found = np.empty_like(wanted)
    found[..., rows, columns] = elements
    found[..., columns, rows] = elements
    return found


def _ridged_inverse(A: np.ndarray, ridge: float) -> np.ndarray:
    """Return ``(A_j + ridge I)⁻¹`` of every level, shape (J, q, q)."""
    M = A + ridge * np.eye(A.shape[1])
    if M.shape[1] != 2:
        return 1.0 / M if M.shape[1] == 1 else np.linalg.inv(M)
    a, b, c = M[:, 0, 0], M[:, 0, 1], M[:, 1, 1]  # LAPACK takes ten times as long for these
    inverse = np.stack([c, -b, -b, a], axis=1) / (a * c - b * b)[:, None]
    return inverse.reshape(-1, 2, 2)
