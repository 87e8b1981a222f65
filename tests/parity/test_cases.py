"""Every parity case that is there: criterion, estimates, effects, flags, by name."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from case_files import Case, as_list, case_names, load_case
from tolerances import tol

import pymackay as pm

_LOOSE = ("numerical", "hard")
_UNIDENTIFIED = ("criterion-only", "nonidentifiable")


@pytest.mark.parametrize("name", case_names())
def test_case(name: str) -> None:
    case = load_case(name)
    if case.meta["expect"] == "error":
        with pytest.raises(pm.PymackayError):
            pm.lmer(case.meta["formula"], case.data, **case.arguments)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", pm.ConvergenceWarning)
        fit = pm.lmer(case.meta["formula"], case.data, **case.arguments)
    failures = judge(fit, case)
    assert not failures, "\n".join(failures)


def judge(fit: pm.Fit, case: Case) -> list[str]:
    """Return what is out of tolerance, in words; nothing when all holds."""
    if "exact" in case.expected:
        return _judge_exact(fit, case.expected["exact"])
    truth = case.expected["lme4"]
    reference = truth["criterion"]["value"]
    failures = []
    if fit.criterion > reference + tol("certified") + 1e-9 * abs(reference):
        failures.append(f"criterion {fit.criterion!r} above {reference!r}")
    if list(fit.dropped) != list(case.expected["dropped_columns"] or []):
        failures.append(f"dropped {fit.dropped}, expected {case.expected['dropped_columns']}")
    failures += _judge_beta(fit, truth)
    if set(case.meta["tags"]) & set(_UNIDENTIFIED):
        return failures
    loose = 10.0 if set(case.meta["tags"]) & set(_LOOSE) else 1.0
    if fit.singular != truth["singular"]:
        failures.append(f"singular {fit.singular}, expected {truth['singular']}")
    failures += _judge_spread(fit, truth, loose)
    failures += _judge_effects(fit, truth, loose)
    return failures


def _judge_exact(fit: pm.Fit, exact: dict[str, Any]) -> list[str]:
    """Compare with the rational answer for the numbers as float64 holds them."""
    truth = {k: float(v) for k, v in exact["binary64"].items() if isinstance(v, str)}
    group, cov = next(iter(fit.varcorr.items()))
    levels = [str(level) for level in exact["group_levels_order"][:5]]
    blups = np.array(exact["binary64"]["blup_first5"], dtype=float)
    theirs = fit.ranef[group].loc[levels].to_numpy()[:, 0]
    ulps = 4.0 * np.spacing(truth["intercept"])
    beyond_rounding = max(0.0, abs(fit.beta.iloc[0] - truth["intercept"]) - ulps)
    off = {
        "sigma": fit.sigma / truth["sigma"] - 1.0,
        "sd of the group": float(np.sqrt(cov.iloc[0, 0])) / truth["sd_group"] - 1.0,
        "theta": fit.theta.iloc[0] / truth["theta"] - 1.0,
        "standard error": fit.std_error.iloc[0] / truth["se_intercept"] - 1.0,
        "intercept": beyond_rounding / truth["se_intercept"],
        "condvar": fit.condvar[group][0, 0, 0] / truth["condvar"] - 1.0,
        "effects": np.abs(theirs - blups).max() / np.sqrt(truth["condvar"]),
        "criterion": (fit.criterion - truth["criterion"]) / max(1.0, abs(truth["criterion"])),
    }
    return [f"{name}: {x:.2g}" for name, x in off.items() if abs(x) > tol("nist")]


def _judge_beta(fit: pm.Fit, truth: dict[str, Any]) -> list[str]:
    names = truth["beta"]["names"]
    if list(fit.beta.index) != names:
        return [f"beta is named {list(fit.beta.index)}, expected {names}"]
    error = np.array(truth["beta"]["se"])
    off = np.abs(fit.beta.to_numpy() - truth["beta"]["estimate"]) / error
    wide = np.abs(fit.std_error.to_numpy() / error - 1.0)
    failures = [f"beta {n}: {x:.2g} se off" for n, x in zip(names, off, strict=True) if x > 1e-3]
    return failures + [
        f"se of {n}: {x:.2g} relative" for n, x in zip(names, wide, strict=True) if x > 1e-3
    ]


def _judge_spread(fit: pm.Fit, truth: dict[str, Any], loose: float) -> list[str]:
    failures = []
    if abs(fit.sigma / truth["sigma"] - 1.0) > 1e-4 * loose:
        failures.append(f"sigma {fit.sigma!r}, expected {truth['sigma']!r}")
    if set(fit.varcorr) != set(truth["varcorr"]):
        return [*failures, f"terms {list(fit.varcorr)}, expected {list(truth['varcorr'])}"]
    for name, expected in truth["varcorr"].items():
        ours, theirs = (
            fit.varcorr[name],
            np.array(expected["cov"]).reshape(len(fit.varcorr[name]), -1),
        )
        if list(ours.columns) != as_list(expected["terms"]):
            failures.append(f"{name}: effects {list(ours.columns)}, expected {expected['terms']}")
            continue
        sd = np.sqrt(np.diag(theirs))
        size = np.outer(sd, sd)
        floor = 1e-8 * truth["sigma"] ** 2
        off = np.abs(ours.to_numpy() - theirs) / np.maximum(size, floor)
        if off.max() > 1e-3 * loose:
            failures.append(f"varcorr {name}: {off.max():.2g} relative")
    return failures


def _judge_effects(fit: pm.Fit, truth: dict[str, Any], loose: float) -> list[str]:
    failures = []
    for group, expected in truth["ranef"].items():
        ours = fit.ranef[group]
        if list(ours.columns) != as_list(expected["terms"]):
            failures.append(f"ranef {group}: {list(ours.columns)}, expected {expected['terms']}")
            continue
        levels = as_list(expected["levels"])
        if len(ours) != expected["n_levels"]:
            failures.append(f"{group}: {len(ours)} levels, expected {expected['n_levels']}")
        values = np.array(expected["values"], dtype=float).reshape(len(levels), -1)
        sd = np.sqrt(np.einsum("jaa->ja", fit.condvar[group]))
        sd = pd.DataFrame(sd, index=ours.index, columns=ours.columns)
        off = np.abs(ours.loc[levels].to_numpy() - values)
        allowed = 1e-2 * loose * np.maximum(sd.loc[levels].to_numpy(), 1e-6 * truth["sigma"])
        if (off > allowed).any():
            failures.append(f"ranef {group}: {(off / allowed).max() * 1e-2 * loose:.2g} sd off")
        failures += _judge_condvar(fit, group, expected, loose)
    return failures


def _judge_condvar(fit: pm.Fit, group: str, expected: dict[str, Any], loose: float) -> list[str]:
    failures = []
    ours = fit.condvar[group]
    places = [fit.ranef[group].index.get_loc(x) for x in as_list(expected["condvar_levels"])]
    columns = list(fit.ranef[group].columns)
    for effect, blocks in expected["condvar"].items():
        theirs = np.array(blocks, dtype=float)
        kept = range(len(columns)) if effect == "all" else [columns.index(effect)]
        mine = ours[np.ix_(places, list(kept), list(kept))].reshape(theirs.shape)
        scale = np.maximum(np.abs(theirs).max(), 1e-12 * fit.sigma**2)
        if np.abs(mine - theirs).max() > 1e-3 * loose * scale:
            failures.append(f"condvar {group} {effect}: {np.abs(mine - theirs).max() / scale:.2g}")
    return failures
