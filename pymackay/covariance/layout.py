"""Covariance parameters: their order, theta in lme4's, and the factor of each term it fills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from pymackay.covariance.chart import chart_around
from pymackay.covariance.structure import Structure
from pymackay.covariance.varcorr import TermSummary

SINGULAR = 1e-4  # lme4's isSingular tolerance, here on whitened columns: free of units


class Named(Protocol):
    """A random-effects term: what names and parameters depend on."""

    @property
    def group(self) -> str:
        """Name of the grouping factor."""
        ...

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the q effects."""
        ...

    @property
    def structure(self) -> Structure | str | None:
        """The structure of their covariance; None or empty where any covariance will do."""
        ...


@dataclass(frozen=True)
class TermLayout:
    """Where one term's parameters stand among all, and its elements in theta.

    Without a structure the parameters are the elements of theta.

    Attributes
    ----------
    q : int
        Number of effects.
    start : int
        Position of the first of its parameters.
    rows, columns : numpy.ndarray
        Row and column in the factor of each element of theta: column by column, the lower
        triangle, or what the structure leaves of it.
    structure : Structure or None
        None where any covariance matrix will do.
    theta_start : int
        Position in theta of the first of its elements.
    """

    q: int
    start: int
    rows: np.ndarray
    columns: np.ndarray
    structure: Structure | None = None
    theta_start: int = 0

    @classmethod
    @cache
    def of(
        cls, q: int, start: int, structure: Structure | None = None, theta_start: int | None = None
    ) -> TermLayout:
        """Return the layout of a term of `q` effects whose parameters begin at `start`."""
        theta_start = start if theta_start is None else theta_start
        if structure is not None:
            return cls(q, start, *structure.places(q), structure, theta_start)
        columns, rows = np.triu_indices(q)
        return cls(q, start, rows, columns, None, theta_start)

    @property
    def n_par(self) -> int:
        """Number of parameters."""
        return len(self.rows) if self.structure is None else self.structure.n_par(self.q)

    @property
    def stop(self) -> int:
        """Position after the last parameter."""
        return self.start + self.n_par

    @property
    def theta_stop(self) -> int:
        """Position in theta after the last element."""
        return self.theta_start + len(self.rows)

    def filled(self, values: np.ndarray) -> np.ndarray:
        """Return lower triangles, (..., q, q), of values in the order of the parameters, (..., m).

        Of a term without a structure only.
        """
        block = np.zeros((*values.shape[:-1], self.q, self.q))
        block[..., self.rows, self.columns] = values[..., self.start : self.stop]
        return block

    def factor(self, theta: np.ndarray) -> np.ndarray:
        """Return the lower-triangular factors, (..., q, q), that `theta`, (..., m), has for it.

        Raises
        ------
        ValueError
            If the factor is not that of a matrix of the structure.
        """
        part = theta[..., self.theta_start : self.theta_stop]
        if self.structure is not None:
            rows = part.reshape(-1, part.shape[-1])
            par = np.array([self.structure.par_of_theta(row, self.q) for row in rows])
            return self.structure.factor(par.reshape(*part.shape[:-1], -1), self.q)
        block = np.zeros((*theta.shape[:-1], self.q, self.q))
        block[..., self.rows, self.columns] = part
        return block

    def elements(self, factor: np.ndarray) -> np.ndarray:
        """Return the elements of a lower-triangular `factor`, (..., q, q), in theta's order."""
        return factor[..., self.rows, self.columns]

    def par(self, factor: np.ndarray) -> np.ndarray:
        """Return the parameters, (..., k), that a lower-triangular `factor`, (..., q, q), has."""
        return self.elements(factor) if self.structure is None else self.structure.par_of(factor)

    def least_size(self, factor: np.ndarray) -> float:
        """Return the size that is zero where a `factor`, (q, q), is at a bound."""
        if self.structure is not None:
            return float(self.structure.least_size(factor))
        return float(np.linalg.svd(factor, compute_uv=False).min())

    def tangents(self, factor: np.ndarray) -> np.ndarray:
        """Return the slopes of the relative covariance G, (k, q, q).

        By its own elements, an off-diagonal one standing for both its places; with a structure by
        its chart around a `factor`, (q, q).
        """
        if self.structure is None:
            return symmetric_basis(self, self.q, 0)
        return chart_around(self.structure, factor).tangents()


def split_theta(effects: Sequence[int]) -> tuple[TermLayout, ...]:
    """Lay out theta for terms of these numbers of effects, in order, without structures."""
    return laid_out([(q, None) for q in effects])


def layouts_of(terms: Iterable[Named]) -> tuple[TermLayout, ...]:
    """Lay out the parameters and theta of a model's terms, in order."""
    return laid_out([(len(term.effects), _structure(term)) for term in terms])


def _structure(term: Named) -> Structure | None:
    return term.structure if isinstance(term.structure, Structure) else None


def laid_out(parts: Sequence[tuple[int, Structure | None]]) -> tuple[TermLayout, ...]:
    """Lay out the parameters and theta of terms of so many effects and a structure, in order."""
    layouts: list[TermLayout] = []
    start = theta_start = 0
    for q, structure in parts:
        layouts.append(TermLayout.of(q, start, structure, theta_start))
        start, theta_start = layouts[-1].stop, layouts[-1].theta_stop
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


def is_singular(factors: Sequence[np.ndarray], layouts: Sequence[TermLayout]) -> bool:
    """Say whether a term's covariance matrix is at a bound, on a scale free of units.

    It is singular then; of reduced rank, of a lower one.
    """
    return any(
        layout.least_size(factor) < SINGULAR
        for factor, layout in zip(factors, layouts, strict=True)
    )


def theta_of_par(layouts: Sequence[TermLayout], par: np.ndarray) -> np.ndarray:
    """Return theta of parameters of all terms, (m,)."""
    parts = []
    for layout in layouts:
        part = par[layout.start : layout.stop]
        if layout.structure is not None:
            part = layout.elements(layout.structure.factor(part, layout.q))
        parts.append(part)
    return np.concatenate(parts)


def theta_names(terms: Iterable[Named]) -> list[str]:
    """Name theta's elements as lme4's ``getME(fit, "theta")`` does."""
    names = []
    for term in terms:
        structure = _structure(term)
        if structure is not None:
            own = structure.theta_names(term.effects)
        else:
            layout, effects = TermLayout.of(len(term.effects), 0), term.effects
            pairs = zip(layout.rows.tolist(), layout.columns.tolist(), strict=True)
            own = [effects[i] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]
        names += [f"{term.group}.{name}" for name in own]
    return names


def par_names(terms: Iterable[Named]) -> list[str]:
    """Name the parameters as lme4 2.x's ``getME(fit, "par")`` does."""
    names = []
    for term in terms:
        structure = _structure(term)
        if structure is None:
            names += theta_names([term])
        else:
            names += [f"{term.group}.{name}" for name in structure.names(term.effects)]
    return names
