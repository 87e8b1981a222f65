"""The pictures: what is drawn, read back from the artists."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.plots.canvas import fold, shorten
from pymackay.reference.modes import Lme4
from pymackay.reference.question import Question

SLEEP = "Reaction ~ Days + (Days | Subject)"
OKABE_ITO = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"}


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="module")
def fit(sleep):
    return pm.lmer(SLEEP, sleep)


@pytest.fixture(scope="module")
def dyestuff():
    return pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))


@pytest.fixture(scope="module")
def many():
    """Three hundred levels with names too long for any axis."""
    random = np.random.default_rng(1)
    names = [f"the hospital of a very long name, ward {k}" for k in range(300)]
    level = np.repeat(np.arange(300), 8)
    frame = pd.DataFrame({"g": np.array(names)[level], "y": random.normal(size=2400)})
    frame["y"] += random.normal(size=300)[level]
    return pm.lmer("y ~ 1 + (1 | g)", frame)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def recorded(sleep: pd.DataFrame):
    """Return lme4's recorded answer."""
    return Lme4("recorded").ask(Question(SLEEP, sleep, True, None, None), "sleepstudy")


def drawn(ax: Axes, label: str) -> np.ndarray:
    """Return the points of the line with this label, shape (points, 2)."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.column_stack(line.get_data())


def row_labels(ax: Axes) -> list[str]:
    return [tick.get_text() for tick in ax.get_yticklabels()]


class TestCaterpillar:
    def test_intervals_are_the_predictions_and_their_conditional_sds(self, fit):
        ax = pm.plots.caterpillar(fit, effect="Days", level=0.9)
        names = row_labels(ax)
        bars = {}
        for bar in [c for c in ax.collections if isinstance(c, LineCollection)]:
            for (low, row), (high, _) in bar.get_segments():
                bars[names[round(row)]] = (low, high)
        half = stats.norm.ppf(0.95) * np.sqrt(fit.condvar["Subject"][:, 1, 1])
        assert set(bars) == set(fit.ranef["Subject"].index)
        for name, b, h in zip(fit.ranef["Subject"].index, fit.ranef["Subject"]["Days"], half,
                              strict=True):  # fmt: skip
            assert bars[name] == pytest.approx((b - h, b + h), rel=tol("dense algebra"))

    def test_levels_are_sorted(self, fit):
        effects = fit.ranef["Subject"]["Days"]
        ax = pm.plots.caterpillar(fit, effect="Days")
        assert row_labels(ax) == list(effects.sort_values().index)

    def test_intervals_that_reach_zero_are_open(self, fit):
        ax = pm.plots.caterpillar(fit)
        half = 1.959963984540054 * np.sqrt(fit.condvar["Subject"][:, 0, 0])
        clear = np.abs(fit.ranef["Subject"]["(Intercept)"]) > half
        marks = {line.get_markerfacecolor(): len(line.get_xdata()) for line in ax.lines[1:]}
        assert marks["#0072B2"] == clear.sum()
        assert sum(marks.values()) == 18

    def test_many_levels_make_a_band_without_names(self, many):
        ax = pm.plots.caterpillar(many)
        assert row_labels(ax) == []
        assert ax.get_ylabel() == "300 levels of g, sorted"
        assert np.all(np.diff(drawn(ax, "prediction")[:, 0]) >= 0.0)

    def test_names_that_do_not_fit_are_not_drawn(self, fit):
        figure, ax = plt.subplots(figsize=(3.0, 1.2))
        pm.plots.caterpillar(fit, ax=ax)
        assert row_labels(ax) == []
        assert ax.get_ylabel() == "18 levels of Subject, sorted"
        assert figure.axes == [ax]

    def test_long_names_are_cut_in_the_middle(self, sleep):
        long = sleep.assign(
            Subject="the hospital of Saint Bartholomew, ward " + sleep["Subject"].astype(str)
        )
        ax = pm.plots.caterpillar(pm.lmer(SLEEP, long))
        assert all(len(name) <= 28 and "…" in name for name in row_labels(ax))
        assert len(set(row_labels(ax))) == 18

    def test_recorded_answers_of_lme4_are_drawn_as_well(self, sleep, fit):
        reference = recorded(sleep)
        assert row_labels(pm.plots.caterpillar(reference)) == row_labels(pm.plots.caterpillar(fit))


class TestShrinkage:
    def test_no_pooling_is_each_subjects_own_regression(self, fit, sleep):
        ax = pm.plots.shrinkage(fit)
        points = drawn(ax, "no pooling")
        for k, subject in enumerate(fit.ranef["Subject"].index):
            own = sleep[sleep["Subject"] == subject]
            slope, intercept = np.polyfit(own["Days"], own["Reaction"], 1)
            assert points[k] == pytest.approx([intercept, slope], rel=tol("oracle"))
        pooled = fit.ranef["Subject"].to_numpy() + fit.beta.to_numpy()
        np.testing.assert_allclose(drawn(ax, "partial pooling"), pooled, rtol=tol("dense algebra"))
        assert drawn(ax, "population")[0] == pytest.approx(fit.beta.to_numpy())

    def test_one_effect_is_drawn_in_sorted_rows(self, dyestuff):
        data = pm.load_data("Dyestuff")
        ax = pm.plots.shrinkage(dyestuff)
        means = data.groupby("Batch", observed=True)["Yield"].mean()
        own = dict(zip(row_labels(ax), drawn(ax, "no pooling")[:, 0], strict=True))
        for batch, mean in means.items():
            assert own[batch] == pytest.approx(mean, rel=tol("oracle"))
        assert np.all(np.diff(drawn(ax, "partial pooling")[:, 0]) >= 0.0)

    def test_weights_offset_and_other_factors_are_taken_into_account(self):
        data = pm.load_data("Penicillin").assign(w=lambda d: 1.0 + np.arange(len(d)) % 3, o=5.0)
        fit = pm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data, weights="w", offset="o")
        left = (
            data["diameter"]
            - 5.0
            - data["sample"].map(fit.ranef["sample"].iloc[:, 0]).astype(float)
        )
        own = (left * data["w"]).groupby(data["plate"], observed=True).sum()
        own = own / data.groupby("plate", observed=True)["w"].sum()
        ax = pm.plots.shrinkage(fit, "plate")
        got = dict(zip(row_labels(ax), drawn(ax, "no pooling")[:, 0], strict=True))
        for plate, value in own.items():
            assert got[plate] == pytest.approx(value, rel=tol("oracle"))

    def test_a_level_without_a_slope_of_its_own_is_left_out(self, sleep):
        cut = sleep[(sleep["Subject"] != "308") | (sleep["Days"] == 0)]
        ax = pm.plots.shrinkage(pm.lmer(SLEEP, cut))
        assert np.isnan(drawn(ax, "no pooling")).any(axis=1).sum() == 1
        assert np.isfinite(drawn(ax, "partial pooling")).all()

    def test_rows_that_were_not_kept_cannot_be_drawn(self, sleep):
        fit = pm.lmer(SLEEP, iter([sleep.iloc[:90], sleep.iloc[90:]]))
        with pytest.raises(pm.PymackayError, match="not kept"):
            pm.plots.shrinkage(fit)
        with pytest.raises(pm.PymackayError, match="not kept"):
            pm.plots.residuals(fit)

    def test_many_levels_are_points(self, many):
        ax = pm.plots.shrinkage(many)
        assert len(drawn(ax, "a level")) == 300
        assert ax.get_ylabel() == "(Intercept) by g: partial pooling"

    def test_a_fit_of_another_engine_gets_the_cure(self, sleep):
        with pytest.raises(pm.PymackayError, match=r"pymackay\.lmer"):
            pm.plots.shrinkage(recorded(sleep))


class TestResiduals:
    def test_points_are_scaled_residuals(self, fit):
        points = np.column_stack(pm.plots.residuals(fit).lines[0].get_data())
        expected = np.column_stack([fit.fitted, fit.residuals / fit.sigma])
        np.testing.assert_allclose(points, expected, rtol=tol("dense algebra"))

    def test_weights_scale_them(self, sleep):
        weighted = pm.lmer(SLEEP, sleep.assign(w=1.0 + sleep["Days"]), weights="w")
        points = pm.plots.residuals(weighted).lines[0].get_ydata()
        expected = weighted.residuals / weighted.sigma * np.sqrt(1.0 + sleep["Days"])
        np.testing.assert_allclose(points, expected, rtol=tol("dense algebra"))

    def test_many_rows_are_counted_in_hexagons(self, many):
        ax = pm.plots.residuals(many)
        assert ax.get_xlabel() == "fitted value of 2,400 rows"
        assert (10.0 ** np.log10(ax.collections[0].get_array())).sum() == pytest.approx(2400)

    def test_quantiles_are_rs(self, fit):
        normal, scaled = pm.plots.qq(fit).lines[0].get_data()
        assert normal[0] == pytest.approx(stats.norm.ppf(0.5 / 180), rel=tol("dense algebra"))
        np.testing.assert_allclose(scaled, np.sort(fit.residuals / fit.sigma))

    def test_of_many_rows_the_ends_are_all_drawn(self, many):
        scaled = pm.plots.qq(many).lines[0].get_ydata()
        expected = np.sort(many.residuals / many.sigma)
        assert len(scaled) <= 2000
        np.testing.assert_allclose(scaled[:100], expected[:100])
        np.testing.assert_allclose(scaled[-100:], expected[-100:])


class TestZeta:
    def test_the_interval_is_that_of_confint(self, dyestuff):
        found = pm.profile(dyestuff, ".sigma")
        ax = pm.plots.zeta(found)
        ends = [c.get_segments()[0][0][0] for c in ax.collections[:2]]
        expected = pm.confint(dyestuff, parm=".sigma").to_numpy()[0]
        length = expected[1] - expected[0]
        assert np.abs(ends - expected).max() < tol("profile spline") * length * 5

    def test_points_are_the_profiles(self, dyestuff):
        found = pm.profile(dyestuff)
        ax = pm.plots.zeta(found, "sd_(Intercept)|Batch")
        own = found.frame[found.frame["parameter"] == ".sig01"]
        points = np.column_stack(ax.lines[2].get_data())
        np.testing.assert_array_equal(points, own[["value", "zeta"]].to_numpy(float))

    def test_a_bound_ends_the_interval(self, dyestuff):
        ax = pm.plots.zeta(pm.profile(dyestuff, ".sig01"), level=0.999)
        assert ax.collections[0].get_segments()[0][0][0] == 0.0


class TestVarianceGap:
    def test_bars_are_the_shares(self, fit):
        gap = pm.variance_gap(fit)
        widths = [bar.get_width() for bar in pm.plots.variance_gap(fit).patches]
        np.testing.assert_allclose(widths[:2], 100 * gap["prediction_variance"] / gap["variance"])
        np.testing.assert_allclose(widths[2:], 100 * gap["hidden_share"])

    def test_a_table_does_as_well(self, fit):
        one, two = (pm.plots.variance_gap(x) for x in (fit, pm.variance_gap(fit)))
        assert [b.get_width() for b in one.patches] == [b.get_width() for b in two.patches]

    def test_a_variance_of_zero_is_said(self):
        zero = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
        texts = [text.get_text() for text in pm.plots.variance_gap(zero).texts]
        assert texts == ["the variance is zero: all is hidden"]


class TestLoop:
    def test_the_trace_is_drawn(self, sleep):
        loop = pm.mackay(SLEEP, sleep, update="gamma")
        ax = pm.plots.trace(loop)
        np.testing.assert_array_equal(drawn(ax, "σ²")[1:, 1], loop.trace["sigma_var"])
        line = pm.plots.trace(loop, "criterion").lines[0].get_ydata()
        criterion = pd.Series([loop.trace.attrs["start"]["criterion"], *loop.trace["criterion"]])
        above = criterion - criterion.min()
        np.testing.assert_array_equal(line, above.where(above > 0.0))

    def test_lines_are_told_apart_without_colour(self, sleep):
        ax = pm.plots.trace(pm.mackay(SLEEP, sleep, update="gamma"))
        looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
        assert len(looks) == len(ax.lines) == 3

    def test_directions_stand_at_their_s(self, fit):
        ax = pm.plots.collapse(fit)
        forecast = pm.forecast_collapse(fit)
        alive, dead = drawn(ax, "survives"), drawn(ax, "dies")
        assert [alive[0, 0], dead[0, 0]] == list(forecast["s"])
        assert drawn(ax, "threshold, s = 4")[0, 0] == 4.0
        assert row_labels(ax) == list(forecast["direction"])

    def test_a_fit_without_a_trace(self, fit):
        with pytest.raises(pm.ArgumentError, match="only the loop leaves one"):
            pm.plots.trace(fit)


def test_distances_are_the_worst_of_each_quantity(fit, sleep):
    table = pm.compare(fit, recorded(sleep)).table
    ax = pm.plots.distances(table)
    shown = dict(zip(row_labels(ax), drawn(ax, "agrees")[:, 0], strict=True))
    beta = table[(table["stage"] == "optimum") & (table["quantity"] == "beta")]
    expected = max((beta["distance"] / beta["tolerance"]).max(), 1e-12)
    assert shown["beta"] == pytest.approx(expected)
    assert {"criterion", "σ", "b Subject"} <= set(shown)


def test_infinite_distances_are_drawn_at_the_edge(fit):
    table = pm.compare(fit, fit).table
    table.loc[table["quantity"] == "sigma", ["distance", "ok"]] = [np.inf, False]
    ax = pm.plots.distances(table)
    assert drawn(ax, "disagrees")[0, 0] == 1e12
    assert ax.get_xlim()[1] > 1e12


def test_every_picture_takes_and_returns_axes(fit, sleep, dyestuff):
    loop = pm.mackay(SLEEP, sleep, update="gamma")
    table = pm.compare(fit, fit).table
    first = {
        "caterpillar": fit, "collapse": fit, "distances": table, "qq": fit, "residuals": fit,
        "influence": fit.influence(), "simulated": pm.simulated_residuals(fit),
        "coefficients": fit, "effect": fit, "means": pm.emmeans(fit, "Days"),
        "shrinkage": fit, "trace": loop, "variance_gap": fit,
        "zeta": pm.profile(dyestuff, ".sigma"),
    }  # fmt: skip
    panels = {"caterpillars", "profiles", "profile_pairs"}  # return figures
    assert set(first) | panels == set(pm.plots.__all__)
    for name, argument in first.items():
        _, ax = plt.subplots()
        arguments = (argument, "Days") if name == "effect" else (argument,)
        assert getattr(pm.plots, name)(*arguments, ax=ax) is ax
        with pytest.raises(pm.ArgumentError, match="ax: expected a matplotlib Axes"):
            getattr(pm.plots, name)(*arguments, ax="here")


def test_colours_are_okabes_and_itos():
    from pymackay.plots import canvas

    assert {colour.lower() for colour in canvas.COLOURS} <= OKABE_ITO
    assert {canvas.BLUE.lower(), canvas.VERMILION.lower(), canvas.GREEN.lower()} <= OKABE_ITO


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: pm.plots.caterpillar(fit, "Batch"), "group: the fit has Subject"),
        (lambda fit: pm.plots.caterpillar(fit, effect="x"), "effect: Subject has .*Days"),
        (lambda fit: pm.plots.caterpillar(fit, level=95), "level must be"),
        (lambda fit: pm.plots.caterpillar("fit"), "needs a Fit"),
        (lambda fit: pm.plots.shrinkage(fit, effects=["Days"] * 3), "effects: expected one or two"),
        (lambda fit: pm.plots.residuals(None), "needs a Fit"),
        (lambda fit: pm.plots.zeta(fit), "profile: expected what pymackay.profile"),
        (lambda fit: pm.plots.variance_gap(pd.DataFrame()), "the table lacks"),
        (lambda fit: pm.plots.trace(fit, "x"), "fit: expected a fit of pymackay.mackay"),
        (lambda fit: pm.plots.collapse(pd.DataFrame()), "fit: expected a REML fit"),
        (lambda fit: pm.plots.distances(pd.DataFrame()), "table: expected a comparison's table"),
    ],
)
def test_wrong_arguments_are_the_users_errors(fit, call, message):
    with pytest.raises(pm.ArgumentError, match=message):
        call(fit)


def test_without_matplotlib_there_is_a_cure():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import pymackay as pm\n"
        "try:\n    pm.plots.trace(__import__('pandas').DataFrame({'sigma_var': [1.0]}))\n"
        "except pm.PymackayError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install matplotlib" in said.stdout


def test_the_package_stays_light():
    code = (
        "import sys, pymackay as pm; assert 'matplotlib' not in sys.modules\n"
        "pm.plots.caterpillar\n"
        "assert 'matplotlib' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shorten_keeps_both_ends():
    assert shorten("abc") == "abc"
    assert shorten("the hospital of Saint Bartholomew, ward 308", 20) == "the hospi…, ward 308"
    assert len(shorten("x" * 90)) == 28


def test_fold_breaks_between_words():
    assert fold("0.18 (Intercept) + Days", 12) == "0.18\n(Intercept)\n+ Days"
    assert fold("one\ntwo", 12) == "one\ntwo"


class TestMeans:
    def test_points_and_intervals_are_those_of_the_table(self):
        fit = pm.lmer("angle ~ recipe + temp + (1 | replicate)", pm.load_data("cake"))
        pairs = pm.emmeans(fit, "recipe").pairs()
        ax = pairs.plot(level=0.9)
        table = pairs.confint(0.9).iloc[::-1]
        assert row_labels(ax) == table["contrast"].tolist()
        (bars,) = [c for c in ax.collections if isinstance(c, LineCollection)]
        ends = {round(low[1]): (low[0], high[0]) for low, high in bars.get_segments()}
        for row, (low, high) in enumerate(zip(table["lower.CL"], table["upper.CL"], strict=True)):
            assert ends[row] == pytest.approx((low, high), rel=tol("dense algebra"))

    def test_means_over_a_number_are_lines(self):
        fit = pm.lmer("angle ~ recipe * temp + (1 | replicate)", pm.load_data("cake"))
        means = pm.emmeans(fit, ["temp", "recipe"], at={"temp": [175, 200, 225]})
        ax = pm.plots.means(means)
        for recipe in "ABC":
            wanted = means.table.loc[means.table["recipe"] == recipe, ["temp", "emmean"]]
            np.testing.assert_allclose(drawn(ax, recipe), wanted, rtol=tol("dense algebra"))

    def test_something_else_is_refused(self, fit):
        with pytest.raises(pm.ArgumentError, match=r"expected what pymackay.emmeans returns"):
            pm.plots.means(fit)
