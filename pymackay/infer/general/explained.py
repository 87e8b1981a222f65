"""`variance_parts`: what stands for the variances of a generalised model in `icc` and `r2`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, polygamma

from pymackay.errors import ArgumentError
from pymackay.family.general import General
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.general.refit import fit_like
from pymackay.infer.tables.explained import VarianceParts, fixed_variance, random_variances
from pymackay.model.model import Model
from pymackay.results import Fit

_THEORETICAL = {"logit": np.pi**2 / 3.0, "probit": 1.0, "cloglog": np.pi**2 / 6.0}
_LOG_METHODS = ("lognormal", "delta", "trigamma")


def variance_parts(fit: Fit, what: str, method: str | None) -> VarianceParts:
    """Return the parts of the variance of a row's linear predictor; see `pymackay.icc`.

    With ``δ = φ V(μ) / (dμ/dη)²`` the variance of a response on the scale of the linear predictor
    is δ, ``log(1 + δ)`` for a lognormal one, and ψ₁(1/δ) for one whose log is that of a gamma
    variable (Nakagawa, Johnson & Schielzeth 2017, J. R. Soc. Interface 14, here for all
    families). μ is that of the model without predictors.

    Raises
    ------
    ArgumentError
        If there is no such method for the link.
    """
    general = general_part(fit, what)
    model = general_problem(fit, what).model
    chosen = _method(general, method)
    random = random_variances(fit, model)
    each_row = [t.name for t in model.terms if len(model.factors[t.group].levels) == len(model.y)]
    overdispersion = float(random[each_row].sum())
    if chosen == "theoretical":
        residual = _THEORETICAL[general.family.link]
    else:
        residual = _of_mean(general, _null_predictor(fit, what), chosen)
    return VarianceParts(
        fixed=fixed_variance(fit, model),
        random=random.drop(each_row),
        residual=residual + overdispersion,
    )


def _method(general: General, method: str | None) -> str:
    """Return the method, the default of the link where none is named."""
    family = general.family
    possible: tuple[str, ...] = ("delta",)
    if family.link in _THEORETICAL:
        possible = ("theoretical", "delta")
    elif family.link == "log" and family.name != "binomial":
        possible = _LOG_METHODS
    if method is None:
        return possible[0]
    if method not in possible:
        raise ArgumentError(
            f"method must be {' or '.join(map(repr, possible))} for the family {family.name} with "
            f"the link {family.link}, but it is {method!r}."
        )
    return method


def _of_mean(general: General, mean: float, method: str) -> float:
    """Return the residual variance by a method at a mean."""
    family, mu = general.family, np.array([mean])
    slope = family.mean_slope(family.predictor(mu))
    delta = float((general.dispersion * family.variance(mu) / slope**2)[0])
    if method == "delta":
        return delta
    return float(np.log1p(delta) if method == "lognormal" else polygamma(1, 1.0 / delta))


def _null_predictor(fit: Fit, what: str) -> float:
    """Return the mean of the response by the model without predictors.

    With intercept b, offset included, and random variance v the mean is ``exp(b + v/2)`` under a
    log link; under the logit McCulloch, Searle & Neuhaus's (2008, Generalized, Linear, and Mixed
    Models) approximation ``expit(b − ½ v tanh(b (1 + 2 exp(−v/2)) / 6))``; that at b otherwise.
    """
    problem, general = general_problem(fit, what), general_part(fit, what)
    model = problem.model
    one = replace(model, X=np.ones((len(model.y), 1)), fixed=("(Intercept)",))
    null = fit_like(fit, one, problem.laplace.rows.observed)
    b = _intercept(null, model)
    v = float(random_variances(null, model).sum())
    link = general.family.link
    if link == "log":
        return float(np.exp(b + 0.5 * v))
    if link == "logit":
        return float(expit(b - 0.5 * v * np.tanh(b * (1.0 + 2.0 * np.exp(-0.5 * v)) / 6.0)))
    return float(general.family.mean(np.array([b]))[0])


def _intercept(null: Fit, model: Model) -> float:
    offset = 0.0 if model.offset is None else float(model.offset.mean())
    return float(null.beta.iloc[0]) + offset
