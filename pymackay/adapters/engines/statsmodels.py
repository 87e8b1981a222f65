"""Adapter for statsmodels: `MixedLM`, with variance components; Bayesian mixed models."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.bayes import read_bayes
from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.adapters.naming import fixed_names, match_columns, match_factor, r_name, terms_by_name
from pymackay.errors import ArgumentError
from pymackay.model.design.build import build_model
from pymackay.model.model import Model, RandomTerm


def _read(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``MixedLMResults``, which has no pev, or a ``BayesMixedGLMResults``.

    Raises
    ------
    ArgumentError
        If it is not the result of a mixed model.
    """
    results = getattr(obj, "_results", obj)
    if type(results).__name__ == "BayesMixedGLMResults":
        return read_bayes(results, context)
    if type(results).__name__ != "MixedLMResults":
        raise ArgumentError(
            f"obj: a MixedLMResults or BayesMixedGLMResults of statsmodels is expected, not "
            f"{type(results).__name__}."
        )
    engine = obj.model
    model = context.model if context.model and len(context.model.y) == engine.nobs else None
    p = engine.k_fe
    fixed = fixed_names(engine.exog_names[:p], engine.exog, model)
    parts = {
        "engine": "statsmodels",
        "versions": {"statsmodels": version("statsmodels")},
        "reml": obj.method == "REML",
        "beta": pd.Series(np.asarray(obj.fe_params), index=fixed),
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
    return parts | terms_by_name(_terms(obj, effects)) | _predictions(obj, effects)


@dataclass(frozen=True, eq=False)
class _Effect:
    """One random effect: a column of ``exog_re`` for the top-level groups, or a component.

    Attributes
    ----------
    term : int
        0 for the effects of the top-level groups, which may correlate; 1, 2, ... for the variance
        components.
    group, name : str
    levels : list of str, length J
    places : list of (label, int), length J
        For each level, the label of its top-level group and its position among that group's
        effects.
    rows, values : list of numpy.ndarray, length J
        The level's column of Z: the rows in which it is not zero, and its values there.
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
        """Return the 0-based level of each row, shape (n,); None unless each row has just one."""
        codes = np.full(n, -1, dtype=np.intp)
        for level, rows in enumerate(self.rows):
            codes[rows] = level
        whole = sum(len(rows) for rows in self.rows) == n
        return codes if whole and np.all(codes >= 0) else None

    def levels_among(self, codes: np.ndarray) -> list[int] | None:
        """Return the level of a factor that each level corresponds to; None unless one to one.

        `codes`, shape (n,), are the 0-based levels of the factor.
        """
        levels_met = [np.unique(codes[rows]) for rows in self.rows]
        if any(len(levels) != 1 for levels in levels_met):
            return None
        places = [int(levels[0]) for levels in levels_met]
        return places if len(set(places)) == len(places) else None


def _effects(obj: Any) -> Iterator[_Effect]:
    """Yield the random effects with the engine's names."""
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
    """Return one effect, with the columns of all top-level groups.

    Each of the `matrices` has the shape (rows of the group, levels in the group).
    """
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
    """Return an effect with R's names, matched by the values of its columns."""
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


def _terms(
    obj: Any, effects: list[_Effect]
) -> Iterator[tuple[str, list[str], np.ndarray | list[list[float]]]]:
    """Yield group, effects and covariance: of the top-level groups, then of each component."""
    components = np.atleast_1d(obj.vcomp)
    for number in dict.fromkeys(effect.term for effect in effects):
        of_term = [effect for effect in effects if effect.term == number]
        values = np.asarray(obj.cov_re) if number == 0 else [[components[number - 1]]]
        yield of_term[0].group, [effect.name for effect in of_term], values


def _predictions(obj: Any, effects: list[_Effect]) -> dict[str, Any]:
    """Return predictions, their covariances and fitted values; nothing for a singular fit.

    statsmodels needs the inverse of the covariance matrix for them.
    """
    try:
        predicted = {g: np.asarray(v) for g, v in obj.random_effects.items()}
        spread = {g: np.asarray(v) for g, v in obj.random_effects_cov.items()}
    except (ValueError, np.linalg.LinAlgError):
        return {}
    ranef, condvar = {}, {}
    for group in dict.fromkeys(effect.group for effect in effects):
        of_group = [effect for effect in effects if effect.group == group]
        by_level = [dict(zip(e.levels, e.places, strict=True)) for e in of_group]
        values = [
            [predicted[e[level][0]][e[level][1]] for e in by_level] for level in of_group[0].levels
        ]
        ranef[group] = pd.DataFrame(
            values, index=of_group[0].levels, columns=[effect.name for effect in of_group]
        )
        condvar[group] = np.array(
            [
                spread[by_level[0][level][0]][np.ix_(*[[e[level][1] for e in by_level]] * 2)]
                for level in of_group[0].levels
            ]
        )
    fitted = np.asarray(obj.fittedvalues)
    residuals = np.asarray(obj.model.endog) - fitted
    return {"ranef": ranef, "condvar": condvar, "fitted": fitted, "residuals": residuals}


def _fit(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    """Fit the matrices that this package builds, because MixedLM does not read R's formulas."""
    mixed = importlib.import_module("statsmodels.regression.mixed_linear_model")
    if weights is not None or offset is not None:
        raise ArgumentError("weights, offset: statsmodels' MixedLM has neither.")
    model = build_model(formula, data)
    if model.offset is not None:
        raise ArgumentError("formula: statsmodels' MixedLM has no offset.")
    groups, inside, components = _arranged(model)
    X = pd.DataFrame(model.X, columns=list(model.fixed), index=model.rows)
    engine = mixed.MixedLM(
        pd.Series(model.y, index=model.rows, name=model.response),
        X,
        groups,
        exog_re=None if inside is None else inside.columns,
        exog_vc=_specification(mixed, model, groups, components),
    )
    return engine.fit(reml=reml)


def _arranged(model: Model) -> tuple[np.ndarray, RandomTerm | None, list[RandomTerm]]:
    """Return top-level groups, shape (n,), their correlated term, and the other terms.

    The top level is a factor in which all others are nested. Without one, all rows are one group
    and every term is a variance component.
    """
    top = next((name for name in model.factors if _holds_all(model, name)), None)
    groups = np.zeros(len(model.y), dtype=int) if top is None else model.factors[top].codes
    of_group = [term for term in model.terms if term.group == top]
    inside = max(of_group, key=lambda term: len(term.effects)) if of_group else None
    components = [term for term in model.terms if term is not inside]
    for term in components:
        if len(term.effects) > 1:
            raise ArgumentError(
                f"formula: statsmodels' MixedLM takes correlated effects of one factor only, the "
                f"one that holds all others, and {term.group} is not."
            )
    return groups, inside, components


def _holds_all(model: Model, name: str) -> bool:
    """Whether every level of every factor lies within one level of this factor."""
    top = model.factors[name].codes
    pairs = (np.unique(np.column_stack([f.codes, top]), axis=0) for f in model.factors.values())
    return all(len(np.unique(pair[:, 0])) == len(pair) for pair in pairs)


def _specification(
    mixed: Any, model: Model, groups: np.ndarray, components: list[RandomTerm]
) -> Any:
    """Return the variance components, each with one matrix per group, shape (rows, levels)."""
    if not components:
        return None
    names, columns, matrices = [], [], []
    for position, term in enumerate(components):
        codes, values = model.factors[term.group].codes, term.columns[:, 0]
        here, named = [], []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            levels = np.unique(codes[rows])
            here.append((codes[rows][:, None] == levels) * values[rows][:, None])
            named.append([model.factors[term.group].levels[level] for level in levels])
        names.append(f"{position} {term.name}")
        matrices.append(here)
        columns.append(named)
    return mixed.VCSpec(names, columns, matrices)


ENGINE = Engine("statsmodels", defined_in("statsmodels"), _read, _fit)
