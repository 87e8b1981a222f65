"""Recordings of lme4's answers: whole, true to themselves, and refused where they do not apply."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mutations import mutations
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.formula.normal import normal_formula
from pymackay.reference.question import Question
from pymackay.reference.r.scripts import script_hashes
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore, Recording, content_sha256

FORMULA = "Reaction ~ Days + (Days | Subject)"
STORE = RecordedStore()
FILES = sorted(r_reference_path("recorded").glob("*.json"))
LISTED = list(listed_questions(r_reference_path("models.toml")))
LISTED_IDS = [
    f"{name}: {question.formula} {'reml' if question.reml else 'ml'} {i}"
    for i, (name, question) in enumerate(LISTED)
]


@pytest.fixture
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


def recorded(formula: str, data: pd.DataFrame, **arguments: object) -> pm.Fit:
    return pm.lme4.lmer(formula, data, source="recorded", **arguments)


def sleep_file() -> Path:
    return STORE.find(Question(FORMULA, pm.load_data("sleepstudy"))).path


# --- the files themselves


def test_eighty_references_over_all_data_sets() -> None:
    assert len(FILES) >= 80
    without_linear_models = {"cbpp", "grouseticks", "Arabidopsis", "BtheB"}
    recorded_sets = {path.name.split("-")[0] for path in FILES}
    assert recorded_sets == set(pm.list_data()) - without_linear_models


def test_recorded_formulas_are_in_their_normal_form() -> None:
    formulas = {Recording.read(path).content["asked"]["formula"] for path in FILES}
    assert formulas == {normal_formula(formula) for formula in formulas}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_matches_its_checksum_and_the_present_scripts(path: Path) -> None:
    made_by = Recording.read(path).content["made_by"]
    assert made_by["scripts"] == script_hashes(), "record again: the R scripts have changed"
    assert {"R", "lme4", "Matrix", "BLAS", "nloptr", "minqa"} <= set(made_by["versions"])


def test_files_and_list_are_the_same_models() -> None:
    assert {STORE.find(question).path for _, question in LISTED} == set(FILES)


def test_no_file_names_a_folder_of_the_machine_that_made_it() -> None:
    assert [path.name for path in FILES if '"/' in path.read_text(encoding="utf-8")] == []


# --- the numbers in them, checked against each other: a changed digit shows


@pytest.mark.parametrize(("name", "question"), LISTED, ids=LISTED_IDS)
@pytest.mark.parametrize("how", ["default", "tight"])
@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
def test_covariances_follow_from_theta(name: str, question: object, how: str) -> None:
    fit = STORE.fit(question, how)
    position = 0
    for term, covariance in fit.varcorr.items():
        q = len(covariance)
        factor = np.zeros((q, q))
        for column in range(q):
            rows = slice(column, q)
            factor[rows, column] = fit.theta.iloc[position : position + q - column]
            position += q - column
        expected = fit.sigma**2 * factor @ factor.T
        scale = np.abs(expected).max() or 1.0
        assert np.abs(covariance - expected).to_numpy().max() <= tol("design") * scale, term
    assert position == len(fit.theta)


@pytest.mark.parametrize(("name", "question"), LISTED, ids=LISTED_IDS)
@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
def test_the_tight_answer_is_an_optimum(name: str, question: object) -> None:
    """At an optimum V = (B'B + sum of error variances) / J, whatever found it."""
    fit = STORE.fit(question, "tight")
    assert fit.criterion <= STORE.fit(question).criterion + tol("tight criterion")
    errors = fit.pev if fit.reml else fit.condvar
    column = dict.fromkeys(fit.ranef, 0)
    for term in fit.model.terms:
        q = len(term.effects)
        own = slice(column[term.group], column[term.group] + q)
        column[term.group] += q
        effects = fit.ranef[term.group].to_numpy()[:, own]
        second_moment = (effects.T @ effects + errors[term.group][:, own, own].sum(0)) / len(
            effects
        )
        covariance = fit.varcorr[term.name].to_numpy()
        scale = np.sqrt(np.outer(np.diag(second_moment), np.diag(second_moment)))
        scale = np.maximum(scale, np.finfo(float).tiny)
        assert (np.abs(covariance - second_moment) / scale).max() <= tol("second moment"), term.name


@pytest.mark.parametrize(("name", "question"), LISTED, ids=LISTED_IDS)
@pytest.mark.parametrize("how", ["default", "tight"])
@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
def test_fitted_and_residuals_give_the_response(name: str, question: object, how: str) -> None:
    fit = STORE.fit(question, how)
    if "fitted" in fit.not_offered:
        assert fit.fitted.isna().all()
        assert "rows" in fit.not_offered["fitted"]
        return
    data = pm.load_data(name)
    response = fit.model.response.removeprefix("log(").removesuffix(")")
    y = data.loc[fit.model.rows, response].astype(float)
    y = np.log(y) if fit.model.response.startswith("log(") else y
    np.testing.assert_allclose(fit.fitted + fit.residuals, y, rtol=tol("design"))


def test_sleepstudy_is_the_closed_form(sleep: pd.DataFrame) -> None:
    fit = recorded(FORMULA, sleep, tight=True)
    expected = [[612.08993866, 9.60433332], [9.60433332, 35.0716605]]
    np.testing.assert_allclose(fit.varcorr["Subject"], expected, rtol=tol("printed"))
    assert fit.sigma**2 == pytest.approx(654.94102708, rel=tol("printed 8"))


# --- damage is seen


def test_a_changed_digit_is_refused(sleep: pd.DataFrame, tmp_path: Path) -> None:
    source = sleep_file()
    text = source.read_text(encoding="utf-8")
    content = json.loads(text)
    digits = repr(content["answers"]["default"]["beta"]["values"][0])
    changed = digits[:-1] + ("1" if digits[-1] != "1" else "2")
    assert text.count(digits) >= 1
    (tmp_path / source.name).write_text(text.replace(digits, changed, 1), encoding="utf-8")
    with pytest.raises(pm.RecordingError, match="checksum"):
        list(RecordedStore(tmp_path).recordings())


def _leaves(value: object, path: tuple = ()) -> list[tuple]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in _leaves(v, (*path, k))]
    if isinstance(value, list):
        return [leaf for i, v in enumerate(value) for leaf in _leaves(v, (*path, i))]
    return [path]


def _changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return np.nextafter(value, np.inf) if isinstance(value, float) else value + 1
    return "x" if value is None else f"{value}x"


def test_any_single_value_is_covered_by_the_checksum() -> None:
    content = json.loads(sleep_file().read_text(encoding="utf-8"))
    right = content_sha256(content)
    for path in _leaves({k: v for k, v in content.items() if k != "content_sha256"})[::7]:
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        before = holder[path[-1]]
        holder[path[-1]] = _changed(before)
        assert content_sha256(content) != right, path
        holder[path[-1]] = before
    assert content_sha256(content) == right


def test_layout_does_not_matter(sleep: pd.DataFrame, tmp_path: Path) -> None:
    source = sleep_file()
    content = json.loads(source.read_text(encoding="utf-8"))
    (tmp_path / source.name).write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    assert len(list(RecordedStore(tmp_path).recordings())) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', "\udcff".encode("utf-8", "surrogateescape")]
)
def test_what_is_no_recording_is_refused(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(pm.RecordingError, match="ecord it again"):
        Recording.read(path)


# --- what a file holds is checked, even where its checksum is right


def _sealed(content: dict, folder: Path) -> RecordedStore:
    content["content_sha256"] = content_sha256(content)
    (folder / sleep_file().name).write_text(json.dumps(content), encoding="utf-8")
    return RecordedStore(folder)


# what another value of the right type and shape makes of a fit: other names, words, versions
_OPEN = re.compile(
    r"made_by\.versions\.\w+: missing|model\.contrasts\.\w+: missing"
    r"|answers\.default\.(warnings|messages): \['x'\]"
    r"|answers\.default\.convergence\.(decrement|gradient|curvature): None"
)


@pytest.mark.parametrize("subset", [None, "Days > 1"])
@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
def test_any_wrong_part_is_refused_or_changes_nothing(
    sleep: pd.DataFrame, tmp_path: Path, subset: str | None
) -> None:
    question = Question(FORMULA, sleep, subset=subset)
    source = STORE.find(question).path
    content = json.loads(source.read_text(encoding="utf-8"))

    def answer() -> str:
        fit = RecordedStore(tmp_path).fit(question)
        parts = (fit.vcov, fit.fitted, fit.residuals, fit.ranef["Subject"])
        more = (fit.condvar, fit.pev, fit.model, fit.convergence, fit.engine, repr(fit))
        return repr([*(part.to_numpy().tolist() for part in parts), *more])

    (tmp_path / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    right = answer()
    for where, changed in mutations(content):
        changed["content_sha256"] = content_sha256(changed)
        (tmp_path / source.name).write_text(json.dumps(changed), encoding="utf-8")
        try:
            assert answer() == right or _OPEN.fullmatch(where), where
        except pm.RecordingError:
            continue


def test_numbers_that_are_none_and_files_without_end(
    sleep: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question(FORMULA, sleep)
    content = json.loads(sleep_file().read_text(encoding="utf-8"))
    path = tmp_path / sleep_file().name
    for text in ("NaN", "Infinity", "9" * 5000, "[" * 100_000):
        changed = json.dumps(content).replace('"criterion": ', f'"criterion": {text}, "x": ', 1)
        path.write_text(changed, encoding="utf-8")
        with pytest.raises(pm.RecordingError, match="cannot be read"):
            RecordedStore(tmp_path).fit(question)
    _sealed(content, tmp_path)
    monkeypatch.setattr("pymackay.reference.recorded.LARGEST", 1000)
    with pytest.raises(pm.RecordingError, match="cannot be read"):
        RecordedStore(tmp_path).fit(question)


def test_the_message_names_the_part_and_the_cure(sleep: pd.DataFrame, tmp_path: Path) -> None:
    content = json.loads(sleep_file().read_text(encoding="utf-8"))
    content["answers"]["default"]["vcov"] = [[1.0, 2.0]]
    with pytest.raises(pm.RecordingError, match=r"is damaged.*record it again"):
        _sealed(content, tmp_path).fit(Question(FORMULA, sleep))
    content["answers"]["default"]["vcov"] = [["1", 2.0], [2.0, 3.0]]
    with pytest.raises(
        pm.RecordingError, match="answers, default, vcov should be a number, not '1'"
    ):
        _sealed(content, tmp_path).fit(Question(FORMULA, sleep))


# --- other questions are refused, with the reason


def test_one_ulp_in_the_data_is_other_data(sleep: pd.DataFrame) -> None:
    sleep.loc[17, "Reaction"] = np.nextafter(sleep.loc[17, "Reaction"], np.inf)
    with pytest.raises(pm.RecordingError, match="'Reaction' has other values"):
        recorded(FORMULA, sleep)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.iloc[::-1], "other values"),
        (lambda d: d.iloc[:-1], "179 rows here, 180 in the recording"),
        (lambda d: d.assign(Subject=d.Subject.astype(str).astype(int)), "'Subject' is numeric"),
        (
            lambda d: d.assign(
                Subject=d.Subject.cat.reorder_categories(list(d.Subject.cat.categories)[::-1])
            ),
            "levels",
        ),
        (lambda d: d.assign(Subject=d.Subject.cat.as_ordered()), "'Subject' is ordered"),
        (lambda d: d.assign(Days=d.Days.where(d.index > 0)), "'Days' has other values"),
        (lambda d: d.rename(columns={"Days": "days"}), "'Days' is missing"),
    ],
)
def test_other_data_are_refused(sleep: pd.DataFrame, change: object, reason: str) -> None:
    with pytest.raises(pm.RecordingError, match=reason):
        recorded(FORMULA, change(sleep))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign(Days=d.Days.astype(int)),
        lambda d: d.assign(Days=d.Days.astype("Int16")),
        lambda d: d.assign(Subject=d.Subject.astype(str)),
        lambda d: d.assign(unused=[object()] * len(d)),
        lambda d: d[["Subject", "Days", "Reaction"]],
        lambda d: d.set_axis(pd.date_range("2000", periods=len(d))),
    ],
    ids=["int", "nullable", "strings", "unused column", "order of columns", "index"],
)
def test_the_same_data_in_other_clothes_are_taken(sleep: pd.DataFrame, change: object) -> None:
    data = change(sleep)
    fit = recorded(FORMULA, data)
    assert fit.criterion == recorded(FORMULA, sleep).criterion
    assert fit.fitted.index.equals(data.index)


@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("Reaction ~ Days + (Days | Subjects)", {}),
        ("Reaction ~ (Days | Subject) + Days", {}),
        (FORMULA, {"weights": "Days"}),
        (FORMULA, {"offset": "Days"}),
        (FORMULA, {"subset": "Days > 2"}),
        (FORMULA, {"control": {"optimizer": "bobyqa"}}),
        (FORMULA, {"start": [1.0, 0.0, 1.0]}),
    ],
)
def test_other_models_are_refused(sleep: pd.DataFrame, formula: str, arguments: dict) -> None:
    with pytest.raises(pm.RecordingError, match="is not recorded"):
        recorded(formula, sleep, **arguments)


def test_the_message_names_what_is_recorded_of_the_formula(sleep: pd.DataFrame) -> None:
    with pytest.raises(pm.RecordingError, match=r"there is: .*reml=False.*subset='Days > 1'"):
        recorded(FORMULA, sleep, subset="Days > 2")


@pytest.mark.parametrize(
    "formula", ["Reaction~Days+(Days|Subject)", "Reaction ~ `Days` +\n ( Days|Subject )"]
)
def test_spaces_and_needless_quotes_do_not_matter(sleep: pd.DataFrame, formula: str) -> None:
    assert recorded(formula, sleep).formula == formula


# --- what a recorded fit offers


def test_default_and_tight_are_two_answers(sleep: pd.DataFrame) -> None:
    default, tight = recorded(FORMULA, sleep), recorded(FORMULA, sleep, tight=True)
    assert 0 < default.criterion - tight.criterion < tol("lme4 stops")
    assert default.engine.source == "recorded"
    assert default.engine.versions["lme4"]


def test_a_recorded_fit_cannot_evaluate_and_says_why(sleep: pd.DataFrame) -> None:
    fit = recorded(FORMULA, sleep)
    with pytest.raises(pm.PymackayError, match="a recording holds one theta only"):
        fit.evaluate(fit.theta)


def test_what_was_too_long_is_said() -> None:
    fit = recorded("y ~ service + (1 | s) + (1 | d)", pm.load_data("InstEval"))
    assert set(fit.not_offered) == {"fitted", "residuals", "evaluate"}
    assert fit.n_obs == 73421
    assert len(fit.ranef["s"]) == len(fit.condvar["s"]) == 2972


def test_rows_keep_their_labels(sleep: pd.DataFrame) -> None:
    sleep.index = [f"row {i}" for i in range(len(sleep))]
    fit = recorded(FORMULA, sleep, subset="Days > 1")
    assert list(fit.model.rows) == list(sleep.index[sleep.Days > 1])
    assert list(fit.fitted.index) == list(fit.model.rows)


def test_messages_and_warnings_of_r_are_kept() -> None:
    fit = recorded("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
    assert fit.singular
    assert any("singular" in message for message in fit.messages)


# --- at a theta


def at(theta: object, **arguments: object) -> pm.Fit:
    data = pm.load_data("sleepstudy")
    return pm.lme4.evaluate(FORMULA, data, theta, source="recorded", **arguments)


def test_the_articles_first_listing_is_recorded_where_it_is_evaluated() -> None:
    sd, slope, noise = 24.7404, 5.9221, 25.5918  # as the article gives lmer's, with 0.066 between
    factor = np.linalg.cholesky(
        [[sd**2, sd * slope * 0.066], [sd * slope * 0.066, slope**2]] / np.square(noise)
    )
    theta = [factor[0, 0], factor[1, 0], factor[1, 1]]
    fit = at(theta)
    assert fit.engine.source == "recorded"
    np.testing.assert_allclose(fit.theta, theta, rtol=1e-11)
    assert fit.beta.to_dict() == pytest.approx({"(Intercept)": 251.405105, "Days": 10.467286})


def test_the_article_needs_no_r_for_its_column_of_lme4() -> None:
    code = """
import sys
sys.modules["rpy2"] = None
from pymackay.cli import main
main(["article"], standalone_mode=False)
"""
    out = _python(code)
    first, second = out.split("Listing 2: after", 1)
    lines = [line.split() for line in (first + second).splitlines() if line.startswith("  b")]
    assert len(lines) == 18
    assert all(len(line) >= 5 and float(line[-1]) for line in lines)
    assert "lme4, listing 1: at the same variances. lme4 (recorded" in out


def test_files_at_a_theta_are_those_of_the_list() -> None:
    folder = r_reference_path("recorded_at")
    store = RecordedStore(folder)
    listed = list(listed_questions(r_reference_path("thetas.toml")))
    assert {store.find(question).path for _, question in listed} == set(folder.glob("*.json"))
    for _, question in listed:
        fit = store.fit(question, "evaluate")
        np.testing.assert_allclose(fit.theta, question.theta, rtol=1e-11)
        made_by = store.find(question).content["made_by"]
        assert made_by["scripts"] == script_hashes(), "record again: the R scripts have changed"


def test_another_theta_is_not_answered_by_a_recording() -> None:
    (_, question), *_ = listed_questions(r_reference_path("thetas.toml"))
    assert at(question.theta).criterion == at(np.nextafter(question.theta, 2.0)).criterion
    for theta, arguments in (
        (np.multiply(question.theta, 1 + 1e-9), {}),
        (question.theta, {"reml": False}),
        (question.theta[:2], {}),
    ):
        with pytest.raises(pm.RecordingError, match="is not recorded"):
            at(theta, **arguments)


# --- R is not started


def _python(code: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pm.__file__).parents[1]), **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ASK = f"""
import sys
import pymackay as pm
sleep = pm.load_data("sleepstudy")
fit = pm.lme4.lmer({FORMULA!r}, sleep, source=SOURCE)
assert not [m for m in sys.modules if m.split(".")[0] in MODULES]
print(fit.engine.source)
"""


def test_recorded_loads_neither_rpy2_nor_tensorflow() -> None:
    code = f"SOURCE, MODULES = 'recorded', ('rpy2', 'tensorflow')\n{ASK}"
    assert _python(code).strip() == "recorded"


def test_importing_the_bridge_loads_neither() -> None:
    modules = "[m for m in sys.modules if m.split('.')[0] in ('rpy2', 'tensorflow')]"
    assert _python(f"import sys, pymackay.reference.lme4; print({modules})").strip() == "[]"


@pytest.mark.parametrize("hidden", ["rpy2", "R"])
def test_without_r_the_recording_answers(hidden: str, tmp_path: Path) -> None:
    hide = "sys.modules['rpy2'] = None\n" if hidden == "rpy2" else ""
    environment = {"PATH": str(tmp_path), "R_HOME": ""} if hidden == "R" else {}
    code = f"import sys\n{hide}SOURCE, MODULES = 'auto', ('tensorflow',)\n{ASK}"
    assert _python(code, **environment).strip().splitlines()[-1] == "recorded"


@pytest.mark.parametrize("source", ["auto", "live"])
def test_without_r_and_recording_the_cure_is_named(source: str) -> None:
    code = f"""
import sys
sys.modules["rpy2"] = None
import pymackay as pm
try:
    sleep = pm.load_data("sleepstudy")
    pm.lme4.lmer("Reaction ~ Days + (0 + Days || Subject)", sleep, source={source!r})
except pm.RUnavailableError as error:
    print(error)
print(pm.lme4.available())
"""
    out = _python(code)
    assert "install_r.sh" in out
    assert "pip install '.[r]'" in out
    assert "pymackay.reference.record" in out
    assert out.strip().endswith("False")


def test_an_unknown_source_is_refused(sleep: pd.DataFrame) -> None:
    with pytest.raises(pm.ArgumentError, match="source must be one of 'auto', 'live', 'recorded'"):
        pm.lme4.lmer(FORMULA, sleep, source="tape")
