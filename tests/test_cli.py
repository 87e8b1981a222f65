"""The command line: exit status 0 only when it holds, 2 for bad input, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from unittest import mock

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import pymackay as pm
from pymackay import cli
from pymackay.reference.modes import Lme4

SLEEP = "Reaction ~ Days + (Days | Subject)"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), prog_name="pymackay")


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from pymackay.cli import main; main(prog_name='pymackay')"
    # a running R puts its library folders there, and with them another libpython
    inherited = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**inherited, **environment},
    )


@pytest.fixture(scope="module")
def recorded():
    return run("compare", "sleepstudy", SLEEP, "--recorded")


# ---- the main job


def test_main_job_holds_without_r(recorded):
    assert recorded.exit_code == 0, recorded.output
    assert recorded.stdout.startswith("Same optimum:")
    for part in (SLEEP, "lme4 (recorded;", "251.405", "24.7405", "variance gap"):
        assert part in recorded.stdout
    assert recorded.stderr == ""


def test_same_answer_in_a_fresh_process_with_no_r_and_nothing_on_stderr(recorded, tmp_path):
    done = process("compare", "sleepstudy", SLEEP, "--recorded", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == recorded.stdout


def test_report_and_json_are_written(tmp_path):
    page, content = tmp_path / "r.html", tmp_path / "r.json"
    result = run("compare", "sleepstudy", SLEEP, "--recorded", "--report", str(page),
                 "--json", str(content))  # fmt: skip
    assert result.exit_code == 0
    assert "Same optimum" in page.read_text(encoding="utf-8")
    assert json.loads(content.read_text(encoding="utf-8"))["verdict"] == "same optimum"


def test_comparison_that_does_not_hold_exits_with_1(monkeypatch):
    real = Lme4.ask

    def other_criterion(*args, **kwargs):
        fit = real(*args, **kwargs)
        return fit.replace(criterion=fit.criterion - 0.5)

    monkeypatch.setattr(Lme4, "ask", other_criterion)
    result = run("compare", "sleepstudy", SLEEP, "--recorded")
    assert result.exit_code == 1
    assert result.stdout.startswith("Different model: the two fits differ at one theta in crit")


def test_fit_prints_the_fit():
    result = run("fit", "sleepstudy", SLEEP, "--ml")
    assert result.exit_code == 0
    assert "fit by maximum likelihood" in result.stdout
    assert "1751.9" in result.stdout
    fit = pm.lmer(SLEEP, pm.load_data("sleepstudy"), reml=False)
    shown = str(fit.summary(ddf="Satterthwaite"))
    assert shown.splitlines()[:21] == result.stdout.splitlines()[:21]


HERDS = ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)")


def test_fit_adds_tables_in_every_format(tmp_path):
    cake = ("cake", "angle ~ recipe + temp + (1 | recipe:replicate)")
    table, page, content = tmp_path / "t.csv", tmp_path / "t.html", tmp_path / "t.json"
    result = run("fit", *cake, "--anova", "--confint=wald", "--emmeans", "recipe", "--csv",
                 str(table), "--html", str(page), "--json", str(content))  # fmt: skip
    assert result.exit_code == 0, result.output
    fit = pm.lmer(cake[1], pm.load_data("cake"))
    means = pm.emmeans(fit, "recipe")
    expected = {
        "anova": fit.anova().reset_index(names="term"),
        "confint": fit.confint("wald").reset_index(names="parameter"),
        "emmeans.recipe": means.table,
        "pairs.recipe": means.pairs().table,
    }
    actual = json.loads(content.read_text(encoding="utf-8"))
    for name, theirs in expected.items():
        beside = pd.read_csv(tmp_path / f"t.{name}.csv")
        pd.testing.assert_frame_equal(beside, pd.DataFrame(theirs), check_dtype=False)
        pd.testing.assert_frame_equal(pd.DataFrame(actual[name]), beside, check_dtype=False)
    tidy = fit.tidy(ddf="Satterthwaite")
    pd.testing.assert_frame_equal(pd.read_csv(table), tidy, check_dtype=False)
    pd.testing.assert_frame_equal(pd.DataFrame(actual["estimates"]), tidy, check_like=True)
    assert actual["criterion"] == fit.criterion and actual["rows"] == 270
    text = page.read_text(encoding="utf-8")
    assert text.count("<table") == text.count("</table>") == 7
    for part in (fit.anova(), means.table, means.pairs().table):
        assert repr(part) in result.stdout


def test_results_go_to_standard_output_alone():
    result = run("fit", "sleepstudy", SLEEP, "--json", "-", "--confint")
    content = json.loads(result.stdout)
    ends = pm.lmer(SLEEP, pm.load_data("sleepstudy")).confint()
    assert [row["2.5 %"] for row in content["confint"]] == ends["2.5 %"].tolist()
    two = run("fit", "sleepstudy", SLEEP, "--json", "-", "--csv", "-")
    assert two.exit_code == 2 and "only one of" in two.stderr


def test_degrees_of_freedom_are_chosen():
    none = run("fit", "sleepstudy", SLEEP, "--ddf", "none").stdout
    assert "Pr(>|t|)" not in none and "Other tests" not in none
    kenward = run("fit", "sleepstudy", SLEEP, "--ddf", "kenward-roger").stdout
    assert "Kenward-Roger's method" in kenward
    assert "Other tests: --ddf Kenward-Roger" in run("fit", "sleepstudy", SLEEP).stdout


def test_a_generalised_model_is_fitted_with_link_and_nodes():
    result = run("fit", *HERDS, "--family", "binomial", "--link", "probit", "--nagq", "5",
                 "--json", "-")  # fmt: skip
    assert result.exit_code == 0, result.output
    actual = json.loads(result.stdout)
    fit = pm.glmer(HERDS[1], pm.load_data("cbpp"), pm.Binomial("probit"), nagq=5)
    assert actual["criterion"] == pytest.approx(fit.criterion, abs=1e-9)
    assert actual["estimates"][1]["p.value"] == pytest.approx(fit.coefficients().iloc[1, 3])
    shown = run("fit", *HERDS, "--family", "binomial").stdout
    assert "z value Pr(>|z|)" in shown and "binomial  ( logit )" in shown


def test_a_generalised_model_is_compared_with_the_recorded_glmer():
    result = run("compare", *HERDS, "--family", "binomial", "--recorded", "--tight")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Same optimum:")


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_separators_and_decimal_marks_are_found(tmp_path, separator, decimal):
    path = tmp_path / "t.csv"
    table = pm.load_data("sleepstudy").assign(Days=lambda d: d["Days"] + 0.5)
    table.to_csv(path, sep=separator, decimal=decimal, index=False)
    result = json.loads(run("fit", str(path), SLEEP, "--json", "-").stdout)
    assert result["criterion"] == pm.lmer(SLEEP, table).criterion


def test_a_separator_can_be_given(tmp_path):
    path = tmp_path / "t.csv"
    table = pm.load_data("sleepstudy")
    table.to_csv(path, sep="|", index=False)
    given = run("fit", str(path), SLEEP, "--sep", "|", "--json", "-")
    assert json.loads(given.stdout)["criterion"] == pm.lmer(SLEEP, table).criterion
    assert "sep must be one character" in bad("fit", str(path), SLEEP, "--sep", "||")
    assert "decimal must be" in bad("fit", str(path), SLEEP, "--decimal", "x")


def test_article_prints_three_columns():
    result = run("article")
    assert result.exit_code == 0, result.output
    assert "251.405105" in result.stdout
    assert "302.9045408" in result.stdout


@pytest.mark.live
def test_csv_is_compared_with_live_lme4(tmp_path):
    path = tmp_path / "sleep.csv"
    data = pm.load_data("sleepstudy")
    data.insert(3, "w", 1.0 + data["Days"] % 3)
    data.to_csv(path, index=False)
    for options in ((), ("--ml", "--tight"), ("--weights", "w")):
        result = run("compare", str(path), SLEEP, "--live", *options)
        assert result.exit_code == 0, result.output
        assert "lme4 (live;" in result.stdout


# ---- bad input


def bad(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    return result.stderr


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_no_such_data(command):
    assert "Did you mean sleepstudy" in bad(command, "sleepstudi", SLEEP)


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days + (Days | Nobody)",
        "Reaction ~ Days",
        "Reaction ~ Days + (Days | Subject",
        "Subject ~ Days + (1 | Subject)",
        "Reaction ~ Days +* (1 | Subject)",
        "",
    ],
)
def test_bad_formula(formula):
    bad("fit", "sleepstudy", formula)


def test_place_that_stopped_the_parser_is_shown():
    lines = bad("fit", "sleepstudy", "Reaction ~ Days +* (1 | Subject)").splitlines()
    assert lines[-2].strip() == "Reaction ~ Days +* (1 | Subject)"
    assert lines[-1].strip() == "^"


def test_unreadable_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"")
    assert "is empty" in bad("compare", str(path), SLEEP)


def test_recording_that_does_not_exist():
    text = bad("compare", "sleepstudy", "Reaction ~ 1 + (0 + Days | Subject)", "--recorded", "--ml")
    assert "is not recorded" in text
    assert "pymackay record DATA FORMULA --into DIR" in text
    assert "--recordings DIR" in text


@pytest.mark.parametrize("options", [(), ("--family", "binomial")])
def test_a_missing_recording_is_reported_before_anything_is_loaded(monkeypatch, options):
    monkeypatch.setattr("pymackay.cli.group.load_engine", mock.Mock(side_effect=AssertionError))
    formula = "incidence ~ 1 + (1 | herd)" if options else "incidence ~ size + (1 | herd)"
    assert "is not recorded" in bad("compare", "cbpp", formula, "--recorded", *options)


def test_options_of_generalised_models_need_a_family():
    for option in (("--link", "probit"), ("--nagq", "5")):
        result = run("fit", "cbpp", HERDS[1], *option)
        assert result.exit_code == 2 and "--family" in result.stderr
    assert "family must be one of" in bad("fit", *HERDS, "--family", "normale")
    other = run("compare", *HERDS, "--family", "binomial", "--engine", "statsmodels")
    assert other.exit_code == 2 and "--family is for the engine pymackay" in other.stderr
    text = bad("compare", *HERDS, "--family", "binomial", "--nagq", "exact", "--recorded")
    assert "lme4 takes whole numbers from 0 to 25" in text


# ---- other engines, and recordings of one's own


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("engine", ["statsmodels", "glmm", "mixedlm", "lme-python"])
def test_another_engine_is_judged(engine):
    result = run("compare", "sleepstudy", SLEEP, "--lme4", "recorded", "--engine", engine)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Same optimum:")
    assert f"ours      {engine} (live" in result.stdout
    assert "not offered by" in result.stdout


def test_an_engine_that_cannot_is_told_so():
    text = bad("compare", "cake", "angle ~ temp + (1 | recipe:replicate)", "--engine",
               "statsmodels", "--weights", "temp")  # fmt: skip
    assert "statsmodels' MixedLM has neither" in text
    unknown = run("compare", "sleepstudy", SLEEP, "--engine", "sas")
    assert unknown.exit_code == 2
    assert (
        "'sas' is not one of 'pymackay', 'glmm', 'lme-python', 'mixedlm', 'statsmodels'"
        in unknown.stderr
    )


@pytest.mark.live
def test_record_writes_and_compare_reads(tmp_path):
    path = tmp_path / "t.csv"
    into = tmp_path / "recorded"
    asked = (str(path), SLEEP, "--weights", "Days1")
    table = pm.load_data("sleepstudy").assign(Days1=lambda d: d["Days"] + 1.0)
    table.to_csv(path, index=False)
    result = run("record", *asked, "--into", str(into))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"new: {into}")
    assert run("record", *asked, "--into", str(into)).stdout.startswith(f"unchanged: {into}")
    read = ("--recordings", str(into), "--recorded")
    result = run("compare", *asked, *read)
    assert result.exit_code == 0, result.output
    table.assign(Days1=1.0).to_csv(path, index=False)
    assert "column 'Days1' has other values" in bad("compare", *asked, *read)
    changed = run("record", *asked, "--into", str(into)).stdout.splitlines()
    assert changed[0].startswith("changed: ")
    assert changed[1] == "  the data: column Days1"


def test_recording_that_cannot_be_written(tmp_path):
    path = tmp_path / "recorded"
    path.write_text("a file in the folder's place")
    text = bad("record", "sleepstudy", SLEEP, "--into", str(path))
    assert text.startswith(f"error: recordings: {path} cannot be written (")
    assert "give a folder that you may write to" in text


def test_table_that_r_wrote_is_refused_by_column(tmp_path):
    import rdata

    path = tmp_path / "t.rds"
    rdata.write_rds(path, {"a": 1.0})
    for command in ("fit", "compare"):
        text = bad(command, str(path), SLEEP)
        assert text.startswith(f"error: data: {path} does not hold a data frame, but a list")
        assert "In R: saveRDS(as.data.frame(x), file)" in text


def test_report_that_cannot_be_written(tmp_path):
    result = run("compare", "sleepstudy", SLEEP, "--recorded", "--report", str(tmp_path / "a/b"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_usage_errors_are_bad_input_too():
    assert run("compare", "sleepstudy").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_debug_shows_the_traceback():
    result = run("--debug", "fit", "sleepstudi", SLEEP)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "error: data:" in result.stderr


def test_defect_is_told_from_bad_input(monkeypatch):
    def broken(name):
        raise KeyError("something of ours")

    monkeypatch.setattr("pymackay.incoming.table_file.load_data", broken)
    result = run("fit", "sleepstudy", SLEEP)
    assert result.exit_code == 3
    assert "This is a defect in pymackay" in result.stderr
    assert "Traceback" not in result.output


def test_missing_library_points_to_the_doctor(monkeypatch):
    def missing():
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr("pymackay.cli.group.load_engine", missing)
    result = run("fit", "sleepstudy", SLEEP)
    assert result.exit_code == 3
    assert result.stderr == (
        "error: tensorflow is not installed. Run `pymackay doctor` to see how to install it.\n"
    )


def test_ctrl_c_has_its_own_status(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("pymackay.cli.group.load_engine", interrupted)
    result = run("fit", "sleepstudy", SLEEP)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_warnings_are_sentences(monkeypatch):
    import warnings

    def warned(*args, **kwargs):
        warnings.warn("something is odd", pm.ConvergenceWarning, stacklevel=2)
        return "the fit"

    monkeypatch.setattr(pm, "lmer", warned)
    monkeypatch.setattr("pymackay.cli.fit_tables.fit_tables", mock.Mock())
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = warnings.showwarning
        result = run("fit", "sleepstudy", SLEEP)
        assert warnings.showwarning is before
    assert result.exit_code == 0
    assert result.stderr == "warning: something is odd\n"


# ---- the small commands


def test_help_and_version():
    for flag in ("-h", "--help"):
        assert "Exit status: 0 success" in run(flag).stdout
    assert run("--version").stdout == f"pymackay, version {pm.__version__}\n"
    for command in ("fit", "compare", "data", "article", "doctor"):
        assert run(command, "-h").exit_code == 0


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom pymackay.cli import main\n"
        "try: main(['compare', '-h'])\nexcept SystemExit: pass\n"
        "print([m for m in ('tensorflow', 'pandas', 'numpy', 'rpy2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_data_lists_every_set():
    lines = run("data").stdout.splitlines()
    assert [line.split()[0] for line in lines] == pm.list_data()
    assert "180 rows  Reaction, Days, Subject" in lines[0]


def test_doctor_prints_words_or_json(monkeypatch):
    words = run("doctor")
    assert words.exit_code == 0
    assert words.stdout.startswith("Fitting in TensorFlow: available.")
    assert json.loads(run("doctor", "--json").stdout)["main_job"] is True
    monkeypatch.setattr("pymackay.doctor.importlib.util.find_spec", lambda name: None)
    assert run("doctor").exit_code == 1
