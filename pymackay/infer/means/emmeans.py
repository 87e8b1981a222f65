"""`emmeans`: estimated marginal means of a fit, as R's package emmeans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.infer.estimable import Aliases
from pymackay.infer.means.averages import combined, marginal_averages
from pymackay.infer.means.grid import ReferenceGrid
from pymackay.infer.means.means import Basis, Means, check_type
from pymackay.infer.means.predictors import Predictors, check_names, read_at, read_names
from pymackay.infer.means.transform import scale_of
from pymackay.infer.significance.ddf import fixed_effects
from pymackay.results import Fit


def emmeans(
    fit: Fit,
    specs: str | Sequence[str],
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    ddf: str = "Satterthwaite",
    type: str = "link",
    offset: float | None = None,
    data: Any = None,
) -> Means:
    """Estimate marginal means: predictions at the levels of some factors, averaged over others.

    The reference grid holds all combinations of the levels of factors and of the means of
    covariates; a covariate with two values keeps both, as in R. A mean is the average of the
    population's predictions (random effects zero) over the cells of the grid with its levels.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    specs : str or sequence of str
        Variables whose combinations the means are of. R's formulas do too: ``"~ arm | visit"``.
    by : str or sequence of str, optional
        Variables within whose combinations means are compared.
    at : mapping of str to value or sequence, optional
        Values of variables: levels of a factor to keep, or numbers of a covariate.
    weights : {"equal", "proportional", "outer", "cells"}
        Of the cells averaged over: equal; as often as combinations of the other factors occur; as
        often as their levels occur, each factor by itself; as often as each cell occurs.
    ddf : {"Satterthwaite", "Kenward-Roger", "asymptotic", "none"}
        As in `coefficients`; ``"asymptotic"`` is ``"normal"``, which generalised models have.
    type : {"link", "response"}
        Whether a transformation of the response (``log``, ``log2``, ``log10``, ``log1p``,
        ``sqrt``, or one of these of the response plus a constant) is taken back, or the link of
        a generalised model: the means are probabilities, rates or responses then, and their
        differences odds ratios (logit) or ratios (log).
    offset : float, optional
        In place of the offset in the formula at the means of its variables. An offset that was the
        argument `offset` of the fit is not added.
    data : table, optional
        The data of the fit: needed where the formula transforms a covariate, as in ``log(x)``,
        and the fit was loaded from a file.

    Returns
    -------
    Means
        Prints as a table. ``.table``, ``.confint()`` and ``.test()`` are frames; ``.pairs()``,
        ``.contrast(...)``, ``.trends(...)``, ``.joint_tests()`` and ``.plot()`` go on from it. A
        mean that the data do not determine is nan.

    Raises
    ------
    ArgumentError
        If a variable is not part of the fixed effects, or another argument is wrong.
    PymackayError
        If another engine made the fit.

    Notes
    -----
    A factor each level of which occurs with one level of another factor is nested in it: only
    combinations that occur are part of the grid, and averages are taken within the other factor's
    levels first.

    References
    ----------
    Searle, Speed, Milliken 1980, Population marginal means in the linear model, Am. Stat. 34.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe + temp + (1 | replicate)", pm.load_data("cake"))
    >>> means = pm.emmeans(fit, "recipe")
    >>> means.table[["recipe", "emmean", "SE", "df"]].round(3)
      recipe  emmean     SE      df
    0      A  33.122  1.694  15.833
    1      B  31.644  1.694  15.833
    2      C  31.600  1.694  15.833
    >>> means.pairs().table[["contrast", "estimate", "p.value"]].round(4)
      contrast  estimate  p.value
    0    A - B    1.4778   0.1004
    1    A - C    1.5222   0.0875
    2    B - C    0.0444   0.9979
    """
    predictors = Predictors.of(fit, "emmeans", data)
    targets, families = read_specs(specs, by)
    check_names("specs or by", (*targets, *families), predictors.names)
    given = read_at(at, predictors.names)
    grid = ReferenceGrid.of(predictors, given, offset)
    asked = {"fit": fit, "specs": targets, "by": families, "at": at, "weights": weights,
             "ddf": ddf, "offset": offset, "data": data}  # fmt: skip
    basis = basis_of(fit, predictors, ddf, asked)
    scale = check_type(type)
    if scale == "response" and basis.transformation is None:
        raise ArgumentError(
            f"type is 'response', but the response {predictors.model.response!r} is not "
            f"transformed by log, log2, log10, log1p or sqrt, and has no link; leave type='link'"
        )
    names = grid.with_parents((*targets, *families))
    names = (*(n for n in names if n not in families), *families)
    labels, W = marginal_averages(grid, names, weights)
    return Means(
        labels=labels,
        L=functions(W, grid.X),
        offset=functions(W, grid.offset[:, None])[:, 0],
        by=families,
        kind="emmean",
        basis=basis,
        type=scale,
        messages=averaged_over(grid, names),
    )


def read_specs(specs: Any, by: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the variables of the means, and those of the families.

    Raises
    ------
    ArgumentError
    """
    families = read_names("by", by)
    if isinstance(specs, str) and "~" in specs:
        left, _, right = specs.partition("~")
        if left.strip():
            raise ArgumentError(
                f"specs is {specs!r}: contrasts are asked for by a method of the result, as in "
                f"emmeans(fit, '~{right}').contrast({left.strip()!r})"
            )
        right, _, group = right.partition("|")
        specs = _variables(right)
        families = (*_variables(group), *families)
    targets = tuple(name for name in read_names("specs", specs) if name not in families)
    if not targets:
        raise ArgumentError("specs names no variable; name one or more, such as 'arm'")
    return targets, families


def _variables(text: str) -> tuple[str, ...]:
    names = [name.strip().strip("`") for name in re.split(r"[*+:]", text)]
    return tuple(name for name in names if name)


def basis_of(fit: Fit, predictors: Predictors, ddf: str, asked: dict[str, Any]) -> Basis:
    """Return what functions of this fit are estimated with."""
    method = "normal" if isinstance(ddf, str) and ddf.lower() == "asymptotic" else ddf
    effects = fixed_effects(fit, method)
    return Basis(effects, Aliases.of(predictors.model), scale_of(fit, predictors), asked)


def functions(W: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return ``W X``, nan where a mean has no weights."""
    made = combined(np.nan_to_num(W), X)
    made[np.isnan(W).any(axis=1)] = np.nan
    return np.asarray(made)


def averaged_over(grid: ReferenceGrid, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return remarks on what the means are averages over."""
    others = [name for name in grid.values if name not in names and len(grid.values[name]) > 1]
    if not others:
        return ()
    remarks = [f"Averaged over the levels of {', '.join(others)}."]
    mixed = sorted(
        {
            other
            for term in grid.predictors.terms
            for other in term & set(others)
            if term & set(names) and other not in grid.nesting
        }
    )
    if mixed:
        remarks.append(
            f"The model has an interaction with {', '.join(mixed)}: averages may hide differences."
        )
    return tuple(remarks)
