"""`profile`: how far each parameter can move before the likelihood objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.covariance.varcorr import TermSummary
from pymackay.errors import ArgumentError
from pymackay.infer.intervals.parameters import Parameter, choose, list_parameters
from pymackay.infer.intervals.profile_curve import Curve, CurvePoint
from pymackay.infer.intervals.profile_path import Path
from pymackay.infer.kinds import any_kind, by_kind
from pymackay.infer.problem import check_fit, dense_gram, problem_of
from pymackay.infer.refit import ML_MESSAGE, refit_by
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.late import LateMethod
from pymackay.model.sums.gram import Gram
from pymackay.results import Fit

_SAME_ZETA = 1e-6
_AT_OPTIMUM = 1e-8  # Newton decrement, criterion units
_MOST_ELEMENTS = 1000  # of covariances: their second derivatives take minutes for a point


@dataclass(frozen=True, eq=False, repr=False)
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
    fit: Fit
    messages: tuple[str, ...] = ()

    plot = LateMethod("pymackay.plots.profiles", "profiles")

    @property
    def table(self) -> HeadedTable:
        """The ends of each profile and its values at whole zeta, for printing."""
        rows = {name: points for name, points in self.frame.groupby("parameter", sort=False)}
        largest = self.frame["zeta"].abs().max()
        note = f"lowest and highest are at zeta -{largest:g} and {largest:g}, or at a bound"
        return HeadedTable(
            pd.DataFrame({name: _shown(points) for name, points in rows.items()}).T,
            heading=f"Profile likelihood of {self.fit.formula}",
            messages=(*self.messages, note, "All points: profile.frame"),
        )

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def _shown(points: pd.DataFrame) -> pd.Series:
    """Return some values of one parameter: the ends of its profile, and those at whole zeta."""
    zeta, value = points["zeta"].to_numpy(), points["value"].to_numpy()
    shown = {"lowest": value[0]}
    for whole in (-2, -1, 0, 1, 2):
        k = int(np.abs(zeta - whole).argmin())
        is_point = abs(zeta[k] - whole) < _SAME_ZETA
        shown[f"zeta {whole}"] = value[k] if is_point else np.nan
    return pd.Series({**shown, "highest": value[-1]})


@any_kind
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
    >>> profile = pm.profile(fit, ".sigma", points=3)
    >>> profile.frame[["zeta", "value"]].round(2).to_numpy().tolist()
    [[-3.0, 33.91], [0.0, 49.51], [3.0, 82.09]]
    """
    check_fit(fit, "profile")
    targets = _targets(max_zeta, points)
    fit, messages = ml_optimum(fit)
    everything = list_parameters(fit)
    rows = [
        row
        for parameter in choose(everything, parm)
        for row in _rows(curve_of(fit, parameter), targets, everything, fit.model.terms)
    ]
    return Profile(
        frame=pd.DataFrame(rows),
        estimates=pd.Series({p.name: p.estimate for p in everything}, name="estimate"),
        labels={p.name: p.label for p in everything},
        fit=fit,
        messages=messages,
    )


@by_kind(
    "pymackay.infer.general.profile_path:ml_optimum",
    residual="pymackay.infer.residual.profile_path:ml_optimum",
)
def ml_optimum(fit: Fit) -> tuple[Fit, tuple[str, ...]]:
    """Return the fit at the maximum of the likelihood, and a message if it was refitted."""
    problem_of(fit, "a likelihood profile")
    if fit.reml:
        return refit_by(fit, reml=False), (ML_MESSAGE,)
    if fit.convergence.decrement < _AT_OPTIMUM:
        return fit, ()
    return refit_by(fit, reml=False), ("refitted by ML: the fit was not at its optimum",)


@by_kind(
    "pymackay.infer.general.profile_path:curve_of",
    residual="pymackay.infer.residual.profile_path:curve_of",
)
def curve_of(fit: Fit, parameter: Parameter) -> Curve:
    """Return the profile of one parameter of an ML fit."""
    gram = dense_gram(fit.problem, "a likelihood profile")
    _check_size(gram)
    factors = [layout.factor(fit.theta.to_numpy()) for layout in gram.layouts]
    return Curve(Path(gram, parameter, factors, fit.sigma), fit.criterion)


def _check_size(gram: Gram) -> None:
    """Refuse a profile whose derivatives by all elements of the covariances would take hours."""
    elements = sum(layout.q * (layout.q + 1) // 2 for layout in gram.layouts)
    if elements > _MOST_ELEMENTS:
        raise ArgumentError(
            f"the random terms have {elements} variances and covariances, but a likelihood profile "
            f"is offered for {_MOST_ELEMENTS} at most; use the bootstrap, "
            f"fit.confint('boot'), or fit.confint('wald') for the coefficients"
        )


def _targets(max_zeta: object, points: object) -> np.ndarray:
    """Return the positive values of zeta at which a profile is computed, ascending."""
    if not (isinstance(max_zeta, int | float) and 0.0 < max_zeta < 10.0):
        raise ArgumentError(f"max_zeta must be between 0 and 10, such as 3, but it is {max_zeta!r}")
    if not (isinstance(points, int) and points >= 3 and points % 2):
        raise ArgumentError(f"points must be an odd number from 3, such as 13, not {points!r}")
    return np.linspace(0.0, float(max_zeta), points // 2 + 1)[1:]


def _rows(
    curve: Curve, targets: np.ndarray, everything: list[Parameter], terms: Sequence[TermSummary]
) -> Iterator[dict[str, object]]:
    """Yield the rows of the table of one profile, by increasing value of the parameter."""
    lower_side = list(_side(curve, -targets))
    for point in (*reversed(lower_side), curve.peak, *_side(curve, targets)):
        parameter = curve.path.parameter
        value = curve.path.outside(point.held)
        values = curve.path.values(point.point)
        yield {
            "parameter": parameter.name,
            "value": value,
            "zeta": point.zeta,
            **values.by_name(everything, terms),
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
