"""`fit_many_general`: one design, its rows prepared once, and the optimum of each response."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pymackay.covariance.layout import theta_names
from pymackay.errors import ConvergenceError, ConvergenceWarning, SeparationError
from pymackay.family.family import Observations
from pymackay.progress import Progress
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import GeneralControl, fit_general
from pymackay.solve.pirls.many.answers import Answers
from pymackay.solve.pirls.many.fits import ManyGeneralFits
from pymackay.solve.pirls.many.together import fit_together, may_go_together


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
    total = len(responses)
    refused: dict[int, str] = {}
    answers = Answers.nothing(laplace.rows, total)
    with Progress(asked=progress) as line:
        if start is None and may_go_together(laplace, nagq):
            answers, refused = fit_together(
                laplace,
                responses,
                control,
                lambda done: line.tell(f"fitted {done} of {total} responses"),
            )
        for k in np.flatnonzero(~answers.converged).tolist():
            if k in refused:
                continue
            each = replace(laplace, rows=laplace.rows.with_response(responses[k]))
            try:
                answers.put_fit(k, fit_general(each, nagq, start=start, control=control))
            except (SeparationError, ConvergenceError) as error:
                answers.forget(k)
                refused[k] = str(error)
            line.tell(f"fitted {k + 1} of {total} responses")
    model = laplace.rows.model
    return ManyGeneralFits(
        formula=model.formula,
        family=laplace.family,
        nagq=nagq,
        n_obs=len(model.X),
        responses=names,
        fixed=model.fixed,
        theta_names=tuple(theta_names(model.terms)),
        terms=model.summary().terms,
        **vars(answers),
        refused={names[k]: refused[k] for k in sorted(refused)},
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
