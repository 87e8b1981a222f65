"""Names of other packages: each hint names something that works."""

from __future__ import annotations

import copy
import pickle

import pytest

import pymackay as pm
from pymackay.errors import FOREIGN_NAMES as FIT


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))


@pytest.mark.parametrize("name", FIT)
def test_each_hint_names_what_there_is(name: str, fit: pm.Fit) -> None:
    with pytest.raises(AttributeError, match="has no attribute") as raised:
        getattr(fit, name)
    hint = str(raised.value).partition("; here it is ")[2]
    assert hint == FIT[name]
    code = hint.replace("pymackay.", "pm.").replace("...", '"Days"')
    assert eval(code, {"fit": fit, "pm": pm}) is not None


def test_other_names_have_no_hint_and_protocols_still_work(fit: pm.Fit) -> None:
    with pytest.raises(AttributeError, match=r"^'Fit' object has no attribute 'nonsense'$"):
        fit.nonsense  # noqa: B018 - it raises
    assert not hasattr(fit, "__array__")
    assert pickle.loads(pickle.dumps(fit)).criterion == fit.criterion
    assert copy.deepcopy(fit).criterion == copy.copy(fit).criterion
