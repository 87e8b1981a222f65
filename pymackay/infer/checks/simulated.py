"""`simulated_residuals`: residuals as ranks among simulated responses, as R's DHARMa."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.arguments import random_generator, whole_number
from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.simulate import simulate
from pymackay.infer.problem import model_of
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.late import LateMethod
from pymackay.results import Fit

_CELLS = 8_000_000  # rows × responses drawn at a time


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals:
    """Residuals scaled by simulation: uniform between 0 and 1 if the model is right.

    Attributes
    ----------
    scaled : pandas.Series, shape (n,)
        The share of simulated responses below the response of each row. Of those equal to it, as
        counts are, a random part is below.
    fitted : pandas.Series, shape (n,)
        The population's mean of each row: random effects zero.
    n : int
        Simulated responses of each row.
    tests : HeadedTable
        ``uniformity`` (Kolmogorov-Smirnov), ``dispersion`` (variance around `fitted`, relative to
        its mean over simulations) and ``outliers`` (rows outside of all simulated responses; exact
        binomial test), with ``statistic``, ``expected`` and ``p.value``.
    """

    scaled: pd.Series
    fitted: pd.Series
    n: int
    tests: HeadedTable

    plot = LateMethod("pymackay.plots.simulated", "simulated")

    def __repr__(self) -> str:
        return repr(self.tests)


def simulated_residuals(
    fit: Fit, n: int = 250, *, seed: int | np.random.Generator | None = 0
) -> SimulatedResiduals:
    """Compare each response with responses that the model simulates, as R's DHARMa.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    n : int
        Responses to simulate; random effects are drawn anew in each.
    seed : int, numpy.random.Generator or None
        Equal seeds give equal residuals.

    Returns
    -------
    SimulatedResiduals

    Raises
    ------
    ArgumentError
        If `n` or `seed` is wrong.
    PymackayError
        If the fit does not hold its rows.

    Notes
    -----
    Rows of one group share random effects, so that their residuals are not independent: with few
    groups the test of uniformity rejects a right model too often.

    References
    ----------
    Dunn, Smyth 1996, Randomized quantile residuals, J. Comput. Graph. Stat. 5.
    Hartig 2022, DHARMa: residual diagnostics for hierarchical regression models.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> residuals = pm.simulated_residuals(fit, seed=1)
    >>> bool(residuals.scaled.between(0.0, 1.0).all()), residuals.tests.index.tolist()
    (True, ['uniformity', 'dispersion', 'outliers'])
    """
    model = model_of(fit, "simulated_residuals", residual=True)
    count, draw = whole_number("n", n, least=2), random_generator(seed)
    y, mean = response_and_mean(fit)
    ranks, spreads = ranked(fit, y, mean, count, draw)
    scaled = ranks.scaled(draw)
    spread = float((y - mean).var(ddof=1))
    return SimulatedResiduals(
        scaled=pd.Series(scaled, index=model.rows, name="scaled"),
        fitted=pd.Series(mean, index=model.rows, name="fitted"),
        n=count,
        tests=_tests(scaled, spread, spreads, count, ranks.outside),
    )


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where responses stand among simulated ones.

    Attributes
    ----------
    below, equal : numpy.ndarray, shape (n,)
        Numbers of simulated responses below each response, and of those equal to it.
    count : int
        Simulated responses of each row.
    """

    below: np.ndarray
    equal: np.ndarray
    count: int

    @property
    def outside(self) -> int:
        """Number of rows below, or above, all of their simulated responses."""
        lowest = (self.below == 0) & (self.equal == 0)
        return int(np.count_nonzero(lowest | (self.below == self.count)))

    def scaled(self, draw: np.random.Generator) -> np.ndarray:
        """Return the shares below, (n,); of those equal a random part counts as below."""
        share = self.below / self.count
        tied = self.equal > 0
        share[tied] += draw.uniform(size=int(tied.sum())) * self.equal[tied] / self.count
        return share


def ranked(
    fit: Fit,
    y: np.ndarray,
    mean: np.ndarray,
    count: int,
    draw: np.random.Generator,
    re_form: str | None = "~0",
) -> tuple[Ranks, np.ndarray]:
    """Rank responses, (n,), among `count` simulated ones; and the variances of these, (count,)."""
    below, equal, spreads = np.zeros(len(mean)), np.zeros(len(mean)), []
    left = count
    while left:
        size = min(left, max(1, _CELLS // len(mean)))
        drawn = simulate(fit, size, draw, re_form=re_form).to_numpy()
        below += (drawn < y[:, None]).sum(axis=1)
        equal += (drawn == y[:, None]).sum(axis=1)
        spreads.append((drawn - mean[:, None]).var(axis=0, ddof=1))
        left -= size
    return Ranks(below, equal, count), np.concatenate(spreads)


@by_kind("pymackay.infer.general.simulate:response_and_mean", residual="same")
def response_and_mean(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return the response, and the population's mean (random effects zero), as simulated, (n,)."""
    model = model_of(fit, "simulated_residuals", residual=True)
    mean = model.X @ fit.beta.to_numpy()
    return model.y, mean if model.offset is None else mean + model.offset


def _tests(
    scaled: np.ndarray, spread: float, spreads: np.ndarray, count: int, outside: int
) -> HeadedTable:
    """Return the three tests; spreads, (count,), are those of the simulated responses."""
    uniform = stats.kstest(scaled, "uniform")
    sides = min(float(np.mean(spreads <= spread)), float(np.mean(spreads >= spread)))
    expected = 2.0 / (count + 1.0)
    outliers = stats.binomtest(outside, len(scaled), expected)
    rows = {
        "uniformity": (float(uniform.statistic), np.nan, float(uniform.pvalue)),
        "dispersion": (spread / float(spreads.mean()), 1.0, min(1.0, 2.0 * sides)),
        "outliers": (outside / len(scaled), expected, float(outliers.pvalue)),
    }
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["statistic", "expected", "p.value"]
    )
    heading = f"Simulated residuals of {len(scaled):,} rows, {count} responses each"
    return HeadedTable(table, heading=heading)
