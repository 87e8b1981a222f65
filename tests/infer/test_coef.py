"""`coef`: what R's ``coef(fit)`` gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table

import pymackay as pm


def test_levels_have_every_fixed_effect() -> None:
    fit = pm.lmer("y ~ x + f + (x | g) + (1 | h)", crossed_table())
    found = fit.coef()
    assert list(found) == ["g", "h"]
    for group, table in found.items():
        assert list(table.columns) == list(fit.beta.index)
        assert table.index.equals(fit.ranef[group].index)
        for name in table.columns:
            effect = fit.ranef[group].get(name, 0.0)
            np.testing.assert_allclose(table[name], fit.beta[name] + effect, rtol=1e-15)


def test_random_effects_without_a_fixed_one_come_first_with_mean_zero() -> None:
    fit = pm.lmer("y ~ z + (1 | g) + (0 + x | g) + (1 | h)", crossed_table())
    found = fit.coef()
    for group in ("g", "h"):
        assert list(found[group].columns) == ["x", "(Intercept)", "z"]
    pd.testing.assert_series_equal(found["g"]["x"], fit.ranef["g"]["x"])
    assert (found["h"]["x"] == 0.0).all()


def test_only_fits_have_it() -> None:
    with pytest.raises(pm.ArgumentError, match="coef needs a Fit"):
        pm.Fit.coef("fit")  # type: ignore[arg-type]
