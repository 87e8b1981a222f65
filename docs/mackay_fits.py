"""The fits that the page on MacKay's loop compares, and the rows of its tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mackay_start import quick

import pymackay as pm

models = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "sleepstudy, ||": "Reaction ~ Days + (Days || Subject)",
    "Dyestuff": "Yield ~ 1 + (1 | Batch)",
    "Dyestuff2": "Yield ~ 1 + (1 | Batch)",
    "Penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "Pastes": "strength ~ 1 + (1 | batch / cask)",
    "cake": "angle ~ recipe * temperature + (1 | recipe:replicate)",
    "Orthodont": "distance ~ age + (age | Subject)",
    "Oxboys": "height ~ age + I(age^2) + (age + I(age^2) | Subject)",
    "Machines": "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
    "Rail": "travel ~ 1 + (1 | Rail)",
    "Oats": "yield ~ nitro + (1 | Block / Variety)",
    "Pixel": "pixel ~ day + I(day^2) + (day | Dog) + (1 | Side:Dog)",
    "VerbAgg": "as.numeric(resp) ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
    "InstEval": "y ~ service + (1 | s) + (1 | d)",
}
if quick:
    some = ("sleepstudy", "sleepstudy, ||", "Dyestuff", "Dyestuff2", "Penicillin", "Pastes")
    models = {name: models[name] for name in some}


@functools.cache
def reml_of(model: str) -> pm.Fit:
    """The REML fit."""
    return pm.lmer(models[model], pm.load_data(model.split(",")[0]))


@functools.cache
def loop_of(model: str, rule: str) -> pm.Fit:
    """The loop; a literal one starts from the REML estimate and continues after a collapse."""
    data, options = pm.load_data(model.split(",")[0]), {}
    if rule in ("raw", "diagonal"):
        if all(len(V) == 1 for V in reml_of(model).varcorr.values()) and rule == "diagonal":
            return loop_of(model, "raw")
        begin = None if reml_of(model).singular else reml_of(model).theta
        options = {"start": begin, "iterations": 300, "tolerance": 1e-8}
    return pm.mackay(models[model], data, update=rule, on_collapse="continue", **options)


def residue(fit: pm.Fit, errors: dict[str, np.ndarray]) -> float:
    """What V − (B̂'B̂ + ΣC)/J leaves, relative to V."""
    V = fit.varcorr["Subject"].to_numpy()
    b = fit.ranef["Subject"].to_numpy()
    rest = V - (b.T @ b + errors["Subject"].sum(axis=0)) / len(b)
    return np.abs(np.diag(rest) / np.diag(V)).max()


def factor_rows(model: str, rule: Callable[[Any], np.ndarray]) -> Iterator[dict[str, Any]]:
    """Variances of the literal loop, scaled once, scaled in every round, and by REML."""
    fit, loop = reml_of(model), loop_of(model, "diagonal")
    data = pm.load_data(model.split(",")[0])
    every = pm.mackay(models[model], data, update=rule, tolerance=1e-9)
    for row in pm.variance_gap(loop).itertuples():
        factor = (row.levels - 1) / row.gamma if row.gamma > 1e-6 else np.nan
        literal, divided, reml = (
            each.varcorr[row.term].loc[row.effect, row.effect] for each in (loop, every, fit)
        )
        yield {
            "data": model,
            "term": row.term,
            "effect": row.effect,
            "literal": literal,
            "factor": factor,
            "scaled once": literal * factor,
            "every round": divided,
            "REML": reml,
        }


def forecast_rows(model: str) -> Iterator[dict[str, Any]]:
    """Forecast and measurement: variance kept, summed over a term's directions."""
    fit, loop = reml_of(model), loop_of(model, "raw")
    for term, rows in pm.forecast_collapse(fit).groupby("term", sort=False):
        V = fit.varcorr[term].to_numpy()
        kept = np.trace(np.linalg.pinv(V, hermitian=True) @ loop.varcorr[term].to_numpy())
        yield {
            "data": model,
            "term": term,
            "s": ", ".join(f"{s:.2f}" for s in rows["s"]),
            "collapses": ", ".join(rows["direction"][~rows["survives"]]),
            "forecast": rows["kept"].sum(),
            "measured": kept,
            "error": rows["error"].sum(),
            "exact": rows["exact"].all(),
        }


def fate_rows(model: str) -> Iterator[dict[str, Any]]:
    """Start and end of each direction, for models with an exact forecast."""
    V = reml_of(model).varcorr
    if len(V) > 1 or not pm.forecast_collapse(reml_of(model))["exact"].all():
        return
    ((term, end),) = loop_of(model, "raw").varcorr.items()
    hidden = reml_of(model).condvar[term].mean(axis=0)
    root = np.linalg.cholesky(V[term].to_numpy())
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ hidden @ inverse.T)
    for value, axis in zip(values, axes.T, strict=True):
        kept = axis @ inverse @ end.to_numpy() @ inverse.T @ axis
        yield {"label": model, "s": 1.0 / value, "kept": kept}


def distance(fit: pm.Fit, reference: pm.Fit) -> float:
    """Largest difference of the covariance matrices, in units of the REML variances."""
    largest = []
    for term, expected in reference.varcorr.items():
        sd = np.sqrt(np.diag(expected))
        unit = np.where(sd > 0, sd, reference.sigma)
        difference = fit.varcorr[term].to_numpy() - expected.to_numpy()
        largest.append(np.abs(difference / np.outer(unit, unit)).max())
    return max(largest)


def rule_rows(model: str) -> Iterator[dict[str, Any]]:
    """One row for each rule."""
    for rule in ("raw", "diagonal", "gamma", "em"):
        loop = loop_of(model, rule)
        sd = np.concatenate([np.sqrt(np.diag(V)) for V in loop.varcorr.values()])
        lost = [m for m in loop.messages if m.startswith("the loop lost")]
        yield {
            "data": model,
            "rule": rule,
            "rounds": len(loop.trace),
            "lost": lost[0].split(" in iteration ")[1].split(":")[0] if lost else "",
            "standard deviations": ", ".join(f"{x:.5g}" if x > 1e-8 else "0" for x in sd),
            "from REML": distance(loop, reml_of(model)),
        }
