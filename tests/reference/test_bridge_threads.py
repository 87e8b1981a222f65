"""R in one thread of its own: asked from many threads, interrupted, after a fork, under xdist."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.reference.r.session import session

pytestmark = pytest.mark.live

FORMULA = "Reaction ~ Days + (Days | Subject)"
START = f"""
import os, signal, sys, threading, time, warnings
import pymackay as pm
sleep = pm.load_data("sleepstudy")
def fit(formula={FORMULA!r}, **given):
    return pm.lme4.lmer(formula, sleep, source="live", **given)
"""


def start(code: str, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pm.__file__).parents[1])},
        # a process started in the background of a shell may ignore Ctrl-C; this one must not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def run(code: str) -> list[str]:
    process = start(code)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.splitlines()


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


def ask(data: pd.DataFrame, reml: bool) -> tuple:
    fit = pm.lme4.lmer(FORMULA, data, reml=reml, source="live")
    return fit.criterion, *fit.beta, fit.condvar["Subject"].sum(), fit.pev["Subject"].sum()


def test_many_threads_at_once_get_their_own_answers(sleep: pd.DataFrame) -> None:
    right = {reml: ask(sleep, reml) for reml in (True, False)}
    assert right[True] != right[False]
    barrier = threading.Barrier(8)

    def work(i: int) -> bool:
        barrier.wait()
        return all(ask(sleep, reml=(i + k) % 2 == 0) == right[(i + k) % 2 == 0] for k in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_handles_freed_in_other_threads_do_no_harm(sleep: pd.DataFrame) -> None:
    def work(_: int) -> float:
        fits = [pm.lme4.evaluate(FORMULA, sleep, [1, 0, 0.2 + 0.01 * i]) for i in range(10)]
        return sum(fit.evaluate([1, 0, 0.2]).criterion for fit in fits)

    with ThreadPoolExecutor(4) as pool:
        assert len({round(total, 6) for total in pool.map(work, range(8))}) == 1


def test_what_python_lets_go_r_frees(sleep: pd.DataFrame) -> None:
    def kept_objects() -> int:
        return int(session().call("kept_now").value[0])

    before = kept_objects()
    fits = [pm.lme4.evaluate(FORMULA, sleep, [1, 0, 0.2]) for _ in range(5)]
    assert kept_objects() == before + 5
    del fits
    assert kept_objects() == before


def test_r_can_be_started_from_any_thread() -> None:
    lines = run(
        """
        handler = signal.getsignal(signal.SIGINT)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(fit().criterion))
        thread.start(); thread.join()
        print(answers[0] == fit().criterion, signal.getsignal(signal.SIGINT) is handler)
        """
    )
    assert lines == ["True True"]


def test_a_users_own_rpy2_goes_on_working() -> None:
    lines = run(
        """
        import rpy2.robjects as ro
        ro.r("mine <- 1:3")
        print(round(fit().sigma, 4))
        print(list(ro.r("mine")), list(ro.r("ls()")))
        """
    )
    assert lines == ["25.5918", "[1, 2, 3] ['mine']"]


def test_r_inside_python_inside_r_does_not_wait_for_itself() -> None:
    lines = run(
        """
        import rpy2.rinterface as ri
        ri.initr()
        back = ri.rternalize(lambda: ri.FloatSexpVector([fit().sigma]), signature=False)
        print(round(back()[0], 4))
        """
    )
    assert lines == ["25.5918"]


def test_the_environment_stays_what_it_was_but_for_r_s_own() -> None:
    lines = run(
        """
        import subprocess
        os.environ["LD_LIBRARY_PATH"] = "/nowhere"
        before = dict(os.environ)
        fit()
        import rpy2.robjects as ro
        after = dict(os.environ)
        theirs = ("R_", "_R_", "PYTHON_SESSION_INITIALIZED")
        print({name for name in {*before, *after} if before.get(name) != after.get(name)
               and not name.startswith(theirs)})
        child = subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()
        print([line for line in child if line.startswith("LD_LIBRARY_PATH")])
        print(list(ro.r('system2("sh", c("-c", shQuote("echo $LD_LIBRARY_PATH")), stdout = TRUE)')))
        # R goes on loading packages with shared libraries, and starting R
        print(list(ro.r('vapply(c("grid", "tools"), requireNamespace, NA)')))
        script = "cat(lme4::isREML(lme4::lmer(Yield ~ 1 + (1 | Batch), lme4::Dyestuff)))"
        rscript = 'system2(file.path(R.home("bin"), "Rscript"), c("-e", %s), stdout = TRUE)'
        print(list(ro.r(rscript % f"shQuote('{script}')")))
        """
    )
    assert lines == [
        "set()",
        "['LD_LIBRARY_PATH=/nowhere']",
        "['/nowhere']",
        "[True, True]",
        "['TRUE']",
    ]


def has_shared_library() -> bool:
    folder, name = map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME"))
    folders = [Path(folder), Path(folder) / str(sysconfig.get_config_var("MULTIARCH"))]
    return any((place / name).exists() for place in folders)


@pytest.mark.skipif(not has_shared_library(), reason="reticulate needs a shared Python library")
def test_r_may_have_started_python() -> None:
    checkout = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "RETICULATE_PYTHON": sys.executable}
    environment["PYTHONPATH"] = str(Path(pm.__file__).parents[1])
    done = subprocess.run(
        ["Rscript", str(checkout / "docs" / "from_r.R")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('[1] "lmerMod"')
    assert "Linear mixed model fit by REML ['lmerMod']" in done.stdout
    assert done.stdout.endswith("verdict: same optimum \n")


def test_nothing_is_printed() -> None:
    process = start(
        """
        data = pm.load_data("Dyestuff2")
        found = pm.lme4.lmer("Yield ~ 1 + (1 | Batch)", data, source="live")
        assert any("singular" in message for message in found.messages)
        """
    )
    assert process.communicate(timeout=120) == ("", "")


@pytest.mark.parametrize("busy", ["repeat {}", "repeat solve(diag(300))"])
def test_ctrl_c_stops_r_and_r_lives_on(busy: str) -> None:
    process = start(
        f"""
        fit()
        print("ready", flush=True)
        begin = time.perf_counter()
        try:
            fit(subset="{{{busy}; TRUE}}")
        except KeyboardInterrupt:
            print("stopped", flush=True)
        print(time.perf_counter() - begin < 20, round(fit().sigma, 4))
        """
    )
    assert process.stdout.readline().strip() == "ready"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert out.split() == ["stopped", "True", "25.5918"], error


def test_ctrl_c_for_one_does_not_stop_the_other() -> None:
    process = start(
        """
        fit()
        answers = []
        slow = "{start <- Sys.time(); while (Sys.time() - start < 4) {}; TRUE}"
        def other():
            answers.append(fit(subset=slow).sigma)
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.5)
        print("ready", flush=True)
        try:
            fit()  # waits for its turn
        except KeyboardInterrupt:
            print("stopped", flush=True)
        thread.join()
        print(round(answers[0], 4), round(fit().sigma, 4))
        """
    )
    assert process.stdout.readline().strip() == "ready"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert out.split() == ["stopped", "25.5918", "25.5918"], error


def test_a_fork_is_refused_and_the_parent_lives_on() -> None:
    lines = run(
        """
        fit()
        warnings.simplefilter("ignore")  # Python itself warns of a fork beside threads
        child = os.fork()
        if child == 0:
            try:
                fit()
            except pm.RError as error:
                print("spawn" in str(error), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(round(fit().sigma, 4))
        """
    )
    assert lines == ["True", "25.5918"]


def test_a_pickled_fit_keeps_its_numbers_and_refuses_the_rest(sleep: pd.DataFrame) -> None:
    fit = pm.lme4.lmer(FORMULA, sleep, source="live")
    copy = pickle.loads(pickle.dumps(fit))
    pd.testing.assert_series_equal(copy.beta, fit.beta)
    np.testing.assert_array_equal(copy.condvar["Subject"], fit.condvar["Subject"])
    with pytest.raises(pm.PymackayError, match="evaluate is not offered"):
        copy.evaluate(fit.theta)


def test_endless_recursion_in_r_is_an_error_not_a_crash(sleep: pd.DataFrame) -> None:
    deep = "(function(f) f(f))(function(f) f(f))"
    with pytest.raises(pm.RError, match=r"nested too deeply|stack"):
        pm.lme4.lmer(FORMULA, sleep, subset=deep, source="live")
    assert np.isfinite(pm.lme4.lmer(FORMULA, sleep, source="live").criterion)


def test_under_xdist(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            f"""
            import pytest
            import pymackay as pm

            @pytest.mark.parametrize("i", range(6))
            def test_it(i):
                sleep = pm.load_data("sleepstudy")
                fit = pm.lme4.lmer({FORMULA!r}, sleep, source="live")
                assert abs(fit.sigma - 25.5918) < 1e-4
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "PYTHONPATH": str(Path(pm.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120
    )
    assert "6 passed" in done.stdout, done.stdout + done.stderr
