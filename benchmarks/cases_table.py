"""Accuracy table: ``python -m benchmarks.cases_table`` compares fits with lme4's best answers.

The recorded references of the bundled data sets go into `ACCURACY.md`. Parity cases on disk, where
there are any (``PYMACKAY_CASES``, or ``../shared/cases`` beside the checkout), are printed.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "tests" / "support"))

from case_files import Case, as_list, case_names, load_case  # noqa: E402
from deviations import Deviation, Truth, deviations, truth_of_fit  # noqa: E402

__all__ = ["main"]

_UNIDENTIFIED = ("distance ~ age + (0 + Sex | Subject)",)
_WORSE = 1e-8  # criterion units: ten times the rounding error


@dataclass(frozen=True, eq=False)
class Result:
    """One model: our fit, its deviations, and lme4's default answer.

    Attributes
    ----------
    name : str
    fit : pymackay.results.Fit
    deviations : list of Deviation
        From the best answer that is known.
    default_criterion : float
        At lme4's default theta, by our arithmetic: lme4's own rounding does not count.
    default_beta : numpy.ndarray, shape (p,)
    default_sd : numpy.ndarray
        Standard deviations of all effects, term by term, and the residual one.
    best_sd : numpy.ndarray
        The same, ours.
    warned : bool
        Whether lme4 warned that it may not have converged.
    """

    name: str
    fit: pm.Fit
    deviations: list[Deviation]
    default_criterion: float
    default_beta: np.ndarray
    default_sd: np.ndarray
    best_sd: np.ndarray
    warned: bool

    @property
    def excess(self) -> float:
        """Difference of lme4's default criterion from ours."""
        return self.default_criterion - self.fit.criterion

    @property
    def beta_off(self) -> float:
        """Largest deviation of lme4's default beta from ours, in standard errors."""
        off = np.abs(self.default_beta - self.fit.beta.to_numpy()) / self.fit.std_error.to_numpy()
        return float(off.max(initial=0.0))

    @property
    def sd_off(self) -> float:
        """Largest deviation of a default standard deviation, relative to ours or to sigma."""
        size = np.maximum(self.best_sd, 1e-4 * self.fit.sigma)
        return float((np.abs(self.default_sd - self.best_sd) / size).max())


def main(arguments: list[str] | None = None) -> int:
    """Write the table of the bundled references; print that of the cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cases_table", description=__doc__)
    parser.add_argument("--only", choices=["bundled", "cases"], help="one of the two")
    options = parser.parse_args(arguments)
    if options.only != "cases":
        page = _HEAD + _tables(list(_bundled()))
        (_HERE / "ACCURACY.md").write_text(page, encoding="utf-8")
        print(f"written: {_HERE / 'ACCURACY.md'}")
    if options.only != "bundled" and case_names():
        print(_tables(list(_cases())))
    return 0


# ---- the two sources


def _bundled() -> Iterator[Result]:
    store = RecordedStore()
    for name, question in listed_questions(r_reference_path("models.toml")):
        asked = ("reml", "weights", "offset", "subset", "contrasts")
        fit = _fitted(question.formula, question.data, {k: getattr(question, k) for k in asked})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pm.RWarning)
            tight, default = (store.fit(question, how) for how in ("tight", "default"))
        truth = truth_of_fit(tight, identified=question.formula not in _UNIDENTIFIED)
        extra = ", ".join(f"{k} {getattr(question, k)}" for k in asked[1:4] if getattr(question, k))
        criterion = "REML" if question.reml else "ML"
        yield Result(
            f"{name}: `{question.formula}`{', ' + extra if extra else ''}, {criterion}",
            fit,
            deviations(fit, truth),
            _criterion_at(fit, default.theta),
            default.beta.to_numpy(),
            _sds(default),
            _sds(fit),
            any(message.startswith("Model ") for message in default.messages),
        )


def _cases() -> Iterator[Result]:
    for name in case_names():
        case = load_case(name)
        if case.meta["expect"] == "error":
            continue
        fit = _fitted(case.meta["formula"], case.data, case.arguments)
        default = case.expected["lme4_default"]
        theta = pd.Series(
            as_list(default["theta"]), index=as_list(case.expected["lme4"]["theta_names"])
        )
        sd = [sd for term in fit.varcorr for sd in as_list(default["sd"][term])]
        yield Result(
            name,
            fit,
            deviations(fit, _truth_of_case(case)),
            _criterion_at(fit, theta),
            np.array(as_list(default["beta"]), dtype=float),
            np.array([*sd, default["sigma"]], dtype=float),
            _sds(fit),
            bool(case.expected["warnings"]),
        )


def _fitted(formula: str, data: pd.DataFrame, arguments: dict[str, Any]) -> pm.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pm.ConvergenceWarning)
        return pm.lmer(formula, data, **arguments)


def _criterion_at(fit: pm.Fit, theta: pd.Series) -> float:
    """Return the criterion at another engine's theta, matched by name."""
    return fit.evaluate(theta[list(fit.theta.index)]).criterion


def _sds(fit: pm.Fit) -> np.ndarray:
    variances = [np.diag(cov) for cov in fit.varcorr.values()]
    return np.append(np.sqrt(np.concatenate(variances)), fit.sigma)


def _truth_of_case(case: Case) -> Truth:
    truth, tags = case.expected["lme4"], set(case.meta["tags"])
    names = truth["beta"]["names"]
    truth = Truth(
        criterion=truth["criterion"]["value"],
        sigma=truth["sigma"],
        beta=pd.Series(truth["beta"]["estimate"], index=names, dtype=float),
        std_error=pd.Series(truth["beta"]["se"], index=names, dtype=float),
        varcorr={k: _covariance(v) for k, v in truth["varcorr"].items()},
        ranef={k: _effects(v) for k, v in truth["ranef"].items()},
        condvar={k: _condvar(v) for k, v in truth["ranef"].items()},
        singular=truth["singular"],
        dropped=tuple(as_list(case.expected["dropped_columns"] or [])),
        identified=not tags & {"criterion-only", "nonidentifiable"},
        loose=10.0 if tags & {"numerical", "hard"} else 1.0,
    )
    return _exact(truth, case.expected["exact"]["binary64"]) if "exact" in case.expected else truth


def _exact(truth: Truth, exact: dict[str, str]) -> Truth:
    """Return the truth with the results of rational arithmetic for a one-way layout."""
    group, name = next(iter(truth.varcorr)), truth.beta.index[0]
    covariance = truth.varcorr[group].copy()
    covariance.iloc[0, 0] = float(exact["var_group"])
    levels = truth.ranef[group].index[:5]
    blups = pd.DataFrame(exact["blup_first5"], dtype=float)
    blups.index, blups.columns = levels, truth.ranef[group].columns
    return replace(
        truth,
        criterion=float(exact["criterion"]),
        sigma=float(exact["sigma"]),
        beta=pd.Series({name: float(exact["intercept"])}),
        std_error=pd.Series({name: float(exact["se_intercept"])}),
        varcorr={group: covariance},
        ranef={group: blups},
        condvar={group: (list(levels[:1]), np.full((1, 1, 1), float(exact["condvar"])))},
        singular=float(exact["theta"]) < 1e-4,
        loose=1.0,
    )


def _covariance(entry: dict[str, Any]) -> pd.DataFrame:
    effects = as_list(entry["terms"])
    values = np.array(entry["cov"], dtype=float).reshape(len(effects), -1)
    return pd.DataFrame(values, index=effects, columns=effects)


def _effects(entry: dict[str, Any]) -> pd.DataFrame:
    levels = as_list(entry["levels"])
    values = np.array(entry["values"], dtype=float).reshape(len(levels), -1)
    return pd.DataFrame(values, index=levels, columns=as_list(entry["terms"]))


def _condvar(entry: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    """Return one block per level; covariances between terms of a group are not known (nan)."""
    levels, effects = as_list(entry["condvar_levels"]), as_list(entry["terms"])
    blocks = np.full((len(levels), len(effects), len(effects)), np.nan)
    for effect, values in entry["condvar"].items():
        kept = range(len(effects)) if effect == "all" else [effects.index(effect)]
        block = np.array(values, dtype=float).reshape(len(levels), len(kept), len(kept))
        blocks[np.ix_(range(len(levels)), list(kept), list(kept))] = block
    return levels, blocks


# ---- the page

_HEAD = """\
# Accuracy

This page compares `pymackay.lmer` with lme4 on every model recorded in `r_reference/`. Each
recording holds two answers of lme4: `tight`, in which lme4's criterion was minimised with tight
tolerances, and `default`, the result of `lmer()` with default settings. Deviations are measured
from `tight`. `python -m benchmarks.cases_table` writes this page.

"""


def _tables(results: list[Result]) -> str:
    return "\n".join([_summary(results), _worse_table(results), _deviation_table(results)])


def _summary(results: list[Result]) -> str:
    kept = [d for r in results for d in r.deviations]
    failed = sorted({r.name for r in results for d in r.deviations if not d.ok})
    text = (
        f"There are {len(results)} models. Models with a deviation outside the tolerances: "
        f"{', '.join(failed) or 'none'}.\n\n"
    )
    rows = []
    for quantity in dict.fromkeys(d.quantity for d in kept):
        worst = max((d for d in kept if d.quantity == quantity), key=_share)
        rows.append((quantity, _number(worst.value), _number(worst.allowed), _UNITS[quantity]))
    return text + _table(("quantity", "largest deviation", "allowed", "unit"), rows)


def _worse_table(results: list[Result]) -> str:
    worse = sorted((r for r in results if r.excess > _WORSE), key=lambda r: -r.excess)
    below = sum(r.excess < -_WORSE for r in results)
    text = (
        f"## Models for which lme4's default answer is not optimal\n\nThe criterion at lme4's "
        f"default answer is higher than at the answer of pymackay by more than {_WORSE:g} for "
        f"{len(worse)} of {len(results)} models. It is lower by more than that for {below} "
        f"models. (Both values are computed by pymackay.)\n\n"
    )
    rows = [
        (
            r.name,
            f"{r.excess:.2e}",
            f"{r.beta_off:.1e}",
            f"{r.sd_off:.1e}",
            "yes" if r.warned else "no",
        )
        for r in worse
    ]
    head = (
        "model",
        "criterion too high by",
        "error of beta, in standard errors",
        "relative error of standard deviations",
        "lme4 warned",
    )
    return text + _table(head, rows)


def _deviation_table(results: list[Result]) -> str:
    rows = []
    for r in results:
        worst = max(r.deviations, key=_share)
        criterion = next(d.value for d in r.deviations if d.quantity == "criterion")
        rows.append(
            (
                r.name,
                f"{criterion:.1e}",
                f"{worst.quantity}: {_number(worst.value)}",
                f"{100 * _share(worst):.3g} %",
                str(r.fit.convergence.evaluations),
            )
        )
    head = (
        "model",
        "criterion minus lme4's",
        "largest deviation",
        "share of the tolerance",
        "evaluations",
    )
    text = "Each line shows the deviation that uses the largest share of its tolerance.\n\n"
    return f"## Largest deviation for each model\n\n{text}{_table(head, rows)}"


_UNITS = {
    "criterion": "criterion units above lme4's",
    "dropped columns": "names",
    "beta": "standard errors",
    "std. error": "relative",
    "singular": "flag",
    "sigma": "relative",
    "terms": "names",
    "variances": "relative to the product of the two standard deviations",
    "effects": "conditional standard deviations",
    "condvar": "relative",
}


def _share(deviation: Deviation) -> float:
    if deviation.allowed == 0.0 or not np.isfinite(deviation.value):
        return 0.0 if deviation.ok else np.inf
    return max(deviation.value, 0.0) / deviation.allowed


def _number(value: float) -> str:
    return "0" if value == 0.0 else f"{value:.1e}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    lines = [head, ("---",) * len(head), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
