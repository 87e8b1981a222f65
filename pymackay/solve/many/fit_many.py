"""`fit_many`: one design, thousands of responses, one batched computation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import theta_names
from pymackay.errors import ConvergenceWarning, DataError, listed
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram
from pymackay.progress import Progress
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.many.fits import ManyFits
from pymackay.solve.many.responses import Design
from pymackay.solve.many.together import Answers, ManySolver
from pymackay.solve.search.ridge import named_once

_ROW_CELLS = 4_000_000  # rows × responses held at a time
_LEVEL_CELLS = 100_000  # elements of one batch of small matrices: what stays near the processor


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
            for columns in _slices(len(Y), Y.shape[1], _LEVEL_CELLS // solver.cells):
                parts.append(solver.solve(design.responses(Y[:, columns])))
                done += len(parts[-1]["sigma"])
                line.tell(f"fitted {done} of {len(names)} responses")
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ManyFits(
        formula=model.formula,
        reml=reml,
        n_obs=len(model.X),
        responses=names,
        fixed=model.fixed,
        theta_names=tuple(theta_names(model.terms)),
        terms=model.summary().terms,
        dropped=model.dropped,
        messages=(*model.messages, *named_once(model, solver.ridge)),
        **arrays,
    )


def warn_of_uncertified(fits: ManyFits, stacklevel: int) -> None:
    """Warn where the optima of some responses are not certified."""
    lost = np.flatnonzero(~fits.converged)
    if len(lost):
        warnings.warn(
            f"the optima of {len(lost)} of {len(fits)} responses are not certified, the first of "
            f"them {fits.responses[lost[0]]!r}. See the array `converged`; fit one of them with "
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
    explained = [design.explained(Y[:, columns]) for columns in _slices(len(Y), total, total)]
    lost = np.flatnonzero(np.concatenate(explained))
    if len(lost):
        first = listed((repr(names[k]) for k in lost), 5)
        raise DataError(
            f"{len(lost)} of {len(names)} responses are exact linear functions of the fixed "
            f"effects ({first}): a mixed model needs residual variation. Leave these columns of Y "
            f"out."
        )
