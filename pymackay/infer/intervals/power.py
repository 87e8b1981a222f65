"""`power`: how often a fixed effect of a given size would be found, by simulation."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.arguments import one_of, probability, random_generator, whole_number
from pymackay.errors import ArgumentError
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import dense_gram, model_of
from pymackay.infer.significance.satterthwaite import satterthwaite_at
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram, cross_products
from pymackay.results import Fit
from pymackay.solve.many.fit_many import fit_many, warn_of_uncertified
from pymackay.solve.many.fits import ManyFits

_TESTS = {
    "satterthwaite": "Satterthwaite t",
    "z": "Wald z",
    "t": "Wald t",
    "lr": "likelihood-ratio",
}
_DENSE = 500  # columns left beside the largest grouping factor: with more, a df takes too long
_COVERAGE = 0.95  # of the interval that the number of simulations leaves


@by_kind("pymackay.infer.general.power:power", residual="pymackay.infer.residual.power:power")
def power(
    fit: Fit,
    effect: str,
    sizes: float | Iterable[float] | None = None,
    *,
    nsim: int = 1000,
    alpha: float = 0.05,
    test: str | None = None,
    df: float | None = None,
    seed: int | np.random.Generator | None = None,
    progress: bool | None = None,
) -> HeadedTable:
    """Simulate the power of the two-sided test of a fixed effect.

    Responses are drawn from the fit with its coefficient `effect` set to each size, all else (the
    design, variances, other coefficients) as it is: for other assumptions change the fit, as in
    ``fit.replace(sigma=20.0)``, or evaluate a planned design with `pymackay.evaluate`. All sizes
    meet the same draws.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    effect : str
        A fixed effect's name.
    sizes : float or iterable of float, optional
        True values to try, in the units of ``fit.beta``; by default the estimate. 0 gives the
        test's actual level.
    nsim : int
        Number of simulated data sets.
    alpha : float
        Level of the test.
    test : {"satterthwaite", "z", "t", "lr"}, optional
        ``"satterthwaite"``: estimate over standard error, by REML or ML as `fit` is, against
        Student's t with Satterthwaite's degrees of freedom of each simulated data set, as
        `fit.coefficients` does it. It is the default, except for designs with more than 500 columns
        beside the random effects of the largest grouping factor, where it takes long: there the
        default is ``"z"``. The heading of the table names the test.
        ``"z"``: the same against the normal distribution, which rejects too often where the degrees
        of freedom are few. ``"t"``: the same against Student's t with `df` degrees of freedom.
        ``"lr"``: the likelihood ratio against the model without the effect, both by ML, against
        χ²(1). Of a generalised model ``"z"`` (default) or ``"lr"``: responses are drawn anew at
        each size, and those that have no estimates count as not significant. Beside `residual=`
        each of the `nsim` responses takes a whole search.
    df : float, optional
        Degrees of freedom for ``"t"``, such as Satterthwaite's of `fit.coefficients`.
    seed : int, numpy.random.Generator or None
    progress : bool, optional
        As in `pymackay.bootstrap`.

    Returns
    -------
    HeadedTable
        One row per size: ``effect``, ``size``, ``power``, ``lower`` and ``upper`` (the exact
        95 % binomial interval that `nsim` leaves, Clopper & Pearson 1934, Biometrika 26),
        ``significant`` and ``nsim``.

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

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> pm.power(fit, "Days", [0, 3, 6], nsim=200, seed=1)["power"].round(1).tolist()
    [0.1, 0.5, 1.0]
    """
    model = model_of(fit, "power")
    place = effect_place(fit, effect)
    values = effect_sizes(sizes, float(fit.beta.iloc[place]))
    count, level = whole_number("nsim", nsim, 2), probability("alpha", alpha, 0.05)
    chosen = checked_test(test, df) or _default_test(fit)
    study = _Study(fit, model, place, count, random_generator(seed), progress)
    if chosen == "lr":
        significant = study.by_likelihood(values, float(stats.chi2.isf(level, 1)))
    elif chosen == "satterthwaite":
        significant = study.by_satterthwaite(values, level)
    else:
        tail = stats.norm.isf(level / 2) if chosen == "z" else stats.t.isf(level / 2, df)
        significant = study.by_estimate(values, float(tail))
    return power_table(effect, values, significant, count, level, chosen)


class _Study:
    """Responses drawn once, with the effect at the fit's own estimate, and refitted."""

    def __init__(
        self,
        fit: Fit,
        model: Model,
        place: int,
        count: int,
        draw: np.random.Generator,
        progress: bool | None,
    ) -> None:
        self.fit, self.model, self.place = fit, model, place
        self.estimate = float(fit.beta.iloc[place])
        self.names = pd.RangeIndex(count)
        self.gram = dense_gram(fit.problem, "power")
        self.seeds = draw
        self.progress = progress

    def by_estimate(self, sizes: list[float], critical: float) -> list[int]:
        """Count the tests that find the effect.

        Adding a multiple of a fixed column to the response adds it to the coefficient and changes
        nothing else, so that one refit serves all sizes.
        """
        refits = self._fitted(self.model, self.gram, self._drawn(0.0, self.seeds), self.fit.reml)
        moved = refits.beta[:, self.place] - self.estimate
        error = refits.std_error[:, self.place]
        return [int(np.count_nonzero(np.abs(moved + s) > critical * error)) for s in sizes]

    def by_satterthwaite(self, sizes: list[float], alpha: float) -> list[int]:
        """Count the t tests with Satterthwaite's degrees of freedom that find the effect.

        They are computed only for draws in which the z test, which has the lowest critical value,
        finds the effect at some size.
        """
        again = copy.deepcopy(self.seeds)
        refits = self._fitted(self.model, self.gram, self._drawn(0.0, self.seeds), self.fit.reml)
        moved = refits.beta[:, self.place] - self.estimate
        t = np.abs(moved[:, None] + np.array(sizes)) / refits.std_error[:, [self.place]]
        critical = np.full(len(t), np.inf)
        row = np.eye(len(self.fit.beta))[self.place]
        responses = (y for portion in self._drawn(0.0, again) for y in portion.T)
        for k, y in enumerate(responses):
            if t[k].max() > stats.norm.isf(alpha / 2):
                precision = satterthwaite_at(
                    self.gram.with_response(y), refits.theta[k], refits.sigma[k], reml=refits.reml
                )
                critical[k] = stats.t.isf(alpha / 2, precision.t_df(row))
        return np.count_nonzero(t > critical[:, None], axis=0).tolist()

    def by_likelihood(self, sizes: list[float], critical: float) -> list[int]:
        """Count the likelihood-ratio tests that find the effect; the larger model as above."""
        seed = int(self.seeds.integers(2**63))
        again = np.random.default_rng
        full = self._fitted(self.model, self.gram, self._drawn(0.0, again(seed)), False)
        smaller = without_column(self.model, self.place)
        gram = cross_products(smaller)
        counts = []
        for size in sizes:
            drawn = self._drawn(size - self.estimate, again(seed))
            null = self._fitted(smaller, gram, drawn, False)
            counts.append(int(np.count_nonzero(null.criterion - full.criterion > critical)))
        return counts

    def _drawn(self, more: float, draw: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the draws with the effect larger by `more`."""
        draws = parametric_draws(self.fit, use_u=False)
        shift = more * self.model.X[:, [self.place]]
        for portion in drawn_portions(draws, len(self.model.X), len(self.names), draw):
            yield portion + shift

    def _fitted(
        self, model: Model, gram: Gram, drawn: Iterator[np.ndarray], reml: bool
    ) -> ManyFits:
        refits = fit_many(model, gram, drawn, self.names, reml=reml, progress=self.progress)
        warn_of_uncertified(refits, stacklevel=4)
        return refits


def without_column(model: Model, place: int) -> Model:
    """Return the model without one column of its fixed part."""
    return dataclasses.replace(
        model,
        X=np.delete(model.X, place, axis=1),
        fixed=tuple(name for k, name in enumerate(model.fixed) if k != place),
    )


def power_table(
    effect: str, sizes: list[float], significant: list[int], nsim: int, alpha: float, test: str
) -> HeadedTable:
    """Return the table of `power`: shares of `nsim` with binomial intervals."""
    rows = []
    for size, hits in zip(sizes, significant, strict=True):
        ends = stats.binomtest(hits, nsim).proportion_ci(_COVERAGE, method="exact")
        rows.append(
            {
                "effect": effect,
                "size": size,
                "power": hits / nsim,
                "lower": ends.low,
                "upper": ends.high,
                "significant": hits,
                "nsim": nsim,
            }
        )
    return HeadedTable(
        rows, heading=f"Power of the {_TESTS[test]} test at level {alpha:g}, simulated"
    )


def effect_place(fit: Fit, effect: object) -> int:
    """Return the position of a coefficient.

    Raises
    ------
    ArgumentError
    """
    if effect not in fit.beta.index:
        raise ArgumentError(
            f"effect is {effect!r}, but the fixed effects are {', '.join(map(str, fit.beta.index))}"
        )
    return int(fit.beta.index.get_loc(effect))


def effect_sizes(sizes: Any, estimate: float) -> list[float]:
    """Return the sizes to try, by default the estimate.

    Raises
    ------
    ArgumentError
    """
    if sizes is None:
        return [estimate]
    try:
        values = np.atleast_1d(np.asarray(list(sizes) if np.iterable(sizes) else sizes, float))
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ArgumentError(
            f"sizes is {sizes!r}, but must be a number or several, such as [0, 5, 10]"
        )
    return [float(value) for value in values]


def checked_test(test: Any, df: Any) -> str:
    """Return the name of the test, empty where none is asked for.

    Raises
    ------
    ArgumentError
    """
    if test is not None:
        one_of("test", test, _TESTS)
    if (test == "t") != (df is not None):
        raise ArgumentError(
            f"df is {df!r} with test={test!r}: give degrees of freedom with test='t', and only then"
        )
    if df is not None and not (isinstance(df, int | float) and df > 0):
        raise ArgumentError(f"df is {df!r}, but degrees of freedom are a positive number")
    return "" if test is None else str(test)


def _default_test(fit: Fit) -> str:
    bases = fit.problem.solver.bases
    return "satterthwaite" if bases.n_others + bases.p <= _DENSE else "z"
