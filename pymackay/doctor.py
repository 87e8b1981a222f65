"""`diagnose`: checks what is installed and what is missing, and how to install it."""

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

from pymackay._resources import __version__, r_reference_path
from pymackay.errors import PymackayError
from pymackay.reference.r.start import profile_set_aside, why_no_home

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
_R_ANSWERS = ("R", "home", "lme4", "Matrix", "blas")  # what doctor.R prints a line of
_R_TIMEOUT = 60.0  # seconds; a cold start of R on a slow disk takes a few
_PIP = f"{Path(sys.executable).name} -m pip install"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name : str
    version : str
        Installed version; empty if missing.
    detail : str
        Path or variant.
    needed : bool
        Whether fitting needs it.
    problem : str
        Description of the problem; empty if there is none.
    cure : str
        Command that solves the problem.
    """

    name: str
    version: str
    detail: str = ""
    needed: bool = False
    problem: str = ""
    cure: str = ""

    @property
    def usable(self) -> bool:
        """Whether it is installed and has no problem."""
        return bool(self.version) and not self.problem


@dataclass(frozen=True)
class Diagnosis:
    """The results of all checks.

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
        """Whether lme4 can be run in R."""
        usable = {finding.name for finding in self.findings if finding.usable}
        return {"R", "lme4", "rpy2"} <= usable

    def to_dict(self) -> dict[str, object]:
        """Return a dictionary that can be written as JSON."""
        return {
            "main_job": self.main_job,
            "live_lme4": self.live_lme4,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        fitting = "available" if self.main_job else "NOT available"
        lme4 = "available" if self.live_lme4 else "not available; its recorded answers are used"
        lines = [f"Fitting in TensorFlow: {fitting}.", f"Running lme4 in R (optional): {lme4}.", ""]
        for finding in self.findings:
            version = finding.version or "missing"
            lines.append(f"  {finding.name:<12}{version:<14}{finding.detail}".rstrip())
            lines += [f"              {line}" for line in _advice(finding)]
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    """Check what is installed. This starts R briefly and does not import TensorFlow.

    Examples
    --------
    >>> diagnose().main_job
    True
    """
    r = _ask_r()
    return Diagnosis(
        (
            _python(),
            Finding("pymackay", __version__, str(Path(__file__).parent)),
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
        yield f"To fix: {finding.cure}"


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
    return Finding(name, "", needed=True, problem="pymackay cannot be used without it.", cure=cure)


def _tensorflow() -> Finding:
    """Return the finding for TensorFlow, which is not imported."""
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
    """Return the path of the Rscript that belongs to the R that rpy2 would start."""
    home = os.environ.get("R_HOME")
    if home:
        return shutil.which("Rscript", path=str(Path(home) / "bin"))
    return shutil.which("Rscript")


def _ask_r() -> Mapping[str, str] | None:
    """Run the R script that lists R's versions; None without R, ``problem`` if it fails."""
    home, rscript = os.environ.get("R_HOME"), _rscript()
    if why_no_home(home):
        return {"path": str(home), "problem": why_no_home(home), "cure": "unset R_HOME"}
    if rscript is None:
        return None
    try:
        output = _run(rscript)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        return {"path": rscript, "problem": f"{rscript} fails: {last}"}
    except (OSError, subprocess.TimeoutExpired, PymackayError) as error:
        return {"path": rscript, "problem": f"{rscript} fails: {error}"}
    lines = [line.partition("=") for line in output.splitlines()]
    answers = {name: value for name, _, value in lines if name in (*_R_ANSWERS, "profile")}
    if not answers.keys() >= set(_R_ANSWERS):
        first = (output.split("\n") or [""])[0]
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
    """Return the finding for R, from the answers of the R script."""
    if r is None:
        home = os.environ.get("R_HOME")
        problem = (
            f"R_HOME is {home}, but this folder contains no R."
            if home
            else "Rscript is not on PATH."
        )
        return Finding("R", "", problem=problem, cure=_install_cure())
    if "problem" in r:
        cure = r.get("cure") or _install_cure()
        return Finding("R", "", r["path"], problem=r["problem"], cure=cure)
    stopped = r.get("profile")
    detail = f"{r['home']}; the start-up file stops: {stopped}" if stopped else r["home"]
    return Finding("R", r["R"], detail)


def _lme4(r: Mapping[str, str] | None) -> Finding:
    if not r or "problem" in r:
        return Finding("lme4", "", problem="It needs R, which is not available.")
    if r["lme4"]:
        return Finding("lme4", r["lme4"], f"with Matrix {r['Matrix']}")
    return Finding("lme4", "", problem="lme4 is not installed in this R.", cure=_install_cure())


def _blas(r: Mapping[str, str] | None) -> Finding:
    """Return the finding for R's BLAS, judged by the name of its file."""
    if not r or "problem" in r:
        return Finding("BLAS of R", "", problem="It needs R, which is not available.")
    path = r["blas"]
    names = [name for part, name in _FAST_BLAS.items() if part in path.lower()]
    if names:
        return Finding("BLAS of R", names[0], path)
    return Finding(
        "BLAS of R",
        "reference" if path else "unknown",
        path,
        problem="With this BLAS, lme4 takes three to four times as long on large models.",
        cure=_install_cure(),
    )


def _rpy2(r: Mapping[str, str] | None) -> Finding:
    version, rinterface = _version("rpy2"), _version("rpy2-rinterface")
    cure = _rpy2_cure()
    if not version:
        return Finding("rpy2", "", problem="Python cannot run R without it.", cure=cure)
    needs_r = (4, 5) if _numbers(rinterface) >= (3, 6, 6) else (0,)
    if r and "R" in r and _numbers(r["R"]) < needs_r:
        problem = f"rpy2-rinterface {rinterface} needs R 4.5 or later, but R is {r['R']}."
        return Finding("rpy2", version, problem=problem, cure=cure)
    return Finding("rpy2", version, f"rpy2-rinterface {rinterface}" if rinterface else "")


def _rpy2_cure() -> str:
    """Return the command that installs rpy2; with R hidden, its build needs no compiler."""
    try:
        requirements = importlib.metadata.requires("pymackay") or []
    except importlib.metadata.PackageNotFoundError:  # an uninstalled checkout
        requirements = []
    rpy2 = [entry for entry in requirements if entry.startswith("rpy2")]
    named = [f'"{entry.split(";")[0].strip()}"' for entry in rpy2]
    path = Path(sys.executable).parent
    packages = " ".join(named) or '"rpy2==3.6.5"'
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
