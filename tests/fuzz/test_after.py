"""What follows a fit, on random models of fixed seeds: no answer may differ from dense formulas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pymackay as pm
from pymackay import cli
from pymackay.fuzz import generate, judge_after, store
from pymackay.fuzz.after.judge import CHECKS
from pymackay.fuzz.judge import Outcome


@pytest.mark.parametrize("seed", [3, 10, 28, 38, 78, 86, 114])
def test_methods_agree_with_dense_formulas(seed: int) -> None:
    outcome = judge_after(generate(seed))
    assert outcome == Outcome("as expected"), outcome.report


def plain(**changes: Any) -> Any:
    """Return a random model without offset, weights or other arguments."""
    model = replace(generate(3), fixed="x * f + z", random=("(x | g)", "(1 | m)"), arguments={})
    return replace(model, response="y", **changes)


# ---- each check is able to fail


def _with_beta(fit: pm.Fit) -> pm.Fit:
    return fit.replace(beta=fit.beta + 0.01 * fit.std_error)


def _with_effects(fit: pm.Fit) -> pm.Fit:
    return fit.replace(ranef={g: t + 0.01 * fit.sigma for g, t in fit.ranef.items()})


def _with_variances(fit: pm.Fit) -> pm.Fit:
    return fit.replace(varcorr={name: 1.01 * V for name, V in fit.varcorr.items()})


def _with_vcov(fit: pm.Fit) -> pm.Fit:
    return fit.replace(vcov=1.01 * fit.vcov)


PLANTED = [
    ("predicted rows", _with_effects, "fit"),
    ("population's mean", _with_beta, "population: fit"),
    ("population's mean", _with_vcov, "population: se"),
    ("new levels", _with_variances, "new level: se"),
    ("subsets of effects", _with_effects, "sum over bars"),
    ("effects of rows", lambda fit: fit.replace(residuals=1.01 * fit.residuals), "augment: .resid"),
    ("contrasts", _with_beta, "contrast: Estimate"),
    ("tests of terms", _with_vcov, "anova, type I,"),
    ("Wald limits", _with_vcov, "confint: Wald"),
    ("partitions", _with_beta, "frames: beta"),
]


@pytest.mark.parametrize(("name", "fault", "report"), PLANTED)
def test_a_planted_fault_is_reported(name: str, fault: Any, report: str) -> None:
    def ours(*arguments: Any, **named: Any) -> pm.Fit:
        return fault(pm.lmer(*arguments, **named))

    outcome = judge_after(plain(), ours=ours, checks={name: CHECKS[name]})
    assert outcome.verdict == name
    assert report in outcome.report
    assert judge_after(plain(), checks={name: CHECKS[name]}).agrees


@pytest.mark.parametrize(
    ("name", "method", "report"),
    [("likelihood ratio", "loglik", "deviance"), ("copies", "save", "CopyFault")],
)
def test_a_method_that_is_wrong_is_reported(
    name: str, method: str, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CopyFault(Exception):
        pass

    def save(fit: pm.Fit, *arguments: Any, **named: Any) -> None:
        raise CopyFault

    planted = {"loglik": property(lambda fit: -0.5 * fit.criterion + 0.01), "save": save}
    monkeypatch.setattr(pm.Fit, method, planted[method])
    outcome = judge_after(plain(), checks={name: CHECKS[name]})
    assert outcome.verdict == name
    assert report in outcome.report


# ---- the command


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, ["fuzz", "--after", *arguments], prog_name="pymackay")


def test_the_command_judges_and_repeats(tmp_path: Path) -> None:
    result = command("--seconds", "0.01", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "1 models from seed 3" in result.stdout
    path = store(plain(), Outcome("copies", "planted"), tmp_path, after=True)
    assert f"pymackay fuzz --after --again {path.name}" in path.read_text(encoding="utf-8")
    again = command("--again", str(path))
    assert again.exit_code == 0, again.output
    assert again.stdout.startswith("as expected: ")


# ---- examples that were faults


def test_likelihoods_beside_a_large_offset() -> None:
    """A response of 1e-8 loses its digits in the fitted values, which hold an offset of 1."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"x": rng.normal(size=60), "o": rng.normal(size=60)})
    data["g"] = np.arange(60) % 6
    data["y"] = 1e-9 * rng.normal(size=60)
    fits = [
        pm.lmer(formula, data, offset="o", reml=False)
        for formula in ("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")
    ]
    assert fits[0].anova(fits[1])["Df"].iloc[1] == 1.0
