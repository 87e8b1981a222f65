"""Standard deviations, correlations and their labels, also where two terms share an effect."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.covariance.layout import TermLayout, theta_names
from pymackay.covariance.parameters import parameter_labels
from pymackay.covariance.roots import metric_roots, root_of, symmetric_power
from pymackay.covariance.varcorr import VarCorr, lower_triangle
from pymackay.results import TermSummary

SHARED = "y ~ dose + base + (dose | ward) + (base | ward)"
LABELS = [
    "sd_(Intercept)|ward",
    "cor_dose.(Intercept)|ward",
    "sd_dose|ward",
    "sd_(Intercept)|ward.1",
    "cor_base.(Intercept)|ward.1",
    "sd_base|ward.1",
]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    random = np.random.default_rng(5)
    ward = np.repeat(np.arange(12), 12)
    dose, base = random.normal(size=(2, len(ward)))
    slopes = random.normal(size=(3, 12))[:, ward]
    y = 5.0 + slopes[0] + (0.6 + 0.5 * slopes[1]) * dose + 0.5 * slopes[2] * base
    y += random.normal(size=len(ward))
    names = np.array([f"w{k:02d}" for k in range(12)])[ward]
    return pd.DataFrame({"ward": names, "dose": dose, "base": base, "y": y})


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(SHARED, data)


def estimates(fit: pm.Fit) -> list[float]:
    """Return standard deviations and correlations in the order of the labels, by `fit.varcorr`."""
    values = []
    for table in fit.varcorr.values():
        V = table.to_numpy()
        sd = np.sqrt(np.diag(V))
        values += [sd[0], V[1, 0] / (sd[0] * sd[1]), sd[1]]
    return values


def test_one_fit_and_many_have_the_same_numbers() -> None:
    root = np.random.default_rng(1).normal(size=(5, 3, 3))
    root[2, 1] = 0.0  # an effect that does not vary
    covariances = root @ root.transpose(0, 2, 1)
    many = VarCorr(("a", "b", "c"), covariances)
    for k, covariance in enumerate(covariances):
        one = VarCorr(("a", "b", "c"), covariance)
        np.testing.assert_array_equal(one.sdcor, many.sdcor[k])
        np.testing.assert_array_equal(one.sd**2 > 0.0, np.diag(covariance) > 0.0)
        if k != 2:
            np.testing.assert_allclose(one.correlation, pd_correlation(covariance), rtol=1e-14)
    assert np.isnan(many.correlation[2, 1]).all() and np.isnan(many.correlation[2, :, 1]).all()
    assert many.correlation[2, 2, 0] == pytest.approx(pd_correlation(covariances[2])[2, 0])


def pd_correlation(covariance: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))


def test_the_order_is_that_of_theta() -> None:
    layout = TermLayout.of(4, 0)
    assert lower_triangle(4) == list(zip(layout.rows, layout.columns, strict=True))
    assert theta_names([TermSummary("g", "g", ("a", "b"))]) == ["g.a", "g.b.a", "g.b"]


@pytest.mark.parametrize(
    ("terms", "labels"),
    [
        ([("g", "g", "a")], ["sd_a|g"]),
        ([("g", "g", "a"), ("g.1", "g", "b")], ["sd_a|g", "sd_b|g"]),
        ([("g", "g", "a"), ("h", "h", "a")], ["sd_a|g", "sd_a|h"]),
        (
            [("g", "g", "a"), ("g.1", "g", "a"), ("g.2", "g", "ab")],
            ["sd_a|g", "sd_a|g.1", "sd_a|g.2", "cor_b.a|g.2", "sd_b|g.2"],
        ),
    ],
)
def test_labels_are_rs_where_they_are_unique(terms, labels) -> None:
    summaries = [TermSummary(name, group, tuple(effects)) for name, group, effects in terms]
    assert parameter_labels(summaries) == labels


def test_roots() -> None:
    random = np.random.default_rng(2)
    thin = random.normal(size=(3, 2))
    matrix = thin @ thin.T  # of rank two
    root = root_of(matrix)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-14)
    half, inverse, null = metric_roots(matrix)
    np.testing.assert_allclose(half @ half, matrix, atol=1e-14)
    np.testing.assert_allclose(half @ inverse + null, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(symmetric_power(matrix, 0.5), half, atol=1e-7)


class TestTwoTermsThatShareAnEffect:
    def test_the_fit_says_so(self, fit, data):
        (message,) = fit.messages
        assert message.startswith("two terms of ward have the effect (Intercept) in common")
        apart = pm.lmer("y ~ dose + base + (dose | ward) + (0 + base | ward)", data)
        assert apart.messages == ()

    def test_a_bootstrap_has_one_column_a_parameter(self, fit):
        result = fit.bootstrap(12, seed=1)
        names = [*LABELS, "sigma", *fit.beta.index]
        assert result.estimate.index.tolist() == names
        assert result.replicates.columns.tolist() == names
        assert result.bias.index.tolist() == result.std_error.index.tolist() == names
        values = [*estimates(fit), fit.sigma, *fit.beta]
        np.testing.assert_allclose(result.estimate, values, rtol=1e-12)
        np.testing.assert_allclose(
            result.bias, result.replicates.to_numpy().mean(axis=0) - values, rtol=1e-9, atol=1e-12
        )
        assert "sd_(Intercept)|ward.1" in repr(result)

    def test_confidence_intervals_have_one_row_a_parameter(self, fit):
        ends = fit.confint("boot", nsim=12, seed=1, long_names=True)
        assert ends.index.tolist() == [*LABELS, "sigma", *fit.beta.index]
        replicates = fit.bootstrap(12, seed=1).replicates
        for name in ends.index:  # so few refits reach no further than their extremes
            assert ends.loc[name].tolist() == [replicates[name].min(), replicates[name].max()]
        one = fit.confint("wald", parm="sd_base|ward.1", long_names=True)
        assert one.index.tolist() == ["sd_base|ward.1"]

    def test_the_report_shows_each_effect(self, fit, tmp_path):
        pm.compare(fit, fit).to_html(tmp_path / "report.html")
        page = unescape((tmp_path / "report.html").read_text("utf-8"))
        spoken = re.findall(r'aria-label="Predicted effects of ([^"]*)"', page)
        expected = ["ward, (Intercept)", "ward, dose", "ward.1, (Intercept)", "ward.1, base"]
        table = fit.ranef["ward"]
        for k, (text, name) in enumerate(zip(spoken, expected, strict=True)):
            values = table.iloc[:, k]
            assert text.startswith(f"{name}, with")
            assert f"from {values.min():.4g} ({values.idxmin()})" in text

    def test_a_picture_by_position(self, fit):
        ax = pm.plots.caterpillar(fit, "ward", 2)
        assert ax.get_yticklabels()[0].get_text() == fit.ranef["ward"].iloc[:, 2].idxmin()
        with pytest.raises(pm.ArgumentError, match="effect: ward has"):
            pm.plots.caterpillar(fit, "ward", 4)


def test_a_column_called_as_a_parameter(data: pd.DataFrame) -> None:
    fit = pm.lmer("y ~ sigma + (1 | ward)", data.rename(columns={"dose": "sigma"}))
    result = fit.bootstrap(12, seed=1)
    assert result.estimate.index.tolist() == [
        "sd_(Intercept)|ward",
        "sigma",
        "(Intercept)",
        "sigma",
    ]
    assert result.estimate.iloc[[1, 3]].tolist() == [fit.sigma, fit.beta["sigma"]]
    means = result.replicates.to_numpy().mean(axis=0)
    np.testing.assert_allclose(result.bias, means - result.estimate.to_numpy(), rtol=1e-9)
