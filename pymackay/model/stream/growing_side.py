"""`GrowingSide`: one side of a formula while partitions add levels to its factors.

Sums are made in columns that are easy to extend: each factor is coded by one column of zeros and
ones for every level but the first (or for every level, where R codes it so). A level that appears
later adds columns, which are zero in all rows before it. When all levels are known, `final_side`
makes the columns that the formula asks for, and the matrix T with ``final = growing @ T``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from pymackay.errors import DataError
from pymackay.formula.terms import Terms
from pymackay.model.columns.column import Column, Contrasts, Factor, Numeric, as_factor
from pymackay.model.columns.contrasts import make_contrasts
from pymackay.model.design.side import (
    ModelMatrix,
    SideBlueprint,
    make_matrix,
    make_side,
    with_levels,
)
from pymackay.model.stream.level_order import rise_as_numbers

_ROUNDING = 1e-9  # largest residual of ``growing @ T``, for columns of size one


@dataclass(frozen=True, eq=False)
class GrowingLevels:
    """The levels of one factor so far.

    Attributes
    ----------
    levels : tuple of str
        In the order of appearance, in which the sums are made.
    order : tuple of str
        The same levels in an order that agrees with the order in each partition, if possible.
    kind : str
        As in `Factor`.
    by_text, by_number : bool
        Whether the levels were sorted as text in every partition; whether all of them are numbers
        and were sorted as such.
    contrasts : Contrasts or None
        Contrasts set by the formula, as in ``C(f, sum)``.
    contrast_levels : tuple of str
        The levels for which these were made.
    """

    levels: tuple[str, ...]
    order: tuple[str, ...]
    kind: str
    by_text: bool
    by_number: bool
    contrasts: Contrasts | None = None
    contrast_levels: tuple[str, ...] = ()

    @classmethod
    def of(cls, factor: Factor) -> GrowingLevels:
        """Return the levels of a first partition."""
        levels = factor.levels
        return cls(
            levels=levels,
            order=levels,
            kind=factor.kind,
            by_text=list(levels) == sorted(levels),
            by_number=rise_as_numbers(levels),
            contrasts=factor.contrasts,
            contrast_levels=levels,
        )

    def joined(self, other: GrowingLevels) -> GrowingLevels:
        """Return these levels and those of other partitions; itself if none is new."""
        known = set(self.levels)
        new = tuple(level for level in other.levels if level not in known)
        if not new:
            return self
        order = list(self.order)
        place = 0  # a new level follows the one before it in the other order
        for level in other.order:
            if level in known:
                place = order.index(level) + 1
            else:
                order.insert(place, level)
                place += 1
        return replace(
            self,
            levels=self.levels + new,
            order=tuple(order),
            by_text=self.by_text and other.by_text,
            by_number=self.by_number and other.by_number,
        )

    def final(self, categories: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the levels in R's order; `categories` is that of a categorical column."""
        if categories is not None:
            rank = {level: i for i, level in enumerate(categories)}
            return tuple(sorted(self.order, key=lambda level: rank.get(level, len(rank))))
        if self.by_number and self.kind != "text":
            return tuple(sorted(self.levels, key=float))
        return tuple(sorted(self.levels)) if self.by_text else self.order

    def final_contrasts(self, levels: tuple[str, ...], name: str) -> Contrasts | None:
        """Return the contrasts that the formula sets for the factor, for all its levels.

        Raises
        ------
        DataError
            If they cannot be computed for levels that appeared later.
        """
        if self.contrasts is None or self.contrast_levels == levels:
            return self.contrasts
        label = self.contrasts.label
        if label.startswith("contr."):
            again = make_contrasts(label, self.contrast_levels, name)
            if np.array_equal(again.matrix, self.contrasts.matrix):
                return make_contrasts(label, levels, name)
        raise DataError(
            f"the contrasts of '{name}' were made for the levels of the first partition, and other "
            f"partitions have more; put a row of every level into the first partition."
        )


class FinalSide(NamedTuple):
    """The columns that a formula asks for: how they are made, their names, and T."""

    side: SideBlueprint
    names: tuple[str, ...]
    T: np.ndarray


@dataclass(frozen=True, eq=False)
class GrowingSide:
    """How the columns of one side are made from the levels so far.

    Attributes
    ----------
    terms : Terms
    factors : dict of str to GrowingLevels
        By R's name of the variable.
    numeric : dict of str to Numeric
        The other variables, without rows.
    """

    terms: Terms
    factors: dict[str, GrowingLevels]
    numeric: dict[str, Numeric]

    @classmethod
    def of(cls, terms: Terms, columns: Mapping[str, Column]) -> GrowingSide:
        """Return the side with the levels of the first partition."""
        names = {terms.variables[i].name for term in terms.terms for i in term.variables}
        names |= {variable.name for variable in terms.variables[1:]}  # such as an offset
        factors, numeric = {}, {}
        for name in sorted(names):
            column = columns[name]
            if isinstance(column, Factor):
                factors[name] = GrowingLevels.of(column)
            else:
                numeric[name] = replace(column, values=column.values[:0])
        return cls(terms, factors, numeric)

    @cached_property
    def labels(self) -> tuple[tuple[int, str], ...]:
        """Each column's term and name, no two alike."""
        nothing = np.zeros(0, dtype=np.intp)
        columns: dict[str, Column] = {
            name: Factor(nothing, known_levels.levels)
            for name, known_levels in self.factors.items()
        }
        made = make_matrix(self.terms, {**columns, **self.numeric}, self._coding, 0)
        return tuple(zip(made.assign.tolist(), made.names, strict=True))

    @cached_property
    def _coding(self) -> dict[str, Contrasts]:
        return {
            name: Contrasts(
                np.eye(len(known_levels.levels))[:, 1:], known_levels.levels[1:], "growing"
            )
            for name, known_levels in self.factors.items()
        }

    def grown(self, columns: Mapping[str, Column]) -> GrowingSide:
        """Return the side with the levels of a partition added; itself if none is new.

        Raises
        ------
        DataError
            If a variable holds text here and numbers before.
        """
        factors = {}
        for name, known_levels in self.factors.items():
            column = columns[name]
            factor = column if isinstance(column, Factor) else as_factor(column, name)
            factors[name] = known_levels.joined(GrowingLevels.of(factor))
        for name in self.numeric:
            if isinstance(columns[name], Factor):
                raise DataError(
                    f"'{name}' holds text or categories in one partition and numbers in those "
                    f"before it; give the column one type in the whole source."
                )
        return self._with(factors)

    def joined(self, other: GrowingSide) -> GrowingSide:
        """Return the side with the levels of another one added; itself if none is new."""
        return self._with(
            {
                name: known_levels.joined(other.factors[name])
                for name, known_levels in self.factors.items()
            }
        )

    def _with(self, factors: dict[str, GrowingLevels]) -> GrowingSide:
        if all(known_levels is self.factors[name] for name, known_levels in factors.items()):
            return self
        return replace(self, factors=factors)

    def state(self) -> dict[str, Any]:
        """Return the levels as values of JSON."""
        return {
            name: [
                known_levels.levels,
                known_levels.order,
                known_levels.by_text,
                known_levels.by_number,
            ]
            for name, known_levels in self.factors.items()
        }

    def with_state(self, state: Mapping[str, Any]) -> GrowingSide:
        """Return the side with the levels of `state`."""
        factors = {
            name: replace(
                self.factors[name],
                levels=tuple(levels),
                order=tuple(order),
                by_text=by_text,
                by_number=by_number,
            )
            for name, (levels, order, by_text, by_number) in state.items()
        }
        return replace(self, factors=factors)

    def places_in(self, other: GrowingSide) -> np.ndarray:
        """Return where each column stands among those of a side that has grown, shape (p,)."""
        places = {label: i for i, label in enumerate(other.labels)}
        return np.array([places[label] for label in self.labels], dtype=np.intp)

    def matrix(self, columns: Mapping[str, Column], n: int) -> ModelMatrix:
        """Make the columns of n rows, all of whose levels are known."""
        known = {
            name: with_levels(columns[name], known_levels.levels, name, "{unknown}")
            for name, known_levels in self.factors.items()
        }
        return make_matrix(self.terms, {**columns, **known}, self._coding, n)

    def final_columns(self, categories: Mapping[str, tuple[str, ...]]) -> dict[str, Column]:
        """Return artificial rows that determine T, the factors with their final levels.

        For each term there are rows with every combination of its factors' levels and the first
        level of all other factors; numbers are random.
        """
        widths = [int(np.prod(column.values.shape[1:])) for column in self.numeric.values()]
        repeats = 1 + len(self.terms.terms) + sum(widths)
        codes: list[dict[str, np.ndarray]] = []
        for factors in {self._factors_of(term.variables) for term in self.terms.terms} | {()}:
            counts = [len(self.factors[name].levels) for name in factors]
            cells = np.indices(counts).reshape(len(counts), -1) if counts else np.zeros((0, 1), int)
            codes.append(dict(zip(factors, np.repeat(cells, repeats, axis=1), strict=True)))
            codes[-1][""] = np.zeros(cells.shape[1] * repeats, dtype=np.intp)
        columns: dict[str, Column] = {}
        for name, known_levels in self.factors.items():
            rows = np.concatenate([part.get(name, part[""]) for part in codes])
            levels = known_levels.final(categories.get(name))
            place = np.array([levels.index(level) for level in known_levels.levels], dtype=np.intp)
            contrasts = known_levels.final_contrasts(levels, name)
            columns[name] = Factor(place[rows], levels, known_levels.kind, contrasts)
        n = sum(len(part[""]) for part in codes)
        rng = np.random.default_rng(1)
        for name, column in self.numeric.items():
            columns[name] = replace(column, values=rng.normal(size=(n, *column.values.shape[1:])))
        return columns

    def _factors_of(self, variables: tuple[int, ...]) -> tuple[str, ...]:
        names = (self.terms.variables[i].name for i in variables)
        return tuple(name for name in names if name in self.factors)

    def final_side(self, columns: Mapping[str, Column], requested: Mapping[str, Any]) -> FinalSide:
        """Return the columns that the formula asks for, from the rows of `final_columns`.

        Parameters
        ----------
        columns : mapping of str to Column
            From `final_columns`.
        requested : mapping
            Contrasts by the argument `contrasts`.

        Raises
        ------
        ArgumentError, DataError
            As `make_side`: of the levels of all partitions.
        """
        if not self.factors:
            names = tuple(name for _, name in self.labels)
            assign = tuple(term for term, _ in self.labels)
            return FinalSide(SideBlueprint(self.terms, {}, {}, assign), names, np.eye(len(names)))
        n = len(columns[next(iter(self.factors))])
        side, final = make_side(self.terms, columns, requested, n)
        if self._is_final(side):
            return FinalSide(side, final.names, np.eye(len(final.names)))
        growing = self.matrix(columns, n).values
        T = np.linalg.lstsq(growing, final.values, rcond=None)[0]
        if np.abs(growing @ T - final.values).max(initial=0.0) > _ROUNDING * len(growing):
            raise DataError(
                "the columns of the first partition cannot be turned into those of all levels; put "
                "a row of every level into the first partition."
            )
        T[np.abs(T) < _ROUNDING] = 0.0
        return FinalSide(side, final.names, T)

    def _is_final(self, side: SideBlueprint) -> bool:
        """Return whether the columns of `side` are those in which the sums are made."""
        return all(
            known_levels.levels == side.levels[name]
            and np.array_equal(side.contrasts[name].matrix, self._coding[name].matrix)
            for name, known_levels in self.factors.items()
            if name in side.levels
        )
