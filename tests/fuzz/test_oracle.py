"""The dense oracle itself: against closed forms, SciPy's normal density and what lme4 printed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from oracle import dense_criterion, dense_fit, random_design, theta_names
from scipy.stats import multivariate_normal
from small_models import crossed_model, sleepstudy_model, sleepstudy_theta

THETA = np.array([1.4, 0.3, 0.6, 0.8])

# lme4 1.1-31, R 4.2.2: getME(m, "theta") and REMLcrit(m) of lmer's default answer
LMER_THETA = [0.966741773967412343, 0.015169058896036137, 0.230909953207794533]
LMER_CRITERION = 1743.6282719599519


def test_reml_criterion_is_lme4s_digit_by_digit():
    assert dense_criterion(sleepstudy_model(), LMER_THETA, True) == pytest.approx(
        LMER_CRITERION, rel=1e-14
    )


def test_closed_form_optimum_gives_the_known_variances():
    dense = dense_fit(sleepstudy_model(), sleepstudy_theta(), True)
    expected = [[612.08993866, 9.60433332], [9.60433332, 35.0716605]]
    assert dense.varcorr["Subject"] == pytest.approx(np.array(expected), abs=5e-9)
    assert dense.sigma**2 == pytest.approx(654.94102707, abs=5e-9)
    assert dense.criterion < LMER_CRITERION


def test_ml_criterion_is_the_normal_density():
    model = crossed_model(weighted=True)
    dense = dense_fit(model, THETA, False)
    Z = random_design(model)
    L = np.zeros((Z.shape[1],) * 2)
    for j in range(9):
        L[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] = [[1.4, 0.0], [0.3, 0.6]]
    L[18:, 18:] = 0.8 * np.eye(6)
    cov = dense.sigma**2 * (np.diag(1.0 / model.weights) + Z @ L @ L.T @ Z.T)
    density = multivariate_normal(model.X @ dense.beta + model.offset, cov).logpdf(model.y)
    assert dense.criterion == pytest.approx(-2.0 * density, rel=1e-12)


def test_trace_of_the_hat_matrix_is_the_sum_of_the_slopes_of_fitted_on_y():
    model = crossed_model(weighted=True)
    base = dense_fit(model, THETA, True)
    slopes = 0.0
    for row in range(len(model.y)):
        y = model.y.copy()
        y[row] += 1.0
        moved = dense_fit(dataclasses.replace(model, y=y), THETA, True)
        slopes += moved.fitted[row] - base.fitted[row]
    assert base.trace_hat == pytest.approx(slopes, rel=1e-10)


def test_reml_and_ml_share_beta_and_b_at_one_theta():
    model = crossed_model()
    reml, ml = (dense_fit(model, THETA, flag) for flag in (True, False))
    assert reml.beta == pytest.approx(ml.beta, rel=1e-12)
    assert reml.b == pytest.approx(ml.b, rel=1e-12)
    assert reml.sigma**2 * (90 - 3) == pytest.approx(ml.sigma**2 * 90, rel=1e-12)


def test_prediction_error_is_never_smaller_than_the_conditional_variance():
    dense = dense_fit(crossed_model(), THETA, True)
    smallest = np.linalg.eigvalsh(dense.pev - dense.condvar).min()
    assert smallest > -1e-12
    assert np.linalg.matrix_rank(dense.pev - dense.condvar, tol=1e-8) == 3


def test_theta_is_named_as_getme_names_it():
    assert theta_names(sleepstudy_model()) == [
        "Subject.(Intercept)",
        "Subject.Days.(Intercept)",
        "Subject.Days",
    ]
