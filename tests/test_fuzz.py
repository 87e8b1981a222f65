"""The fuzzer on fixed seeds: no random model may be judged differently from lme4."""

from __future__ import annotations

import pytest
from fuzz.disagree import disagreement, shrink
from fuzz.generate import FuzzModel, generate


@pytest.mark.live
@pytest.mark.parametrize("first", range(1000, 1040, 10))
def test_engines_agree_on_random_models(first: int) -> None:
    reports = {seed: disagreement(generate(seed)) for seed in range(first, first + 10)}
    wrong = {seed: report for seed, (_, report) in reports.items() if report}
    assert not wrong, "\n".join(f"seed {seed}: {report}" for seed, report in wrong.items())


def test_a_seed_is_a_model() -> None:
    once, again = generate(7), generate(7)
    assert once.formula == again.formula
    assert once.data.equals(again.data)


@pytest.mark.live
def test_a_planted_fault_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A criterion off by a hair must be called by its name, on fewer rows than it came with."""
    import pymackay as pm

    model = generate(3)
    honest = pm.lmer

    def faulty(*arguments: object, **named: object) -> pm.Fit:
        fit = honest(*arguments, **named)  # type: ignore[arg-type]
        return fit.replace(criterion=fit.criterion + 1e-3)

    monkeypatch.setattr(pm, "lmer", faulty, raising=False)
    verdict, report = disagreement(model)
    assert verdict == "oracle"
    assert "dense" in report
    small: FuzzModel = shrink(model, verdict)
    assert len(small.data) < len(model.data)
