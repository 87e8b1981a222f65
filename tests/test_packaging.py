"""Wheel, sdist, editable install and plain checkout work, and the README says what is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import pymackay as pm
from pymackay._resources import data_path

ROOT = Path(__file__).resolve().parent.parent
JUNK = ("__pycache__", "*.egg-info", "build", "dist", ".*cache", ".tox", ".venv*", ".git")
ASK = (
    "import pymackay as pm; from pymackay._resources import data_path, r_reference_path;"
    "assert len(pm.load_data('sleepstudy')) == 180 and len(pm.load_data('VerbAgg')) == 7584;"
    "print(pm.__file__, data_path(), r_reference_path('install_r.sh'), sep='\\n')"
)

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="runs in a checkout or an unpacked sdist"
)


def files_below(folder: Path) -> set[str]:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if "__pycache__" not in name}


def python(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run Python and return what it printed; what it complained of is the failure's text."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str | Path) -> None:
    """Run pip without the network: the build back end is one of the test requirements."""
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    python("-m", "pip", *arguments, *offline)


def found_from(*paths: Path, prelude: str = "") -> list[Path]:
    """Ask a Python that sees `paths` first where package, data and R scripts are."""
    # -S: an editable pymackay in site-packages must not answer in the other's stead
    search = os.pathsep.join([*map(str, paths), sysconfig.get_path("purelib")])
    answer = python("-S", "-c", prelude + ASK, cwd=paths[0], PYTHONPATH=search)
    result = [Path(line) for line in answer.splitlines()]
    assert len(result) == 3 and all(path.exists() for path in result)
    return result


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """Copy the repository: building leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout") / "repository"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*JUNK))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", checkout, "--wheel-dir", folder)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    python("-c", build, cwd=checkout)
    (built,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(built, folder)
    return folder / built.name.removesuffix(".tar.gz")


def test_every_folder_of_the_package_is_a_package():
    folders = {path.parent for path in (ROOT / "pymackay").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_the_wheel_holds_every_file_and_finds_it(checkout, wheel):
    assert files_below(wheel / "pymackay" / "_data") == files_below(checkout / "data")
    assert files_below(wheel / "pymackay" / "_r_reference") == files_below(checkout / "r_reference")
    modules = {
        name for name in files_below(checkout / "pymackay") if name.endswith((".py", ".typed"))
    }
    assert modules <= files_below(wheel / "pymackay")
    assert all(path.is_relative_to(wheel) for path in found_from(wheel))


def test_the_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    pip("wheel", sdist, "--wheel-dir", tmp_path)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        assert set(archive.namelist()) == files_below(wheel)


def test_the_sdist_brings_its_tests(checkout, sdist):
    assert files_below(sdist / "tests") == files_below(checkout / "tests")


def test_an_unpacked_sdist_works_uninstalled(sdist):
    assert all(path.is_relative_to(sdist) for path in found_from(sdist))


def test_a_checkout_works_uninstalled(checkout):
    assert all(path.is_relative_to(checkout) for path in found_from(checkout))


def test_an_editable_install_finds_the_checkout(checkout, tmp_path):
    pip("install", "--editable", checkout, "--target", tmp_path)
    activate = f"import site; site.addsitedir({str(tmp_path)!r});"
    assert all(path.is_relative_to(checkout) for path in found_from(tmp_path, prelude=activate))


def test_a_missing_folder_is_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr("pymackay._resources._PACKAGE", tmp_path / "pymackay")
    with pytest.raises(pm.PymackayError, match="Install pymackay again"):
        data_path()


def test_the_changelog_speaks_of_this_version():
    assert f"## {pm.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def readme_blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_check_runs_the_second_command_of_the_readme():
    _, second = readme_blocks("sh")[:2]
    assert len(second.strip().splitlines()) == 1
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", readme_blocks("python"))
def test_the_example_of_the_readme_runs(code, tmp_path):
    python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
