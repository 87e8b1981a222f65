"""The fuzzer on fixed seeds: no random model may be judged differently from lme4."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import pymackay as pm
from pymackay import cli
from pymackay.fuzz import (
    Outcome,
    generate,
    generate_general,
    judge_model,
    load,
    run,
    shrink,
    store,
)
from pymackay.fuzz import campaign as campaign_module

FINE = Outcome("same optimum")
WRONG = Outcome("theirs lower", "0.5 lower")


@pytest.mark.live
@pytest.mark.parametrize("first", range(1000, 1016, 4))
def test_engines_agree_on_random_models(first: int) -> None:
    outcomes = {seed: judge_model(generate(seed)) for seed in range(first, first + 4)}
    wrong = [f"seed {s}: {o.verdict}\n{o.report}" for s, o in outcomes.items() if not o.agrees]
    assert not wrong, "\n".join(wrong)


def test_the_oracle_alone_can_judge() -> None:
    outcomes = [judge_model(generate(seed), with_r=False) for seed in range(50, 54)]
    assert [o.report for o in outcomes] == [""] * 4
    assert "as the oracle" in {o.verdict for o in outcomes}


def test_a_seed_is_a_model() -> None:
    once, again = generate(7), generate(7)
    assert (once.formula, once.reml, once.arguments) == (again.formula, again.reml, again.arguments)
    assert once.data.equals(again.data)
    assert len({generate(seed).formula for seed in range(30)}) > 25


# ---- planted faults


def _criterion_off(*arguments: Any, **named: Any) -> pm.Fit:
    fit = pm.lmer(*arguments, **named)
    return fit.replace(criterion=fit.criterion + 1e-3)


def _not_the_optimum(formula: str, data: pd.DataFrame, **named: Any) -> pm.Fit:
    fit = pm.lmer(formula, data, **named)
    return fit.evaluate(1.05 * fit.theta + 0.01)


def _no_fit(*arguments: Any, **named: Any) -> pm.Fit:
    raise ZeroDivisionError("planted")


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (_criterion_off, "not the oracle's numbers"),
        (_not_the_optimum, "lower nearby"),
        (_no_fit, "crash"),
    ],
)
def test_a_planted_fault_is_called_by_its_name(fault: Any, verdict: str) -> None:
    model = replace(generate(3), fixed="x", random=("(1 | g)",), arguments={})
    assert judge_model(model, with_r=False).agrees
    outcome = judge_model(model, ours=fault, with_r=False)
    assert (outcome.verdict, outcome.agrees) == (verdict, False)


@pytest.mark.live
def test_a_refusal_of_one_engine_is_a_disagreement() -> None:
    def refuses(*arguments: Any, **named: Any) -> pm.Fit:
        raise pm.DataError("data: no.")

    model = replace(generate(3), fixed="x", random=("(1 | g)",), arguments={})
    assert judge_model(model, ours=refuses) == Outcome("ours refuses", "data: no.")
    hopeless = replace(model, data=model.data.head(1))
    assert judge_model(hopeless).verdict == "both refuse"


# ---- shrinking and keeping


def test_shrinking_leaves_what_the_fault_needs() -> None:
    def judge(model: Any) -> Outcome:
        wrong = (
            "x" in model.data and 7 in set(model.data.get("row", ())) and "(1 | g)" in model.random
        )
        return WRONG if wrong else FINE

    model = generate(11)
    model = replace(
        model,
        data=model.data.assign(row=range(len(model.data))),
        random=("(z | m)", "(1 | g)"),
        arguments={"weights": "w"},
    )
    small = shrink(model, WRONG.verdict, judge=judge)
    assert small.formula == "y ~ 1 + (1 | g)"
    assert small.arguments == {}
    assert list(small.data.columns) == ["x", "row"]
    assert len(small.data) < 5


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_read_back_the_same(seed: int, tmp_path: Path) -> None:
    model = generate(seed)
    path = store(model, WRONG, tmp_path / "new" / "folder")
    again = load(path)
    assert str(again) == str(model)
    frames = [m.data.astype(object).where(m.data.notna(), None) for m in (again, model)]
    pd.testing.assert_frame_equal(*frames)
    ours = [pm.lmer(m.formula, m.data, reml=m.reml, **m.arguments) for m in (model, again)]
    assert ours[0].criterion == ours[1].criterion
    about = json.loads(path.read_text(encoding="utf-8"))
    assert again.data.dtypes["f"] == model.data.dtypes["f"]
    assert (about["verdict"], about["report"]) == (WRONG.verdict, ["0.5 lower"])


# ---- the run, and the command


def test_a_run_counts_keeps_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def judge(model: Any, *, with_r: bool) -> Outcome:
        return WRONG if model.seed == 6 else FINE

    seen: list[int] = []
    monkeypatch.setattr(campaign_module, "judge_model", judge)

    def stop_after_three(tally: Any) -> None:
        seen.append(tally.models)
        if tally.models == 3:
            raise KeyboardInterrupt

    tally = run(60.0, 5, keep=tmp_path, progress=stop_after_three)
    assert (tally.models, len(tally.disagreements), tally.interrupted) == (3, 1, True)
    assert tally.disagreements[0].kept == tmp_path / "6.json"
    assert "3 models from seed 5" in str(tally) and "1 disagreement, interrupted" in str(tally)
    assert seen == [1, 2, 3]


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, ["fuzz", *arguments], prog_name="pymackay")


def test_the_command_ends_with_its_tally() -> None:
    result = command("--seconds", "0.01", "--seed", "2", "--without-r")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 models from seed 2 in ")
    assert "0 disagreements" in result.stdout


def test_the_command_keeps_and_judges_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(campaign_module, "judge_model", lambda model, with_r: WRONG)
        patched.setattr(campaign_module, "shrink", lambda model, verdict, judge: model)
        result = command("--seconds", "0.01", "--seed", "2", "--without-r", "--keep", str(tmp_path))
    assert result.exit_code == 1
    assert "seed 2: theirs lower: " in result.stdout
    assert f"kept: {tmp_path / '2.json'}" in result.stdout
    again = command("--without-r", "--again", str(tmp_path / "2.json"))
    assert again.exit_code == 0, again.output
    assert again.stdout.startswith("as the oracle: ")


def test_bad_input_of_the_command(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        result = command("--without-r", "--again", str(path))
        assert result.exit_code == 2
        assert "is not a disagreement stored by `pymackay fuzz`" in result.stderr
    assert command("--seconds", "-1").exit_code == 2
    (tmp_path / "file").write_text("")
    result = command("--without-r", "--keep", str(tmp_path / "file" / "folder"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be created" in result.stderr


def test_ctrl_c_ends_the_command_with_its_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(model: Any, *, with_r: bool) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign_module, "judge_model", interrupted)
    result = command("--without-r", "--seed", "2")
    assert result.exit_code == 130
    assert "0 models from seed 2 in 0 s, 0 disagreements, interrupted" in result.stdout


# ---- generalised models


@pytest.mark.live
def test_engines_agree_on_random_generalised_models() -> None:
    outcomes = {seed: judge_model(generate_general(seed)) for seed in range(20, 34)}
    wrong = [f"seed {s}: {o.verdict}\n{o.report}" for s, o in outcomes.items() if not o.agrees]
    assert not wrong, "\n".join(wrong)


def test_the_oracle_alone_judges_generalised_models() -> None:
    outcomes = [judge_model(generate_general(seed), with_r=False) for seed in range(60, 66)]
    assert [o.report for o in outcomes] == [""] * 6
    assert "as the oracle" in {o.verdict for o in outcomes}


def test_a_criterion_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pm.glmer

    def off(*arguments: Any, **named: Any) -> pm.Fit:
        fit = right(*arguments, **named)
        return fit.replace(criterion=fit.criterion + 1e-3)

    monkeypatch.setattr(pm, "glmer", off)
    seeds = [s for s in range(60, 80) if generate_general(s).family in ("binomial", "poisson")]
    verdicts = {judge_model(generate_general(s), with_r=False).verdict for s in seeds[:4]}
    assert "not the oracle's criterion" in verdicts


@pytest.mark.live
@pytest.mark.parametrize(
    ("seed", "verdict"),
    [
        (400336, "lme4 ends its modes early"),
        (400436, "lme4 reaches no mode"),
        (401364, "lme4 reaches no mode"),
        (400859, "lme4 ends the joint mode early"),
    ],
)
def test_a_mode_that_lme4_misses_is_told(seed: int, verdict: str) -> None:
    assert judge_model(generate_general(seed)) == Outcome(verdict)


@pytest.mark.live
def test_a_criterion_of_lme4_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pm.lme4.glmer

    def off(*arguments: Any, **named: Any) -> pm.Fit:
        fit = right(*arguments, **named)
        return fit.replace(criterion=fit.criterion + 5e-3)

    monkeypatch.setattr(pm.lme4, "glmer", off)
    assert judge_model(generate_general(528)).verdict == "dispersion: different model"


def test_a_generalised_model_is_stored_and_read(tmp_path: Path) -> None:
    model = generate_general(3)
    again = load(store(model, FINE, tmp_path))
    assert (again.formula, again.family, again.link) == (model.formula, model.family, model.link)
    assert (again.nagq, again.shape) == (model.nagq, model.shape)


def test_a_run_draws_generalised_models(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        campaign_module, "judge_model", lambda model, with_r: seen.append(model) or FINE
    )
    run(0.01, 5, generalised=True)
    assert seen and all(model.family for model in seen)


def test_a_search_is_not_ended_by_a_step_that_overshot() -> None:
    assert judge_model(generate_general(6), with_r=False) == Outcome("as the oracle")
