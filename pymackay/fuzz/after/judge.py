"""`judge_after`: fits a model, and compares what its methods answer with dense formulas."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

import pymackay as pm
from pymackay.fuzz.after.case import Case, Differences
from pymackay.fuzz.after.copies import check_copies, check_partitions
from pymackay.fuzz.after.hypotheses import (
    check_contrasts,
    check_likelihood_ratio,
    check_terms,
    check_wald,
)
from pymackay.fuzz.after.predictions import (
    check_effects,
    check_new_levels,
    check_population,
    check_rows,
    check_subsets,
)
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.outcome import Outcome, is_exact

CHECKS: Mapping[str, Callable[[Case], Differences]] = {
    "predicted rows": check_rows,
    "population's mean": check_population,
    "new levels": check_new_levels,
    "subsets of effects": check_subsets,
    "effects of rows": check_effects,
    "contrasts": check_contrasts,
    "tests of terms": check_terms,
    "likelihood ratio": check_likelihood_ratio,
    "Wald limits": check_wald,
    "copies": check_copies,
    "partitions": check_partitions,
}
"""What is checked, by the verdict of a model where it fails."""


def judge_after(
    model: FuzzModel,
    *,
    checks: Mapping[str, Callable[[Case], Differences]] = CHECKS,
    ours: Callable[..., pm.Fit] | None = None,
) -> Outcome:
    """Fit a model by this package and check what its methods answer.

    Where an answer differs from the dense formulas in float64, they are evaluated in long double,
    and that decides.

    Parameters
    ----------
    model : FuzzModel
    checks : mapping of str to callable
        By the verdict where they fail.
    ours : callable, optional
        The function that fits, with the arguments of `pymackay.lmer`, which is the default.
    """
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        try:
            fit = (ours or pm.lmer)(model.formula, model.data, reml=model.reml, **model.arguments)
        except pm.PymackayError:
            return Outcome("refused")
        if is_exact(fit):
            return Outcome("fits exactly, no optimum")
        if not fit.convergence.converged:
            return Outcome("ours says it is not certified")
        case = Case(model, fit, Path(folder))
        for verdict, check in checks.items():
            report = _report(check, case)
            if report:
                return Outcome(verdict, report)
    return Outcome("as expected")


def _report(check: Callable[[Case], Differences], case: Case) -> str:
    """Return the differences that one check finds; empty if there are none."""
    for dtype in (np.float64, np.longdouble):
        try:
            differences = list(check(replace(case, dtype=dtype)))
        except Exception as error:  # a crash or a refusal is reported as a disagreement
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            return f"{type(error).__name__} at {place}: {error}"
        if not differences:
            return ""
    return "\n".join(differences)
