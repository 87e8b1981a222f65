"""Errors of predictions beside a residual structure, against the inverse of Henderson's equations.

The oracle inverts the matrix of the mixed-model equations, with R written out from the printed
parameters; the package never makes that matrix.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

FORMULA = "distance ~ age * Sex + (1 + age | Subject)"
RESIDUAL = "varident(Sex) + ar1(visit | Subject)"
NEW = pd.DataFrame(
    {
        "age": [9.0, 13.0, 8.0, 16.0],
        "Sex": ["Male", "Female", "Male", "Female"],
        "Subject": ["M01", "F02", "M16", "F11"],
    }
)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    teeth = teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))
    teeth["w"] = 1.0 + 0.1 * (np.arange(len(teeth)) % 5)
    return teeth[np.arange(len(teeth)) % 9 != 4].reset_index(drop=True)


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, data, residual=RESIDUAL, weights="w")


@pytest.fixture(scope="module")
def mmrm(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer("distance ~ Sex * factor(visit)", data, residual="us(visit | Subject)")


def design(rows: pd.DataFrame) -> np.ndarray:
    is_female = (rows["Sex"].astype(str) == "Female").to_numpy(dtype=float)
    age = rows["age"].to_numpy(dtype=float)
    return np.column_stack([np.ones(len(rows)), age, is_female, age * is_female])


def effects(rows: pd.DataFrame, subjects: list[str]) -> np.ndarray:
    which = np.array([subjects.index(s) for s in rows["Subject"].astype(str)])
    Z = np.zeros((len(rows), 2 * len(subjects)))
    Z[np.arange(len(rows)), 2 * which] = 1.0
    Z[np.arange(len(rows)), 2 * which + 1] = rows["age"]
    return Z


def joint_inverse(fit: pm.Fit, data: pd.DataFrame, subjects: list[str]) -> np.ndarray:
    """Return the covariance of (beta-hat, b-hat − b): the inverse of Henderson's matrix."""
    W = np.column_stack([design(data), effects(data, subjects)])
    sd = fit.residual_covariance.sd.loc[data["Sex"].astype(str)].to_numpy()
    sd = sd / np.sqrt(data["w"].to_numpy())
    rho = fit.residual_covariance.par["ar1.rho"]
    visit = data["visit"].to_numpy()
    same = data["Subject"].astype(str).to_numpy()
    R = rho ** np.abs(visit[:, None] - visit) * (same[:, None] == same) * np.outer(sd, sd)
    inverse = W.T @ np.linalg.solve(R, W)
    G = np.kron(np.eye(len(subjects)), fit.varcorr["Subject"].to_numpy())
    inverse[4:, 4:] += np.linalg.inv(G)
    return np.linalg.inv(inverse)


@pytest.mark.parametrize("which", ["own rows", "new rows"])
def test_standard_errors_are_those_of_the_mixed_model_equations(which, fit, data):
    subjects = sorted(set(data["Subject"].astype(str)))
    rows = data if which == "own rows" else NEW
    C = joint_inverse(fit, data, subjects)
    w = np.column_stack([design(rows), effects(rows, subjects)])
    expected = np.sqrt(np.einsum("na,ab,nb->n", w, C, w))
    ours = fit.predict(None if which == "own rows" else NEW, se_fit=True)
    np.testing.assert_allclose(ours["se"], expected, rtol=tol("oracle"))
    part = w.copy()
    part[:, :4] = 0.0
    alone = np.sqrt(np.einsum("na,ab,nb->n", part, C, part))
    given = None if which == "own rows" else NEW
    ours = fit.predict(given, se_fit=True, random_only=True)
    np.testing.assert_allclose(ours["se"], alone, rtol=tol("oracle"))


def test_prediction_intervals_add_the_variance_of_the_stratum(fit):
    weights = np.array([1.0, 2.0, 1.5, 1.0])
    table = fit.predict(NEW, se_fit=True, interval="prediction", weights=weights)
    sd = fit.residual_covariance.sd.loc[NEW["Sex"]].to_numpy()
    variance = table["se"].to_numpy() ** 2 + sd**2 / weights
    reach = 1.959963984540054 * np.sqrt(variance)
    np.testing.assert_allclose(table["upper"] - table["fit"], reach, rtol=tol("oracle"))
    np.testing.assert_allclose(table["fit"] - table["lower"], reach, rtol=tol("oracle"))


def test_a_new_level_adds_the_variance_of_its_effects(fit):
    new = NEW.head(1).assign(Subject="nobody")
    row = fit.predict(new, se_fit=True, allow_new_levels=True).iloc[0]
    population = fit.predict(new, se_fit=True, re_form="~0").iloc[0]
    z = np.array([1.0, 9.0])
    expected = population["se"] ** 2 + z @ fit.varcorr["Subject"].to_numpy() @ z
    np.testing.assert_allclose(row["se"] ** 2, expected, rtol=tol("oracle"))
    same = fit.predict(new, interval="prediction", re_form="~0", weights=[1.0])
    drawn = fit.predict(new, interval="prediction", allow_new_levels=True, weights=[1.0])
    pd.testing.assert_frame_equal(same, drawn, rtol=tol("oracle"))


def test_intervals_of_visits_have_the_variance_of_the_visit(mmrm):
    new = pd.DataFrame({"visit": [1, 4, 2], "Sex": ["Male", "Male", "Female"]})
    table = mmrm.predict(new, se_fit=True, interval="prediction")
    sd = mmrm.residual_covariance.sd.loc[["1", "4", "2"]].to_numpy()
    reach = 1.959963984540054 * np.sqrt(table["se"].to_numpy() ** 2 + sd**2)
    np.testing.assert_allclose(table["upper"] - table["fit"], reach, rtol=tol("oracle"))


def test_what_new_rows_lack_is_said(fit, data):
    with pytest.raises(pm.ArgumentError, match="pass weights"):
        fit.predict(NEW, interval="prediction")
    visits = pm.lmer("distance ~ age", data, residual="diag(visit | Subject)")
    new = pd.DataFrame({"age": [9.0, 10.0], "visit": [1, 5]})
    assert visits.predict(new, interval="confidence").notna().all(axis=None)
    with pytest.raises(pm.DataError, match="values of visit that the model was not fitted to: 5"):
        visits.predict(new, interval="prediction")
    with pytest.raises(pm.DataError, match="visit"):
        visits.predict(new[["age"]], interval="prediction")
    missing = visits.predict(new.assign(visit=[1.0, np.nan]), interval="prediction")
    assert missing["upper"].isna().tolist() == [False, True]
