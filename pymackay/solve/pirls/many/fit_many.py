"""`fit_many_general`: one design, its rows prepared once, and the optimum of each response."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import theta_names
from pymackay.errors import ConvergenceError, ConvergenceWarning, SeparationError
from pymackay.family.family import Observations
from pymackay.progress import Progress
from pymackay.results import Fit
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import GeneralControl, fit_general
from pymackay.solve.pirls.many.fits import ManyGeneralFits


def fit_many_general(
    laplace: Laplace,
    responses: Sequence[Observations],
    names: pd.Index,
    nagq: int | str,
    *,
    start: np.ndarray | None = None,
    control: GeneralControl | None = None,
    progress: bool | None = None,
) -> ManyGeneralFits:
    """Fit a model to many responses, as `glmer_many` does.

    Parameters
    ----------
    laplace : Laplace
        Of the design, with any response.
    responses : sequence of Observations, length B
    names : pandas.Index, length B
    nagq, start, control
        As of `fit_general`.
    progress : bool, optional
        As of `lmer_many`.
    """
    fits: list[Fit | None] = []
    refused: dict[Any, str] = {}
    with Progress(asked=progress) as line:
        for name, observed in zip(names, responses, strict=True):
            each = replace(laplace, rows=laplace.rows.with_response(observed))
            try:
                fits.append(fit_general(each, nagq, start=start, control=control))
            except (SeparationError, ConvergenceError) as error:
                fits.append(None)
                refused[name] = str(error)
            line.tell(f"fitted {len(fits)} of {len(names)} responses")
    return _collected(laplace, fits, refused, names, nagq)


def _collected(
    laplace: Laplace,
    fits: list[Fit | None],
    refused: dict[Any, str],
    names: pd.Index,
    nagq: int | str,
) -> ManyGeneralFits:
    """Return the fits as arrays, nan where there is none."""
    model = laplace.rows.model
    p, m = len(model.fixed), laplace.rows.layouts[-1].theta_stop

    def numbers(value: Any, size: int) -> np.ndarray:
        none = np.full(size, np.nan)
        return np.array([none if fit is None else np.asarray(value(fit)) for fit in fits])

    def number(value: Any) -> np.ndarray:
        return np.array([np.nan if fit is None else value(fit) for fit in fits])

    sizes = {term.name: len(term.effects) for term in model.summary().terms}
    varcorr = {
        name: numbers(lambda fit, name=name: fit.varcorr[name].to_numpy().ravel(), q * q).reshape(
            -1, q, q
        )
        for name, q in sizes.items()
    }
    return ManyGeneralFits(
        formula=model.formula,
        family=laplace.family,
        nagq=nagq,
        n_obs=len(model.X),
        responses=names,
        fixed=model.fixed,
        theta_names=tuple(theta_names(model.terms)),
        terms=model.summary().terms,
        beta=numbers(lambda fit: fit.beta, p),
        std_error=numbers(lambda fit: fit.std_error, p),
        theta=numbers(lambda fit: fit.theta, m),
        varcorr=varcorr,
        dispersion=number(lambda fit: fit.general.dispersion),
        shape=number(lambda fit: fit.general.shape),
        criterion=number(lambda fit: fit.criterion),
        evaluations=np.array([0 if f is None else f.convergence.evaluations for f in fits]),
        converged=np.array([f is not None and f.convergence.converged for f in fits]),
        singular=np.array([f is not None and f.singular for f in fits]),
        refused=refused,
        dropped=model.dropped,
        messages=model.messages,
    )


def warn_of_missing(fits: ManyGeneralFits, stacklevel: int) -> None:
    """Warn where responses have no fit, or one that is not certified."""
    lost = np.flatnonzero(~fits.converged)
    if len(lost):
        warnings.warn(
            f"{len(lost)} of {len(fits)} responses have no certified optimum, the first of them "
            f"{fits.responses[lost[0]]!r}; {len(fits.refused)} have none at all, for the reasons "
            f"in `refused`. See the array `converged`; fit one of them with pymackay.glmer to "
            f"learn more.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
