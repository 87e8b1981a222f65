"""A fit as a model of marginaleffects: what the package asks it for, and the package itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

import pymackay as pm

FORMULA = "log(angle) ~ recipe * poly(temp, 2) + (1 | recipe:replicate)"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the two classes that the adapter needs where the package has them."""

    @dataclass
    class ModelVault:
        coef: Any = None
        coefnames: Any = None
        formula: Any = None
        modeldata: Any = None
        package: str = ""
        vcov: Any = None
        variable_names: Any = None

    class ModelAbstract:
        def __init__(self, model: Any, vault: Any) -> None:
            self.model, self.vault = model, vault

    classes = ModuleType("marginaleffects.classes")
    classes.ModelAbstract, classes.ModelVault = ModelAbstract, ModelVault  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "marginaleffects", ModuleType("marginaleffects"))
    monkeypatch.setitem(sys.modules, "marginaleffects.classes", classes)
    sys.modules.pop("pymackay.adapters.marginal", None)
    yield
    sys.modules.pop("pymackay.adapters.marginal", None)


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer(FORMULA, pm.load_data("cake"))


def test_it_answers_what_the_package_asks(package: None, fit: pm.Fit) -> None:
    model = pm.adapters.for_marginaleffects(fit)
    rows = model.vault.modeldata
    assert model.vault.variable_names == ["angle", "recipe", "temp"]
    assert model.vault.formula == "angle ~ recipe + temp"
    assert rows["recipe"].dtype == pl.Enum(["A", "B", "C"])
    result = model.get_predict(model.vault.coef, rows)
    assert result.schema == {"rowid": pl.Int32, "estimate": pl.Float64}
    expected = fit.predict(pm.load_data("cake"), re_form="~0")
    np.testing.assert_allclose(result["estimate"], expected, rtol=1e-12)
    X = model.get_exog(rows)
    np.testing.assert_allclose(model.get_predict(model.vault.coef, X)["estimate"], expected)
    assert model.get_vcov(False) is None
    np.testing.assert_array_equal(model.get_vcov(), fit.vcov)
    with pytest.raises(pm.ArgumentError, match="vcov is 'HC3'"):
        model.get_vcov("HC3")


def test_data_of_a_loaded_fit_are_passed(package: None, fit: pm.Fit, tmp_path: Path) -> None:
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    with pytest.raises(pm.PymackayError, match=r"pass them: for_marginaleffects\(fit, data\)"):
        pm.adapters.for_marginaleffects(again)
    model = pm.adapters.for_marginaleffects(again, pm.load_data("cake"))
    assert model.vault.modeldata.shape == (270, 3)


def test_without_the_package_there_is_a_cure(monkeypatch: pytest.MonkeyPatch, fit: pm.Fit) -> None:
    monkeypatch.setitem(sys.modules, "marginaleffects", None)
    monkeypatch.delitem(sys.modules, "pymackay.adapters.marginal", raising=False)
    with pytest.raises(pm.PymackayError, match="pip install marginaleffects"):
        pm.adapters.for_marginaleffects(fit)


def test_the_package_agrees_with_marginal_means() -> None:
    if int(pl.__version__.split(".")[0]) > 1:
        pytest.skip("marginaleffects 0.6.0 needs polars before version 2")
    effects = pytest.importorskip("marginaleffects")
    fit = pm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", pm.load_data("cake"))
    model = pm.adapters.for_marginaleffects(fit)
    means = pm.emmeans(fit, "recipe", ddf="asymptotic").table
    result = effects.avg_predictions(model, by="recipe").sort("recipe")
    np.testing.assert_allclose(result["estimate"], means["emmean"], rtol=1e-8)
    np.testing.assert_allclose(result["std_error"], means["SE"], rtol=1e-4)
    slopes = effects.slopes(model, variables="temp", by="recipe").sort("recipe")
    trends = pm.emtrends(fit, "recipe", "temp", ddf="asymptotic").table
    np.testing.assert_allclose(slopes["estimate"], trends["temp.trend"], rtol=1e-5)
    pairs = effects.comparisons(model, variables={"recipe": "pairwise"}, by=True)
    expected = -pm.emmeans(fit, "recipe", ddf="asymptotic").pairs().table["estimate"]
    np.testing.assert_allclose(pairs["estimate"], expected, rtol=1e-6)


def test_means_of_a_generalised_model_are_on_the_scale_of_the_response(package: None) -> None:
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fit = pm.glmer(formula, pm.load_data("cbpp"), "binomial")
    model = pm.adapters.for_marginaleffects(fit)
    assert model.vault.variable_names == ["incidence", "period"]
    result = model.get_predict(model.vault.coef, model.vault.modeldata)
    expected = fit.predict(re_form="~0").to_numpy()
    np.testing.assert_allclose(result["estimate"].to_numpy(), expected)
    np.testing.assert_allclose(model.get_vcov(), fit.vcov)
