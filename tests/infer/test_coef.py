"""`coef`: what R's ``coef(fit)`` gives; `effects_of`: the random effects of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table

import pymackay as pm


def test_levels_have_every_fixed_effect() -> None:
    fit = pm.lmer("y ~ x + f + (x | g) + (1 | h)", crossed_table())
    result = fit.coef()
    assert list(result) == ["g", "h"]
    for group, table in result.items():
        assert list(table.columns) == list(fit.beta.index)
        assert table.index.equals(fit.ranef[group].index)
        for name in table.columns:
            effect = fit.ranef[group].get(name, 0.0)
            np.testing.assert_allclose(table[name], fit.beta[name] + effect, rtol=1e-15)


def test_random_effects_without_a_fixed_one_come_first_with_mean_zero() -> None:
    fit = pm.lmer("y ~ z + (1 | g) + (0 + x | g) + (1 | h)", crossed_table())
    result = fit.coef()
    for group in ("g", "h"):
        assert list(result[group].columns) == ["x", "(Intercept)", "z"]
    pd.testing.assert_series_equal(result["g"]["x"], fit.ranef["g"]["x"])
    assert (result["h"]["x"] == 0.0).all()


def test_only_fits_have_it() -> None:
    with pytest.raises(pm.ArgumentError, match="coef needs a Fit"):
        pm.Fit.coef("fit")  # type: ignore[arg-type]


@pytest.mark.parametrize("streamed", [False, True])
def test_effects_are_looked_up_by_the_ids_that_the_data_have(streamed: bool) -> None:
    data = crossed_table().drop(columns="f")
    named = pm.lmer("y ~ x + (x | g) + (1 | h:k)", data.assign(k=data["z"] > 1.0))
    expected = {
        "g": named.ranef["g"].loc[data["g"]],
        "h:k": named.ranef["h:k"].loc[data["h"] + np.where(data["z"] > 1.0, ":TRUE", ":FALSE")],
    }
    ids = data.assign(
        g=data["g"].str[1:].astype(int), h=data["h"].str[1:].astype(float) / 10, k=data["z"] > 1.0
    )
    fit = pm.lmer(
        "y ~ x + (x | g) + (1 | h:k)", [ids.iloc[:60], ids.iloc[60:]] if streamed else ids
    )
    result = fit.effects_of(ids[["g", "h", "k"]])
    assert list(result) == list(fit.ranef)
    for group, table in result.items():
        assert table.index.equals(ids.index)
        assert list(table.columns) == list(fit.ranef[group].columns)
        np.testing.assert_allclose(table, expected[group], rtol=1e-4, atol=1e-6)


def test_levels_that_are_not_known_are_errors_or_zero() -> None:
    fit = pm.lmer("y ~ x + (x | g)", crossed_table())
    with pytest.raises(pm.DataError, match="not fitted to: nobody"):
        fit.effects_of({"g": ["g1", "nobody"]})
    with pytest.raises(pm.DataError, match="missing in 1 rows"):
        fit.effects_of({"g": ["g1", None]})
    result = fit.effects_of({"g": ["g1", "nobody", None]}, allow_new_levels=True)["g"]
    np.testing.assert_array_equal(result.iloc[0], fit.ranef["g"].loc["g1"])
    assert (result.iloc[1:] == 0.0).all(axis=None)
