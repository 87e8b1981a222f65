"""Covariance parameters: theta in lme4's order, and the factor of each term that it fills."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from pymackay.covariance.structure import Structure
from pymackay.covariance.varcorr import TermSummary

SINGULAR = 1e-4  # lme4's isSingular tolerance, here on whitened columns: free of units


@dataclass(frozen=True)
class TermLayout:
    """Where one term's parameters stand in theta.

    Attributes
    ----------
    q : int
        Number of effects.
    start : int
        Position of the first of its q (q + 1) / 2 elements.
    rows, columns : numpy.ndarray
        Row and column in the factor of each element: column by column, the lower triangle, or
        what the structure leaves of it.
    structure : Structure or None
        None where any covariance matrix will do.
    """

    q: int
    start: int
    rows: np.ndarray
    columns: np.ndarray
    structure: Structure | None = None

    @classmethod
    @cache
    def of(cls, q: int, start: int, structure: Structure | None = None) -> TermLayout:
        """Return the layout of a term of `q` effects whose elements begin at `start`."""
        if structure is not None:
            return cls(q, start, *structure.places(q), structure)
        columns, rows = np.triu_indices(q)
        return cls(q, start, rows, columns)

    @property
    def stop(self) -> int:
        """Position after the last element."""
        return self.start + len(self.rows)

    def factor(self, theta: np.ndarray) -> np.ndarray:
        """Return the lower-triangular factors, (..., q, q), that `theta`, (..., m), has for it."""
        block = np.zeros((*theta.shape[:-1], self.q, self.q))
        block[..., self.rows, self.columns] = theta[..., self.start : self.stop]
        return block

    def elements(self, factor: np.ndarray) -> np.ndarray:
        """Return the elements of a lower-triangular `factor`, (..., q, q), in theta's order."""
        return factor[..., self.rows, self.columns]


def split_theta(effects: list[int] | tuple[int, ...]) -> tuple[TermLayout, ...]:
    """Lay out theta for terms of these numbers of effects, in order."""
    layouts = []
    start = 0
    for q in effects:
        layouts.append(TermLayout.of(q, start))
        start = layouts[-1].stop
    return tuple(layouts)


def columns_in_group(terms: Iterable[TermSummary]) -> list[slice]:
    """Return where each term's effects stand among the joined effects of its group's terms."""
    slices: list[slice] = []
    stops: dict[str, int] = {}
    for term in terms:
        start = stops.get(term.group, 0)
        stops[term.group] = start + len(term.effects)
        slices.append(slice(start, stops[term.group]))
    return slices


def lower_factor(factor: np.ndarray) -> np.ndarray:
    """Return the lower-triangular L with ``L L' = factor factor'`` and no negative diagonal.

    Not by a Cholesky factor but by QR of the transpose, so that a singular covariance matrix
    keeps its digits: nothing is squared.

    Parameters
    ----------
    factor : numpy.ndarray, shape (..., q, k)
        Of rank q at most, k at least q.

    Returns
    -------
    numpy.ndarray, shape (..., q, q)
    """
    if factor.shape[-2:] == (1, 1):
        return np.abs(factor)
    if factor.ndim > 2 and factor.shape[-2:] == (2, 2):
        return _lower_pairs(factor)
    R = np.asarray(np.linalg.qr(factor.swapaxes(-1, -2), mode="r"))
    sign = np.where(np.diagonal(R, axis1=-2, axis2=-1) < 0.0, -1.0, 1.0)
    return (R * sign[..., None]).swapaxes(-1, -2)


def _lower_pairs(factor: np.ndarray) -> np.ndarray:
    """Return `lower_factor` of many 2 × 2 matrices, shape (..., 2, 2), by Givens' rotation."""
    a, b, c, d = factor[..., 0, 0], factor[..., 0, 1], factor[..., 1, 0], factor[..., 1, 1]
    length = np.hypot(a, b)
    safe = np.where(length > 0.0, length, 1.0)
    cosine, sine = a / safe, b / safe
    lower = np.zeros_like(factor)
    lower[..., 0, 0] = length
    lower[..., 1, 0] = c * cosine + d * sine  # zero where the first effect does not vary
    lower[..., 1, 1] = np.where(length > 0.0, np.abs(cosine * d - sine * c), np.hypot(c, d))
    return lower


def symmetric_basis(layout: TermLayout, q: int, offset: int) -> np.ndarray:
    """Return the slopes of a block's relative covariance G by the elements of one of its terms.

    Shape (m, q, q): ones where element i stands in G, at (row, column) and (column, row).

    Parameters
    ----------
    layout : TermLayout
        Of the term: m elements.
    q : int
        Number of effects of the block, which may hold several terms.
    offset : int
        Position of the term's first effect in the block.
    """
    basis = np.zeros((len(layout.rows), q, q))
    index = np.arange(len(layout.rows))
    basis[index, layout.rows + offset, layout.columns + offset] = 1.0
    basis[index, layout.columns + offset, layout.rows + offset] = 1.0
    return basis


def is_singular(factors: list[np.ndarray]) -> bool:
    """Say whether a term's covariance matrix is singular, on a scale free of units."""
    return any(np.linalg.svd(factor, compute_uv=False).min() < SINGULAR for factor in factors)


def theta_names(terms: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Name theta's elements as lme4's ``getME(fit, "theta")`` does.

    Parameters
    ----------
    terms : list of (group, effects)
    """
    names = []
    for group, effects in terms:
        layout = TermLayout.of(len(effects), 0)
        for i, j in zip(layout.rows.tolist(), layout.columns.tolist(), strict=True):
            middle = effects[i] if i == j else f"{effects[i]}.{effects[j]}"
            names.append(f"{group}.{middle}")
    return names
