"""The doctor: finds what is there, says what is missing, and names a cure for it."""

from __future__ import annotations

import json
import platform
import stat
import subprocess
import sys

import pytest

from pymackay import doctor
from pymackay.doctor import diagnose

HEALTHY = """#!/bin/sh
echo "R=4.2.2"
echo "home=/opt/R"
echo "lme4={lme4}"
echo "Matrix=1.5-3"
echo "blas={blas}"
"""


@pytest.fixture
def fake_r(tmp_path, monkeypatch):
    """Put a stand-in for Rscript on PATH, alone."""

    def install(text: str) -> None:
        script = tmp_path / "Rscript"
        script.write_text(text, encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}")
        monkeypatch.delenv("R_HOME", raising=False)

    # a POSIX shell must be found by its #! line only: PATH holds nothing else
    return install


def by_name(diagnosis):
    return {finding.name: finding for finding in diagnosis.findings}


def pretend(monkeypatch, **versions: str) -> None:
    """Let the installed versions be these; what is not named stays as it is."""
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, real(name)))


def test_this_python_is_found(fake_r):
    fake_r(HEALTHY.format(lme4="1.1-31", blas="/usr/lib/libopenblasp-r0.3.so"))
    found = by_name(diagnose())
    assert found["Python"].version == platform.python_version()
    assert found["TensorFlow"].usable
    assert (found["R"].version, found["R"].detail) == ("4.2.2", "/opt/R")
    assert found["lme4"].version == "1.1-31"
    assert found["BLAS of R"].version == "OpenBLAS"
    assert not found["BLAS of R"].problem


def test_healthy_machine_can_do_both(fake_r, monkeypatch):
    fake_r(HEALTHY.format(lme4="1.1-31", blas="/usr/lib/libopenblasp-r0.3.so"))
    pretend(monkeypatch, rpy2="3.6.5", **{"rpy2-rinterface": "3.6.5"})
    diagnosis = diagnose()
    assert (diagnosis.main_job, diagnosis.live_lme4) == (True, True)
    assert "To fix" not in str(diagnosis)


def test_without_r_the_main_job_still_works_and_a_cure_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("R_HOME", raising=False)
    diagnosis = diagnose()
    assert (diagnosis.main_job, diagnosis.live_lme4) == (True, False)
    r = by_name(diagnosis)["R"]
    assert r.problem == "Rscript is not on PATH."
    assert r.cure.startswith("sh ")
    assert r.cure.endswith("install_r.sh")
    assert f"To fix: {r.cure}" in str(diagnosis)
    assert "its recorded answers are used" in str(diagnosis)


def test_r_home_without_r_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("R_HOME", str(tmp_path))
    assert str(tmp_path) in by_name(diagnose())["R"].problem


def test_r_without_lme4(fake_r):
    fake_r(HEALTHY.format(lme4="", blas="/usr/lib/libopenblasp-r0.3.so"))
    diagnosis = diagnose()
    assert not diagnosis.live_lme4
    assert by_name(diagnosis)["lme4"].cure.endswith("install_r.sh")


def test_slow_blas_is_named_and_does_not_forbid_anything(fake_r, monkeypatch):
    fake_r(HEALTHY.format(lme4="1.1-31", blas="/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11"))
    pretend(monkeypatch, rpy2="3.6.5", **{"rpy2-rinterface": "3.6.5"})
    diagnosis = diagnose()
    blas = by_name(diagnosis)["BLAS of R"]
    assert blas.version == "reference"
    assert "as long" in blas.problem
    assert diagnosis.live_lme4


def test_broken_r_shows_its_own_words(fake_r):
    fake_r("#!/bin/sh\necho 'libR.so: cannot open shared object file' >&2\nexit 127\n")
    r = by_name(diagnose())["R"]
    assert not r.usable
    assert "libR.so: cannot open shared object file" in r.problem


@pytest.mark.parametrize("noise", ["WARNING: ignoring environment value of R_HOME", "R=1", "\\n="])
def test_what_a_start_up_file_prints_is_no_answer(fake_r, noise):
    healthy = HEALTHY.format(lme4="1.1-31", blas="libopenblas.so")
    fake_r(healthy.replace('echo "R=', f'echo "{noise}"\necho "R=', 1))
    found = by_name(diagnose())
    assert (found["R"].version, found["lme4"].version) == ("4.2.2", "1.1-31")


def test_r_that_does_not_answer_is_quoted(fake_r):
    fake_r("#!/bin/sh\necho 'Bye.'\n")
    assert "does not answer, but prints: 'Bye.'" in by_name(diagnose())["R"].problem


def test_a_prefix_that_is_not_r_s_home_is_named(monkeypatch, tmp_path):
    """R itself would start there, and end the process."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "Rscript").symlink_to("/bin/true")
    monkeypatch.setenv("R_HOME", str(tmp_path))
    r = by_name(diagnose())["R"]
    assert r.problem.startswith(f"R_HOME={tmp_path} is not R's home: it has no library/base")
    assert r.cure == "unset R_HOME"


@pytest.mark.live
@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ("stop('not today')", "stops: not today."),
        ("x <- ; y", "stops: "),
        ("quit()", "stops: it calls quit()."),
        ("cat('R=0\\nlme4=\\n'); message('hi'); warning('w'); print(1)", ""),
    ],
)
def test_a_start_up_file_of_r_is_survived_and_named(tmp_path, monkeypatch, profile, says):
    (tmp_path / ".Rprofile").write_text(profile)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("R_PROFILE_USER", raising=False)
    found = by_name(diagnose())
    assert found["lme4"].usable
    assert ("stops" in found["R"].detail) == bool(says)
    assert says in found["R"].detail


def test_rpy2_that_needs_a_newer_r(fake_r, monkeypatch):
    fake_r(HEALTHY.format(lme4="1.1-31", blas="libopenblas.so"))
    pretend(monkeypatch, rpy2="3.6.7", **{"rpy2-rinterface": "3.6.7"})
    diagnosis = diagnose()
    assert "needs R 4.5" in by_name(diagnosis)["rpy2"].problem
    assert not diagnosis.live_lme4


def test_missing_rpy2(monkeypatch):
    pretend(monkeypatch, rpy2="")
    rpy2 = by_name(diagnose())["rpy2"]
    assert not rpy2.usable
    assert "RPY2_CFFI_MODE=ABI" in rpy2.cure
    assert "rpy2" in rpy2.cure


def test_missing_tensorflow_forbids_the_main_job(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    diagnosis = diagnose()
    assert not diagnosis.main_job
    assert "NOT available" in str(diagnosis)
    assert 'pip install "tensorflow' in by_name(diagnosis)["TensorFlow"].cure


def test_every_problem_of_a_needed_thing_has_a_cure(monkeypatch):
    pretend(monkeypatch, numpy="", pandas="", scipy="")
    needed = [f for f in diagnose().findings if f.needed and f.problem]
    assert {f.name for f in needed} == {"NumPy", "pandas", "SciPy"}
    assert all(f.cure for f in needed)


def test_it_can_be_read_by_a_machine(fake_r):
    fake_r(HEALTHY.format(lme4="1.1-31", blas="libopenblas.so"))
    read = json.loads(json.dumps(diagnose().to_dict()))
    assert read["main_job"] is True
    assert {"name", "version", "problem", "cure"} <= set(read["findings"][0])


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("3.6.6", (3, 6, 6)), ("4.5.0", (4, 5, 0)), ("3.7rc1", (3, 7)), ("", ()), ("1.x.2", (1,))],
)
def test_versions_are_read_as_numbers(version, numbers):
    assert doctor._numbers(version) == numbers


def test_nothing_heavy_is_loaded():
    code = (
        "import sys; from pymackay.doctor import diagnose; diagnose();"
        "print([m for m in ('tensorflow', 'rpy2', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.live
def test_the_real_r_is_described():
    found = by_name(diagnose())
    assert found["R"].usable
    assert found["lme4"].version
    assert found["BLAS of R"].detail
