"""Recording: what R says is written whole, read back to the last bit, and replaced at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.reference import record as recorder
from pymackay.reference.question import Question
from pymackay.reference.record import main, record
from pymackay.reference.recorded import RecordedStore

pytestmark = pytest.mark.live

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.mark.parametrize("how", ["default", "tight"])
def test_a_recording_is_the_live_answer_to_the_last_bit(
    sleep: pd.DataFrame, tmp_path: Path, how: str
) -> None:
    sleep.loc[5, "Reaction"] = np.nan
    question = Question(FORMULA, sleep, weights=np.linspace(0.5, 2.0, 180), subset="Days < 9")
    path = record(question, tmp_path, "mine")
    assert [path] == list(tmp_path.iterdir())
    read = RecordedStore(tmp_path).fit(question, how)
    asked = {"weights": question.weights, "subset": question.subset, "tight": how == "tight"}
    live = pm.lme4.lmer(FORMULA, sleep, source="live", **asked)
    for name in ("criterion", "sigma", "singular", "messages", "dropped", "convergence"):
        assert repr(getattr(read, name)) == repr(getattr(live, name)), name
    pd.testing.assert_series_equal(read.beta, live.beta, check_exact=True)
    pd.testing.assert_frame_equal(read.vcov, live.vcov, check_exact=True)
    pd.testing.assert_series_equal(read.theta, live.theta, check_exact=True)
    pd.testing.assert_series_equal(read.fitted, live.fitted, check_exact=True)
    pd.testing.assert_series_equal(read.residuals, live.residuals, check_exact=True)
    for name in ("varcorr", "ranef"):
        pd.testing.assert_frame_equal(
            getattr(read, name)["Subject"], getattr(live, name)["Subject"], check_exact=True
        )
    for name in ("condvar", "pev"):
        np.testing.assert_array_equal(
            getattr(read, name)["Subject"], getattr(live, name)["Subject"]
        )
    np.testing.assert_array_equal(read.model.weights, live.model.weights)
    assert read.model.rows.equals(live.model.rows)
    assert read.model.levels == live.model.levels
    assert read.model.terms == live.model.terms


def test_every_number_reads_back_to_itself(sleep: pd.DataFrame, tmp_path: Path) -> None:
    content = json.loads(record(Question(FORMULA, sleep), tmp_path, "mine").read_text())
    fit = pm.lme4.lmer(FORMULA, sleep, source="live")
    assert content["answers"]["default"]["beta"]["values"] == fit.beta.tolist()
    assert content["answers"]["default"]["criterion"] == fit.criterion


def test_the_command_records_what_the_list_names(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text(
        '[[model]]\ndata = "Dyestuff"\nformula = "Yield ~ 1 + (1 | Batch)"\nwhy = "so"\n'
        '[[model]]\ndata = "Rail"\nformula = "travel ~ 1 + (1 | Rail)"\nreml = true\n'
    )
    into = tmp_path / "new" / "folder"
    assert main(["--list", str(models), "--into", str(into), "--only", "Dyestuff"]) == 0
    assert len(list(into.iterdir())) == 2
    assert main(["--list", str(models), "--into", str(into), "--only", "Rail"]) == 0
    assert len(list(into.iterdir())) == 3
    assert {r.content["asked"]["reml"] for r in RecordedStore(into).recordings()} == {True, False}


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[[model]]\ndata = "Rail"\nformula = "travel ~ nowhere + (1 | Rail)"\n')
    assert main(["--list", str(models), "--into", str(tmp_path)]) == 1
    assert "'nowhere' not found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [models]


def test_an_interruption_leaves_the_old_file(
    sleep: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(Question(FORMULA, sleep), tmp_path, "mine")
    before = path.read_bytes()

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "_layout", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(Question(FORMULA, sleep), tmp_path, "mine")
    assert path.read_bytes() == before


def test_what_is_too_long_is_left_out_by_name(
    sleep: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LONGEST_ROWS", 100)
    monkeypatch.setattr(recorder, "LONGEST_BLOCKS", 10)
    question = Question(FORMULA, sleep)
    record(question, tmp_path, "mine")
    fit = RecordedStore(tmp_path).fit(question)
    assert set(fit.not_offered) == {"fitted", "residuals", "condvar", "pev", "evaluate"}
    with pytest.raises(pm.PymackayError, match="72 numbers; up to 10 are recorded"):
        fit.condvar  # noqa: B018
    assert fit.fitted.isna().all()
    assert fit.n_obs == 180


def test_names_beyond_ascii_in_a_bare_locale() -> None:
    code = """
import numpy as np, pandas as pd, pymackay as pm
rng = np.random.default_rng(0)
data = pd.DataFrame({"größe": rng.normal(size=30), "g": rng.choice(["ж", "é", "a"], 30)})
fit = pm.lme4.lmer("größe ~ 1 + (1 | g)", data, source="live")
assert fit.model.response == "größe", fit.model.response
assert fit.model.levels == {"g": ("a", "é", "ж")}, fit.model.levels
"""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
    environment["PYTHONPATH"] = str(Path(pm.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
