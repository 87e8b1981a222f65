"""Covariance parameters: theta in lme4's order, and the factor of each term that it fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "TermLayout",
    "is_singular",
    "lower_factor",
    "split_theta",
    "symmetric_basis",
    "theta_names",
]

_SINGULAR = 1e-4  # lme4's isSingular tolerance, here on whitened columns: free of units


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
        Row and column in the factor of each element: column by column, the lower triangle.
    """

    q: int
    start: int
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, q: int, start: int) -> TermLayout:
        """Return the layout of a term of `q` effects whose elements begin at `start`."""
        columns, rows = np.triu_indices(q)
        return cls(q, start, rows, columns)

    @property
    def stop(self) -> int:
        """Position after the last element."""
        return self.start + len(self.rows)

    def factor(self, theta: np.ndarray) -> np.ndarray:
        """Return the lower-triangular factor, shape (q, q), that `theta` holds for this term."""
        block = np.zeros((self.q, self.q))
        block[self.rows, self.columns] = theta[self.start : self.stop]
        return block

    def elements(self, factor: np.ndarray) -> np.ndarray:
        """Return the elements of a lower-triangular `factor` in theta's order."""
        return factor[self.rows, self.columns]


def split_theta(effects: list[int] | tuple[int, ...]) -> tuple[TermLayout, ...]:
    """Lay out theta for terms of these numbers of effects, in order."""
    layouts = []
    start = 0
    for q in effects:
        layouts.append(TermLayout.of(q, start))
        start = layouts[-1].stop
    return tuple(layouts)


def lower_factor(factor: np.ndarray) -> np.ndarray:
    """Return the lower-triangular L with ``L L' = factor factor'`` and no negative diagonal.

    By QR of the transpose, so that a singular covariance matrix keeps its digits: nothing is
    squared.
    """
    if factor.shape[0] == 1:
        return np.abs(factor)
    R = np.asarray(np.linalg.qr(factor.T, mode="r"))
    return (R * np.where(R.diagonal() < 0.0, -1.0, 1.0)[:, None]).T


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
    return any(np.linalg.svd(factor, compute_uv=False).min() < _SINGULAR for factor in factors)


def theta_names(terms: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Name theta's elements as lme4's ``getME(fit, "theta")`` does.

    Parameters
    ----------
    terms : list of (group, effects)
    """
    names = []
    for group, effects in terms:
        layout = TermLayout.of(len(effects), 0)
        for row, column in zip(layout.rows, layout.columns, strict=True):
            middle = effects[row] if row == column else f"{effects[row]}.{effects[column]}"
            names.append(f"{group}.{middle}")
    return names
