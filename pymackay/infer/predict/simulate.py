"""`simulate`: responses drawn from a fitted model, with new random effects or given ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import random_generator, whole_number
from pymackay.covariance.structures import summary_layouts
from pymackay.errors import ArgumentError
from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.re_form import chosen_effects
from pymackay.infer.predict.rows import effects_of_terms
from pymackay.infer.problem import model_of
from pymackay.model.model import Model
from pymackay.results import Fit


@by_kind(
    "pymackay.infer.general.simulate:simulate", residual="pymackay.infer.residual.rows:simulate"
)
def simulate(
    fit: Fit,
    nsim: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    re_form: Any = "~0",
) -> pd.DataFrame:
    """Draw responses from the model, as lme4's ``simulate``.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    nsim : int
        Number of responses to draw.
    seed : int, numpy.random.Generator or None
        Equal seeds give equal draws; a generator is used up as it goes.
    re_form : None, False, NA or str
        The random effects that are given: they are taken as predicted. The others are drawn anew.
        ``"~0"`` (default): all are drawn, R's ``use.u = FALSE``. None: all are given, R's
        ``use.u = TRUE``. A formula such as ``"~ (1 | g)"``: whole terms that are given.

    Returns
    -------
    pandas.DataFrame, shape (n, nsim)
        Columns ``sim_1``, ``sim_2``, ...; rows those the model was fitted to. The residual variance
        of a row is sigma² / weight (lme4 leaves the weights out); the offset is added.

    Raises
    ------
    ArgumentError
        If `nsim`, `seed` or `re_form` is wrong.
    PymackayError
        If another engine made the fit.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> drawn = fit.simulate(2, seed=1)
    >>> drawn.shape, drawn.equals(fit.simulate(2, seed=1))
    ((180, 2), True)
    """
    model = model_of(fit, "simulate")
    kept = kept_terms(model, re_form)
    count, draw = whole_number("nsim", nsim), random_generator(seed)
    mean = model.X @ fit.beta.to_numpy()
    if model.offset is not None:
        mean = mean + model.offset
    predicted = effects_of_terms(fit)
    drawn = np.repeat(mean[:, None], count, axis=1)
    for k, effects in enumerate(_new_effects(fit, kept, count, draw)):
        b = predicted[k][:, :, None] if kept[k] else effects
        term = model.terms[k]
        codes = model.factors[term.group].codes
        for i in range(len(term.effects)):
            drawn += term.columns[:, i, None] * b[codes, i]
    noise = draw.standard_normal(drawn.shape)
    drawn += noise * _residual_sd(fit, model)[:, None]
    return pd.DataFrame(
        drawn, index=model.rows, columns=[f"sim_{k + 1}" for k in range(count)], copy=False
    )


def kept_terms(model: Model, re_form: Any) -> list[bool]:
    """Say which terms keep their predicted effects; the others are drawn."""
    chosen = chosen_effects(model, re_form)
    for term, mask in zip(model.terms, chosen, strict=True):
        if mask.any() and not mask.all():
            effects = ", ".join(term.effects)
            raise ArgumentError(
                f"re_form {re_form!r} takes some effects of the term '{term.name}' as given and "
                f"not others, but its effects ({effects}) are correlated; name the whole term"
            )
    return [bool(mask.all()) for mask in chosen]


def _new_effects(
    fit: Fit, kept: list[bool], count: int, draw: np.random.Generator
) -> list[np.ndarray]:
    """Draw the effects of each term, (levels, q, count); no levels for those that are kept."""
    terms = fit.model.terms
    theta = fit.theta.to_numpy()
    drawn = []
    for term, layout, is_kept in zip(terms, summary_layouts(terms), kept, strict=True):
        levels = 0 if is_kept else len(fit.model.levels[term.group])
        spherical = draw.standard_normal((levels, layout.q, count))
        drawn.append(fit.sigma * np.einsum("ab,jbs->jas", layout.factor(theta), spherical))
    return drawn


def _residual_sd(fit: Fit, model: Model) -> np.ndarray:
    if model.weights is None:
        return np.full(len(model.y), fit.sigma)
    return np.asarray(fit.sigma / np.sqrt(model.weights))
