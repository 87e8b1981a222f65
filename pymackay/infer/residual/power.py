"""`power`: how often a fixed effect of a model with a residual structure would be found."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pymackay.arguments import probability, random_generator, whole_number
from pymackay.errors import PymackayError, PymackayWarning
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.intervals.failed_refits import warn_of_uncertified
from pymackay.infer.intervals.power import (
    checked_test,
    effect_place,
    effect_sizes,
    power_table,
    without_column,
)
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.residual.refit import fit_again, refit_by, with_response
from pymackay.infer.significance.satterthwaite import satterthwaite
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.model import Model
from pymackay.progress import Progress, bar
from pymackay.results import Fit


def power(
    fit: Fit,
    effect: str,
    sizes: Any = None,
    *,
    nsim: int = 1000,
    alpha: float = 0.05,
    test: str | None = None,
    df: float | None = None,
    seed: int | np.random.Generator | None = None,
    progress: bool | None = None,
) -> HeadedTable:
    """Simulate the power of the test of a fixed effect; see `pymackay.power`.

    Every drawn response takes a whole search, from the fit's estimates. Responses that have no
    estimates count as not significant.

    Raises
    ------
    ArgumentError
        If an argument is wrong.
    PymackayError
        If no response has estimates.
    """
    problem = residual_problem(fit, "power")
    place = effect_place(fit, effect)
    values = effect_sizes(sizes, float(fit.beta.iloc[place]))
    count, level = whole_number("nsim", nsim, 2), probability("alpha", alpha, 0.05)
    chosen = checked_test(test, df) or "satterthwaite"
    study = _Study(fit, place, count, random_generator(seed), progress)
    if chosen == "lr":
        hits = study.by_likelihood(values, float(stats.chi2.isf(level, 1)))
    else:
        hits = study.by_estimate(problem.model, values, chosen, level, df)
    return power_table(effect, values, hits, count, level, chosen)


@dataclass(frozen=True, eq=False)
class _Study:
    """Responses drawn once, with the effect at the fit's own estimate, and refitted."""

    fit: Fit
    place: int
    count: int
    draw: np.random.Generator
    progress: bool | None

    def by_estimate(
        self, model: Model, sizes: list[float], test: str, alpha: float, df: float | None
    ) -> list[int]:
        """Count the t or z tests that find the effect; one refit serves all sizes.

        Adding a multiple of a fixed column to the response adds it to the coefficient, and changes
        nothing else.
        """
        shifted = np.array(sizes) - float(self.fit.beta.iloc[self.place])
        row = np.eye(len(self.fit.beta))[self.place]
        hits = np.zeros(len(sizes), dtype=int)
        for again in self._refits(self.fit, model, 0.0):
            if again is None:
                continue
            freedom = satterthwaite(again).t_df(row) if test == "satterthwaite" else df
            tail = stats.norm.isf(alpha / 2) if freedom is None else stats.t.isf(alpha / 2, freedom)
            t = (float(again.beta.iloc[self.place]) + shifted) / again.std_error.iloc[self.place]
            hits += np.abs(t) > tail
        return [int(number) for number in hits]

    def by_likelihood(self, sizes: list[float], critical: float) -> list[int]:
        """Count the likelihood-ratio tests that find the effect; the larger model as above."""
        fit = refit_by(self.fit, reml=False)
        model = residual_problem(fit, "power").model
        smaller = without_column(model, self.place)
        full = [_criterion(again) for again in self._refits(fit, model, 0.0)]
        hits = []
        for size in sizes:
            moved = size - float(self.fit.beta.iloc[self.place])
            null = [_criterion(again) for again in self._refits(fit, smaller, moved)]
            hits.append(int(np.count_nonzero(np.subtract(null, full) > critical)))
        return hits

    def _refits(self, fit: Fit, model: Model, more: float) -> Iterator[Fit | None]:
        """Yield the refits of a model to the draws, the effect larger by `more`; None if none."""
        shift = more * residual_problem(fit, "power").model.X[:, self.place]
        draws = parametric_draws(self.fit, use_u=False)
        portions = drawn_portions(draws, fit.n_obs, self.count, copy.deepcopy(self.draw))
        failures, uncertified, done = [], 0, 0
        with Progress(asked=self.progress) as line:
            for y in (column for portion in portions for column in portion.T):
                try:
                    again = _refitted(fit, model, y + shift)
                    uncertified += not again.convergence.converged
                except (PymackayError, np.linalg.LinAlgError) as error:
                    again = None
                    failures.append(str(error))
                done += 1
                line.tell(f"{bar(done, self.count)} refits")
                yield again
        _warn(failures, uncertified, self.count)


def _refitted(fit: Fit, model: Model, y: np.ndarray) -> Fit:
    residual = residual_problem(fit, "power").marginal.residual
    return fit_again(fit, with_response(model, y), residual)


def _criterion(fit: Fit | None) -> float:
    return np.nan if fit is None else fit.criterion


def _warn(failures: list[str], uncertified: int, count: int) -> None:
    if len(failures) == count:
        raise PymackayError(
            f"none of the {count} drawn responses has estimates; the first: {failures[0]} Take a "
            f"simpler model."
        )
    if failures:
        warnings.warn(
            f"{len(failures)} of {count} drawn responses have no estimates, and count as not "
            f"significant; the first: {failures[0]}",
            PymackayWarning,
            stacklevel=5,
        )
    warn_of_uncertified(uncertified, count, 5)
