"""`step`: backward elimination of random effects, then of terms, as lmerTest's ``step``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import probability
from pymackay.infer.problem import check_fit
from pymackay.infer.reduction.drop1 import drop1
from pymackay.infer.reduction.formulas import fit_formula, formula_without
from pymackay.infer.reduction.random_tests import random_tests
from pymackay.infer.reduction.smaller import reductions
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """What backward elimination ended with.

    Attributes
    ----------
    fit : Fit
        Of the model that is left.
    random, fixed : HeadedTable
        What was left out in which order (``Eliminated``, 0 for what stayed), with the tests of
        `random_tests` and of `drop1`.
    messages : tuple of str
    """

    fit: Fit
    random: HeadedTable
    fixed: HeadedTable
    messages: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The formula that is left."""
        return self.fit.formula

    def __repr__(self) -> str:
        parts = [repr(self.random), repr(self.fixed), f"Formula: {self.formula}", *self.messages]
        return "\n".join(parts)


def step(
    fit: Fit,
    *,
    alpha_random: float = 0.1,
    alpha_fixed: float = 0.05,
    ddf: str = "Satterthwaite",
) -> Step:
    """Leave out random effects, then terms of the fixed part, until all that stay are significant.

    In each round the effect with the largest p-value above `alpha_random` is left out, by the
    likelihood ratios of `random_tests`; then the term with the largest p-value above `alpha_fixed`,
    by the F tests of `drop1`, which are likelihood ratios for generalised models.

    Parameters
    ----------
    fit : Fit
        Made by this package, from data in memory.
    alpha_random, alpha_fixed : float
    ddf : {"Satterthwaite", "Kenward-Roger", "normal"}
        As in `drop1`.

    Returns
    -------
    Step

    Raises
    ------
    PymackayError
        If the fit does not hold its data.

    Notes
    -----
    P-values of what a search by p-values has left do not know of the search. The last random
    effect stays, because the model is a mixed one; a message says so where it is not significant.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13), section 3.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe * temp + (1 | replicate)", pm.load_data("cake"))
    >>> pm.step(fit).formula
    'angle ~ temp + (1 | replicate)'
    """
    check_fit(fit, "step")
    probability("alpha_random", alpha_random, 0.1)
    probability("alpha_fixed", alpha_fixed, 0.05)
    fit, random, messages = _reduce_random(fit, alpha_random)
    fit, fixed = _reduce_fixed(fit, alpha_fixed, ddf)
    return Step(fit, random, fixed, messages)


def _reduce_random(fit: Fit, alpha: float) -> tuple[Fit, HeadedTable, tuple[str, ...]]:
    rows: list[pd.Series[Any]] = []
    messages: tuple[str, ...] = ()
    while True:
        table = random_tests(fit)
        tests = pd.DataFrame(table).iloc[1:]
        if not rows:
            rows.append(_counted(table.iloc[0], np.nan))
        worst = tests["Pr(>Chisq)"].idxmax()
        if tests.loc[worst, "Pr(>Chisq)"] <= alpha:
            break
        chosen = next(r for r in reductions(fit, "step") if r.label == worst)
        if not chosen.bar and len(fit.model.terms) == 1:
            messages = (
                f"{worst} is not significant either, but a mixed model needs a random effect: a "
                f"linear model may do.",
            )
            break
        rows.append(_counted(tests.loc[worst], len(rows)))
        fit = fit_formula(fit, formula_without(fit.problem.model, reduction=chosen), "step")
    rows += [_counted(row, 0) for _, row in tests.iterrows()]
    return fit, HeadedTable(_joined(rows), heading="Random effects, backward elimination"), messages


def _reduce_fixed(fit: Fit, alpha: float, ddf: str) -> tuple[Fit, HeadedTable]:
    rows: list[pd.Series[Any]] = []
    while True:
        table = drop1(fit, ddf)
        tests = table.drop(index="<none>", errors="ignore")
        p = tests.iloc[:, -1]
        if not len(p) or not p.max() > alpha:
            break
        worst = p.idxmax()
        rows.append(_counted(tests.loc[worst], len(rows) + 1))
        fit = fit_formula(fit, formula_without(fit.problem.model, term=str(worst)), "step")
    rows += [_counted(row, 0) for _, row in tests.iterrows()]
    return fit, HeadedTable(
        _joined(rows), heading="Terms, backward elimination", messages=table.messages
    )


def _counted(row: pd.Series[Any], round_: float) -> pd.Series[Any]:
    return pd.concat([pd.Series({"Eliminated": round_}), row]).rename(row.name)


def _joined(rows: list[pd.Series[Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["Eliminated"])
