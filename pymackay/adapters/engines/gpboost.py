"""Adapter for GPBoost's `GPModel` with grouped random effects, linear and generalised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.adapters.general import general_parts
from pymackay.adapters.naming import fixed_names, match_columns, match_factor, terms_by_name
from pymackay.errors import ArgumentError
from pymackay.family.binomial import Binomial
from pymackay.family.family import Family, Observations
from pymackay.family.gamma import Gamma
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.family.poisson import Poisson
from pymackay.model.model import Model

_FAMILIES = {
    "gaussian": None,
    "bernoulli_logit": Binomial(),
    "bernoulli_probit": Binomial("probit"),
    "binomial_logit": Binomial(),
    "binomial_probit": Binomial("probit"),
    "poisson": Poisson(),
    "gamma": Gamma("log"),
    "negative_binomial": NegativeBinomial(),
}
_SLOPE = re.compile(r"_rand_coef_nb_\d+$")
_COVARIATE = re.compile(r"Covariate_\d+")  # a column without a name


def _read(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a fitted ``GPModel``. Its effects are all uncorrelated.

    Raises
    ------
    ArgumentError
        If it is not a fitted mixed model with grouped random effects and a family of ours.
    """
    if type(obj).__name__ != "GPModel" or not obj.model_fitted:
        raise ArgumentError("obj: a fitted GPModel of gpboost is expected.")
    state = obj.model_to_dict(include_response_data=True)
    _check(state)
    y = np.asarray(state["y"], dtype=np.float64)
    model = context.model if context.model is not None and len(context.model.y) == len(y) else None
    beta = _fixed(obj, state, model)
    values = np.asarray(state["cov_pars"], dtype=np.float64)
    family = _family(obj, state["likelihood"])
    sigma2 = float(values[0]) if family is None else _dispersion(obj, family)
    effects = [
        _Effect.of(state, model, *place, name)
        for place, name in zip(_places(state), obj.re_comp_names, strict=True)
    ]
    variances = values[1:] if family is None else values
    eta, ranef = _predictions(obj, effects, state, beta.to_numpy())
    parts = {
        "engine": "gpboost",
        "versions": {"gpboost": version("gpboost")},
        "reml": False,
        "beta": beta,
        "std_error": np.asarray(obj.get_coef(std_err=True))[1],
        "sigma": float(np.sqrt(sigma2)),
        **terms_by_name(
            (effect.group, [effect.name], [[variance]])
            for effect, variance in zip(effects, variances, strict=True)
        ),
        "ranef": ranef,
        "loglik": -float(obj.get_current_neg_log_likelihood()),
        "rows": None if model is None else model.rows,
        "weights": state["weights"],
        "offset": state.get("offset") if state["has_offset"] else None,
    }
    if family is None:
        return {**parts, "fitted": eta, "residuals": y - eta}
    weights = np.ones(len(y)) if state["weights"] is None else np.asarray(state["weights"])
    totals = weights if family.name == "binomial" else None
    observed = Observations.of(y, weights, totals)
    general = general_parts(
        family,
        observed,
        family.mean(eta),
        None if model is None or not context.has_response(y) else model.rows,
        dispersion=sigma2,
        shape_estimated=isinstance(family, NegativeBinomial),
    )
    return {**parts, **general}


def _check(state: Mapping[str, Any]) -> None:
    """Check that a model's state is that of a mixed model that a `Fit` can hold.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    likelihood = state["likelihood"]
    if likelihood not in _FAMILIES:
        raise ArgumentError(
            f"obj: the likelihood {likelihood!r} of gpboost is not one of {', '.join(_FAMILIES)}."
        )
    if state["group_data"] is None or state["gp_coords"] is not None:
        raise ArgumentError(
            "obj: a GPModel with group_data and without gp_coords is expected; Gaussian processes "
            "are no random effects of groups."
        )
    if not state["has_covariates"]:
        raise ArgumentError(
            "obj: the GPModel has no fixed effects; give X, a column of ones at least, to its fit."
        )


def _family(obj: Any, likelihood: str) -> Family | None:
    """Return the family of a likelihood; None for a linear model."""
    if likelihood != "negative_binomial":
        return _FAMILIES[likelihood]
    return NegativeBinomial(theta=float(np.ravel(obj.get_aux_pars())[0]))


def _dispersion(obj: Any, family: Family) -> float:
    """Return the dispersion: of a Gamma response, one over GPBoost's shape."""
    return 1.0 / float(np.ravel(obj.get_aux_pars())[0]) if family.has_dispersion else 1.0


def _fixed(obj: Any, state: Mapping[str, Any], model: Model | None) -> pd.Series:
    """Return the fixed effects, under R's names where the columns can be matched."""
    X = np.asarray(state["X"], dtype=np.float64)
    spelled = [str(name) for name in obj.get_coef().columns]
    constant = np.ptp(X, axis=0) == 0.0
    spelled = [
        "(Intercept)" if fixed and _COVARIATE.fullmatch(name) else name
        for name, fixed in zip(spelled, constant, strict=True)
    ]
    return pd.Series(np.asarray(state["coefs"]), index=fixed_names(spelled, X, model))


def _places(state: Mapping[str, Any]) -> Iterator[tuple[int, int | None]]:
    """Yield the column of groups and the column of slopes (or None) of each random effect."""
    groups = np.asarray(state["group_data"]).shape[1]
    left_out = state["drop_intercept_group_rand_effect"]
    dropped = [False] * groups if left_out is None else list(left_out)
    yield from ((k, None) for k in range(groups) if not dropped[k])
    slopes = state["ind_effect_group_rand_coef"]
    yield from ((int(k) - 1, j) for j, k in enumerate([] if slopes is None else slopes))


@dataclass(frozen=True, eq=False)
class _Effect:
    """One random effect of GPBoost, which is a term of its own.

    Attributes
    ----------
    group, name : str
    codes : numpy.ndarray of int, shape (n,)
        The level of each row.
    levels : list of str, length J
    values : numpy.ndarray, shape (n,)
        The column that the effect multiplies.
    """

    group: str
    name: str
    codes: np.ndarray
    levels: list[str]
    values: np.ndarray

    @classmethod
    def of(
        cls,
        state: Mapping[str, Any],
        model: Model | None,
        column: int,
        slope: int | None,
        spelled: str,
    ) -> _Effect:
        """Return the effect of a column of groups and one of slopes, with R's names if known.

        `spelled` is GPBoost's name, such as ``g`` or ``g_rand_coef_nb_1``.
        """
        codes, labels = pd.factorize(np.asarray(state["group_data"], dtype=object)[:, column])
        levels = [str(label) for label in labels]
        group, name = _SLOPE.sub("", spelled), "(Intercept)"
        values = np.ones(len(codes))
        if slope is not None:
            name = f"slope_{slope + 1}"
            values = np.asarray(state["group_rand_coef_data"], dtype=np.float64)[:, slope]
        match = None if model is None else match_factor(codes, model.factors)
        if model is not None and match is not None:
            group, place = match
            levels = [model.factors[group].levels[k] for k in place]
            for term in model.terms:
                place_in_term = match_columns(values[:, None], term.columns)[0]
                if term.group == group and place_in_term is not None:
                    name = term.effects[place_in_term]
        return cls(group, name, codes, levels, values)


def _predictions(
    obj: Any, effects: list[_Effect], state: Mapping[str, Any], beta: np.ndarray
) -> tuple[np.ndarray, dict[str, pd.DataFrame]]:
    """Return the linear predictor, shape (n,), and each group's table of random effects."""
    columns = obj.predict_training_data_random_effects().to_numpy()
    eta = np.asarray(state["X"], dtype=np.float64) @ beta
    if state["has_offset"]:
        eta = eta + np.asarray(state["offset"], dtype=np.float64)
    tables: dict[str, dict[str, pd.Series]] = {}
    for effect, by_row in zip(effects, columns.T, strict=True):
        first = np.unique(effect.codes, return_index=True)[1]
        by_level = pd.Series(by_row[first], index=effect.levels)
        tables.setdefault(effect.group, {})[effect.name] = by_level
        eta = eta + effect.values * by_level.to_numpy()[effect.codes]
    return eta, {group: pd.DataFrame(columns) for group, columns in tables.items()}


ENGINE = Engine("gpboost", defined_in("gpboost"), _read)
