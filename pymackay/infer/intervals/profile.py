"""`profile`: how far each parameter can move before the likelihood objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.intervals.parameters import Parameter, choose, list_parameters
from pymackay.infer.intervals.profile_curve import Curve, CurvePoint
from pymackay.infer.intervals.profile_path import Path
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import check_fit, dense_gram, problem_of
from pymackay.infer.refit import ML_MESSAGE, refit_by
from pymackay.late import LateMethod
from pymackay.results import Fit

_AT_OPTIMUM = 1e-8  # Newton decrement, criterion units


@dataclass(frozen=True, eq=False)
class Profile:
    """Profiles of a fit's parameters.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row for each point: ``parameter``, the name of the one that is held; ``value``;
        ``zeta``, the signed root of the rise of −2 log likelihood above its minimum; then all
        parameters at their best there, by name.
    estimates : pandas.Series
        The maximum likelihood estimates, by name.
    labels : dict of str to str
        Short name (``".sig01"``) to long (``"sd_(Intercept)|Subject"``).
    fit : Fit
        The ML fit that is profiled.
    messages : tuple of str
    """

    frame: pd.DataFrame
    estimates: pd.Series
    labels: dict[str, str]
    fit: Fit = field(repr=False)
    messages: tuple[str, ...] = ()

    plot = LateMethod("pymackay.plots.profiles", "profiles")


@by_kind(cure="Intervals by standard errors are fit.confint('wald').")
def profile(fit: Fit, parm: object = None, *, max_zeta: float = 3.0, points: int = 13) -> Profile:
    """Profile the likelihood.

    Each parameter is held at one value after the other while all others are at their best, under
    maximum likelihood, as in lme4: a REML fit is refitted by ML. Standard deviations and
    correlations stand for the covariance parameters.

    Parameters
    ----------
    fit : Fit
    parm : str or sequence of str, optional
        Parameters to profile, as in `confint`; by default all.
    max_zeta : float
        How far to go: a normal quantile of 3 covers 99.7 % intervals. A profile ends earlier at a
        bound (a standard deviation of 0, a correlation of ±1).
    points : int
        Number of points, evenly spaced in zeta, the estimate among them (so odd, 3 or more).

    Returns
    -------
    Profile

    Raises
    ------
    PymackayError
        If the fit does not hold its model, an argument cannot be used, or a point was not found.

    References
    ----------
    Bates, Mächler, Bolker, Walker 2015, J. Stat. Softw. 67(1), section 5.1.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"), reml=False)
    >>> found = pm.profile(fit, ".sigma", points=3)
    >>> found.frame[["zeta", "value"]].round(2).to_numpy().tolist()
    [[-3.0, 33.91], [0.0, 49.51], [3.0, 82.09]]
    """
    check_fit(fit, "profile")
    targets = _targets(max_zeta, points)
    fit, messages = ml_optimum(fit)
    everything = list_parameters(fit)
    rows = [
        row
        for parameter in choose(everything, parm)
        for row in _rows(curve_of(fit, parameter), targets, everything)
    ]
    return Profile(
        frame=pd.DataFrame(rows),
        estimates=pd.Series({p.name: p.estimate for p in everything}, name="estimate"),
        labels={p.name: p.label for p in everything},
        fit=fit,
        messages=messages,
    )


def ml_optimum(fit: Fit) -> tuple[Fit, tuple[str, ...]]:
    """Return the fit at the maximum of the likelihood, and a message if it was refitted."""
    problem_of(fit, "a likelihood profile")
    if fit.reml:
        return refit_by(fit, reml=False), (ML_MESSAGE,)
    if fit.convergence.decrement < _AT_OPTIMUM:
        return fit, ()
    return refit_by(fit, reml=False), ("refitted by ML: the fit was not at its optimum",)


def curve_of(fit: Fit, parameter: Parameter) -> Curve:
    """Return the profile of one parameter of an ML fit."""
    gram = dense_gram(fit.problem, "a likelihood profile")
    factors = [layout.factor(fit.theta.to_numpy()) for layout in gram.layouts]
    return Curve(Path(gram, parameter, factors, fit.sigma), fit.criterion)


def _targets(max_zeta: object, points: object) -> np.ndarray:
    """Return the positive values of zeta at which a profile is computed, ascending."""
    if not (isinstance(max_zeta, int | float) and 0.0 < max_zeta < 10.0):
        raise ArgumentError(f"max_zeta must be between 0 and 10, such as 3, but it is {max_zeta!r}")
    if not (isinstance(points, int) and points >= 3 and points % 2):
        raise ArgumentError(f"points must be an odd number from 3, such as 13, not {points!r}")
    return np.linspace(0.0, float(max_zeta), points // 2 + 1)[1:]


def _rows(
    curve: Curve, targets: np.ndarray, everything: list[Parameter]
) -> Iterator[dict[str, object]]:
    """Yield the rows of the table of one profile, by increasing value of the parameter."""
    lower_side = list(_side(curve, -targets))
    for point in (*reversed(lower_side), curve.peak, *_side(curve, targets)):
        parameter = curve.path.parameter
        value = curve.path.outside(point.held)
        yield {
            "parameter": parameter.name,
            "value": value,
            "zeta": point.zeta,
            **_conditional(curve.path, point, everything),
            parameter.name: value,
        }


def _side(curve: Curve, targets: np.ndarray) -> Iterator[CurvePoint]:
    """Yield the points on one side of the optimum, outwards, up to the bound of the parameter."""
    near = curve.peak
    for target in targets:
        point = curve.solve(float(target), near)
        if point is None:
            if curve.path.held != curve.path.bounds[int(target > 0)]:
                yield curve.at_bound(float(np.sign(target)))
            return
        yield point
        near = point


def _conditional(path: Path, point: CurvePoint, everything: list[Parameter]) -> dict[str, float]:
    """Return all parameters at a point of a profile, by name."""
    gram, x = path.gram, point.point.x
    covariances = path.covariances(x)
    beta = gram.response.beta + gram.basis.from_basis(point.point.local.beta) * gram.y_scale
    values = {}
    for p in everything:
        if p.kind == "sigma":
            values[p.name] = float(np.exp(x[path.m])) * gram.y_scale
        elif p.kind == "beta":
            values[p.name] = float(beta[p.first])
        else:
            sd = np.sqrt(np.diag(covariances[p.term]))
            scale = sd[p.first] * sd[p.second]
            covariance = float(covariances[p.term][p.first, p.second])
            correlation = covariance / scale if scale > 0.0 else float("nan")
            values[p.name] = float(sd[p.first]) if p.kind == "sd" else correlation
    return values
