"""`Groups`: gives an engine's grouping factors and levels R's names and order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters import shapes
from pymackay.adapters.naming import r_group, r_levels, r_names
from pymackay.model.model import Model
from pymackay.results import TermSummary


class Groups:
    """Gives the grouping factors and levels of an engine R's names and order."""

    def __init__(self, model: Model | None) -> None:
        self.model = model
        self.factors = model.factors if model else {}

    def name(self, group: object) -> str:
        """Return R's name of a group."""
        return r_group(str(group), self.factors)

    def levels(self, group: object, levels: Sequence[str]) -> list[str]:
        """Return R's names of a group's levels."""
        factor = self.factors.get(self.name(group))
        return list(levels) if factor is None else r_levels(str(group), levels, factor)

    def ranef(self, effects: Mapping[Any, Any]) -> dict[str, pd.DataFrame]:
        """Return the tables of predicted effects, each of shape (levels, q)."""
        tables = {}
        for group, value in effects.items():
            table = shapes.effects(value, str(group))
            table.index = pd.Index(self.levels(group, list(table.index)), dtype=object)
            table.columns = pd.Index(r_names(table.columns, self.model), dtype=object)
            tables[self.name(group)] = table
        return tables

    def terms(
        self,
        parts: Mapping[str, Any],
        varcorr: dict[str, pd.DataFrame],
        ranef: dict[str, pd.DataFrame],
    ) -> tuple[TermSummary, ...]:
        """Return the terms from the part "terms", or else from the covariances or predictions."""
        listed = parts.get("terms")
        if listed is None and varcorr:
            known = {*varcorr, *map(str, parts.get("ranef", {}))}
            listed = [(name, _group(name, known), table.columns) for name, table in varcorr.items()]
        if listed is None:
            listed = [(group, group, table.columns) for group, table in ranef.items()]
        return tuple(
            TermSummary(str(name), self.name(group), tuple(r_names(map(str, effects), self.model)))
            for name, group, effects in listed
        )

    def orders(self, ranef: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
        """Return the positions that put each group's levels into the model's order."""
        orders = {}
        for group, table in ranef.items():
            factor = self.factors.get(group)
            known = factor is not None and set(table.index) == set(factor.levels)
            if factor is not None and known and table.index.is_unique:
                orders[group] = table.index.get_indexer(pd.Index(factor.levels, dtype=object))
            else:
                orders[group] = np.arange(len(table))
        return orders


def _group(name: str, known: set[str]) -> str:
    """Return the group of a term: ``"g"`` for ``"g.1"`` if there is such a group."""
    stem, _, number = name.rpartition(".")
    return stem if number.isdigit() and stem in known else name
