"""Reads statsmodels' Bayesian mixed models of binomial and Poisson responses."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.engine import Context
from pymackay.adapters.general import general_parts
from pymackay.adapters.naming import fixed_names, match_factor, terms_by_name
from pymackay.family.binomial import Binomial
from pymackay.family.family import Family, Observations
from pymackay.family.poisson import Poisson
from pymackay.model.model import Model

_WAYS = {
    1: "variational Bayes (means of an approximate posterior)",
    2: "posterior mode (Laplace approximation)",
}


def read_bayes(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``BayesMixedGLMResults``: posterior means, which are no likelihood's.

    Standard deviations of the random effects are the exponentials of the means of their logs. There
    is no log likelihood.
    """
    engine = obj.model
    known = context.model
    model = known if known is not None and len(known.y) == len(engine.endog) else None
    family: Family = Binomial() if "Binomial" in type(engine).__name__ else Poisson()
    y = np.asarray(engine.endog, dtype=np.float64)
    observed = Observations(y, np.ones(len(y)), np.ones(len(y)))
    eta = np.asarray(engine.exog) @ obj.fe_mean + engine.exog_vc @ obj.vc_mean
    rows = None if model is None or not context.has_response(y) else model.rows
    way = _WAYS[np.ndim(obj.cov_params())]
    parts = {
        "engine": "statsmodels",
        "versions": {"statsmodels": version("statsmodels")},
        "reml": False,
        "beta": pd.Series(
            np.asarray(obj.fe_mean), index=fixed_names(engine.fep_names, engine.exog, model)
        ),
        "std_error": np.asarray(obj.fe_sd),
        "sigma": 1.0,
        "weights": None,
        "offset": None,
        "messages": [
            f"statsmodels' estimates are Bayesian: {way}, with normal priors of standard "
            f"deviation {engine.fe_p:g} of the fixed effects, {engine.vcp_p:g} of the logs of the "
            f"random effects' standard deviations. They differ from maximum likelihood."
        ],
        "not_offered": {"criterion": "a posterior is approximated, and no likelihood"},
    }
    groups = [_component(obj, k, model) for k in range(len(engine.vcp_names))]
    terms = [
        (name, ["(Intercept)"], [[float(np.exp(2.0 * log_sd))]])
        for (name, _), log_sd in zip(groups, obj.vcp_mean, strict=True)
    ]
    ranef = {name: table for name, table in groups if table is not None}
    return {
        **parts,
        **terms_by_name(terms),
        "ranef": ranef,
        **general_parts(family, observed, family.mean(eta), rows, nagq=way),
    }


def _component(obj: Any, place: int, model: Model | None) -> tuple[str, pd.DataFrame | None]:
    """Return R's name of a variance component's group, and its effects where levels are known."""
    engine = obj.model
    name = str(engine.vcp_names[place])
    chosen = np.flatnonzero(np.asarray(engine.ident) == place)
    columns = engine.exog_vc[:, chosen].toarray()
    is_indicator = np.isin(columns, (0.0, 1.0)).all() and (columns.sum(axis=1) == 1.0).all()
    if not is_indicator:
        return name, None
    values = np.asarray(obj.vc_mean)[chosen]
    levels = [str(engine.vc_names[k]) for k in chosen]
    match = None if model is None else match_factor(columns.argmax(axis=1), model.factors)
    if match is not None and model is not None:
        name = match[0]
        levels = [model.factors[name].levels[k] for k in match[1]]
    return name, pd.DataFrame(values[:, None], index=levels, columns=["(Intercept)"])
