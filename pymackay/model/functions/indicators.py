"""`dummy` of lme4's formula language: numeric columns that say which rows have a level."""

from __future__ import annotations

import numpy as np

from pymackay.model.columns.column import Factor, Numeric, as_factor
from pymackay.model.functions.call import Context, Function, Value, kind_of, label_of


def _dummy(context: Context, f: Value, levelsToKeep: Value = None) -> Value:
    """``dummy(f, "b")``: 1 where f is b, else 0; by default all levels but the first."""
    if not isinstance(f, Numeric | Factor):
        raise context.error(f"dummy() needs a column, but gets {kind_of(f)}")
    factor = as_factor(f, "dummy")
    kept = context.remember(lambda: _kept(context, factor, levelsToKeep), "levels")
    places = {level: k for k, level in enumerate(kept)}
    column = np.array([*(places.get(level, -1) for level in factor.levels), -2])[factor.codes]
    values = (column[:, None] == np.arange(len(kept))).astype(np.float64)
    values[column == -2] = np.nan
    return Numeric(values[:, 0]) if len(kept) == 1 else Numeric(values, kept)


def _kept(context: Context, factor: Factor, asked: Value) -> tuple[str, ...]:
    """Return the levels that have a column."""
    if asked is None:
        if len(factor.levels) < 2:
            raise context.error("dummy() needs two levels, or the name of the level to keep")
        return tuple(factor.levels[1:])
    values = asked if isinstance(asked, list) else [asked]
    if not all(isinstance(value, str | float | bool) for value in values):
        raise context.error("levelsToKeep of dummy() must be constants, such as c('a', 'b')")
    kept = [label_of(value) for value in values]
    unknown = [level for level in kept if level not in factor.levels]
    if unknown or len(set(kept)) < len(kept):
        shown = ", ".join(factor.levels[:12])
        what = f"has {', '.join(unknown)}" if unknown else "names a level twice"
        raise context.error(f"levelsToKeep of dummy() {what}; the levels are {shown}")
    return tuple(kept)


INDICATOR_FUNCTIONS = {"dummy": Function(_dummy, ("f", "levelsToKeep"))}
