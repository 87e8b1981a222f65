"""`import pymackay`: light, lazy, and `pm.compare` is the function whatever is imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pymackay as pm

HEAVY = {"tensorflow", "keras", "rpy2", "pandas", "numpy", "scipy"}

COMPARE_BY = {
    "attribute": "import pymackay as pm; f = pm.compare",
    "from": "from pymackay import compare as f",
    "after its submodule": "import pymackay.compare.verdict; f = pymackay.compare",
    "after another form": "from pymackay.compare import verdict; from pymackay import compare as f",
    "before its submodule": "import pymackay as pm; pm.compare;"
    "import pymackay.compare.verdict; f = pm.compare",
}


def run(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_import_is_light():
    code = (
        "import json, sys, time; start = time.perf_counter(); import pymackay;"
        "seconds = time.perf_counter() - start;"
        "print(json.dumps([seconds, sorted({m.partition('.')[0] for m in sys.modules})]))"
    )
    seconds, modules = json.loads(run(code))
    assert HEAVY.isdisjoint(modules)
    # 0.03 s on an idle machine; the promise is 0.3 s, and a busy machine is no failure
    assert seconds < 1.0


@pytest.mark.parametrize("name", pm.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(pm)
    assert getattr(pm, name) is not None


def test_every_error_is_one_base():
    for name in pm.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(pm, name), pm.PymackayError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lmre'"):
        _ = pm.lmre


@pytest.mark.parametrize("code", COMPARE_BY.values(), ids=COMPARE_BY.keys())
def test_compare_is_the_function(code):
    assert run(f"{code}; print(type(f).__name__, f.__module__)").split() == [
        "function",
        "pymackay.compare.verdict",
    ]


def test_the_subpackage_of_compare_still_imports_by_every_form():
    code = (
        "import pymackay.compare.verdict as a; from pymackay.compare import verdict as b;"
        "import pymackay; c = pymackay.compare.verdict;"
        "print(a is b is c, type(a).__name__)"
    )
    assert run(code).split() == ["True", "module"]


def test_only_the_subpackage_is_kept_from_taking_the_name(monkeypatch):
    replacement = object()
    monkeypatch.setattr(pm, "compare", replacement)
    assert pm.compare is replacement


def modules_after_importing(folder: str) -> set[str]:
    """Import every module of a subpackage afresh; return the top-level packages that came along."""
    return set(
        run(
            "import pkgutil, importlib, sys;"
            f"package = importlib.import_module('pymackay.{folder}');"
            f"found = pkgutil.walk_packages(package.__path__, 'pymackay.{folder}.');"
            "names = [module.name for module in found];"
            "assert names; [importlib.import_module(name) for name in names];"
            "print(*{m.partition('.')[0] for m in sys.modules})"
        ).split()
    )


def test_reference_loads_no_tensorflow():
    assert {"tensorflow", "keras"}.isdisjoint(modules_after_importing("reference"))


@pytest.mark.parametrize("folder", ["model", "solve", "infer", "compare"])
def test_the_layers_beside_reference_load_no_r(folder):
    assert "rpy2" not in modules_after_importing(folder)


def test_only_reference_imports_rpy2():
    package = Path(pm.__file__).parent
    pattern = re.compile(r"^\s*(import|from) rpy2|import_module\([\"']rpy2", re.MULTILINE)
    importing = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert importing <= {"reference"}
