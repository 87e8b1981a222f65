"""`fit_from_parts`: makes a `Fit` from a mapping with the quantities that an engine offers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters import shapes
from pymackay.adapters.engine import Context
from pymackay.adapters.groups import Groups
from pymackay.adapters.naming import r_names
from pymackay.covariance.layout import theta_names
from pymackay.errors import ArgumentError
from pymackay.results import Convergence, Engine, Fit, GroupTables, ModelSummary, TermSummary

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "beta": "fixed effects: a Series, or a mapping from coefficient to number",
        "vcov": "covariance matrix of beta: a DataFrame, or an array in beta's order",
        "std_error": "standard errors of beta, where there is no vcov: as beta",
        "sigma": "residual standard deviation",
        "varcorr": "term -> covariance matrix of its effects, absolute: a DataFrame, a mapping of "
        "mappings, or a number for a random intercept; the group's name, then 'group.1', ...",
        "theta": "relative covariance parameters in the terms' order; else taken from varcorr",
        "terms": "(name, group, effects) of each term, where varcorr's keys do not tell",
        "ranef": "group -> predicted effects: a DataFrame levels x effects, or a mapping from "
        "level to number or to a mapping; terms of one group joined",
        "condvar": "group -> Var(b | y, beta): array levels x q x q in ranef's order",
        "pev": "group -> Var(b^ - b): as condvar",
        "levels": "group -> its levels in order, where there is no ranef",
        "criterion": "REML criterion or -2 log likelihood, all constants included",
        "loglik": "the (restricted) log likelihood, where there is no criterion",
        "fitted": "fitted values, conditional on the random effects: a Series, or an array",
        "residuals": "response minus fitted",
        "rows": "labels of the data's rows that were used, where fitted is no Series",
        "n_obs": "number of rows, where there are no fitted values",
        "weights": "prior weights of these rows; None says that there are none",
        "offset": "offset of these rows; None says that there is none",
        "formula": "the formula, where it was not given",
        "reml": "True for REML, False for maximum likelihood; True unless given",
        "dropped": "columns left out because they depend on others",
        "singular": "whether a covariance matrix is singular; else judged from varcorr",
        "converged": "whether the optimiser says that it has converged",
        "messages": "what the engine said",
        "not_offered": "more that is missing, quantity -> reason: 'condvar covariances' where only "
        "variances are known, 'vcov at theta' where vcov is exact at the optimum alone",
        "engine": "name of the engine",
        "versions": "package -> version",
    }
)

_SINGULAR = 1e-8  # a matrix is singular if its correlations have a smaller eigenvalue


def fit_from_parts(parts: Mapping[str, Any], context: Context | None = None) -> Fit:
    """Return a `Fit` with an engine's quantities; missing ones are NaN and in ``not_offered``.

    Parameters
    ----------
    parts : mapping
        Any of the keys of `PARTS`; ``"beta"`` is required.
    context : Context, optional
        The model that the result belongs to; levels are put into its order.

    Raises
    ------
    ArgumentError
        If ``beta`` is missing, a key is unknown, or a value has the wrong shape.
    """
    context = context or Context()
    parts = _checked(parts)
    beta = shapes.series(parts["beta"], "beta")
    beta.index = pd.Index(r_names(beta.index, context.model), dtype=object)
    varcorr = {
        str(name): shapes.renamed(shapes.covariance(value, str(name)), context.model)
        for name, value in parts.get("varcorr", {}).items()
    }
    groups = Groups(context.model)
    ranef = groups.ranef(parts.get("ranef", {}))
    terms = groups.terms(parts, varcorr, ranef)
    sigma = float(parts.get("sigma", math.nan))
    rows, fitted, residuals, rows_known = _rows(parts, context)
    order = groups.orders(ranef)
    arrays = {
        what: {
            groups.name(g): shapes.blocks(v, what, ranef.get(groups.name(g)))
            for g, v in parts[what].items()
        }
        for what in ("condvar", "pev")
        if what in parts
    }
    return Fit(
        formula=str(context.formula or parts.get("formula", "")),
        reml=_reml(parts, context),
        beta=beta,
        vcov=_vcov(parts, beta),
        sigma=sigma,
        theta=_theta(parts, varcorr, terms, sigma),
        varcorr=GroupTables(varcorr),
        ranef=GroupTables((g, table.iloc[order[g]]) for g, table in ranef.items()),
        criterion=_criterion(parts),
        fitted=fitted,
        residuals=residuals,
        singular=bool(parts.get("singular", _singular(varcorr))),
        dropped=tuple(parts.get("dropped", ())),
        messages=tuple(str(message) for message in parts.get("messages", ())),
        convergence=_convergence(parts),
        engine=Engine(str(parts.get("engine", "a dict")), dict(parts.get("versions", {}))),
        model=ModelSummary(
            response=context.model.response if context.model else "",
            rows=rows,
            fixed=tuple(beta.index),
            terms=terms,
            levels=_levels(parts, ranef, order, groups),
            weights=shapes.optional(parts.get("weights"), "weights", len(rows)),
            offset=shapes.optional(parts.get("offset"), "offset", len(rows)),
        ),
        condvar_source=_source(arrays.get("condvar"), order),
        pev_source=_source(arrays.get("pev"), order),
        not_offered=_not_offered(parts, rows_known),
    )


def _checked(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that are offered: not None, except for weights and offset.

    Raises an `ArgumentError` for unknown keys, or without ``"beta"``.
    """
    for key in parts:
        if key not in PARTS:
            near = difflib.get_close_matches(str(key), PARTS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(f"obj: unknown part {key!r}.{hint} Known are {', '.join(PARTS)}.")
    if parts.get("beta") is None:
        raise ArgumentError(
            "obj: 'beta' is missing, the fixed effects by name; without them there is no model."
        )
    stays = ("weights", "offset")
    return {key: value for key, value in parts.items() if value is not None or key in stays}


def _reml(parts: Mapping[str, Any], context: Context) -> bool:
    reml = parts.get("reml", context.reml)
    return True if reml is None else bool(reml)


def _vcov(parts: Mapping[str, Any], beta: pd.Series) -> pd.DataFrame:
    if "vcov" in parts:
        return shapes.matrix(parts["vcov"], "vcov", beta.index)
    values = np.full((len(beta), len(beta)), np.nan)
    if "std_error" in parts:
        errors = shapes.series(parts["std_error"], "std_error", beta.index)
        np.fill_diagonal(values, errors.to_numpy() ** 2)
    return pd.DataFrame(values, index=beta.index, columns=beta.index)


def _theta(
    parts: Mapping[str, Any],
    varcorr: dict[str, pd.DataFrame],
    terms: tuple[TermSummary, ...],
    sigma: float,
) -> pd.Series:
    """Return theta, shape (m,): as given, else the relative factors of `varcorr`, else NaN."""
    names = theta_names(terms)
    if "theta" in parts:
        values = shapes.vector(parts["theta"], "theta", len(names))
    elif varcorr and math.isfinite(sigma) and sigma > 0.0:
        values = np.concatenate([shapes.relative_factor(varcorr[t.name], sigma) for t in terms])
    else:
        values = np.full(len(names), np.nan)
    return pd.Series(values, index=pd.Index(names, dtype=object), name="theta")


def _criterion(parts: Mapping[str, Any]) -> float:
    if "criterion" in parts:
        return float(parts["criterion"])
    return -2.0 * float(parts.get("loglik", math.nan))


def _rows(
    parts: Mapping[str, Any], context: Context
) -> tuple[pd.Index, pd.Series, pd.Series, bool]:
    """Return the labels of the rows, fitted values, residuals, and whether the labels are known."""
    fitted, residuals = parts.get("fitted"), parts.get("residuals")
    labels = parts.get("rows")
    if labels is None:
        labels = next((v.index for v in (fitted, residuals) if isinstance(v, pd.Series)), None)
    values = [None if v is None else np.asarray(v, dtype=np.float64) for v in (fitted, residuals)]
    n = next((len(v) for v in values if v is not None), int(parts.get("n_obs", 0)))
    if labels is not None:
        n = n or len(labels)
    elif values[0] is not None and values[1] is not None:
        labels = _rows_by_response(values[0] + values[1], context)
    rows = pd.RangeIndex(n) if labels is None else pd.Index(labels)
    columns = [
        shapes.per_row(v, name, rows)
        for v, name in zip(values, ("fitted", "residuals"), strict=True)
    ]
    return rows, columns[0], columns[1], labels is not None


def _rows_by_response(y: np.ndarray, context: Context) -> pd.Index | None:
    """Return the rows of the model if its response is `y`, shape (n,), in the same order."""
    model = context.model
    return model.rows if model is not None and context.has_response(y) else None


def _levels(
    parts: Mapping[str, Any],
    ranef: dict[str, pd.DataFrame],
    order: dict[str, np.ndarray],
    groups: Groups,
) -> dict[str, tuple[str, ...]]:
    listed = {
        groups.name(g): tuple(groups.levels(g, [str(level) for level in levels]))
        for g, levels in parts.get("levels", {}).items()
    }
    return listed | {g: tuple(table.index[order[g]]) for g, table in ranef.items()}


def _source(arrays: Mapping[str, np.ndarray] | None, order: Mapping[str, np.ndarray]) -> Any:
    if arrays is None:
        return None
    return lambda: {g: a[order[g]] if g in order else a for g, a in arrays.items()}


def _singular(varcorr: dict[str, pd.DataFrame]) -> bool:
    """Return whether a covariance matrix is singular; the units of its effects do not matter."""
    for table in varcorr.values():
        variances = np.diag(table)
        if np.any(variances <= 0.0):
            return True
        scale = np.sqrt(variances)
        if np.linalg.eigvalsh(table.to_numpy() / np.outer(scale, scale))[0] < _SINGULAR:
            return True
    return False


def _convergence(parts: Mapping[str, Any]) -> Convergence:
    converged = parts.get("converged")
    words = {True: "the engine says that it has converged", False: "the engine has not converged"}
    message = "the engine does not say" if converged is None else words[bool(converged)]
    return Convergence(converged=converged is None or bool(converged), message=message)


def _not_offered(parts: Mapping[str, Any], rows_known: bool) -> dict[str, str]:
    """Return the quantities that are missing, each with a reason."""
    derived = {
        "criterion": ("criterion", "loglik"),
        "vcov": ("vcov",),
        "std_error": ("vcov", "std_error"),
        "theta": ("theta", "varcorr"),
        "levels": ("levels", "ranef"),
        "n_obs": ("fitted", "residuals", "rows", "n_obs"),
        "dropped": ("dropped",),
        "terms": ("terms", "varcorr", "ranef"),
    }
    plain = ("sigma", "varcorr", "ranef", "condvar", "pev", "fitted", "residuals")
    needs = derived | {name: (name,) for name in (*plain, "weights", "offset")}
    missing = {what: "" for what, any_of in needs.items() if not set(any_of) & set(parts)}
    if not rows_known:
        missing["rows"] = ""
    missing["evaluate"] = ""
    reasons = dict.fromkeys(missing, "the engine does not give it")
    return reasons | {str(k): str(v) for k, v in parts.get("not_offered", {}).items()}
