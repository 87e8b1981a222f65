"""Every parity case of covariance structures that is there, against a dense likelihood, by name.

The dense answers share no code with this package or lme4; names, degrees of freedom and the
singular flag are those of lme4 2.1.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from case_files import Case, as_list, case_names, load_case
from tolerances import tol

import pymackay as pm

_UNIDENTIFIED = {"nonidentifiable", "nearly-nonidentifiable"}


@pytest.mark.parametrize("name", case_names("structures"))
def test_a_structure_ends_at_the_dense_optimum(name: str) -> None:
    case = load_case(name, "structures")
    bars = "diag" if case.meta["doublevert"] == "diag_special" else "split"
    if case.meta["expect"] == "error":
        with pytest.raises(pm.DataError):
            pm.lmer(case.meta["formula"], case.data, double_bar=bars, **case.arguments)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", pm.ConvergenceWarning)
        fit = pm.lmer(case.meta["formula"], case.data, double_bar=bars, **case.arguments)
    runaway = "sigma-zero" in case.meta["tags"]
    failures = _judge_runaway(fit, case) if runaway else _judge(fit, case)
    assert not failures, "\n".join(failures)


def _judge_runaway(fit: pm.Fit, case: Case) -> list[str]:
    """Judge a fit whose residual variance goes to zero: only absolute quantities have limits."""
    dense, lme4 = case.expected["dense"], case.expected["lme4"]
    failures = _judge_beta(fit, dense, tol("runaway relative"))
    if abs(fit.criterion - dense["criterion"]) > tol("runaway"):
        failures.append(f"criterion {fit.criterion!r}, expected {dense['criterion']!r}")
    if not any("residual variance goes to zero" in message for message in fit.messages):
        failures.append(f"it is not said that sigma goes to zero: {fit.messages}")
    if fit.singular != lme4["singular"]:
        failures.append(f"singular {fit.singular}, expected {lme4['singular']}")
    return failures + _judge_covariances(fit, dense["terms"], tol("runaway relative"))


def _judge(fit: pm.Fit, case: Case) -> list[str]:
    """Return what is out of tolerance, in words; nothing when all holds."""
    dense, lme4 = case.expected["dense"], case.expected["lme4"]
    failures = []
    if fit.criterion - dense["criterion"] > tol("criterion") * (1.0 + abs(dense["criterion"])):
        failures.append(f"criterion {fit.criterion!r} above {dense['criterion']!r}")
    if not fit.convergence.converged:
        failures.append(f"not certified: {fit.convergence.message}")
    for what, ours, theirs in (
        ("df", fit.df, lme4["df"]),
        ("names of par", list(fit.par.index), as_list(lme4["par_names"])),
        ("names of theta", list(fit.theta.index), as_list(lme4["theta_names"])),
        ("coefficients", list(fit.beta.index), as_list(lme4["beta"]["names"])),
    ):
        if ours != theirs:
            failures.append(f"{what}: {ours}, expected {theirs}")
    failures += _judge_beta(fit, dense, tol("tight"))
    if _UNIDENTIFIED & set(case.meta["tags"]):
        return failures
    if fit.singular != lme4["singular"]:
        failures.append(f"singular {fit.singular}, expected {lme4['singular']}")
    if abs(fit.sigma / dense["sigma"] - 1.0) > tol("tight"):
        failures.append(f"sigma {fit.sigma!r}, expected {dense['sigma']!r}")
    return failures + _judge_terms(fit, dense["terms"]) + _judge_condvar(fit, lme4["ranef"])


def _judge_beta(fit: pm.Fit, dense: dict[str, Any], allowed: float) -> list[str]:
    error = np.array(dense["se"], dtype=float).ravel()
    off = np.abs(fit.beta.to_numpy() - np.ravel(dense["beta"])) / error
    wide = np.abs(fit.std_error.to_numpy() / error - 1.0)
    return [
        f"{what}: {values.max():.2g}"
        for what, values in (("beta, standard errors", off), ("standard errors, relative", wide))
        if values.max() > allowed
    ]


def _judge_terms(fit: pm.Fit, terms: list[dict[str, Any]]) -> list[str]:
    """Compare covariances and predicted effects, term by term in lme4's order."""
    failures = _judge_covariances(fit, terms, tol("tight"))
    start: dict[str, int] = {}
    for (name, ours), term in zip(fit.varcorr.items(), terms, strict=True):
        sd = np.sqrt(np.diag(ours))
        columns = slice(start.get(term["group"], 0), start.get(term["group"], 0) + len(ours))
        start[term["group"]] = columns.stop
        effects = fit.ranef[term["group"]].loc[as_list(term["levels"])].to_numpy()[:, columns]
        values = np.array(term["ranef"], dtype=float).reshape(effects.shape)
        if (np.abs(effects - values) > tol("tight") * (sd + 1e-4 * fit.sigma)).any():
            failures.append(f"effects of {name}: {np.abs(effects - values).max():.2g}")
    return failures


def _judge_covariances(fit: pm.Fit, terms: list[dict[str, Any]], allowed: float) -> list[str]:
    """Compare covariances in units of the standard deviations, term by term in lme4's order."""
    failures = []
    for (name, ours), term in zip(fit.varcorr.items(), terms, strict=True):
        covariance = np.array(term["cov"], dtype=float).reshape(len(ours), -1)
        if list(ours.columns) != as_list(term["effects"]):
            failures.append(f"{name}: effects {list(ours.columns)}, expected {term['effects']}")
        sd = np.sqrt(np.maximum(np.diag(covariance), (1e-4 * fit.sigma) ** 2))
        off = np.abs(ours.to_numpy() - covariance) / np.outer(sd, sd)
        if off.max() > allowed:
            failures.append(f"covariances of {name}: {off.max():.2g}")
    return failures


def _judge_condvar(fit: pm.Fit, ranef: dict[str, Any]) -> list[str]:
    failures = []
    for group, expected in ranef.items():
        blocks = expected["condvar"].get("all")
        if blocks is None:
            continue
        theirs = np.array(blocks, dtype=float)
        places = [fit.ranef[group].index.get_loc(x) for x in as_list(expected["condvar_levels"])]
        ours = fit.condvar[group][places].reshape(theirs.shape)
        if np.abs(ours - theirs).max() > tol("tight") * np.abs(theirs).max():
            failures.append(f"condvar of {group}: {np.abs(ours - theirs).max():.2g}")
    return failures
