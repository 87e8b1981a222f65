"""R's names for another engine's columns and levels, found by values or by spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.model.model import GroupingFactor, Model

_SAME = 1e-9  # of a column's largest value: rounding error of polynomial bases
_INTERCEPT = {"intercept", "(intercept)", "const", "1"}
_SEPARATORS = (":", "_", "/", ".")  # between the levels of crossed factors
_LEVEL = re.compile(r"^(?P<factor>.+?)\[(?:T\.)?(?P<level>.+)\]$")
_CATEGORICAL = re.compile(r"^C\((?P<factor>[^,()]+)(?:,.*)?\)$")


def r_name(name: str) -> str:
    """Return R's spelling of a coefficient's name from patsy, formulaic or statsmodels.

    >>> [r_name(x) for x in ("Intercept", "recipe[T.B]", "C(g)[T.2]:x", "np.log(x)")]
    ['(Intercept)', 'recipeB', 'g2:x', 'log(x)']
    """
    if name.strip().lower() in _INTERCEPT:
        return "(Intercept)"
    return ":".join(_r_part(part) for part in re.split(r":(?![^\[]*\])", name.strip()))


def _r_part(part: str) -> str:
    level = _LEVEL.match(part)
    if level:
        return _unwrapped(level["factor"]) + level["level"]
    return _unwrapped(part).replace("np.", "")


def _unwrapped(factor: str) -> str:
    wrapped = _CATEGORICAL.match(factor)
    return wrapped["factor"].strip() if wrapped else factor


def match_columns(theirs: np.ndarray, ours: np.ndarray) -> list[int | None]:
    """Return, for each column of `theirs`, the column of `ours` with the same numbers.

    Parameters
    ----------
    theirs : numpy.ndarray, shape (n, a)
    ours : numpy.ndarray, shape (n, b)

    Returns
    -------
    list of int or None, length a
        None for a column without a match; no column is matched twice.
    """
    if theirs.shape[0] != ours.shape[0]:
        return [None] * theirs.shape[1]
    free = list(range(ours.shape[1]))
    matches: list[int | None] = []
    for column in theirs.T:
        match = next((j for j in free if _same(column, ours[:, j])), None)
        if match is not None:
            free.remove(match)
        matches.append(match)
    return matches


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.max(np.abs(b), initial=0.0))
    return bool(np.max(np.abs(a - b), initial=0.0) <= _SAME * scale)


def renamed(
    spelled: Sequence[str], columns: Any, names: Sequence[str], ours: np.ndarray
) -> list[str]:
    """Return R's names of an engine's columns, which are matched by their values.

    Parameters
    ----------
    spelled : sequence of str, length a
        The engine's names.
    columns : array-like, shape (n, a)
        The engine's columns.
    names : sequence of str, length b
        R's names.
    ours : numpy.ndarray, shape (n, b)
        The columns with R's names.
    """
    places = match_columns(np.asarray(columns, dtype=np.float64), ours)
    return [
        _unmatched(r_name(name), names) if place is None else names[place]
        for name, place in zip(spelled, places, strict=True)
    ]


def fixed_names(spelled: Sequence[str], columns: Any, model: Model | None) -> list[str]:
    """Return R's names of an engine's fixed columns: by values, or without a model by spelling."""
    if model is None:
        return [r_name(name) for name in spelled]
    return renamed(spelled, columns, model.fixed, model.X)


def terms_by_name(terms: Iterable[tuple[str, Sequence[str], Any]]) -> dict[str, Any]:
    """Return the parts ``terms`` and ``varcorr`` of terms under R's names: g, g.1, ...

    Parameters
    ----------
    terms : iterable of (str, sequence of str, array-like)
        Group, effects, and covariance matrix (q, q) of each term.
    """
    listed: list[tuple[str, str, tuple[str, ...]]] = []
    varcorr = {}
    for group, effects, covariance in terms:
        earlier = sum(group == other for _, other, _ in listed)
        name = f"{group}.{earlier}" if earlier else group
        listed.append((name, group, tuple(effects)))
        varcorr[name] = pd.DataFrame(np.asarray(covariance), index=effects, columns=effects)
    return {"terms": listed, "varcorr": varcorr}


def _unmatched(name: str, names: Sequence[str]) -> str:
    """Return a name for a column without a match, which must differ from R's names."""
    return f"{name} (other values)" if name in names else name


def match_factor(
    codes: np.ndarray, factors: Mapping[str, GroupingFactor]
) -> tuple[str, np.ndarray] | None:
    """Return the grouping factor that groups the rows in the same way as `codes`.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        The engine's 0-based level of each row.
    factors : mapping of str to GroupingFactor

    Returns
    -------
    tuple of str and numpy.ndarray of int, or None
        The factor's name, and for each of the engine's levels its position among the factor's.
    """
    levels = int(codes.max()) + 1 if len(codes) else 0
    for name, factor in factors.items():
        if len(factor.codes) != len(codes) or len(factor.levels) != levels:
            continue
        place = np.full(levels, -1, dtype=np.intp)
        place[codes] = factor.codes
        if np.array_equal(place[codes], factor.codes) and len(set(place.tolist())) == levels:
            return name, place
    return None


def r_names(names: Iterable[str], model: Model | None) -> list[str]:
    """Return R's names of effects whose spelling can be converted to one of the model's names."""
    if model is None:
        return list(names)
    known = {*model.fixed, *model.dropped, *(e for term in model.terms for e in term.effects)}
    return [r_name(name) if name not in known and r_name(name) in known else name for name in names]


def r_group(group: str, factors: Mapping[str, GroupingFactor]) -> str:
    """Return R's name of a grouping factor, such as ``cask:batch`` for ``batch:cask``."""
    if group in factors:
        return group
    parts = sorted(group.split(":"))
    return next((name for name in factors if sorted(name.split(":")) == parts), group)


def r_levels(group: str, levels: Sequence[str], factor: GroupingFactor) -> list[str]:
    """Return R's names of an engine's levels, whose parts may be ordered and joined differently.

    Parameters
    ----------
    group : str
        The engine's name of the factor, which gives the order of the parts.
    levels : sequence of str
        The engine's levels; returned unchanged unless every one of them is matched.
    factor : GroupingFactor
        R's factor of the same parts.
    """
    ours = factor.name.split(":")
    split = [level.split(":") for level in factor.levels]
    if set(levels) == set(factor.levels) and group == factor.name:
        return list(levels)
    if sorted(group.split(":")) != sorted(ours) or any(len(s) != len(ours) for s in split):
        return list(levels)
    order = [ours.index(part) for part in group.split(":")]
    for separator in _SEPARATORS:
        spelled = {separator.join(parts[i] for i in order): ":".join(parts) for parts in split}
        if set(levels) == set(spelled) and len(spelled) == len(split):
            return [spelled[level] for level in levels]
    return list(levels)
