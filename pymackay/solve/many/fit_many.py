"""`lmer_many`: one design, thousands of responses, one batched computation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import flag
from pymackay.covariance.layout import theta_names
from pymackay.errors import ConvergenceWarning, DataError
from pymackay.model.design.many_responses import build_many
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram, cross_products
from pymackay.progress import Progress
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.many.fits import ManyFits
from pymackay.solve.many.responses import Design
from pymackay.solve.many.together import Answers, ManySolver

__all__ = ["fit_many", "lmer_many", "warn_of_uncertified"]

_ROW_CELLS = 4_000_000  # rows × responses held at a time
_LEVEL_CELLS = 100_000  # elements of one batch of small matrices: what stays near the processor


def lmer_many(
    formula: str,
    data: pd.DataFrame,
    Y: Any,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    start: Any = None,
    progress: bool | None = None,
) -> ManyFits:
    """Fit one linear mixed model to many responses.

    Every response ends at its own certified optimum, that of `pymackay.lmer`. With one grouping
    factor (any number of terms on it) all are searched for together: small matrices of all levels
    and responses in a handful of operations, those that have arrived taken out. With several
    grouping factors the responses are fitted one by one, from cross-products made once.

    Parameters
    ----------
    formula : str
        As for `lmer`; `Y` takes the place of the response, which need not be among the data.
    data : pandas.DataFrame
        One row per observation.
    Y : array-like or pandas.DataFrame, shape (rows of `data`, B)
        The responses, transformed as they are to be fitted. A table whose index is not that of
        `data` is aligned by its labels.
    reml, weights, offset, subset, contrasts
        As for `lmer`; weights and offset are shared by all responses.
    start : array-like of shape (m,), optional
        Theta to start every search from, in lme4's order; by default each response's moments tell.
        A boundary is left, and further starts are tried, as without it.
    progress : bool, optional
        Whether a line on stderr tells how far it is: by default on a terminal, after two seconds.

    Returns
    -------
    ManyFits

    Raises
    ------
    PymackayError
        As for `lmer`; when `Y` does not fit the data; when a response is missing in a row that
        is used, or without residual variation.

    Warns
    -----
    ConvergenceWarning
        When some optima could not be certified.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> many = pm.lmer_many("~ Days + (Days | Subject)", sleep, fit.simulate(100, seed=1))
    >>> many.beta.shape, bool(many.converged.all())
    ((100, 2), True)
    >>> float(many.to_frame()["sd_Days|Subject"].median().round(1))
    5.9
    """
    by_reml = flag("reml", reml)
    given = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    model, responses, names = build_many(formula, data, Y, given)
    gram = cross_products(model)
    found = fit_many(model, gram, [responses], names, reml=by_reml, start=start, progress=progress)
    warn_of_uncertified(found, stacklevel=2)
    return found


def fit_many(
    model: Model,
    gram: Gram,
    portions: Iterable[np.ndarray],
    names: pd.Index,
    *,
    reml: bool,
    start: Any = None,
    progress: bool | None = None,
) -> ManyFits:
    """Fit `model` to responses that come in portions, as `lmer_many` does.

    Parameters
    ----------
    model : Model
        Its response is not used.
    gram : Gram
        Its cross-products.
    portions : iterable of numpy.ndarray, each (rows of the model, any number)
        Finite numbers.
    names : pandas.Index, length B
        Of all responses.
    reml, start, progress
        As in `lmer_many`.
    """
    factors = None if start is None else factors_from_theta(gram, np.asarray(start, np.float64))
    solver = ManySolver(gram, reml, factors)
    design = Design(model, gram)
    parts: list[Answers] = []
    done = 0
    with Progress(asked=progress) as line:
        for Y in portions:
            _refuse_explained(design, Y, names[done : done + Y.shape[1]])
            for some in _slices(len(Y), Y.shape[1], _LEVEL_CELLS // solver.cells):
                parts.append(solver.solve(design.responses(Y[:, some])))
                done += len(parts[-1]["sigma"])
                line.tell(f"fitted {done} of {len(names)} responses")
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ManyFits(
        formula=model.formula,
        reml=reml,
        n_obs=len(model.X),
        responses=names,
        fixed=model.fixed,
        theta_names=tuple(theta_names([(term.group, term.effects) for term in model.terms])),
        terms=model.summary().terms,
        dropped=model.dropped,
        messages=model.messages,
        **found,
    )


def warn_of_uncertified(found: ManyFits, stacklevel: int) -> None:
    """Warn where the optima of some responses are not certified."""
    lost = np.flatnonzero(~found.converged)
    if len(lost):
        warnings.warn(
            f"the optima of {len(lost)} of {len(found)} responses are not certified, the first of "
            f"them {found.responses[lost[0]]!r}. See the array `converged`; fit one of them with "
            f"pymackay.lmer to learn why.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )


def _slices(n: int, total: int, most: int) -> Iterator[slice]:
    """Cut `total` responses of n rows into portions, each of at most `most`."""
    size = max(1, min(total, most, _ROW_CELLS // n))
    for start in range(0, total, size):
        yield slice(start, start + size)


def _refuse_explained(design: Design, Y: np.ndarray, names: pd.Index) -> None:
    """Stop before the long work where X leaves a response no residual."""
    total = Y.shape[1]
    found = [design.explained(Y[:, some]) for some in _slices(len(Y), total, total)]
    lost = np.flatnonzero(np.concatenate(found))
    if len(lost):
        some = ", ".join(repr(names[k]) for k in lost[:5]) + (", ..." if len(lost) > 5 else "")
        raise DataError(
            f"{len(lost)} of {len(names)} responses are exact linear functions of the fixed "
            f"effects ({some}): a mixed model needs residual variation. Leave these columns of Y "
            f"out."
        )
