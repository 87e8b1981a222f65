"""`Model`: the arrays of a linear mixed model; random terms stand in lme4's order and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.structure import Structure
from pymackay.errors import ArgumentError, DataError, PymackayError
from pymackay.formula.rtext import make_names, make_unique
from pymackay.results import ModelSummary, TermSummary


@dataclass(frozen=True, eq=False)
class GroupingFactor:
    """A grouping factor: which level each row belongs to.

    Attributes
    ----------
    name : str
        As lme4 prints it: ``"Subject"``, ``"batch:cask"``.
    levels : tuple of str, length J
        Used levels only, R's order.
    codes : numpy.ndarray of int32, shape (n,)
        0-based level of each row.
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class RandomTerm:
    """One random-effects term ``(columns | group)``.

    Attributes
    ----------
    name : str
        Unique, lme4's: ``"Subject"``, ``"Subject.1"``.
    group : str
        Name of the grouping factor, a key of `Model.factors`.
    effects : tuple of str, length q
        R's column names.
    columns : numpy.ndarray, shape (n, q)
        Raw model matrix of the left side of the bar, user's units.
    structure : Structure or None
        The structure of the effects' covariance; None where any covariance will do.
    """

    name: str
    group: str
    effects: tuple[str, ...]
    columns: np.ndarray
    structure: Structure | None = None

    def summary(self) -> TermSummary:
        """Return what another engine's term is compared with."""
        if self.structure is None:
            return TermSummary(self.name, self.group, self.effects)
        kind = self.structure
        times, known = getattr(kind, "times", ()), getattr(kind, "known", ())
        shape = (kind.tag, kind.hom, times, known, getattr(kind, "rank", 0))
        return TermSummary(self.name, self.group, self.effects, *shape)


@dataclass(frozen=True, eq=False)
class Model:
    """Response, fixed design and random terms of a linear mixed model.

    Attributes
    ----------
    formula : str
        As it came.
    response : str
        The response as R deparses it.
    y : numpy.ndarray, shape (n,)
        Response in the user's units, offset not subtracted.
    X : numpy.ndarray, shape (n, p)
        Fixed design of full column rank, user's units.
    fixed : tuple of str, length p
        R's column names.
    terms : tuple of RandomTerm
        lme4's order.
    factors : dict of str to GroupingFactor
        In the order of first appearance among `terms`.
    rows : pandas.Index, length n
        Labels of the rows that were kept.
    weights, offset : numpy.ndarray of shape (n,) or None
        Prior weights (all positive) and offset.
    dropped : tuple of str
        Columns left out because they depend on columns before them.
    contrasts : dict of str to str
        Factor of the fixed part to the name of its contrasts.
    messages : tuple of str
        What the user should be told (dropped columns, dropped rows).
    digest : str
        Fingerprints of the response of rows that were not kept (see
        `pymackay.model.stream.digest`); empty where they were.
    blueprint : object
        What is needed to build the same columns for new data.
    columns : dict of str to pymackay.model.columns.column.Column
        The variables of the formula on the rows that were kept, by R's names.
    given : dict of str to object
        ``data``, ``weights``, ``offset``, ``subset`` and ``contrasts`` as the user gave them, not
        copied: what another engine needs to build the same model.
    """

    formula: str
    response: str
    y: np.ndarray
    X: np.ndarray
    fixed: tuple[str, ...]
    terms: tuple[RandomTerm, ...]
    factors: dict[str, GroupingFactor]
    rows: pd.Index
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    dropped: tuple[str, ...] = ()
    contrasts: dict[str, str] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    digest: str = ""
    blueprint: Any = None
    columns: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> ModelSummary:
        """Return what another engine's model is compared with."""
        return ModelSummary(
            response=self.response,
            rows=self.rows,
            fixed=self.fixed,
            terms=tuple(term.summary() for term in self.terms),
            levels={name: factor.levels for name, factor in self.factors.items()},
            contrasts=self.contrasts,
            weights=self.weights,
            offset=self.offset,
        )

    def with_response(self, response: np.ndarray, weights: np.ndarray | None = None) -> Model:
        """Return the model with another response, and, if given, other prior weights.

        Parameters
        ----------
        response : numpy.ndarray, shape (n,)
            User's units, offset included.
        weights : numpy.ndarray of shape (n,), optional

        Raises
        ------
        ArgumentError
            If one has another shape, or values that it cannot have.
        PymackayError
            If the rows were not kept.
        """
        if not len(self.y):
            raise PymackayError(
                "the response cannot be replaced, because the rows were read part by part and not "
                "kept; fit a data frame of the rows."
            )
        y = _numbers("response", response, len(self.y))
        changed = replace(self, y=y, given={})  # the data as given hold the former response
        if weights is None:
            return changed
        weights = _numbers("weights", weights, len(y))
        if not (weights > 0.0).all():
            raise ArgumentError("weights must all be positive; leave out rows that have no weight.")
        return replace(changed, weights=weights)


def arrange_terms(
    bars: Sequence[tuple[str, str]],
    columns: Sequence[tuple[tuple[str, ...], np.ndarray]],
    factors: Mapping[str, GroupingFactor],
    n: int,
    has_residual: bool = True,
    structures: Sequence[Structure | None] | None = None,
) -> tuple[tuple[int, ...], tuple[RandomTerm, ...]]:
    """Put the random terms of a formula into lme4's order, under its names.

    Parameters
    ----------
    bars : sequence of (str, str)
        Each bar's grouping factor, and its text for error messages.
    columns : sequence of (tuple of str, numpy.ndarray)
        Names and values of each bar's columns.
    factors : mapping of str to GroupingFactor
    n : int
        Number of rows.
    has_residual : bool
        Whether a residual variance is estimated beside those of the terms. Otherwise a term may
        have as many effects as there are rows.
    structures : sequence of Structure or None, optional
        Of each bar; by default none has one.

    Returns
    -------
    tuple
        The place of each term's bar among `bars`, and the terms.

    Raises
    ------
    DataError
        If a grouping factor has too few or too many levels for the rows.
    """
    places = tuple(_lme4_order([len(factors[group].levels) for group, _ in bars]))
    structures = [None] * len(bars) if structures is None else structures
    structured = any(structure is not None for structure in structures)
    terms = []
    for name, i in zip(_term_names([bars[i][0] for i in places]), places, strict=True):
        (group, text), (effects, values) = bars[i], columns[i]
        structure = structures[i]
        if structure is None or structure.needs_levels:
            _check_repeated(factors[group], text)
        _check_levels(factors[group], 1 if structured else len(effects), text, n, has_residual)
        terms.append(RandomTerm(name, group, effects, values, structure))
    return places, tuple(terms)


def _term_names(groups: list[str]) -> list[str]:
    """Name terms as the variances of lme4: ``Subject``, ``Subject.1``."""
    return groups if len(set(groups)) == len(groups) else make_unique(make_names(groups))


def _lme4_order(levels: list[int]) -> list[int]:
    """Order terms by falling number of levels, as lme4: if it must sort, ties are turned round."""
    places = list(range(len(levels)))
    if all(a >= b for a, b in pairwise(levels)):
        return places
    return sorted(places, key=levels.__getitem__)[::-1]


def _check_repeated(factor: GroupingFactor, text: str) -> None:
    """Refuse a grouping of one level, whose effects have no variance that data could show."""
    if len(factor.levels) < 2:
        raise DataError(
            f"the grouping factor '{factor.name}' has only the level '{factor.levels[0]}' in the "
            f"rows that are used, but a random term needs two or more; take ({text}) out of the "
            f"formula"
        )


def _check_levels(
    factor: GroupingFactor, effects: int, text: str, n: int, has_residual: bool
) -> None:
    """Refuse a grouping that leaves the variances unidentified, as lme4 does by default.

    `text` is the term, `effects` the number of its columns, `n` the number of rows. Without a
    residual variance as many effects as rows are legal: ``glmer`` of lme4 has ``allow.n = TRUE``.
    """
    levels = len(factor.levels)
    if not has_residual:
        if levels * effects > n:
            raise DataError(
                f"the term ({text}) has {levels * effects} random effects ({levels} levels times "
                f"{effects} effects) for {n} rows, but may have as many as rows at most; take "
                f"effects out of it"
            )
        return
    if levels >= n:
        raise DataError(
            f"the grouping factor '{factor.name}' has {levels} levels for {n} rows, but needs "
            f"fewer levels than rows: each row is its own group, so that ({text}) cannot be told "
            f"from the residual; take it out of the formula"
        )
    if levels * effects >= n:
        raise DataError(
            f"the term ({text}) has {levels * effects} random effects ({levels} levels times "
            f"{effects} effects) for {n} rows, so that its variances cannot be told from the "
            f"residual; take effects out of it"
        )


def _numbers(name: str, values: np.ndarray, n: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (n,) or not np.isfinite(numbers).all():
        raise ArgumentError(
            f"{name} must be {n} finite numbers, one for each row of the model, but it has shape "
            f"{numbers.shape} and {np.count_nonzero(~np.isfinite(numbers))} that are not finite."
        )
    return numbers


def level_gram(codes: np.ndarray, columns: np.ndarray, n_levels: int) -> np.ndarray:
    """Return ``Z_j' Z_j`` of each level j.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row.
    columns : numpy.ndarray, shape (n, q)
        Z.
    n_levels : int
        J.

    Returns
    -------
    numpy.ndarray, shape (J, q, q)
        Exactly symmetric.
    """
    codes = codes.astype(np.intp, copy=False)  # once, not in every bincount
    q = columns.shape[1]
    gram = np.empty((n_levels, q, q))
    for a in range(q):
        for b in range(a + 1):
            gram[:, a, b] = np.bincount(codes, columns[:, a] * columns[:, b], n_levels)
            gram[:, b, a] = gram[:, a, b]
    return gram


def level_products(
    codes: np.ndarray, columns: np.ndarray, others: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return ``Z_j' R_j`` of each level j.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row.
    columns, others : numpy.ndarray, shapes (n, q) and (n, k)
        Z and R.
    n_levels : int
        J.

    Returns
    -------
    numpy.ndarray, shape (J, q, k)
    """
    codes = codes.astype(np.intp, copy=False)
    products = np.empty((n_levels, columns.shape[1], others.shape[1]))
    for a, left in enumerate(columns.T):
        for b, right in enumerate(others.T):
            products[:, a, b] = np.bincount(codes, left * right, n_levels)
    return products
