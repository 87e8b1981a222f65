"""`ArticleTable`: the article's printed numbers beside ours and lme4's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.sleepstudy import FORMULA, SleepReg

_Key = tuple[str, str]
_Values = dict[_Key, float]

_ROUNDS = 100

_ONE = "Listing 1: effects at lmer's variances"
_TWO = "Listing 2: after 100 rounds of the diagonal loop"

# Ogorek, B. (2019). Linear Mixed Models in TensorFlow 2.0 via MacKay's Method. As text, to
# keep the number of decimals.
_PRINTED: dict[_Key, str] = {
    (_ONE, "beta (Intercept)"): "251.405105",
    (_ONE, "beta Days"): "10.467286",
    (_ONE, "b 308 (Intercept)"): "2.262934",
    (_ONE, "b 308 Days"): "9.198305",
    (_ONE, "b 309 (Intercept)"): "-40.399556",
    (_ONE, "b 309 Days"): "-8.619793",
    (_ONE, "b 349 (Intercept)"): "-25.207478",
    (_ONE, "b 349 Days"): "1.172853",
    (_ONE, "b 350 (Intercept)"): "-13.065620",
    (_ONE, "b 350 Days"): "6.613451",
    (_ONE, "b 351 (Intercept)"): "4.575970",
    (_ONE, "b 351 Days"): "-3.014939",
    (_TWO, "variance of (Intercept)"): "302.9045408",
    (_TWO, "variance of Days"): "31.08902388",
    (_TWO, "residual variance"): "670.8546961",
    (_TWO, "beta (Intercept)"): "251.40510485",
    (_TWO, "beta Days"): "10.46728596",
    (_TWO, "b 308 (Intercept)"): "2.013963",
    (_TWO, "b 308 Days"): "9.147986",
    (_TWO, "b 309 (Intercept)"): "-32.683526",
    (_TWO, "b 309 Days"): "-9.633964",
}


@dataclass(frozen=True, eq=False, repr=False)
class ArticleTable:
    """Three columns: printed in the article, ours, lme4's.

    Attributes
    ----------
    frame : pandas.DataFrame
        Columns ``article``, ``pymackay``, ``lme4`` (nan where lme4 gave no answer); indexed by
        listing and quantity.
    decimals : pandas.Series
        How many decimals the article printed, by the same index.
    notes : tuple of str
        Lines below the table.
    """

    frame: pd.DataFrame
    decimals: pd.Series
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether our numbers have all digits that the article printed."""
        half_unit = 0.5 * 10.0**-self.decimals
        # allows for the rounding of the printed number to float64
        slack = 4.0 * np.spacing(self.frame["article"].abs())
        distance = (self.frame["pymackay"] - self.frame["article"]).abs()
        return bool((distance <= half_unit + slack).all())

    def __str__(self) -> str:
        lines = []
        for listing in self.frame.index.get_level_values(0).unique():
            lines += [listing, f"  {'':<26}{'article':>16}{'pymackay':>16}{'lme4':>16}"]
            lines += [self._line(listing, name) for name in self.frame.loc[listing].index]
            lines.append("")
        verdict = "Every printed digit comes out." if self.ok else "PRINTED DIGITS DIFFER."
        return "\n".join([*lines, verdict, *self.notes])

    __repr__ = __str__

    def _line(self, listing: str, name: str) -> str:
        row, decimals = self.frame.loc[(listing, name)], self.decimals[(listing, name)]
        cells = ["-" if np.isnan(value) else f"{value:.{decimals}f}" for value in row]
        return f"  {name:<26}" + "".join(f"{cell:>16}" for cell in cells)


def article_table() -> ArticleTable:
    """Run the article's two listings, and return their numbers beside the printed ones and lme4's.

    Returns
    -------
    ArticleTable
        Can be printed; ``.frame`` has the numbers, ``.ok`` whether all printed digits agree.

    Examples
    --------
    >>> article_table().ok
    True
    """
    return run_listings(SleepReg())


def run_listings(regression: SleepReg) -> ArticleTable:
    """Run the article's two listings with a given regression; see `article_table`.

    Parameters
    ----------
    regression : SleepReg
        With the article's data; its variances and coefficients are overwritten.
    """
    ours = _listing_one(regression)
    theirs, first = _lme4_at(regression.data, regression.solve().theta)
    optimum, second = _lme4_optimum(regression.data)
    ours |= _listing_two(regression)
    made = (
        f"pymackay: gradient descent; listing 1 SGD then Adam, listing 2 {_ROUNDS} rounds of SGD."
    )
    return _set_table(ours, theirs | optimum, made, first, second)


def _listing_one(regression: SleepReg) -> _Values:
    """Train at lmer's variances as printed in the article; return the values of listing 1."""
    intercept, slope, noise = 24.7404, 5.9221, 25.5918
    covariance = intercept * slope * 0.066
    regression.reset_variances(
        np.array([[intercept**2, covariance], [covariance, slope**2]]), noise**2
    )
    regression.train(display_beta=False)
    regression.set_optimizer(adam=True)
    regression.train(epochs=300, display_beta=False)
    return _trained_values(1, regression)


def _listing_two(regression: SleepReg) -> _Values:
    """Run the article's loop from its starting values; return the values of listing 2."""
    regression.zero_coefficients()
    regression.reset_variances(np.array([[410, 10], [10, 22]]), 0.25 * np.var(regression.y))
    regression.set_optimizer(adam=False)
    for _ in range(_ROUNDS):
        regression.train(display_beta=False)
        noise_var = regression.estimate_sigmasq_epsilon()
        diagonal = np.diag(np.diag(regression.get_rnd_effs_variance()))
        regression.reset_variances(diagonal, noise_var)
    values = _variance_values(np.diag(regression.Sigma_b), regression.sigmasq_epsilon)
    return values | _trained_values(2, regression)


def _trained_values(listing: int, regression: SleepReg) -> _Values:
    """Return the trained effects by the names of the article's table, with R's column names."""
    beta = pd.Series(regression.beta.numpy()[:, 0], index=["(Intercept)", "Days"])
    effects = regression.get_random_effects().set_axis(list(beta.index), axis=1)
    return _effect_values(listing, beta, effects)


def _effect_values(listing: int, beta: pd.Series, effects: pd.DataFrame) -> _Values:
    """Return the effects by the names of the article's table.

    Parameters
    ----------
    listing : int
        1 or 2.
    beta : pandas.Series, shape (2,)
    effects : pandas.DataFrame, shape (subjects, 2)
        Columns (Intercept) and Days.
    """
    title = {1: _ONE, 2: _TWO}[listing]
    values = {(title, f"beta {name}"): float(beta[name]) for name in beta.index}
    for subject in effects.index:
        for name in effects.columns:
            values[title, f"b {subject} {name}"] = float(effects.loc[subject, name])
    return values


def _variance_values(variances: Iterable[float], noise_var: float) -> _Values:
    """Return the variances by the names of the article's table."""
    intercept, days = variances
    return {
        (_TWO, "variance of (Intercept)"): float(intercept),
        (_TWO, "variance of Days"): float(days),
        (_TWO, "residual variance"): float(noise_var),
    }


def _lme4_at(data: pd.DataFrame, theta: pd.Series) -> tuple[_Values, str]:
    """Return lme4's effects at listing 1's variances, and a note on their source."""
    try:
        fit = pm.lme4.evaluate(FORMULA, data, theta)
    except (pm.RUnavailableError, pm.RecordingError) as error:
        return {}, f"lme4, listing 1: no answer. {error}"
    note = f"lme4, listing 1: at the same variances. {fit.engine}."
    return _effect_values(1, fit.beta, fit.ranef["Subject"]), note


def _lme4_optimum(data: pd.DataFrame) -> tuple[_Values, str]:
    """Return lme4's REML fit, for comparison with listing 2, and a note on its source."""
    try:
        fit = pm.lme4.lmer(FORMULA, data)
    except (pm.RUnavailableError, pm.RecordingError) as error:
        return {}, f"lme4, listing 2: no answer. {error}"
    values = _effect_values(2, fit.beta, fit.ranef["Subject"])
    values |= _variance_values(np.diag(fit.varcorr["Subject"]), fit.sigma**2)
    note = f"lme4, listing 2: its REML fit, whose variances the loop misses. {fit.engine}."
    return values, note


def _set_table(
    ours: Mapping[_Key, float], theirs: Mapping[_Key, float], *notes: str
) -> ArticleTable:
    """Return the printed values, ours and lme4's as one table."""
    index = pd.MultiIndex.from_tuples(list(_PRINTED), names=["listing", "quantity"])
    frame = pd.DataFrame(
        {
            "article": [float(text) for text in _PRINTED.values()],
            "pymackay": [ours[key] for key in _PRINTED],
            "lme4": [theirs.get(key, float("nan")) for key in _PRINTED],
        },
        index=index,
    )
    decimals = [len(text.partition(".")[2]) for text in _PRINTED.values()]
    return ArticleTable(frame, pd.Series(decimals, index=index), notes)
