"""`contrast`: tests of linear functions of the fixed effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.arguments import numbers, probability
from pymackay.errors import ArgumentError
from pymackay.infer.estimable import Aliases
from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit
from pymackay.infer.significance.coefficients import as_normal, t_columns
from pymackay.infer.significance.ddf import FixedEffects, fixed_effects
from pymackay.infer.significance.precision import independent_rows
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.model import Model
from pymackay.results import Fit

_OF_NORMAL = ("Pr(>|z|)", "Pr(>Chisq)")
F_COLUMNS = ("Sum Sq", "Mean Sq", "NumDF", "DenDF", "F value", "Pr(>F)")


@any_kind
def contrast(
    fit: Fit,
    L: Any,
    *,
    ddf: str = "Satterthwaite",
    rhs: Any = 0.0,
    joint: bool = True,
    level: float = 0.95,
) -> HeadedTable:
    """Test ``L beta = rhs``.

    Parameters
    ----------
    fit : Fit
    L : mapping, pandas.Series, pandas.DataFrame, array-like of shape (p,) or (k, p), or sequence
        One linear function of the coefficients, or k of them as rows. By coefficient name in a
        mapping (``{"recipeB": 1, "recipeC": -1}``), a Series or a DataFrame's columns, names left
        out being 0; a sequence of mappings or Series makes several rows. Columns that were dropped
        for rank may be named too. In arrays in the order of ``fit.beta``.
    ddf : {"Satterthwaite", "Kenward-Roger", "normal", "none"}
        As in `coefficients`.
    rhs : float or array-like of shape (k,)
        What the functions are under the hypothesis.
    joint : bool
        Whether several rows make one F test (default), or one t test each. A single row is always
        a t test.
    level : float
        Of the confidence intervals of the t tests.

    Returns
    -------
    HeadedTable
        t tests: ``Estimate``, ``Std. Error``, ``df``, ``t value``, ``lower``, ``upper``,
        ``Pr(>|t|)``, one row for each function. F test: ``Sum Sq``, ``Mean Sq``, ``NumDF``,
        ``DenDF``, ``F value``, ``Pr(>F)``, one row. Of a generalised model, whose tests are
        asymptotic: ``Estimate``, ``Std. Error``, ``z value``, ``lower``, ``upper``, ``Pr(>|z|)``;
        and ``Chisq``, ``Df``, ``Pr(>Chisq)``. A function that the data do not determine, and
        an F test that contains one, is nan.

    Raises
    ------
    PymackayError
        If `L` or `rhs` does not fit the coefficients, or `rhs` contradicts itself.

    Warns
    -----
    PymackayWarning
        When the data do not determine a function, because columns of the fixed part were dropped.

    Notes
    -----
    Satterthwaite's degrees of freedom of an F test are put together from those of single functions,
    which must be chosen. They are chosen from orthonormal rows that span those of `L`, so that the
    test does not depend on how its hypothesis is written: ``A @ L`` gives the same numbers for any
    invertible A. lmerTest's ``contest`` takes the rows as they are, and gives other degrees of
    freedom when one row is multiplied by 100; on orthonormal rows the two agree.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13).

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe + (1 | replicate)", pm.load_data("cake"))
    >>> one = pm.contrast(fit, {"recipeB": 1, "recipeC": -1})
    >>> one[["Estimate", "df"]].round(3).to_numpy().tolist()
    [[0.044, 253.0]]
    >>> both = pm.contrast(fit, [{"recipeB": 1}, {"recipeC": 1}])
    >>> both[["NumDF", "DenDF"]].round(3).to_numpy().tolist()
    [[2.0, 253.0]]
    """
    check_fit(fit, "contrast")
    level = probability("level", level, 0.95)
    hypothesis = _hypothesis(L, rhs, fit)
    inestimable = _not_estimable(fit, hypothesis)
    effects = fixed_effects(fit, ddf)
    columns: Mapping[str, Sequence[float] | np.ndarray]
    if joint and len(hypothesis.L) > 1:
        columns = {name: [np.nan] for name in F_COLUMNS}
        if not inestimable.any():
            rows = independent_rows(hypothesis.L, hypothesis.rhs, effects.precision.vcov)
            columns = f_columns(effects, *rows)
        kind = "Chi-square" if effects.is_general else "F"
        heading = f"{kind} test of {len(hypothesis.L)} linear functions of the coefficients"
        index = None
    else:
        columns = _t_tests(effects, hypothesis, level, inestimable)
        heading, index = "Linear functions of the coefficients", hypothesis.names
    if effects.is_general:
        columns = as_normal(columns)
    if effects.method == "none":
        need_df = ("df", "DenDF", "lower", "upper", "Pr(>|t|)", "Pr(>F)", *_OF_NORMAL)
        columns = {name: column for name, column in columns.items() if name not in need_df}
    return HeadedTable(
        pd.DataFrame(columns, index=index),
        heading=heading + effects.heading,
        messages=effects.messages,
    )


def f_columns(
    effects: FixedEffects, L: np.ndarray, rhs: np.ndarray | float = 0.0
) -> dict[str, list[float]]:
    """Return the columns of an F test of ``L beta = rhs``, by lmerTest's names.

    The mean square is that of the unscaled Wald statistic times sigma².
    """
    difference = L @ effects.fit.beta.to_numpy() - rhs
    if len(L) == 1:
        wald = float(difference[0] ** 2 / (L[0] @ effects.precision.vcov @ L[0]))
        f, num_df, den_df = wald, 1, effects.precision.t_df(L[0])
    else:
        test = effects.precision.f_test(L, difference)
        wald, f, num_df, den_df = test.wald, test.f, test.num_df, test.den_df
    mean_square = wald * effects.fit.sigma**2
    p = stats.f.sf(f, num_df, den_df) if np.isfinite(den_df) else stats.chi2.sf(f * num_df, num_df)
    values = (mean_square * num_df, mean_square, num_df, den_df, f, p)
    return {name: [value] for name, value in zip(F_COLUMNS, values, strict=True)}


def _t_tests(
    effects: FixedEffects, hypothesis: _Hypothesis, level: float, inestimable: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the columns of the t tests, each (k,); nan where `inestimable`, (k,), is true."""
    L = hypothesis.L
    std_error = np.where(
        inestimable, np.nan, np.sqrt(np.einsum("ka,ab,kb->k", L, effects.precision.vcov, L))
    )
    df = np.array(
        [
            np.nan if is_inestimable else effects.precision.t_df(row)
            for row, is_inestimable in zip(L, inestimable, strict=True)
        ]
    )
    estimate = np.where(inestimable, np.nan, L @ effects.fit.beta.to_numpy())
    columns = t_columns(estimate, std_error, df, hypothesis.rhs)
    p = columns.pop("Pr(>|t|)")
    reach = stats.t.ppf(0.5 + 0.5 * level, df) * std_error
    columns["lower"] = columns["Estimate"] - reach
    columns["upper"] = columns["Estimate"] + reach
    return {**columns, "Pr(>|t|)": p}


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    """``L beta = rhs``: L (k, p), rhs (k,), and what the rows are called.

    `dropped`, (k, d), has the weights of the columns that were dropped.
    """

    L: np.ndarray
    rhs: np.ndarray
    names: list[str]
    dropped: np.ndarray


def _not_estimable(fit: Fit, hypothesis: _Hypothesis) -> np.ndarray:
    """Say which functions the data do not determine, shape (k,), and warn of them."""
    model = getattr(fit.problem, "model", None)
    aliases = Aliases.of(model) if isinstance(model, Model) else None
    if aliases is None:
        return np.asarray(hypothesis.dropped.any(axis=1))
    flags = aliases.undetermined(hypothesis.L, hypothesis.dropped)
    if flags.any():
        aliases.warn("the function(s)", hypothesis.names, flags, stacklevel=3)
    return np.asarray(flags.any(axis=1))


def _hypothesis(functions: Any, rhs: Any, fit: Fit) -> _Hypothesis:
    """Read the arguments `L` and `rhs` of `contrast`.

    Raises
    ------
    ArgumentError
    """
    p, coefficients = len(fit.beta), fit.beta.index.append(pd.Index(fit.dropped, dtype=object))
    if isinstance(functions, pd.DataFrame):
        rows = [_by_name(row, coefficients) for _, row in functions.iterrows()]
        L, names = np.array(rows), [str(name) for name in functions.index]
    elif isinstance(functions, Mapping | pd.Series):
        L, names = _by_name(functions, coefficients)[None], []
    elif isinstance(functions, Sequence) and any(
        isinstance(r, Mapping | pd.Series) for r in functions
    ):
        L, names = np.array([_by_name(row, coefficients) for row in functions]), []
    else:
        L, names = _by_position(functions, fit.beta.index), []
        L = np.hstack([L, np.zeros((len(L), len(fit.dropped)))])
    if not L.any(axis=1).all():
        raise ArgumentError(
            f"L: row {int(np.argmin(L.any(axis=1))) + 1} is zero, so that it says nothing about "
            f"the coefficients; leave it out."
        )
    values = _right_side(rhs, L)
    names = names or [_describe(row, coefficients) for row in L]
    return _Hypothesis(L[:, :p], values, names, L[:, p:])


def _by_name(row: Any, coefficients: pd.Index) -> np.ndarray:
    if not isinstance(row, Mapping | pd.Series):
        raise ArgumentError(
            f"L: the rows must all be mappings of coefficient names to numbers, but one is a "
            f"{type(row).__name__}."
        )
    unknown = [str(name) for name in dict(row) if name not in coefficients]
    if unknown:
        raise ArgumentError(
            f"L names {', '.join(unknown)}, but the coefficients are {', '.join(coefficients)}."
        )
    weights = dict(row)
    return _numbers([weights.get(name, 0.0) for name in coefficients], "L")


def _by_position(argument: Any, coefficients: pd.Index) -> np.ndarray:
    L = np.atleast_2d(_numbers(argument, "L"))
    if L.ndim != 2 or L.shape[1] != len(coefficients) or not len(L):
        raise ArgumentError(
            f"L has shape {np.shape(argument)}, but the fit has {len(coefficients)} coefficients "
            f"({', '.join(coefficients)}); give one number for each, or a mapping by name."
        )
    return L


def _numbers(argument: Any, name: str) -> np.ndarray:
    values = numbers(name, argument)
    if not np.isfinite(values).all():
        raise ArgumentError(f"{name} must be finite, but it is {argument!r}.")
    return values


def _right_side(rhs: Any, L: np.ndarray) -> np.ndarray:
    """Return the right side of ``L beta = rhs``, (k,), if the equations have a solution.

    L has the shape (k, p + d), with the dropped columns last.

    Raises
    ------
    ArgumentError
    """
    values = _numbers(rhs, "rhs")
    if values.ndim > 1 or values.size not in (1, len(L)):
        raise ArgumentError(
            f"rhs has shape {values.shape}, but L has {len(L)} row(s); give one number, or one "
            f"for each row."
        )
    values = np.broadcast_to(values.ravel(), len(L)).copy()
    solution = np.linalg.pinv(L) @ values
    if np.abs(L @ solution - values).max() > 1e-8 * max(np.abs(values).max(), 1e-300):
        raise ArgumentError(
            f"rhs {values.tolist()} contradicts itself: rows of L depend on each other, and no "
            f"coefficients meet them all; leave the dependent rows out."
        )
    return values


def _describe(row: np.ndarray, coefficients: pd.Index) -> str:
    """Write a linear function out: ``recipeB - recipeC``."""
    text = ""
    for weight, name in zip(row, coefficients, strict=True):
        if weight:
            size = "" if abs(weight) == 1.0 else f"{abs(weight):.6g} * "
            sign = (" - " if weight < 0 else " + ") if text else ("-" if weight < 0 else "")
            text += f"{sign}{size}{name}"
    return text
