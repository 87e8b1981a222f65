"""Checks of predictions: rows in any order and coding, new levels, and subsets of effects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pymackay.fuzz.after.case import Case, Differences

_NEW = "a new level"
_LEVEL = 0.9


def check_rows(case: Case) -> Differences:
    """Compare rows of the data, as new data in several forms, with ``X beta + Z b``."""
    chosen = case.rng.permutation(len(case.rows))[: case.rng.integers(1, 12)]
    variance = case.errors(case.built.X[chosen], case.Z[chosen])
    fitted, error, size = case.dense.fitted, np.sqrt(variance), _size(variance, case)
    for name, form in _FORMS.items():
        table = case.fit.predict(form(case.rows.iloc[chosen]), se_fit=True)
        yield from case.gap(f"{name}: fit", table["fit"], fitted[chosen], case.dense.sigma)
        yield from case.gap(f"{name}: se", table["se"], error, size)
    predicted = case.fit.predict(se_fit=True)
    yield from case.gap("own rows: fit", predicted["fit"], fitted, case.dense.sigma)
    yield from case.gap("own rows: se", predicted["se"].iloc[chosen], error, size)


def _size(variance: np.ndarray, case: Case) -> np.ndarray:
    """Return the size of standard errors that differences are measured in, shape (k,)."""
    return np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1e-3 * case.dense.sigma)


def _reordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the levels of their categories in reverse order."""
    return rows.assign(
        **{
            str(name): column.cat.reorder_categories(column.cat.categories[::-1])
            for name, column in rows.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }
    )


def _as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with text in place of categories."""
    return rows.assign(
        **{
            str(name): column.astype(object)
            for name, column in rows.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }
    )


def _without_unused(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with only those categories that they have."""
    return rows.assign(
        **{
            str(name): column.cat.remove_unused_categories()
            for name, column in rows.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }
    )


def _as_mapping(rows: pd.DataFrame) -> dict[str, Any]:
    return {str(name): column.to_numpy() for name, column in rows.items()}


_FORMS: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "a subset of the rows": lambda rows: rows,
    "levels in reverse order": _reordered,
    "text for categories": _as_text,
    "only the levels of the rows": _without_unused,
    "columns in reverse order": lambda rows: rows[rows.columns[::-1]],
    "a mapping of arrays": _as_mapping,
}


def check_population(case: Case) -> Differences:
    """Compare predictions without random effects, and their intervals."""
    offset = 0.0 if case.built.offset is None else case.built.offset
    mean = case.built.X @ case.dense.beta + offset
    variance = case.errors(case.built.X, np.zeros_like(case.Z))
    table = case.fit.predict(case.rows, re_form="~0", se_fit=True)
    unit = np.maximum(np.sqrt(variance), case.dense.sigma)
    yield from case.gap("population: fit", table["fit"], mean, unit)
    yield from case.gap("population: se", table["se"], np.sqrt(variance), _size(variance, case))
    effects = np.zeros(len(case.rows))
    for term in case.built.terms:
        V = case.dense.varcorr[term.name]
        effects += np.einsum("na,ab,nb->n", term.columns, V, term.columns)
    yield from _interval("population", case, case.rows, mean, variance + effects, re_form="~0")


def _interval(
    what: str, case: Case, rows: pd.DataFrame, mean: np.ndarray, variance: np.ndarray, **how: Any
) -> Differences:
    """Compare a prediction interval; `variance`, (k,), is that of the mean and left-out effects."""
    weights = case.model.arguments.get("weights")
    noise = np.ones(len(rows)) if weights is None else 1.0 / rows[weights].to_numpy()
    reach = ndtri(0.5 + 0.5 * _LEVEL) * np.sqrt(variance + case.dense.sigma**2 * noise)
    table = case.fit.predict(rows, interval="prediction", level=_LEVEL, weights=weights, **how)
    unit = np.maximum(reach, case.dense.sigma)
    yield from case.gap(f"{what}: lower", table["lower"], mean - reach, unit)
    yield from case.gap(f"{what}: upper", table["upper"], mean + reach, unit)


def check_new_levels(case: Case) -> Differences:
    """Compare rows whose level of one grouping factor is new: its effects are zero there."""
    name = next((name for name in ("g", "m") if _is_only_group(name, case)), None)
    if name is None:
        return
    chosen = case.rng.permutation(len(case.rows))[:5]
    rows = _as_text(case.rows.iloc[chosen]).assign(**{name: _NEW})
    z, added = case.Z[chosen].copy(), np.zeros(len(chosen))
    for term, span in zip(case.built.terms, case.term_spans, strict=True):
        if name in _factors(term.group):
            z[:, span] = 0.0
            columns, V = term.columns[chosen], case.dense.varcorr[term.name]
            added += np.einsum("na,ab,nb->n", columns, V, columns)
    x = case.built.X[chosen]
    offset = 0.0 if case.built.offset is None else case.built.offset[chosen]
    mean = x @ case.dense.beta + z @ case.dense.b + offset
    variance = case.errors(x, z) + added
    table = case.fit.predict(rows, allow_new_levels=True, se_fit=True)
    unit = np.maximum(np.sqrt(variance), case.dense.sigma)
    yield from case.gap("new level: fit", table["fit"], mean, unit)
    yield from case.gap("new level: se", table["se"], np.sqrt(variance), _size(variance, case))
    yield from _interval("new level", case, rows, mean, variance, allow_new_levels=True)


def _factors(group: str) -> list[str]:
    """Return the factors of an interaction, such as ``k:(m:g)``."""
    return re.split("[:()]+", group)


def _is_only_group(name: str, case: Case) -> bool:
    """Whether a column is in some grouping factor, and nowhere else in the formula."""
    in_groups = any(name in _factors(term.group) for term in case.built.terms)
    return in_groups and name not in case.model.fixed


def check_subsets(case: Case) -> Differences:
    """Compare the sum of what each bar of the formula predicts with ``Z b``."""
    effects = [(term.group, effect) for term in case.built.terms for effect in term.effects]
    if len(set(effects)) < len(effects):
        return  # a name stands for the effects of several terms
    total = np.zeros(len(case.rows))
    for bar in case.model.random:
        total += case.fit.predict(case.rows, re_form=f"~ {bar}", random_only=True).to_numpy()
    errors = np.sqrt(np.maximum(case.errors(np.zeros_like(case.built.X), case.Z), 0.0))
    unit = np.maximum(errors, case.dense.sigma)
    yield from case.gap("sum over bars", total, case.Z @ case.dense.b, unit)


def check_effects(case: Case) -> Differences:
    """Compare the effects of each row, and the leverages, with the dense answer."""
    place = case.fit.effects_of(case.rows)
    for group, table in case.fit.ranef.items():
        levels = [case.built.factors[group].levels[k] for k in case.built.factors[group].codes]
        expected = table.loc[levels]
        yield from case.gap(f"effects of {group}", place[group], expected, case.dense.sigma)
    augmented = case.fit.augment()
    residuals = case.built.y - case.dense.fitted
    yield from case.gap("augment: .resid", augmented[".resid"], residuals, case.dense.sigma)
    yield from case.gap("augment: .hat", augmented[".hat"].sum(), case.dense.trace_hat)
