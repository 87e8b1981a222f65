"""Accuracy of `glmer`: ``python -m benchmarks.glmm_cases`` writes `GLMM.md` from parity cases.

The cases are read where they are (``PYMACKAY_GLMM_CASES``, or ``../shared/cases_glmm`` beside the
checkout). Each holds answers of lme4, as a user gets it and with its criterion refreshed, of
glmmTMB, and minima of lme4's criterion and of the likelihood that other programs confirm.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pymackay as pm
from pymackay.family.family import Family
from pymackay.family.named import FAMILIES, family_of

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "tests" / "support"))

from glmm_case_files import GlmmCase, glmm_case_names, load_glmm_case  # noqa: E402

__all__ = ["main"]

_WORSE = 1e-3  # of the criterion: what lme4's default is said to be off by
_WIDE = 0.01  # relative error of a standard error


@dataclass(frozen=True)
class Result:
    """One case.

    Attributes
    ----------
    name, model : str
    same : float
        Our criterion minus lme4's, refreshed, at the same parameters.
    excess : float
        Our minimum minus the lowest that is known.
    beta, error : float
        Largest deviation of fixed effects, in standard errors, and of standard errors, relative,
        from the trusted optimum; nan where there is none.
    evaluations : int
    lag, distance : float
        Of lme4's default answer: what it reports minus its criterion there, and that minus the
        minimum.
    lme4_error : float
        Largest relative error of lme4's standard errors; nan where it has none.
    """

    name: str
    model: str
    same: float
    excess: float
    beta: float
    error: float
    evaluations: int
    lag: float
    distance: float
    lme4_error: float


def main() -> int:
    """Write the page."""
    results = [_result(load_glmm_case(name)) for name in glmm_case_names() if name != "separation"]
    if not results:
        print("there are no cases")
        return 1
    (_HERE / "GLMM.md").write_text(_page(results), encoding="utf-8")
    print(f"written: {_HERE / 'GLMM.md'}")
    return 0


def _result(case: GlmmCase) -> Result:
    meta, best = case.meta, case.expected["lme4_criterion_optimum"]
    how = {"weights": meta["weights"], "nagq": meta["nAGQ"], "dispersion": "lme4"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = pm.glmer(meta["formula"], case.data, _family(case), **how)
        there = pm.evaluate_glmer(
            meta["formula"], case.data, best["theta"], best["beta"],
            _family(case, best.get("nb_theta")), **how,
        )  # fmt: skip
    errors = np.array(best.get("std_error", np.full(len(fit.beta), np.nan)))
    summary = case.expected["summary"]
    distance = summary.get("lme4_default_parameters_minus_optimum", np.nan)
    reported = summary.get("lme4_default_reported_minus_optimum", np.nan)
    return Result(
        name=case.name,
        model=f"{meta['family']} ({meta['link']}), nAGQ {meta['nAGQ']}, {meta['rows']} rows",
        same=there.general.lme4_criterion - best["criterion"],
        excess=fit.general.lme4_criterion - best["criterion"],
        beta=_largest((fit.beta.to_numpy() - best["beta"]) / fit.std_error.to_numpy()),
        error=_largest(fit.std_error.to_numpy() / errors - 1.0),
        evaluations=fit.convergence.evaluations,
        lag=_number(reported) - _number(distance),
        distance=_number(distance),
        lme4_error=_number(summary.get("lme4_default_se_relative_gap")),
    )


def _family(case: GlmmCase, shape: float | None = None) -> Family:
    kind = FAMILIES[family_of(case.meta["family"]).name]
    if kind is not pm.NegativeBinomial:
        return kind(link=case.meta["link"])
    return pm.NegativeBinomial(case.meta["link"], theta=case.meta["nb_theta"] or shape)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


# ---- the page


def _page(results: list[Result]) -> str:
    off = [r for r in results if abs(r.lag + r.distance) > _WORSE]
    wide = [r for r in results if r.lme4_error > _WIDE]
    worse = sorted(off, key=lambda r: -abs(r.lag + r.distance))
    counts = sorted(r.evaluations for r in results)
    return _HEAD.format(
        cases=len(results),
        same=_shown(max(abs(r.same) for r in results)),
        excess=_shown(max(r.excess for r in results)),
        median=counts[len(counts) // 2],
        most=counts[-1],
        off=len(off),
        wide=len(wide),
    ) + "\n".join(
        [
            _table(
                ("case", "reported minus minimum", "of it lag", "of it distance",
                 "error of standard errors"),
                [(r.name, _shown(r.lag + r.distance), _shown(r.lag), _shown(r.distance),
                  _percent(r.lme4_error)) for r in worse],
            ),
            "\n## All cases\n\n" + _COLUMNS,
            _table(
                ("case", "model", "same parameters", "minimum", "beta", "std. error",
                 "evaluations"),
                [(r.name, r.model, _shown(r.same), _shown(r.excess), _shown(r.beta),
                  _shown(r.error), str(r.evaluations)) for r in results],
            ),
            "",
        ]
    )  # fmt: skip


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1e}"


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100.0 * value:.1f} %"


_HEAD = """\
# Accuracy of glmer on the parity cases

`python -m benchmarks.glmm_cases` writes this page. It compares `pymackay.glmer` with the trusted
answers of {cases} parity cases: data of R packages and simulated data, with all families.

lme4 takes the determinant of Laplace's approximation from a factor that is one iteration older than
the random effects: its iteration decomposes, moves the random effects, and then tests for
convergence. The deviance is at its minimum in the random effects, so its error is of second order
in the last step. The error of the determinant is of first order. Two calls in R,
`pp$updateXwts(resp$sqrtWrkWt()); pp$updateDecomp()`, take the factor again at the final random
effects. The value is then called *refreshed*, and it is the one to compare with. `pymackay` agrees
with it at the same parameters to {same} in all cases, and its minimum is never more than {excess}
above the lowest that is known. It takes {median} evaluations of the criterion (median; {most} at
most, without those of a batch in which further starts are found for up to 150 rows).

Because lme4 computes standard errors from second differences of the number that lags, they are the
most affected: by more than 1 % in {wide} cases.

## Cases in which lme4's default answer is off by more than 0.001

In {off} cases, the criterion that lme4 reports differs by more than that from the minimum. *Lag* is
what it reports minus its criterion, refreshed, at its own estimates; *distance* is that minus the
minimum, because its search stopped early.

"""
_COLUMNS = """\
*Same parameters*: our criterion minus lme4's, refreshed, at the optimum of the case. *Minimum*: our
minimum minus the lowest that is known, negative where ours is lower. *Beta* and *std. error*: the
largest deviations from the trusted optimum, in standard errors and relative.

"""

if __name__ == "__main__":
    sys.exit(main())
