"""`simulate_crossed`: every level has rows, tails are long, and what was drawn is told."""

from __future__ import annotations

import numpy as np
import pytest

import pymackay as pm

simulate = pm.datasets.simulate_crossed


def test_every_level_has_a_row_and_the_seed_decides():
    data = simulate(500, 120, 80, seed=4)
    assert data["user"].nunique() == 120
    assert data["item"].nunique() == 80
    assert list(data.columns) == ["rating", "user", "item"]
    assert data.equals(simulate(500, 120, 80, seed=4))
    assert not data.equals(simulate(500, 120, 80, seed=5))


def test_tails_are_as_long_as_asked_for():
    even = simulate(50_000, 500, 200, user_tail=0.0, item_tail=0.0)
    long = simulate(50_000, 500, 200, user_tail=0.0, item_tail=1.2)
    assert even["item"].value_counts().max() < 2 * 50_000 / 200
    assert long["item"].value_counts().max() > 10 * 50_000 / 200


def test_assortative_users_rate_few_items():
    def items_per_user(assortativity: float) -> float:
        data = simulate(
            40_000, 100, 1000, user_tail=0.0, item_tail=0.0, assortativity=assortativity
        )
        return float(data.groupby("user")["item"].nunique().mean())

    assert items_per_user(1.0) < 0.2 * items_per_user(0.0)


def test_the_realised_variances_are_those_of_the_effects():
    """A fit of many rows must come near to what was drawn, not only to what was asked for."""
    data = simulate(40_000, 400, 100, user_sd=1.0, user_slope_sd=0.5, user_tail=0.0, item_tail=0.0)
    realised = data.attrs["realised"]
    assert data.attrs["truth"]["user.x"] == 0.25
    fit = pm.lmer("rating ~ x + (x | user) + (1 | item)", data)
    user = fit.varcorr["user"]
    # REML estimates a covariance about the mean of the levels, the fixed effect taking that up
    assert user.iloc[0, 0] == pytest.approx(realised["user.(Intercept)"], rel=0.05)
    assert user.iloc[1, 1] == pytest.approx(realised["user.x"], rel=0.05)
    assert fit.sigma**2 == pytest.approx(realised["Residual"], rel=0.01)
    assert set(realised) == {
        "Residual",
        "user.(Intercept)",
        "user.x.(Intercept)",
        "user.x",
        "item.(Intercept)",
    }
    assert np.isfinite(list(realised.values())).all()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"users": 1}, "users is 1"),
        ({"items": 501}, "at most n = 500"),
        ({"user_tail": -1.0}, "user_tail"),
        ({"item_sd": -1.0}, "0 or more"),
        ({"noise_sd": 0.0}, "noise_sd"),
        ({"correlation": 2.0}, "correlation"),
        ({"assortativity": 1.5}, "assortativity"),
        ({"neighbourhood": 0.0}, "neighbourhood"),
    ],
)
def test_what_cannot_be_is_refused(wrong, match):
    arguments = {"n": 500, "users": 50, "items": 50} | wrong
    with pytest.raises(pm.ArgumentError, match=match):
        simulate(**arguments)
