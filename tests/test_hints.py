"""Names of other packages: each hint names something that works."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import pymackay as pm
from pymackay.hints import ARGUMENTS, GENERAL_ARGUMENTS, OTHER_FAMILIES, PACKAGE_NAMES
from pymackay.hints import FIT_NAMES as FIT


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))


@pytest.mark.parametrize("name", FIT)
def test_each_hint_names_what_there_is(
    name: str, fit: pm.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AttributeError, match="has no attribute") as raised:
        getattr(fit, name)
    hint = str(raised.value).partition("; here it is ")[2]
    assert hint == FIT[name]
    monkeypatch.chdir(tmp_path)
    assert hint.startswith("fit.save(") or runs(hint, fit)


def runs(hint: str, fit: pm.Fit) -> bool:
    """Return whether a hint that is code can be evaluated."""
    names = {"fit": fit, "fit1": fit, "fit2": fit, "pm": pm, "family": "gaussian"}
    names |= {"formula": fit.formula, "data": pm.load_data("sleepstudy")}
    code = hint.replace("pymackay.", "pm.").replace("...", '"Days"')
    return eval(code, names) is not None


WORDS = {"allFit", "lmerControl", "read_csv", "update", "glmer_nb", "glmmTMB"}
"""Names whose hint is a sentence, or code for other data."""


@pytest.mark.parametrize("name", PACKAGE_NAMES)
def test_each_function_of_lme4_and_its_friends_has_its_hint(
    name: str, fit: pm.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttributeError, match="has no attribute") as raised:
        getattr(pm, name)
    hint = str(raised.value).partition("; here it is ")[2]
    assert hint == PACKAGE_NAMES[name]
    if name not in WORDS and hint != "fit.save('fit.mackay')":
        assert runs(hint, fit)


def test_other_names_of_the_package_have_no_hint() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pymackay' has no attribute 'nonsense'$"):
        pm.nonsense  # noqa: B018 - it raises


@pytest.mark.parametrize("function", [pm.lmer, pm.mackay, pm.lmer_many, pm.lme4.lmer])
def test_arguments_of_other_packages_are_named(function: Any) -> None:
    sleep = pm.load_data("sleepstudy")
    for name in set(ARGUMENTS) - set(inspect.signature(function).parameters):
        with pytest.raises(pm.ArgumentError, match=f"no argument '{name}'; here it is"):
            function("Reaction ~ Days + (1 | Subject)", sleep, **{name: False})
    with pytest.raises(TypeError, match="nonsense"):
        function("Reaction ~ Days + (1 | Subject)", sleep, nonsense=1)


def test_generalised_models_name_them_too() -> None:
    for function in (pm.glmer, pm.lme4.glmer, pm.glmer_many):
        for name in set(GENERAL_ARGUMENTS) - set(inspect.signature(function).parameters):
            with pytest.raises(pm.ArgumentError, match=f"no argument '{name}'; here it is"):
                function("y ~ 1 + (1 | g)", {}, "poisson", **{name: 0})


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_a_family_of_other_packages_is_refused_with_what_can_be_done(family: str) -> None:
    with pytest.raises(pm.ArgumentError, match=f"Instead of {family}: "):
        pm.glmer("y ~ 1 + (1 | g)", {"y": [1, 2], "g": [1, 2]}, family)


@pytest.mark.parametrize("method", ["Wald", "walt", "WALD"])
def test_a_word_spelled_otherwise_is_named(method: str, fit: pm.Fit) -> None:
    with pytest.raises(pm.ArgumentError, match=r"Did you mean 'wald'\?"):
        fit.confint(method)


def test_other_names_have_no_hint_and_protocols_still_work(fit: pm.Fit) -> None:
    with pytest.raises(AttributeError, match=r"^'Fit' object has no attribute 'nonsense'$"):
        fit.nonsense  # noqa: B018 - it raises
    assert not hasattr(fit, "__array__")
    assert pickle.loads(pickle.dumps(fit)).criterion == fit.criterion
    assert copy.deepcopy(fit).criterion == copy.copy(fit).criterion
