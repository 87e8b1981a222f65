"""The regressor of scikit-learn: its own checks, and what people do with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import pymackay as pm

SLEEP = "Reaction ~ Days + (Days | Subject)"
REASONS = {
    "check_sample_weight_equivalence_on_dense_data": "prior weights are inverse variances; a row "
    "of weight 2 is not two rows, because two rows tell more of the residual variance",
    "check_sample_weight_equivalence_on_sparse_data": "as for dense data",
    "check_pipeline_consistency": "its response is a linear function of X without residuals",
    "check_estimators_pickle": "its response is a linear function of X without residuals",
    "check_regressors_train": "asks for a score that the formula of this test cannot have",
}


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


def regressor(**given: object) -> object:
    return pm.sklearn.MixedModelRegressor(SLEEP, **given)


@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass() -> None:
    model = pm.sklearn.MixedModelRegressor("y ~ I(x0^2) + (1 | factor(x0 > mean(x0)))")
    done = check_estimator(model, expected_failed_checks=REASONS, on_fail=None, on_skip=None)
    failed = {(c["check_name"], str(c["exception"])[:200]) for c in done if c["status"] == "failed"}
    assert not failed
    assert sum(c["status"] == "passed" for c in done) > 45


def test_predictions_are_those_of_the_fit(sleep: pd.DataFrame) -> None:
    X, y = sleep[["Days", "Subject"]], sleep["Reaction"]
    model = regressor().fit(X, y)
    fit = pm.lmer(SLEEP, sleep)
    np.testing.assert_allclose(model.predict(X), fit.fitted, rtol=1e-8)
    new = pd.DataFrame({"Days": [3.0, 3.0], "Subject": ["nobody", "308"]}, index=[7, 9])
    expected = fit.predict(new, allow_new_levels=True)
    np.testing.assert_allclose(model.predict(new), expected, rtol=1e-8)
    mean = regressor(re_form="~0").fit(X, y).predict(new)
    np.testing.assert_allclose(mean, fit.predict(new, re_form="~0"), rtol=1e-8)
    assert model.feature_names_in_.tolist() == ["Days", "Subject"]


def test_weights_are_prior_weights_and_zero_leaves_a_row_out(sleep: pd.DataFrame) -> None:
    weights = 1.0 + np.arange(len(sleep)) % 3
    weights[::10] = 0.0
    model = regressor().fit(sleep[["Days", "Subject"]], sleep["Reaction"], sample_weight=weights)
    data = sleep.assign(w=weights)[weights > 0.0]
    assert model.fit_.criterion == pytest.approx(pm.lmer(SLEEP, data, weights="w").criterion)


def test_it_works_in_pipelines_cross_validation_and_searches(sleep: pd.DataFrame) -> None:
    X, y, groups = sleep[["Days", "Subject"]], sleep["Reaction"], sleep["Subject"]
    pipeline = make_pipeline(FunctionTransformer(lambda f: f.assign(Days=f["Days"] / 2.0)),
                             regressor())  # fmt: skip
    assert pipeline.fit(X, y).score(X, y) == pytest.approx(regressor().fit(X, y).score(X, y))
    scores = cross_validate(regressor(), X, y, groups=groups, cv=GroupKFold(3), n_jobs=2)
    assert np.isfinite(scores["test_score"]).all()
    search = GridSearchCV(
        regressor(), {"formula": [SLEEP, "Reaction ~ 1 + (1 | Subject)"]}, cv=3
    )  # fmt: skip
    assert search.fit(X.sample(frac=1.0, random_state=1), y.sample(frac=1.0, random_state=1))
    assert search.best_params_["formula"] == SLEEP


def test_a_transformed_response_goes_around_the_regressor(sleep: pd.DataFrame) -> None:
    X, y = sleep[["Days", "Subject"]], sleep["Reaction"]
    model = TransformedTargetRegressor(regressor(), func=np.log, inverse_func=np.exp).fit(X, y)
    expected = pm.lmer("log(Reaction) ~ Days + (Days | Subject)", sleep).fitted
    np.testing.assert_allclose(model.predict(X), np.exp(expected), rtol=1e-8)
    with pytest.raises(pm.ArgumentError, match="TransformedTargetRegressor"):
        pm.sklearn.MixedModelRegressor("log(Reaction) ~ Days + (1 | Subject)").fit(X, y)


def test_wrong_data_are_refused(sleep: pd.DataFrame) -> None:
    X, y = sleep[["Days", "Subject"]], sleep["Reaction"]
    with pytest.raises(pm.ArgumentError, match="X has a column 'Reaction'"):
        regressor().fit(sleep, y)
    with pytest.raises(pm.ArgumentError, match="X has 180 rows, but y has 100 values"):
        regressor().fit(X, y[:100])
    with pytest.raises(pm.ArgumentError, match="y is NaN"):
        regressor().fit(X, y.where(y < 400.0))
