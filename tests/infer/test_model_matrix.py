"""The designs as frames: against R's getME, and against predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table
from oracle import random_design
from tolerances import tol

import pymackay as pm
from pymackay.reference.live import live_model
from pymackay.reference.r.session import session

FORMULA = "y ~ x * f + poly(z, 2) + offset(o) + (x | g) + (1 | h)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return crossed_table()


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, data)


def test_both_designs_make_the_fitted_values(fit: pm.Fit, data: pd.DataFrame) -> None:
    X, Z = fit.model_matrix(), fit.model_matrix(part="random")
    assert list(X.columns) == list(fit.beta.index)
    assert X.index.equals(data.index) and Z.index.equals(data.index)
    np.testing.assert_array_equal(Z.to_numpy(), random_design(fit.problem.model))
    b = [fit.ranef[term].loc[level, effect] for term, level, effect in Z.columns]
    made = X @ fit.beta + Z.to_numpy() @ np.array(b) + data["o"]
    np.testing.assert_allclose(made, fit.fitted, rtol=0.0, atol=tol("statistic"))


def test_new_rows_have_the_columns_of_the_models_own(fit: pm.Fit, data: pd.DataFrame) -> None:
    some = data.iloc[::7].drop(columns=["y", "o"])
    for part in ("fixed", "random"):
        new, own = fit.model_matrix(some, part), fit.model_matrix(part=part).loc[some.index]
        assert list(new.columns) == list(own.columns)
        np.testing.assert_allclose(new, own, rtol=0.0, atol=tol("design"))
    assert fit.model_matrix(part="random").dtypes.map(str).str.startswith("Sparse").all()


def test_a_missing_value_is_nan_and_a_dropped_column_is_not_there(data: pd.DataFrame) -> None:
    fit = pm.lmer("y ~ x + I(2 * x) + (1 | g)", data)
    new = fit.model_matrix({"x": [1.0, np.nan]})
    assert list(new.columns) == ["(Intercept)", "x"]
    assert new.isna().all(axis=1).tolist() == [False, True]


def test_what_cannot_be_made_is_refused(fit: pm.Fit, data: pd.DataFrame) -> None:
    with pytest.raises(pm.ArgumentError, match=r"part is 'Z'"):
        fit.model_matrix(part="Z")
    with pytest.raises(pm.DataError, match="levels of 'g' that the model was not fitted to: new"):
        fit.model_matrix(data.head(3).assign(g="new"), "random")
    parts = pm.lmer("y ~ x + (1 | g)", [data.head(60), data.tail(60)])
    with pytest.raises(pm.PymackayError, match=r"not kept.*Pass newdata"):
        parts.model_matrix()


@pytest.mark.live
def test_designs_are_those_of_lme4(data: pd.DataFrame) -> None:
    plain = data.reset_index(drop=True)
    theirs = pm.lme4.lmer(FORMULA, plain, source="live")
    session().call("source", str(Path(__file__).parents[1] / "support" / "infer_probe.R"))
    designs = session().call("probe_designs", live_model(theirs).kept).value
    fit = pm.evaluate(FORMULA, plain, theirs.theta)
    X, Z = fit.model_matrix(), fit.model_matrix(part="random")
    assert list(X.columns) == list(designs["fixed"])
    assert list(Z.columns.get_level_values("level")) == list(designs["levels"])
    np.testing.assert_allclose(X, designs["X"], rtol=0.0, atol=tol("design"))
    np.testing.assert_allclose(Z.to_numpy(), designs["Z"], rtol=0.0, atol=tol("design"))
