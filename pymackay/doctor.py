"""What `pymackay doctor` looks at: what is there, what is missing, and the cure."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pymackay
from pymackay._resources import r_reference_path
from pymackay.errors import PymackayError
from pymackay.reference.r_start import profile_set_aside, why_no_home

__all__ = ["Diagnosis", "Finding", "diagnose"]

_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel")
_FAST_BLAS = {
    "openblas": "OpenBLAS",
    "flexiblas": "FlexiBLAS",
    "mkl": "MKL",
    "blis": "BLIS",
    "accelerate": "Accelerate",
    "veclib": "Accelerate",
    "atlas": "ATLAS",
}
_R_SAYS = ("R", "home", "lme4", "Matrix", "blas")  # what doctor.R prints a line of
_R_TIMEOUT = 60.0  # seconds; a cold start of R on a slow disk takes a few
_PIP = f"{Path(sys.executable).name} -m pip install"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    name : str
    version : str
        What was found; empty where it is missing.
    detail : str
        Where, or which.
    needed : bool
        Whether the main job needs it.
    problem : str
        What is wrong; empty where nothing is.
    cure : str
        What to type.
    """

    name: str
    version: str
    detail: str = ""
    needed: bool = False
    problem: str = ""
    cure: str = ""

    @property
    def usable(self) -> bool:
        """Whether it is there and nothing is wrong with it."""
        return bool(self.version) and not self.problem


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked for.

    Attributes
    ----------
    findings : tuple of Finding
    """

    findings: tuple[Finding, ...]

    @property
    def main_job(self) -> bool:
        """Whether models can be fitted, and compared with lme4's recorded answers."""
        return not any(finding.needed and finding.problem for finding in self.findings)

    @property
    def live_lme4(self) -> bool:
        """Whether lme4 itself can be asked."""
        usable = {finding.name for finding in self.findings if finding.usable}
        return {"R", "lme4", "rpy2"} <= usable

    def to_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return {
            "main_job": self.main_job,
            "live_lme4": self.live_lme4,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        fitting = "can be done" if self.main_job else "can NOT be done"
        asking = "can be done" if self.live_lme4 else "not now: its recorded answers are used"
        lines = [f"Fitting in TensorFlow: {fitting}.", f"Asking R's lme4 (optional): {asking}.", ""]
        for finding in self.findings:
            version = finding.version or "missing"
            lines.append(f"  {finding.name:<12}{version:<14}{finding.detail}".rstrip())
            lines += [f"              {line}" for line in _advice(finding)]
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    """Look at what is installed, without importing TensorFlow; R is started for a moment.

    Examples
    --------
    >>> diagnose().main_job
    True
    """
    r = _ask_r()
    return Diagnosis(
        (
            _python(),
            Finding("pymackay", pymackay.__version__, str(Path(pymackay.__file__).parent)),
            *(_library(name) for name in ("NumPy", "pandas", "SciPy")),
            _tensorflow(),
            _r(r),
            _lme4(r),
            _blas(r),
            _rpy2(r),
        )
    )


def _advice(finding: Finding) -> Iterable[str]:
    if finding.problem:
        yield finding.problem
    if finding.cure:
        yield f"Cure: {finding.cure}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", version, sys.executable, needed=True)


def _library(name: str) -> Finding:
    version = _version(name.lower())
    if version:
        return Finding(name, version, needed=True)
    cure = f"{_PIP} {name.lower()}"
    return Finding(name, "", needed=True, problem="Nothing works without it.", cure=cure)


def _tensorflow() -> Finding:
    versions = [(name, _version(name)) for name in _TENSORFLOWS]
    present = [(name, version) for name, version in versions if version]
    if importlib.util.find_spec("tensorflow") is not None:
        name, version = present[0] if present else ("tensorflow", "unknown")
        return Finding("TensorFlow", version, "" if name == "tensorflow" else name, needed=True)
    return Finding(
        "TensorFlow",
        "",
        needed=True,
        problem="Models cannot be fitted without it.",
        cure=f'{_PIP} "tensorflow>=2.20"',
    )


def _rscript() -> str | None:
    """Find the Rscript that belongs to the R which rpy2 would start."""
    home = os.environ.get("R_HOME")
    if home:
        return shutil.which("Rscript", path=str(Path(home) / "bin"))
    return shutil.which("Rscript")


def _ask_r() -> Mapping[str, str] | None:
    """Run the R script that says what R has; None without R, ``problem`` when it fails."""
    home, rscript = os.environ.get("R_HOME"), _rscript()
    if why_no_home(home):
        return {"path": str(home), "problem": why_no_home(home), "cure": "unset R_HOME"}
    if rscript is None:
        return None
    try:
        said = _run(rscript)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        return {"path": rscript, "problem": f"{rscript} fails: {last}"}
    except (OSError, subprocess.TimeoutExpired, PymackayError) as error:
        return {"path": rscript, "problem": f"{rscript} fails: {error}"}
    lines = [line.partition("=") for line in said.splitlines()]
    answers = {name: value for name, _, value in lines if name in (*_R_SAYS, "profile")}
    if not answers.keys() >= set(_R_SAYS):
        first = (said.split("\n") or [""])[0]
        return {"path": rscript, "problem": f"{rscript} does not answer, but prints: {first!r}"}
    return {"path": rscript, **answers}


def _run(rscript: str) -> str:
    """Return what the R script prints; it reads the user's start-up file as our own R does."""
    with profile_set_aside() as profile:
        script = str(r_reference_path("doctor.R"))
        command = [rscript, script, *([str(profile)] if profile else [])]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_R_TIMEOUT, check=True
        )
    return done.stdout


def _install_cure() -> str:
    try:
        return f"sh {r_reference_path('install_r.sh')}"
    except PymackayError as error:
        return str(error)


def _r(r: Mapping[str, str] | None) -> Finding:
    if r is None:
        home = os.environ.get("R_HOME")
        problem = f"R_HOME is {home}, and there is no R in it." if home else "No Rscript on PATH."
        return Finding("R", "", problem=problem, cure=_install_cure())
    if "problem" in r:
        cure = r.get("cure") or _install_cure()
        return Finding("R", "", r["path"], problem=r["problem"], cure=cure)
    stopped = r.get("profile")
    detail = f"{r['home']}; the start-up file stops: {stopped}" if stopped else r["home"]
    return Finding("R", r["R"], detail)


def _lme4(r: Mapping[str, str] | None) -> Finding:
    if not r or "problem" in r:
        return Finding("lme4", "", problem="It needs R.")
    if r["lme4"]:
        return Finding("lme4", r["lme4"], f"with Matrix {r['Matrix']}")
    return Finding("lme4", "", problem="This R does not have lme4.", cure=_install_cure())


def _blas(r: Mapping[str, str] | None) -> Finding:
    if not r or "problem" in r:
        return Finding("BLAS of R", "", problem="It needs R.")
    path = r["blas"]
    names = [name for part, name in _FAST_BLAS.items() if part in path.lower()]
    if names:
        return Finding("BLAS of R", names[0], path)
    return Finding(
        "BLAS of R",
        "reference" if path else "unknown",
        path,
        problem="lme4 takes three to four times as long with it on large models.",
        cure=_install_cure(),
    )


def _rpy2(r: Mapping[str, str] | None) -> Finding:
    version, rinterface = _version("rpy2"), _version("rpy2-rinterface")
    cure = _rpy2_cure()
    if not version:
        return Finding("rpy2", "", problem="Python cannot ask R without it.", cure=cure)
    needs_r = (4, 5) if _numbers(rinterface) >= (3, 6, 6) else (0,)
    if r and "R" in r and _numbers(r["R"]) < needs_r:
        problem = f"rpy2-rinterface {rinterface} needs R 4.5 or later, and R is {r['R']}."
        return Finding("rpy2", version, problem=problem, cure=cure)
    return Finding("rpy2", version, f"rpy2-rinterface {rinterface}" if rinterface else "")


def _rpy2_cure() -> str:
    """Say how to install rpy2; its build needs neither R nor a compiler when it sees neither."""
    try:
        wanted = importlib.metadata.requires("pymackay") or []
    except importlib.metadata.PackageNotFoundError:  # an uninstalled checkout
        wanted = []
    named = [f'"{entry.split(";")[0].strip()}"' for entry in wanted if entry.startswith("rpy2")]
    path = Path(sys.executable).parent
    packages = " ".join(named) or '"pymackay[r]"'
    return f"PATH={path} RPY2_CFFI_MODE=ABI {_PIP} {packages}"


def _numbers(version: str) -> tuple[int, ...]:
    """Read a version's leading numbers: ``"3.6.6rc1"`` is (3, 6, 6)."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
