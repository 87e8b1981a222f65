"""What R's start leaves as it was, and what it survives: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pymackay as pm

pytestmark = pytest.mark.live

ASK = """
import pymackay as pm
def ask():
    rail = pm.load_data("Rail")
    return round(pm.lme4.lmer("travel ~ 1 + (1 | Rail)", rail, source="live").criterion, 6)
"""
CRITERION = "122.177001"
STATE = """
import datetime, locale, os, signal, time
def state():
    names = ("LC_CTYPE", "LC_COLLATE", "LC_TIME", "LC_MONETARY", "LC_MESSAGES", "LC_NUMERIC")
    theirs = ("R_", "_R_", "PYTHON_SESSION_INITIALIZED")
    return {
        "places": [locale.setlocale(getattr(locale, name)) for name in names],
        "month": datetime.date(2024, 3, 5).strftime("%a %d %B"),
        "order": sorted(["z", "ä", "a", "B"], key=locale.strxfrm),
        "clock": (time.tzname, time.localtime(0)),
        "directory": os.getcwd(),
        "variables": {k: v for k, v in os.environ.items() if not k.startswith(theirs)},
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
    }
def difference(before, after):
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
"""


def run(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k not in ("R_PROFILE_USER", "R_HOME", "LC_ALL")}
    path = {"PYTHONPATH": str(Path(pm.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", ASK + STATE + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**kept, **path, **variables},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make a German locale, which Python does not take over when it starts, and R does."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=60)
    except OSError:
        pytest.skip("makes a locale with localedef, which is not there")
    if not (folder / "de_DE.UTF-8" / "LC_TIME").exists():
        pytest.skip("localedef cannot make a German locale here: it needs Debian's package locales")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.UTF-8"}


CHECK = """
before = state()
print(ask(), ask())
print(difference(before, state()))
"""


def test_a_german_locale_is_not_switched_on(tmp_path: Path, german: dict) -> None:
    assert run(CHECK, tmp_path, **german).stdout.splitlines() == [f"{CRITERION} {CRITERION}", "{}"]


def test_a_locale_that_is_switched_on_stays_and_does_no_harm(tmp_path: Path, german: dict) -> None:
    code = """
    locale.setlocale(locale.LC_ALL, "")
    before = state()
    rail = pm.load_data("Rail").assign(half=lambda d: d.travel.gt(60) / 2)
    fit = pm.lme4.lmer("travel ~ factor(half) + (1 | Rail)", rail, source="live")
    print(before["month"], list(fit.beta.index), difference(before, state()))
    """
    printed = run(code, tmp_path, **german).stdout.strip()
    assert printed == "Di 05 März ['(Intercept)', 'factor(half)0.5'] {}"


@pytest.mark.parametrize("place", ["C", "C.UTF-8"])
def test_a_plain_locale_stays(tmp_path: Path, place: str) -> None:
    assert run(CHECK, tmp_path, LC_ALL=place).stdout.splitlines()[1] == "{}"


def test_what_the_files_of_variables_set_is_r_s_own(tmp_path: Path) -> None:
    (tmp_path / "Renviron").write_text("TZ=Asia/Tokyo\nOTHER=1\nLC_TIME=C.UTF-8\n")
    done = run(CHECK, tmp_path, R_ENVIRON_USER=str(tmp_path / "Renviron"))
    assert done.stdout.splitlines() == [f"{CRITERION} {CRITERION}", "{}"]


# the file, what stops it, which of the variables that it makes are there
PROFILES = {
    "stops": ("stop('not today')", "not today.", ["before"]),
    "does not parse": ("x <- ; y", "unexpected ';'", []),
    "ends R": ("quit()", "it calls quit().", ["before"]),
    "prints": (
        "cat('hello\\n'); message('hi'); warning('w'); print(1); options(OutDec = ',', scipen = 9)",
        "",
        ["after", "before"],
    ),
    "changes the process": (
        "Sys.setenv(TZ = 'Asia/Tokyo'); setwd('/'); Sys.setlocale('LC_TIME', 'C.UTF-8')",
        "",
        ["after", "before"],
    ),
}


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("named", [False, True])
def test_a_start_up_file_of_r(tmp_path: Path, kind: str, named: bool) -> None:
    profile, stopped, variables = PROFILES[kind]
    file = tmp_path / ("profile" if named else ".Rprofile")
    file.write_text(f"before <- 1\n{profile}\nafter <- 1\n")
    code = CHECK + "import rpy2.robjects as ro\nprint(list(ro.r('ls(globalenv())')))\n"
    code += "print(os.environ.get('R_PROFILE_USER'))"
    given = {"R_PROFILE_USER": str(file)} if named else {}
    done = run(code, tmp_path, **given)
    same = given.get("R_PROFILE_USER")
    expected = [f"{CRITERION} {CRITERION}", "{}", str(variables), str(same)]
    assert done.stdout.splitlines() == expected
    assert stopped in done.stderr
    assert ("The rest of it is skipped" in done.stderr) == bool(stopped)


@pytest.mark.parametrize("source", ["auto", "live"])
def test_a_home_that_is_not_r_s_is_named_before_r_ends_the_process(
    tmp_path: Path, source: str
) -> None:
    """Debian has R's library under /usr too, so that a start with R_HOME=/usr goes far."""
    code = f"""
    rail = pm.load_data("Rail")
    try:
        print(pm.lme4.lmer("travel ~ 1 + (1 | Rail)", rail, source={source!r}).engine.source)
    except pm.errors.RUnavailableError as error:
        print(error)
    """
    for home in ("/usr", str(tmp_path)):
        printed = run(code, tmp_path, R_HOME=home).stdout.strip()
        named = f"R_HOME={home} is not R's home: it has no library/base. Unset R_HOME, or set it "
        assert printed == ("recorded" if source == "auto" else named + "to what `R RHOME` prints.")


@pytest.mark.parametrize("home", ["''", "None"])
def test_a_compiled_rpy2_that_finds_no_r(tmp_path: Path, home: str) -> None:
    """It loads R's library without R's home, where the one that is not compiled stops."""
    code = f"""
    import rpy2.rinterface_lib.openrlib as library
    library.R_HOME = {home}
    try:
        pm.lme4.lmer("travel ~ 1 + (1 | Rail)", pm.load_data("Rail"), source="live")
    except pm.errors.RUnavailableError as error:
        print(error)
    print(pm.lme4.available())
    """
    printed = run(code, tmp_path).stdout.strip()
    assert printed.startswith("rpy2 finds no R: R_HOME is not set, and no R in PATH. In a checkout")
    assert printed.endswith("\nFalse")


def test_rpy2_can_be_used_after_a_fit_was_given_to_r(tmp_path: Path) -> None:
    code = """
    fit = pm.lmer("travel ~ 1 + (1 | Rail)", pm.load_data("Rail"))
    mermod = pm.lme4.to_r(fit)
    import rpy2.robjects as ro
    (beta,) = ro.r("function(m) lme4::fixef(m)")(mermod)
    print(abs(beta - fit.beta.iloc[0]) < 1e-9, ro.r("1 + 1")[0])
    """
    assert run(code, tmp_path).stdout.strip() == "True 2.0"


def test_rpy2_can_be_used_in_the_thread_that_gave_a_fit_to_r(tmp_path: Path) -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    import rpy2.robjects as ro
    fit = pm.lmer("travel ~ 1 + (1 | Rail)", pm.load_data("Rail"))
    def work(_):
        mermod = pm.lme4.to_r(fit)
        return round(ro.r("function(m) stats::sigma(m)")(mermod)[0], 6)
    with ThreadPoolExecutor(2) as pool:
        print(set(pool.map(work, range(4))) == {round(fit.sigma, 6)}, ro.r("1 + 1")[0])
    """
    assert run(code, tmp_path).stdout.strip() == "True 2.0"
