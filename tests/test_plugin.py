"""The pytest plugin, run by pytest in projects of its own: verdicts, messages, modes, xdist."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pymackay.api.lmer  # TensorFlow stays loaded between the runs, which forget what they import
import pymackay.reference.r.session  # and so does R, which can be started once in a process
import pymackay.testing
from pymackay._resources import r_reference_path
from pymackay.reference.recorded import Recording

pytest_plugins = ["pytester"]

_INSTALLED = any(e.value == "pymackay.pytest_plugin" for e in entry_points(group="pytest11"))
_LOAD = () if _INSTALLED else ("-p", "pymackay.pytest_plugin")
_CHECKOUT = Path(pymackay.api.lmer.__file__).resolve().parents[1]

# an engine that fits nothing: it gives lme4's own recorded answer, or that answer spoilt
_ENGINE = """
import pymackay as pm

FORMULA = "Reaction ~ Days + (Days | Subject)"

def data():
    return pm.load_data("sleepstudy")

def answer(formula=FORMULA, **how):
    fit = pm.lme4.lmer(formula, data(), source="recorded", **how)
    return fit.replace(engine=pm.results.Engine("elsewhere"))
"""

# as if R were not there, whatever is installed
_NO_R = {"PATH": "/nonexistent", "R_HOME": "/nonexistent"}


@pytest.fixture
def started_r(request):
    """R, for live tests: before `pytester` notes which modules it is to leave alone."""
    if request.node.get_closest_marker("live"):
        pymackay.lme4.versions()


@pytest.fixture
def project(started_r, pytester, monkeypatch):
    """A project with an engine of its own."""
    monkeypatch.setenv("PYTHONPATH", str(_CHECKOUT))
    pytester.makepyfile(engine=_ENGINE)
    pytester.syspathinsert()
    return pytester


def with_recordings(project, *more: str) -> None:
    lines = "\n".join(more)
    project.makeini(f"[pytest]\nlme4_recordings = {r_reference_path('recorded')}\n{lines}\n")


def write_test(project, body: str, **files: str) -> None:
    project.makepyfile(test_model=f"from engine import *\nimport pytest\n{body}", **files)


def run(project, *arguments: str):
    return project.runpytest_inprocess(*_LOAD, "-p", "no:cacheprovider", *arguments)


def run_apart(project, *arguments: str):
    """Run in a process of its own."""
    return project.runpytest_subprocess(*_LOAD, *arguments)


# ---- verdicts and messages


@pytest.mark.parametrize("order", [(), ("-p", "no:randomly")])
def test_a_fit_that_agrees_passes_and_is_counted(project, order):
    with_recordings(project)
    write_test(
        project,
        """
def test_same(lme4_parity):
    result = lme4_parity.check(answer(), FORMULA, data())
    assert result.verdict == "same optimum" and lme4_parity.mode == "recorded"

def test_other(lme4_parity):
    lme4_parity.check(answer(reml=False), FORMULA, data())

def test_without_the_fixture():
    pass
""",
    )
    result = run(project, "--lme4=recorded", *order)
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines(
        [r"=+ lme4 parity =+", r"2 same optimum", r"against lme4 [\d.-]+, R [\d.]+, recorded: 2"]
    )


def test_no_section_where_nobody_asked(project):
    write_test(project, "def test_nothing(): pass")
    assert "lme4" not in run(project).stdout.str()


def test_an_early_stop_says_what_is_wrong_first(project):
    with_recordings(project)
    write_test(
        project,
        """
def test_early(lme4_parity):
    fit = pm.evaluate(FORMULA, data(), [0.9, 0.02, 0.23])
    lme4_parity.check(fit, FORMULA, data())
""",
    )
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">\s+lme4_parity.check\(fit, FORMULA, data\(\)\)",
            r"E +pymackay.testing.ParityFailure: Theirs lower: our criterion is 0.083 above .*",
            r"E +To do: +It is a defect of our fit.*",
            r"E +out of tolerance",
            r"E +REML criterion +1743.7108 +1743.6283 +0.083 +1e-06 +absolute +<--",
            r"E +fixed effects",
            r"E +sd +Subject \(Intercept\) +23.15\d+ +24.74\d+ .*",
            r"E +variance gap: .*",
            r"E +Subject \(Intercept\) +536.\d+ .*",
            r"=+ lme4 parity =+",
            r"1 theirs lower: FAILED",
        ]
    )
    assert "pytest_plugin.py" not in result.stdout.str()  # the user's line, not ours


def test_wrong_numbers_are_shown_before_the_right_ones(project):
    with_recordings(project)
    write_test(
        project,
        """
def test_wrong(lme4_parity):
    fit = answer()
    lme4_parity.check(fit.replace(beta=fit.beta + 0.5 * fit.std_error), FORMULA, data())
""",
    )
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E +.*ParityFailure: Different model: the two fits differ at one theta in beta, .*",
            r"E +To do: .*",
            r"E +at one theta +ours +theirs +distance +allowed +in",
            r"E +beta (Days|\(Intercept\)) +\S+ +\S+ +0.5 +1e-07 +SE +<--",
            r"E +criterion +1743.62827 +1743.62827 .*absolute|.*relative",
            r"1 different model: FAILED",
            r"  \S+\.py::test_wrong: Different model: the two fits differ at one theta in beta, .*",
        ]
    )


def test_another_model_is_shown_as_a_diff(project):
    with_recordings(project)
    write_test(
        project,
        """
def test_scalar(lme4_parity):
    lme4_parity.check(answer("Reaction ~ Days + (1 | Subject)"), FORMULA, data())
""",
    )
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E +.*Different model: the two fits differ in random effects, Subject\.",
            r"E +random effects, Subject",
            r"E +ours +\(\(Intercept\) \| Subject\)",
            r"E +theirs +\(\(Intercept\), Days \| Subject\)",
        ]
    )


# ---- tolerances


_HALF_A_PERCENT = """
def off():
    fit = answer()
    return fit.replace(beta=fit.beta + 0.005 * fit.std_error, theta=fit.theta * float("nan"))
"""  # theta is hidden, so that only the optima are compared


@pytest.mark.parametrize(
    ("ini", "marker", "argument", "passes"),
    [
        ("", "", "", False),
        ("lme4_tolerances = beta = 1e-2", "", "", True),
        ("lme4_tolerances = beta = 1e-2", "beta=1e-4", "", False),
        ("", "beta=1e-2", "", True),
        ("", "beta=1e-2", "tolerances={'beta': 1e-4}", False),
        ("", "beta=1e-4", "tolerances={'beta': 1e-2}", True),
        ("", "sigma=1e-2", "", False),
    ],
)
def test_tolerances_by_configuration_marker_and_argument(project, ini, marker, argument, passes):
    with_recordings(project, ini)
    write_test(
        project,
        f"""
{_HALF_A_PERCENT}
{f"@pytest.mark.lme4_tolerance({marker})" if marker else ""}
def test_off(lme4_parity):
    lme4_parity.check(off(), FORMULA, data(), {argument})
""",
    )
    result = run(project, "--lme4=recorded", "--strict-markers", "--strict-config")
    result.assert_outcomes(**{"passed" if passes else "failed": 1})
    if not passes:
        expected = "1e-04" if "1e-4" in marker + argument else "1e-03"
        result.stdout.re_match_lines([rf"E +\(Intercept\) .* 5.0e-03 +{expected} +SE +<--"])


def test_a_closer_marker_wins(project):
    with_recordings(project)
    write_test(
        project,
        f"""
pytestmark = pytest.mark.lme4_tolerance(beta=1e-2, sigma=1e-3)
{_HALF_A_PERCENT}
def test_module(lme4_parity):
    assert "beta 0.01 instead of 0.001" in str(lme4_parity.check(off(), FORMULA, data()))

@pytest.mark.lme4_tolerance(beta=1e-5)
def test_own(lme4_parity):
    lme4_parity.check(off(), FORMULA, data())
""",
    )
    run(project, "--lme4=recorded").assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize(
    ("ini", "marker", "says"),
    [
        ("", "betta=1e-3", "there is none called 'betta'. Known are "),
        ("", "beta=-1.0", "beta must be a positive number"),
        ("", "1e-3", "lme4_tolerance takes names"),
        ("lme4_tolerances = beta: 3", "", "'quantity = number' is expected, not 'beta: 3'"),
    ],
)
def test_a_tolerance_that_is_none_is_refused(project, ini, marker, says):
    with_recordings(project, ini)
    mark = f"@pytest.mark.lme4_tolerance({marker})" if marker else ""
    write_test(
        project,
        f"{mark}\ndef test_it(lme4_parity):\n    lme4_parity.check(answer(), FORMULA, data())\n",
    )
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=1)
    assert says in result.stdout.str()


# ---- recordings that do not fit, and R that is not there


_CHANGED = {
    "a value": (
        "d = data(); d.loc[3, 'Reaction'] += 1e-9; check(d)",
        "column 'Reaction' has other values or levels",
    ),
    "a row": ("check(data().iloc[:-1])", "179 rows here, 180 in the recording"),
    "the order of levels": (
        "d = data(); d['Subject'] = d['Subject'].cat.reorder_categories("
        "list(d['Subject'].cat.categories)[::-1]); check(d)",
        "column 'Subject' has other values or levels",
    ),
    "the formula": (
        "check(data(), 'Reaction ~ I(Days + 1) + (Days | Subject)')",
        "is not recorded in",
    ),
    "the criterion": ("check(data(), reml=False, weights='Days')", "there is: "),
}


@pytest.mark.parametrize("what", _CHANGED)
def test_a_recording_of_something_else_is_refused_with_the_reason(project, what):
    call, reason = _CHANGED[what]
    with_recordings(project)
    write_test(
        project,
        f"""
def test_it(lme4_parity):
    def check(d, formula=FORMULA, **how):
        lme4_parity.check(answer(), formula, d, **how)
    {call}
""",
    )
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert "RecordingError" in said and reason in said
    assert "On a machine with R, record it: pytest --lme4=record." in said
    assert "1 no verdict: FAILED" in said


_ALONE = """
def test_it(lme4_parity):
    lme4_parity.check({"beta": answer().beta}, FORMULA, data())
"""


def test_live_fails_where_r_is_missing_and_the_others_do_not_need_it(project, monkeypatch):
    with_recordings(project)
    write_test(project, _ALONE)
    for name, value in _NO_R.items():
        monkeypatch.setenv(name, value)
    live = run_apart(project, "--lme4=live")
    live.assert_outcomes(failed=1)
    live.stdout.re_match_lines([r"E +pymackay.errors.RUnavailableError: .*"])
    for mode in ("auto", "recorded", "tight"):
        result = run_apart(project, f"--lme4={mode}")
        result.assert_outcomes(passed=1)
        result.stdout.re_match_lines([r"1 same optimum", r"against lme4 .*, recorded: 1"])
    run_apart(project, "--lme4=record").assert_outcomes(failed=1)


_HEAVY = ("tensorflow", "rpy2", "pandas", "numpy", "scipy", "click")


@pytest.mark.parametrize(
    ("body", "loaded"),
    [
        ("def test_nothing(): pass", set()),
        ("def test_nothing(lme4_parity): pass", set()),
        (_ALONE, {"numpy", "pandas"}),
    ],
    ids=["plugin", "fixture", "recorded"],
)
def test_nothing_heavy_is_loaded_until_used(project, body, loaded):
    with_recordings(project)
    imports = "" if body.startswith("def") else "from engine import *\n"
    project.makepyfile(test_model=imports + body)
    project.makeconftest(
        f"""
import sys

def pytest_unconfigure():
    print("loaded:", sorted(set({_HEAVY}) & set(sys.modules)))
"""
    )
    result = run_apart(project, "--lme4=recorded")
    result.assert_outcomes(passed=1)
    assert f"loaded: {sorted(loaded)}" in result.stdout.str()


# ---- processes and orders


_MANY = """
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("shift", [0.0, 1e-5, 0.1])
def test_many(lme4_parity, reml, shift):
    fit = answer(reml=reml)
    fit = fit.replace(beta=fit.beta + shift * fit.std_error, theta=fit.theta * float("nan"))
    lme4_parity.check(fit, FORMULA, data())

def test_two(lme4_parity):
    for reml in (True, False):
        lme4_parity.check(answer(reml=reml), FORMULA, data())
"""


def test_verdicts_are_counted_across_the_workers_of_xdist(project):
    with_recordings(project)
    write_test(project, _MANY)
    result = run_apart(project, "--lme4=recorded", "-n", "2")
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.re_match_lines(
        [
            r"6 same optimum, 2 different model: FAILED",
            r"  \S+\.py::\S+: Different model: .*",
            r"against .*: 8",
        ]
    )


def test_any_order_will_do(project):
    with_recordings(project)
    write_test(project, _MANY)
    project.makeconftest("def pytest_collection_modifyitems(items): items.reverse()")
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.re_match_lines([r"6 same optimum, 2 different model: FAILED"])


# ---- what counts as failed


_EXPECTED = """
def bad():
    fit = answer()
    return fit.replace(beta=fit.beta + fit.std_error)

@pytest.mark.xfail(strict=True)
def test_known(lme4_parity):
    lme4_parity.check(bad(), FORMULA, data())

def test_raises(lme4_parity):
    with pytest.raises(pm.testing.ParityFailure):
        lme4_parity.check(bad(), FORMULA, data())

tries = []

def test_flaky(lme4_parity):
    tries.append(1)
    lme4_parity.check(answer() if len(tries) > 1 else bad(), FORMULA, data())

def test_flaky_in_vain(lme4_parity):
    lme4_parity.check(bad(), FORMULA, data())
"""

# what plugins do that run a failing test again
_AGAIN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if "flaky" in item.name and any(report.failed for report in reports):
        for report in reports:
            report.outcome = "rerun" if report.failed else report.outcome
            item.ihook.pytest_runtest_logreport(report=report)
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_failed_is_what_pytest_counts_as_failed(project, workers):
    with_recordings(project)
    write_test(project, _EXPECTED)
    project.makeconftest(_AGAIN)
    result = run_apart(project, "--lme4=recorded", *workers)
    result.assert_outcomes(passed=2, xfailed=1, failed=1)
    result.stdout.re_match_lines(
        [
            r"1 same optimum, 1 different model: FAILED, "
            r"2 different model: not ok, as its test expects",
            r"  \S+::test_flaky_in_vain: Different model: .*",
            r"against .*: 4",
        ]
    )
    assert "::test_known: " not in result.stdout.str()
    assert result.stdout.str().count("::test_flaky_in_vain: ") == 1


def test_a_lost_recording_fails_the_session(project):
    write_test(
        project,
        """
import json

@pytest.mark.parametrize("table", ["one", "two"])
def test_it(request, table):
    event = {"recordings": [["a.json", "new", [], table]]}
    request.node.user_properties.append(("lme4_parity", json.dumps(event)))
""",
    )
    result = run(project, "--lme4=record")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines([r"recordings: 1 new", r"  LOST: a.json was written for two .*"])


# ---- recording


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_where_nothing_can_be_written_is_told_before_r_is_asked(project, monkeypatch, workers):
    write_test(project, _ALONE)
    (project.path / "lme4_recordings").write_text("a file in the folder's place")
    for name, value in _NO_R.items():
        monkeypatch.setenv(name, value)
    result = run_apart(project, "--lme4=record", *workers)
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert re.search(r"ArgumentError: recordings: \S+lme4_recordings cannot be written \(", said)
    assert "give a folder that you may write to" in said
    assert "1 no verdict: FAILED" in said and "_files.py" not in said


_SIGNS = """
import numpy as np, pandas as pd

@pytest.mark.parametrize("slope", [-1, 1])
def test_slope(lme4_parity, slope):
    r = np.random.default_rng(3)
    k, x = np.repeat(np.arange(9), 8), r.normal(size=72)
    y = slope * x + r.normal(size=9)[k] + r.normal(size=72)
    table = pd.DataFrame({"y": y, "x": x, "g": [f"s{j}" for j in k]})
    formula = "y ~ x + (1 | g)"
    lme4_parity.check(pm.lmer(formula, table), formula, table)
"""


@pytest.mark.live
@pytest.mark.parametrize("how", ["one process", "two workers", "one test a run"])
def test_ids_that_differ_in_one_sign_have_two_recordings(project, how):
    write_test(project, _SIGNS)
    if how == "two workers":
        run_apart(project, "--lme4=record", "-n", "2").assert_outcomes(passed=2)
    elif how == "one process":
        result = run(project, "--lme4=record")
        result.assert_outcomes(passed=2)
        assert "no test that ran" not in result.stdout.str()
    else:
        for slope in ("-1", "1"):
            result = run(project, "--lme4=record", f"test_model.py::test_slope[{slope}]")
            result.assert_outcomes(passed=1)
            result.stdout.re_match_lines([r"recordings: 1 new"])
            assert "no test that ran" not in result.stdout.str()
    assert len(list((project.path / "lme4_recordings").iterdir())) == 2
    run(project, "--lme4=recorded").assert_outcomes(passed=2)


@pytest.mark.live
def test_recordings_of_long_and_foreign_names(project):
    name = "test_" + 20 * "模型と参照の比較"
    write_test(project, _ALONE.replace("test_it", name))
    run(project, "--lme4=record").assert_outcomes(passed=1)
    run(project, "--lme4=recorded").assert_outcomes(passed=1)


@pytest.mark.live
def test_a_recording_under_an_earlier_name_stays_in_its_file(project):
    write_test(project, _RECORDED)
    run(project, "--lme4=record", "-k", "reml").assert_outcomes(passed=1)
    folder = project.path / "lme4_recordings"
    (path,) = folder.iterdir()
    parts = path.name.split("-")
    before = path.rename(folder / "-".join([*parts[:3], parts[-1]]))  # it had no checksum
    run(project, "--lme4=recorded", "-k", "reml").assert_outcomes(passed=1)
    result = run(project, "--lme4=record", "-k", "reml")
    result.stdout.re_match_lines([r"recordings: 1 unchanged"])
    assert list(folder.iterdir()) == [before]


_RECORDED = """
def table(shift=0.0):
    d = data()
    d["Reaction"] += shift
    return d

@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
def test_fit(lme4_parity, reml):
    lme4_parity.check(pm.lmer(FORMULA, table(), reml=reml), FORMULA, table())

def test_again(lme4_parity):
    lme4_parity.check(pm.lmer(FORMULA, table()), "Reaction~Days+(Days|Subject)", table())
"""


@pytest.mark.live
def test_record_writes_refreshes_and_shows_what_changed(project):
    write_test(project, _RECORDED)
    result = run(project, "--lme4=record")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines(
        [r"3 same optimum", r"against .*, recorded: 3", r"recordings: 2 new"]
    )
    folder = project.path / "lme4_recordings"
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2  # one file a model: the third test asks for a model of the first
    assert all(
        re.match(r"test_model\.test_fit_(reml|ml)-Reaction_Days_Days_Subject-", n) for n in names
    )

    result = run(project, "--lme4=record")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines([r"recordings: 2 unchanged"])

    write_test(project, _RECORDED.replace("shift=0.0", "shift=1.0"))
    result = run(project, "--lme4=recorded")
    result.assert_outcomes(failed=3)
    assert "column 'Reaction' has other values or levels" in result.stdout.str()
    result = run(project, "--lme4=record")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines(
        [
            r"recordings: 2 changed",
            r"  changed   lme4_recordings.test_model.test_fit_ml-.*json",
            r" +the data: column Reaction",
            r" +default answer: .*beta by up to \d\.\de-0\d of its largest.*",
        ]
    )
    assert sorted(path.name for path in folder.iterdir()) == names
    run(project, "--lme4=recorded").assert_outcomes(passed=3)


@pytest.mark.live
def test_a_recording_holds_seventeen_digits(project):
    write_test(project, _RECORDED)
    run(project, "--lme4=record", "-k", "test_again").assert_outcomes(passed=1)
    (path,) = (project.path / "lme4_recordings").iterdir()
    live = pymackay.lme4.lmer(
        "Reaction ~ Days + (Days | Subject)", pymackay.load_data("sleepstudy"), source="live"
    )
    answer = Recording.read(path).content["answers"]["default"]
    assert answer["theta"]["values"] == live.theta.tolist()
    assert answer["beta"]["values"] == live.beta.tolist()
    assert json.loads(path.read_text())["answers"]["default"]["sigma"] == live.sigma


@pytest.mark.live
def test_a_changed_formula_is_refused_and_its_old_recording_told_stale(project):
    write_test(project, _RECORDED)
    run(project, "--lme4=record", "-k", "reml").assert_outcomes(passed=1)
    changed = _RECORDED.replace("FORMULA", "'Reaction ~ Days + (1|Subject)'")
    write_test(project, changed)
    result = run(project, "--lme4=recorded", "-k", "reml")
    result.assert_outcomes(failed=1)
    assert "is not recorded in" in result.stdout.str()
    assert "is of 'Reaction ~ Days + ( Days | Subject )' by REML" in result.stdout.str()
    result = run(project, "--lme4=record", "-k", "reml")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r"recordings: 1 new",
            r"  new +lme4_recordings.test_model.test_fit_reml-Reaction_Days_1_Subject-reml-.*",
            r"  no test that ran asked for lme4_recordings.*test_fit_reml-Reaction_Days_Days_.*",
        ]
    )


_TWINS = """
def test_twins(lme4_parity):
    for shift in (0.0, 1.0):
        d = data()
        d["Reaction"] += shift
        lme4_parity.check(pm.lmer(FORMULA, d), FORMULA, d{name})
"""


@pytest.mark.live
def test_one_formula_on_two_tables_needs_names(project):
    write_test(project, _TWINS.format(name=""))
    result = run(project, "--lme4=record")
    result.assert_outcomes(failed=1)
    assert "Give each of them a different name." in result.stdout.str()
    for path in (project.path / "lme4_recordings").iterdir():
        path.unlink()
    write_test(project, _TWINS.format(name=", name=f'shift {shift}'"))
    result = run(project, "--lme4=record")
    result.assert_outcomes(passed=1)
    assert "no test that ran" not in result.stdout.str()
    names = sorted(path.name for path in (project.path / "lme4_recordings").iterdir())
    assert [name.split("-")[0] for name in names] == [
        "test_model.test_twins.shift_0_0",
        "test_model.test_twins.shift_1_0",
    ]
    run(project, "--lme4=recorded").assert_outcomes(passed=1)


@pytest.mark.live
def test_workers_record_one_model_once(project):
    write_test(project, _RECORDED)
    result = run_apart(project, "--lme4=record", "-n", "2")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines([r"3 same optimum", r"recordings: 2 new"])
    assert len(os.listdir(project.path / "lme4_recordings")) == 2
    run(project, "--lme4=recorded").assert_outcomes(passed=3)


@pytest.mark.live
@pytest.mark.parametrize("mode", ["live", "auto", "tight"])
def test_r_is_asked_where_it_is_there(project, mode):
    write_test(
        project,
        """
def test_it(lme4_parity):
    ours = pm.lmer(FORMULA, data())
    lme4_parity.check(ours, FORMULA, data())
    reference = lme4_parity.reference(FORMULA, data())
    assert reference.engine.source == "live"
    assert (abs(reference.criterion - ours.criterion) < 1e-10) or lme4_parity.mode != "tight"
""",
    )
    result = run(project, f"--lme4={mode}")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"1 same optimum", r"against .*, live: 1"])
    assert not (project.path / "lme4_recordings").exists()
