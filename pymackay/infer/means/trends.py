"""`emtrends`: the slopes of a covariate at the levels of factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.infer.means.averages import marginal_averages
from pymackay.infer.means.emmeans import averaged_over, basis_of, functions, read_specs
from pymackay.infer.means.grid import ReferenceGrid, design_of
from pymackay.infer.means.means import Means
from pymackay.infer.means.predictors import Predictors, check_names, read_at
from pymackay.results import Fit

_STEP = 1e-3  # of the covariate's range: the central difference of a quadratic is exact


def emtrends(
    fit: Fit,
    specs: str | Sequence[str],
    var: str,
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    ddf: str = "Satterthwaite",
    data: Any = None,
) -> Means:
    """Estimate the slope of a covariate at the levels of factors.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    specs, by, at, weights, ddf, data
        As in `emmeans`.
    var : str
        The covariate. The slope is that at its value in the reference grid: its mean, or the one
        in `at`.

    Returns
    -------
    Means
        Of the column ``"<var>.trend"``, in units of the model's response per unit of `var`.

    Raises
    ------
    ArgumentError
        As in `emmeans`, and if `var` does not hold numbers.

    Notes
    -----
    Slopes are central differences of the model's columns over a thousandth of the covariate's
    range, which is exact for polynomials of degree two. R's emtrends takes one-sided differences
    of the same step.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe * temp + (1 | replicate)", pm.load_data("cake"))
    >>> slopes = pm.emtrends(fit, "recipe", "temp")
    >>> slopes.table[["recipe", "temp.trend", "SE"]].round(4)
      recipe  temp.trend      SE
    0      A      0.1537  0.0298
    1      B      0.1646  0.0298
    2      C      0.1558  0.0298
    """
    predictors = Predictors.of(fit, "emtrends", data)
    targets, families = read_specs(specs, by)
    check_names("specs or by", (*targets, *families), predictors.names)
    check_names("var", (var,), predictors.names)
    given = read_at(at, predictors.names)
    values = predictors.numbers(var)
    if var in targets + families and var not in given:
        given[var] = predictors.values(var)
    if var not in given:
        given[var] = [float(values.mean())]
    grid = ReferenceGrid.of(predictors, given)
    step = _STEP * float(np.ptp(values))
    if not step > 0.0:
        raise ArgumentError(f"var: all values of {var!r} are equal, so that it has no slope")
    sides = []
    for sign in (-0.5, 0.5):
        moved = grid.table.assign(**{var: grid.table[var].astype(np.float64) + sign * step})
        sides.append(design_of(predictors, moved, None)[0])
    names = grid.with_parents((*targets, *families))
    names = (*(n for n in names if n not in families), *families)
    labels, W = marginal_averages(grid, names, weights)
    L = functions(W, (sides[1] - sides[0]) / step)
    asked = {"fit": fit, "specs": targets, "by": families, "at": at, "weights": weights,
             "ddf": ddf, "offset": None, "data": data}  # fmt: skip
    return Means(
        labels=labels,
        L=L,
        offset=np.zeros(len(L)),
        by=families,
        kind=f"{var}.trend",
        basis=basis_of(fit, predictors, ddf, asked),
        messages=averaged_over(grid, names),
    )


def trends_of(means: Means, var: str) -> Means:
    """Estimate the slope of a covariate at the levels of the same factors; see `emtrends`.

    Parameters
    ----------
    means : Means
        Of `emmeans`.
    var : str
        The covariate.

    Raises
    ------
    ArgumentError
    """
    asked = means.basis.asked
    if means.is_comparison:
        raise ArgumentError(
            "trends are asked for of means, not of contrasts: emmeans(...).trends(...).pairs()"
        )
    kept = ("by", "at", "weights", "ddf", "data")
    return emtrends(asked["fit"], asked["specs"], var, **{name: asked[name] for name in kept})
