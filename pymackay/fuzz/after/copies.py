"""Checks of fits that went through a file, a pickle, or rows in partitions."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.errors import PymackayError
from pymackay.fuzz.after.case import Case, Differences, collinearity, gap, same
from pymackay.results import Fit

_FIELDS = ("formula", "reml", "sigma", "criterion", "singular", "dropped", "messages")
_SERIES = ("beta", "theta", "fitted", "residuals", "std_error")
_REFUSED = re.compile(
    r"needs all rows at once|put a row of every level into the first|lacks levels in a partition"
    r"|no row is complete|sees only the levels of one"
)
"""Refusals of partitions that any formula or data with these properties may meet."""

_RIDGE = re.compile("flat ridge|cannot be told apart")


def check_copies(case: Case) -> Differences:
    """Compare a fit with what comes back from a file, a pickle and a deep copy."""
    fit = case.fit
    copies = {
        "saved": pm.load_fit(fit.save(case.folder / "a.fit")),
        "saved without rows": pm.load_fit(fit.save(case.folder / "b.fit", rows=False)),
        "pickled": pickle.loads(pickle.dumps(fit)),
        "copied": copy.deepcopy(fit),
    }
    for name, again in copies.items():
        has_rows = name != "saved without rows"
        for field in _FIELDS:
            yield from same(f"{name}: {field}", getattr(again, field), getattr(fit, field))
        for field in _SERIES if has_rows else ("beta", "theta", "std_error"):
            one, other = getattr(again, field), getattr(fit, field)
            yield from same(f"{name}: index of {field}", list(one.index), list(other.index))
            yield from gap(f"{name}: {field}", one, other, 1.0, 0.0)
        yield from _same_answers(name, again, case, close=_SAVED)
        shown = [_shown(str(f.summary()), has_rows) for f in (again, fit)]
        yield from same(f"{name}: summary", *shown)
        yield from same(f"{name}: tidy", again.tidy().to_csv(), fit.tidy().to_csv())


def _shown(text: str, has_rows: bool) -> str:
    """Return a printed summary, without the residuals where there are no rows."""
    return text if has_rows else re.sub(r"Scaled residuals:.*?\n\n", "", text, flags=re.DOTALL)


def _same_answers(name: str, again: Fit, case: Case, *, close: float) -> Differences:
    """Compare covariances, effects and what they are for, in statistical units."""
    fit, errors = case.fit, case.fit.std_error.to_numpy()
    if close > _SAVED and any(_RIDGE.search(message) for message in fit.messages):
        return  # another search ends elsewhere on the ridge
    yield from same(f"{name}: coefficients", list(again.beta.index), list(fit.beta.index))
    yield from gap(f"{name}: beta", again.beta, fit.beta, errors, close)
    yield from gap(f"{name}: vcov", again.vcov, fit.vcov, np.outer(errors, errors), close)
    yield from same(f"{name}: terms", list(again.varcorr), list(fit.varcorr))
    for group, table in fit.ranef.items():
        yield from same(f"{name}: levels", list(again.ranef[group].index), list(table.index))
        sd = np.sqrt(np.einsum("jaa->ja", fit.pev[group]))
        floor = 0.0 if close == _SAVED else _NOTHING * fit.sigma
        size = np.maximum(sd, max(floor, 1e-6 * np.abs(table.to_numpy()).max(initial=1e-300)))
        yield from gap(f"{name}: ranef of {group}", again.ranef[group], table, size, close)
        pair = np.maximum(size[:, :, None] * size[:, None, :], 1e-300)
        digits = max(close if close == _SAVED else _SEARCHED_PEV, _rounding(fit))
        yield from gap(f"{name}: pev of {group}", again.pev[group], fit.pev[group], pair, digits)
    rows = case.rows.iloc[:: max(len(case.rows) // 7, 1)]
    one, other = (f.predict(rows, se_fit=True) for f in (again, fit))
    yield from gap(f"{name}: predict", one, other, fit.sigma, close)


def _rounding(fit: Fit) -> float:
    """Return the relative rounding of error variances: eps by the equations' condition number."""
    ratio = max(1.0, float(np.max(fit.theta.to_numpy() ** 2)))
    return float(100.0 * np.finfo(float).eps * ratio * collinearity(fit) ** 2)


def check_partitions(case: Case) -> Differences:
    """Compare a fit to rows in partitions, as frames or as Parquet, with that of the same rows."""
    if case.model.arguments.keys() & {"subset"} or not case.fit.convergence.converged:
        return
    frames = _split(case)
    path = case.folder / "rows.parquet"
    pd.concat(frames).to_parquet(path, row_group_size=max(len(frames[0]), 1))
    for name, source in (("frames", iter(frames)), ("Parquet", path)):
        fit = _streamed(case, source)
        if isinstance(fit, PymackayError):
            if not _may_refuse(case, str(fit)):
                yield f"{name}: refused: {fit}"
            continue
        if not fit.convergence.converged:
            yield f"{name}: not certified: {fit.convergence.message}"
            continue
        yield from gap(
            f"{name}: criterion",
            fit.criterion,
            case.fit.criterion,
            1.0,
            max(_CRITERION, 10.0 * case.close),
        )
        yield from same(f"{name}: n_obs", fit.n_obs, case.fit.n_obs)
        yield from _same_answers(name, fit, case, close=_SEARCHED)
        again = pm.load_fit(fit.save(case.folder / "streamed.fit"))
        yield from _same_answers(f"{name}, saved", again, case, close=_SEARCHED)


_CRITERION = 1e-6
_SAVED = 1e-9
_SEARCHED = 1e-4
"""Standard errors within which two searches of one criterion end."""

_NOTHING = 0.02
"""Of the residual sd: a smaller sd of effects is one that the data do not tell from zero."""

_SEARCHED_PEV = 2e-3
"""The same of error variances, relative: with few rows a variance's own error is large."""


def _split(case: Case) -> list[pd.DataFrame]:
    """Return the data in two to five consecutive parts, some of them small."""
    data = case.model.data
    cuts = np.sort(case.rng.integers(1, len(data), size=int(case.rng.integers(1, 5))))
    ends: Iterator[int] = iter([*cuts, len(data)])
    frames, start = [], 0
    for end in ends:
        if end > start:
            frames.append(data.iloc[start:end])
            start = end
    return frames


def _streamed(case: Case, source: object) -> Fit | PymackayError:
    try:
        return pm.lmer(case.model.formula, source, reml=case.model.reml, **case.model.arguments)
    except PymackayError as error:
        return error


def _may_refuse(case: Case, message: str) -> bool:
    """Whether partitions may be refused with this message: it is true of the model."""
    if "depend on each other" in message:
        return bool(case.fit.dropped)
    return bool(_REFUSED.search(message))
