"""Results of statsmodels' `MixedLM`: one top-level group, its effects and variance components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.context import Context
from pymackay.adapters.naming import match_columns, match_factor, r_name, renamed
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

__all__ = ["convert"]


def convert(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``MixedLMResults``; pev is not among them.

    Raises
    ------
    ArgumentError
        If it is not the result of a mixed linear model.
    """
    results = getattr(obj, "_results", obj)
    if type(results).__name__ != "MixedLMResults":
        raise ArgumentError(
            f"obj: a MixedLMResults of statsmodels is expected, not {type(results).__name__}."
        )
    engine = obj.model
    model = context.model if context.model and len(context.model.y) == engine.nobs else None
    p = engine.k_fe
    parts = {
        "engine": "statsmodels",
        "versions": {"statsmodels": version("statsmodels")},
        "reml": obj.method == "REML",
        "beta": pd.Series(np.asarray(obj.fe_params), index=_fixed_names(engine, model)),
        "vcov": np.asarray(obj.cov_params())[:p, :p],
        "sigma": float(np.sqrt(obj.scale)),
        "loglik": float(obj.llf),
        "rows": engine.data.row_labels,
        "weights": None,
        "offset": None,
        "converged": bool(obj.converged),
        "not_offered": {"vcov at theta": "taken from the curvature at the optimum"},
    }
    effects = [_named(effect, model) for effect in _effects(obj)]
    return parts | _random_part(obj, effects)


def _fixed_names(engine: Any, model: Model | None) -> list[str]:
    if model is None:
        return [r_name(name) for name in engine.exog_names[: engine.k_fe]]
    return renamed(engine.exog_names[: engine.k_fe], engine.exog, model.fixed, model.X)


@dataclass(frozen=True, eq=False)
class _Effect:
    """One kind of random effect: a column of the top-level groups', or a variance component.

    Attributes
    ----------
    term : int
        0 for the columns of the groups, which may correlate; variance components count from 1.
    group, name : str
    levels : list of str, length J
    places : list of (label, int), length J
        For each level the top-level group's label and the position among its effects.
    rows, values : list of numpy.ndarray, length J
        The level's column of Z: where it is not zero, and what it is there.
    """

    term: int
    group: str
    name: str
    levels: list[str]
    places: list[tuple[Any, int]]
    rows: list[np.ndarray]
    values: list[np.ndarray]

    def column(self, n: int) -> np.ndarray:
        """Return the sum of the levels' columns, shape (n,)."""
        total = np.zeros(n)
        for rows, values in zip(self.rows, self.values, strict=True):
            total[rows] += values
        return total

    def codes(self, n: int) -> np.ndarray | None:
        """Return the 0-based level of each row, shape (n,), where every row has just one."""
        codes = np.full(n, -1, dtype=np.intp)
        for level, rows in enumerate(self.rows):
            codes[rows] = level
        whole = sum(len(rows) for rows in self.rows) == n
        return codes if whole and np.all(codes >= 0) else None

    def levels_among(self, codes: np.ndarray) -> list[int] | None:
        """Return which of a factor's levels each level lies in, if they are one for one."""
        found = [np.unique(codes[rows]) for rows in self.rows]
        if any(len(levels) != 1 for levels in found):
            return None
        places = [int(levels[0]) for levels in found]
        return places if len(set(places)) == len(places) else None


def _effects(obj: Any) -> Iterator[_Effect]:
    """Yield the random effects as the engine names them."""
    engine = obj.model
    labels = engine.group_labels
    if engine.k_re:
        names = [str(name).removesuffix(" Var") for name in engine.data.exog_re_names]
        constant = np.ptp(engine.exog_re[:, 0]) == 0.0
        group = names[0] if constant else "Group"
        names[0] = "(Intercept)" if constant else names[0]
        for k, name in enumerate(names):
            yield _effect(engine, 0, group, name, [x[:, [k]] for x in engine.exog_re_li], k)
    before = np.full(len(labels), engine.k_re)
    for term, (vc, mats) in enumerate(
        zip(engine.exog_vc.names, engine.exog_vc.mats, strict=True), start=1
    ):
        matrices = [m.toarray() if hasattr(m, "toarray") else np.asarray(m) for m in mats]
        yield _effect(engine, term, str(vc), "(Intercept)", matrices, before)
        before = before + [m.shape[1] for m in matrices]


def _effect(
    engine: Any, term: int, group: str, name: str, matrices: list[np.ndarray], first: Any
) -> _Effect:
    """Collect the columns that the top-level groups have for one effect."""
    effect = _Effect(term, group, name, [], [], [], [])
    starts = np.broadcast_to(first, len(matrices))
    for label, matrix, start in zip(engine.group_labels, matrices, starts, strict=True):
        rows = np.asarray(engine.row_indices[label])
        for j, column in enumerate(matrix.T):
            effect.levels.append(str(label) if matrix.shape[1] == 1 else f"{label}:{j}")
            effect.places.append((label, int(start) + j))
            effect.rows.append(rows[column != 0.0])
            effect.values.append(column[column != 0.0])
    return effect


def _named(effect: _Effect, model: Model | None) -> _Effect:
    """Give an effect R's names, found by what its columns hold."""
    if model is None:
        return replace(effect, name=r_name(effect.name))
    column, n = effect.column(len(model.y)), len(model.y)
    for term in model.terms:
        factor = model.factors[term.group]
        place = effect.levels_among(factor.codes)
        if place is None or len(factor.levels) != len(place):
            continue
        match = match_columns(column[:, None], term.columns)[0]
        if match is not None:
            levels = [factor.levels[i] for i in place]
            return replace(effect, group=term.group, name=term.effects[match], levels=levels)
    codes = effect.codes(n)
    known = match_factor(codes, model.factors) if codes is not None else None
    if known is None:
        return effect
    levels = [model.factors[known[0]].levels[i] for i in known[1]]
    return replace(effect, group=known[0], levels=levels)


def _random_part(obj: Any, effects: list[_Effect]) -> dict[str, Any]:
    """Return terms, covariances, predictions, their variances, and what follows from them."""
    terms: list[tuple[str, str, tuple[str, ...]]] = []
    varcorr = {}
    vcomp = np.atleast_1d(obj.vcomp)
    for number in dict.fromkeys(effect.term for effect in effects):
        mine = [effect for effect in effects if effect.term == number]
        group, names = mine[0].group, [effect.name for effect in mine]
        earlier = sum(g == group for _, g, _ in terms)
        name = f"{group}.{earlier}" if earlier else group
        values = np.asarray(obj.cov_re) if number == 0 else [[vcomp[number - 1]]]
        terms.append((name, group, tuple(names)))
        varcorr[name] = pd.DataFrame(values, index=names, columns=names)
    return {"terms": terms, "varcorr": varcorr} | _predictions(obj, effects)


def _predictions(obj: Any, effects: list[_Effect]) -> dict[str, Any]:
    """Return what needs the inverse of the covariance matrix, which a singular fit has not."""
    try:
        found = {g: np.asarray(v) for g, v in obj.random_effects.items()}
        spread = {g: np.asarray(v) for g, v in obj.random_effects_cov.items()}
    except (ValueError, np.linalg.LinAlgError):
        return {}
    ranef, condvar = {}, {}
    for group in dict.fromkeys(effect.group for effect in effects):
        mine = [effect for effect in effects if effect.group == group]
        by_level = [dict(zip(e.levels, e.places, strict=True)) for e in mine]
        values = [[found[e[level][0]][e[level][1]] for e in by_level] for level in mine[0].levels]
        ranef[group] = pd.DataFrame(
            values, index=mine[0].levels, columns=[effect.name for effect in mine]
        )
        condvar[group] = np.array(
            [
                spread[by_level[0][level][0]][np.ix_(*[[e[level][1] for e in by_level]] * 2)]
                for level in mine[0].levels
            ]
        )
    fitted = np.asarray(obj.fittedvalues)
    residuals = np.asarray(obj.model.endog) - fitted
    return {"ranef": ranef, "condvar": condvar, "fitted": fitted, "residuals": residuals}
