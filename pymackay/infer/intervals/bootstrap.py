"""`bootstrap`: thousands of refits to drawn responses, and intervals from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.arguments import flag, one_of, probability, random_generator, whole_number
from pymackay.errors import ArgumentError
from pymackay.infer.intervals.bootstrap_draws import (
    drawn_portions,
    parametric_draws,
    residual_draws,
)
from pymackay.infer.intervals.failed_refits import failed_refits
from pymackay.infer.intervals.parameters import list_parameters
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import dense_gram, model_of
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit
from pymackay.solve.many.fit_many import fit_many, warn_of_uncertified

_KINDS = {"parametric": parametric_draws, "residual": residual_draws}
_METHODS = ("percentile", "basic", "norm")

Statistic = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """Parameters of the refits to drawn responses, and intervals from them.

    Attributes
    ----------
    formula : str
    kind : str
        ``"parametric"`` or ``"residual"``.
    estimate : pandas.Series, shape (k,)
        The fit's own parameters under R's names (``"sd_(Intercept)|Subject"``,
        ``"cor_Days.(Intercept)|Subject"``, ``"sigma"``, fixed effects), and the statistic's values.
    replicates : pandas.DataFrame, shape (nsim, k)
        The same of every refit.
    converged, singular : numpy.ndarray of bool, each (nsim,)
        Whether a refit's optimum is certified, and whether it is singular.
    failures : mapping of int to str
        Refits that have no estimates, with the reason: a drawn response of a generalised model may
        be separated. Their replicates are nan, and are left out of what follows.
    """

    formula: str
    kind: str
    estimate: pd.Series
    replicates: pd.DataFrame
    converged: np.ndarray
    singular: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def nsim(self) -> int:
        """Number of refits."""
        return len(self.replicates)

    @property
    def n_singular(self) -> int:
        """Number of singular refits."""
        return int(np.count_nonzero(self.singular))

    @property
    def n_unconverged(self) -> int:
        """Number of refits whose optimum is not certified."""
        return int(np.count_nonzero(~self.converged)) - self.n_failed

    @property
    def n_failed(self) -> int:
        """Number of refits without estimates."""
        return len(self.failures)

    @property
    def std_error(self) -> pd.Series:
        """Standard deviations of the replicates, missing ones left out."""
        return self.replicates.std().rename("std_error")

    @property
    def bias(self) -> pd.Series:
        """Mean of the replicates minus the estimate, missing ones left out."""
        means = self.replicates.mean().to_numpy()
        return pd.Series(means - self.estimate, index=self.estimate.index, name="bias")

    def confint(self, level: float = 0.95, method: str = "percentile") -> HeadedTable:
        """Return bootstrap confidence intervals.

        Parameters
        ----------
        level : float
        method : {"percentile", "basic", "norm"}
            ``"percentile"``: quantiles of the replicates, between order statistics on the normal
            scale, as R's ``boot.ci`` takes them. ``"basic"``: these mirrored at the estimate.
            ``"norm"``: the estimate less the bias, ± a normal quantile of standard deviations.

        Returns
        -------
        HeadedTable, shape (k, 2)
            Columns named ``"2.5 %"`` and ``"97.5 %"`` for a level of 0.95. Missing replicates (the
            correlation of an effect that does not vary) are left out.

        Raises
        ------
        ArgumentError
            If `level` or `method` is wrong.

        References
        ----------
        Davison, A. C., Hinkley, D. V. (1997). Bootstrap Methods and their Application, eqs. 5.2,
        5.4 and 5.6; eq. 5.8 for the interpolation.
        """
        tail = 0.5 * (1.0 - probability("level", level, 0.95))
        one_of("method", method, _METHODS)
        columns = zip(self.estimate, self.replicates.to_numpy().T, strict=True)
        return HeadedTable(
            np.array([_interval(estimate, t, tail, method) for estimate, t in columns]),
            index=self.estimate.index,
            columns=[f"{100.0 * share:.3g} %" for share in (tail, 1.0 - tail)],
            heading=f"Confidence intervals, {self.kind} bootstrap ({method}), {self.nsim} refits",
            messages=self._remarks(tail, method),
        )

    def _remarks(self, tail: float, method: str) -> tuple[str, ...]:
        remarks = []
        if method != "norm" and (self.nsim + 1) * tail < 1.0:
            need = int(np.ceil(1.0 / tail)) - 1
            remarks.append(
                f"{self.nsim} refits do not reach so far into the tails: the extreme ones stand "
                f"in for the ends; take at least {need}"
            )
        if self.n_failed:
            remarks.append(failed_refits(self.failures, self.nsim))
        missing = int((~np.isfinite(self.replicates.to_numpy())).any(axis=1).sum()) - self.n_failed
        if missing:
            remarks.append(
                f"{missing} refits lack a parameter, such as a correlation with no effect"
            )
        if self.n_unconverged:
            remarks.append(f"{self.n_unconverged} refits are not certified")
        return tuple(remarks)

    @property
    def table(self) -> HeadedTable:
        """Estimates, bias and standard errors."""
        return HeadedTable(
            {"estimate": self.estimate, "bias": self.bias, "std_error": self.std_error},
            heading=f"{self.kind.capitalize()} bootstrap of {self.formula}: {self.nsim} refits, "
            f"{self.n_singular} singular, {self.n_unconverged} not certified"
            f"{f', {self.n_failed} without estimates' if self.n_failed else ''}",
        )

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


@by_kind(
    "pymackay.infer.general.bootstrap:bootstrap",
    residual="pymackay.infer.residual.bootstrap:bootstrap",
)
def bootstrap(
    fit: Fit,
    nsim: int = 1000,
    *,
    kind: str = "parametric",
    statistic: Statistic | None = None,
    seed: int | np.random.Generator | None = None,
    use_u: bool = False,
    progress: bool | None = None,
) -> Bootstrap:
    """Refit a model to many drawn responses, as lme4's ``bootMer``, all in one computation.

    Parameters
    ----------
    fit : Fit
        Made by this package, by REML or ML: the refits are by the same criterion.
    nsim : int
        Number of refits.
    kind : {"parametric", "residual"}
        ``"parametric"``, the only one of generalised models and of those with a residual
        structure: responses are drawn from the model.
        ``"residual"``: y* = Xβ̂ + o + Zb* +
        e*, where e* are residuals r (at unit weight) and the rows of b* predicted effects U of the
        levels, both drawn with replacement after they are centred and rescaled: r by
        σ̂ / √(mean r²), and U*= U (L_R L_S⁻¹)' with S = U'U / J = L_S L_S' and R = L_R L_R' the
        estimated covariance, so that U*'U* / J = R. Terms of one grouping factor are drawn
        together, factors independently.
    statistic : callable, optional
        Called once with the table of all refits (`ManyFits.to_frame`: one row per refit), and once
        with that of the fit; returns a Series or a table with a row for each. Its columns are
        added to the parameters.
    seed : int, numpy.random.Generator or None
        Equal seeds give equal draws; a generator is used up as it goes.
    use_u : bool
        Whether the random effects are kept as predicted; then only residuals are drawn.
    progress : bool, optional
        Whether a line on stderr tells how far it is: by default on a terminal, after two seconds.

    Returns
    -------
    Bootstrap

    Raises
    ------
    ArgumentError
        If an argument is wrong.
    PymackayError
        If the fit does not hold the model's rows.

    Warns
    -----
    ConvergenceWarning
        When the optimum of some refits could not be certified.

    References
    ----------
    Carpenter, J. R., Goldstein, H., Rasbash, J. (2003). A novel bootstrap procedure for assessing
    the relationship between class size and achievement. J. R. Statist. Soc. C 52(4), section 3.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> boot = fit.bootstrap(500, seed=1)
    >>> boot.confint().loc["Days"].round(1).tolist()
    [7.4, 13.3]

    The share of the variance of the intercept that lies between subjects:

    >>> def icc(table):
    ...     between = table["sd_(Intercept)|Subject"] ** 2
    ...     return (between / (between + table["sigma"] ** 2)).rename("icc")
    >>> boot = fit.bootstrap(500, statistic=icc, seed=1)
    >>> boot.confint().loc["icc"].round(1).tolist()
    [0.2, 0.7]
    """
    model = model_of(fit, "bootstrap")
    count = whole_number("nsim", nsim, 2)
    draws = _KINDS[one_of("kind", kind, _KINDS)](fit, use_u=flag("use_u", use_u))
    refits = fit_many(
        model,
        dense_gram(fit.problem, "bootstrap"),
        drawn_portions(draws, len(model.X), count, random_generator(seed)),
        pd.RangeIndex(count),
        reml=fit.reml,
        progress=progress,
    )
    warn_of_uncertified(refits, stacklevel=2)
    return bootstrap_of(fit, kind, refits.to_frame(), statistic)


def bootstrap_of(
    fit: Fit,
    kind: str,
    table: pd.DataFrame,
    statistic: Statistic | None,
    failures: Mapping[int, str] | None = None,
) -> Bootstrap:
    """Return the result of a table of refits, as `tables` takes it.

    `failures` has the numbers of those without estimates, and what their fits say.
    """
    estimate, replicates = tables(fit, table, statistic)
    return Bootstrap(
        formula=fit.formula,
        kind=kind,
        estimate=estimate,
        replicates=replicates,
        converged=table["converged"].to_numpy(),
        singular=table["singular"].to_numpy(),
        failures=failures or {},
    )


def tables(
    fit: Fit, table: pd.DataFrame, statistic: Statistic | None
) -> tuple[pd.Series, pd.DataFrame]:
    """Return estimates and replicates of the parameters, and of the statistic.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        One row per refit: all parameters, then criterion, converged and singular.
    statistic : callable, optional
        As of `bootstrap`.
    """
    estimates = [p.estimate for p in list_parameters(fit)]
    names = table.columns[: len(estimates)]
    replicates = table.iloc[:, : len(estimates)].rename_axis("refit")
    estimate = pd.Series(estimates, index=names, name="estimate")
    if statistic is None:
        return estimate, replicates
    rest = [fit.criterion, fit.convergence.converged, fit.singular]
    one = pd.DataFrame([[*estimates, *rest]], columns=table.columns)
    more = _statistic(statistic, table)
    single = _statistic(statistic, one).iloc[0]
    if list(single.index) != list(more.columns) or more.columns.isin(names).any():
        raise ArgumentError(
            f"statistic must return the same columns for one row as for many, under names of its "
            f"own, but returned {list(single.index)} and {list(more.columns)}."
        )
    both = pd.concat([estimate, single.astype(np.float64)]).rename("estimate")
    return both, pd.concat([replicates, more.set_axis(replicates.index)], axis=1)


def _statistic(statistic: Statistic, table: pd.DataFrame) -> pd.DataFrame:
    """Return the statistic's values as a table of numbers with the rows of `table`."""
    values = statistic(table)
    if isinstance(values, pd.Series):
        values = values.to_frame("statistic" if values.name is None else values.name)
    elif not isinstance(values, pd.DataFrame):
        array = np.asarray(values)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim == 2:
            names = ["statistic"] if array.shape[1] == 1 else None
            values = pd.DataFrame(array, columns=names)
    if not isinstance(values, pd.DataFrame) or len(values) != len(table):
        raise ArgumentError(
            f"statistic takes a table with one row per refit, and must return one value, or one "
            f"row, for each of its {len(table)} rows; it returned a {type(values).__name__} of "
            f"shape {np.shape(values)}."
        )
    return values.astype(np.float64).rename(columns=str)


def _interval(estimate: float, replicates: np.ndarray, tail: float, method: str) -> list[float]:
    """Return both ends of an interval."""
    t = np.sort(replicates[np.isfinite(replicates)])
    if len(t) < 2:
        return [np.nan, np.nan]
    if method == "norm":
        center = 2.0 * estimate - t.mean()
        reach = float(stats.norm.isf(tail) * t.std(ddof=1))
        return [center - reach, center + reach]
    low, high = _quantile(t, tail), _quantile(t, 1.0 - tail)
    return [low, high] if method == "percentile" else [2.0 * estimate - high, 2.0 * estimate - low]


def _quantile(ordered: np.ndarray, share: float) -> float:
    """Interpolate order statistics on the normal scale (Davison & Hinkley 1997, eq. 5.8)."""
    R = len(ordered)
    place = (R + 1) * share
    k = int(np.floor(place + 1e-9))
    if k < 1 or k >= R:
        return float(ordered[0 if k < 1 else R - 1])
    if abs(place - k) < 1e-9:
        return float(ordered[k - 1])
    z, below, above = stats.norm.ppf([share, k / (R + 1), (k + 1) / (R + 1)])
    return float(ordered[k - 1] + (z - below) / (above - below) * (ordered[k] - ordered[k - 1]))
