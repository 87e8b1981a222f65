"""Pictures of coefficients, effects, all random effects and whole profiles: what is drawn."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.plots.names import distinct, shorten
from pymackay.plots.profiles.contours import Trace, contour

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def profile(fit):
    return fit.profile()


@pytest.fixture(scope="module")
def cakes():
    return pm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", pm.load_data("cake"))


def row_labels(ax) -> list[str]:
    return [tick.get_text() for tick in ax.get_yticklabels()]


def intervals(container) -> np.ndarray:
    """Return the ends of an error bar's intervals, shape (rows, 2)."""
    (bars,) = [c for c in container.get_children() if isinstance(c, LineCollection)]
    return np.array([segment[:, 0] for segment in bars.get_segments()])


class TestNames:
    def test_short_names_stay(self):
        assert distinct(["a", "b", "a"]) == ["a", "b", "a"]

    @pytest.mark.parametrize(
        "names",
        [
            [f"the hospital of Saint Bartholomew, ward {k}" for k in range(30)],
            [f"{k:03d} is the number of a ward in the hospital" for k in range(30)],
            [f"the ward {k} of the hospital of Saint Bartholomew" for k in range(30)],
            ["a" * 20 + c + "b" * 40 + d + "c" * 20 for c in "xy" for d in "uvw"],
        ],
    )
    @pytest.mark.parametrize("longest", [8, 12, 28])
    def test_different_names_get_different_labels(self, names, longest):
        labels = distinct(names, longest)
        assert len(set(labels)) == len(set(names))
        assert max(map(len, labels)) <= longest

    def test_the_part_that_differs_is_shown(self):
        names = [f"the ward {k} of the hospital of Saint Bartholomew" for k in (17, 18)]
        assert distinct(names, 14) == ["… 17 of the h…", "… 18 of the h…"]

    def test_dollars_do_not_begin_formulas(self):
        assert distinct(["a$b", "c"]) == [r"a\$b", "c"]
        assert shorten("cost in $") == r"cost in \$"


class TestCoefficients:
    def test_intervals_are_those_of_the_t_tests(self, cakes):
        ax = pm.plots.coefficients(cakes, level=0.9)
        names = row_labels(ax)[::-1]
        assert names == [name for name in cakes.beta.index if name != "(Intercept)"]
        table = pd.DataFrame(cakes.coefficients()).loc[names]
        half = stats.t.ppf(0.95, table["df"]) * table["Std. Error"]
        expected = np.column_stack([table["Estimate"] - half, table["Estimate"] + half])
        np.testing.assert_allclose(
            intervals(ax.containers[0]), expected, rtol=tol("dense algebra")
        )  # fmt: skip

    def test_fits_side_by_side_share_rows_by_name(self, sleep, fit):
        squared = pm.lmer("Reaction ~ Days + I(Days^2) + (Days | Subject)", sleep)
        ax = pm.plots.coefficients([fit, squared], names=["line", "curve"], intercept=True)
        assert row_labels(ax)[::-1] == list(squared.beta.index)
        first, second = (c.lines[0].get_data() for c in ax.containers)
        np.testing.assert_allclose(first[0], fit.beta)
        np.testing.assert_allclose(second[0], squared.beta)
        assert np.round(first[1]).tolist() == [2, 1]
        assert (first[1] > second[1][:2]).all()  # not on top of each other

    def test_generalised_models_have_normal_intervals(self):
        data = pm.load_data("cbpp")
        fit = pm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, "binomial")
        ends = intervals(pm.plots.coefficients(fit).containers[0])
        half = stats.norm.ppf(0.975) * fit.std_error[1:]
        expected = np.column_stack([fit.beta[1:] - half, fit.beta[1:] + half])
        np.testing.assert_allclose(ends, expected, rtol=tol("dense algebra"))

    def test_an_intercept_alone_is_drawn(self):
        fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
        assert row_labels(pm.plots.coefficients(fit)) == ["(Intercept)"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([],), "fits is empty"),
            ((["fit"],), "needs a Fit"),
        ],
    )
    def test_wrong_fits(self, arguments, message):
        with pytest.raises(pm.ArgumentError, match=message):
            pm.plots.coefficients(*arguments)

    def test_names_are_as_many_as_fits(self, fit):
        with pytest.raises(pm.ArgumentError, match="names must be 2 different names"):
            pm.plots.coefficients([fit, fit], names=["a", "a"])


class TestEffect:
    def test_the_band_is_that_of_emmeans(self, cakes):
        ax = pm.plots.effect(cakes, "temp", by="recipe", level=0.9)
        at = {"temp": ax.lines[0].get_xdata().tolist()}
        table = pd.DataFrame(pm.emmeans(cakes, ["temp", "recipe"], at=at).confint(0.9))
        assert (at["temp"][0], at["temp"][-1]) == (175.0, 225.0)
        for line, band, recipe in zip(ax.lines, ax.collections, "ABC", strict=True):
            part = table[table["recipe"] == recipe]
            np.testing.assert_allclose(line.get_ydata(), part["emmean"])
            ends = band.get_paths()[0].get_extents()
            assert ends.y0 == pytest.approx(part["lower.CL"].min())
            assert ends.y1 == pytest.approx(part["upper.CL"].max())

    def test_lines_differ_without_colour(self, cakes):
        ax = pm.plots.effect(cakes, "temp", by="recipe")
        assert len({line.get_linestyle() for line in ax.lines}) == 3

    def test_a_factor_has_points(self, cakes):
        assert row_labels(pm.plots.effect(cakes, "recipe"))[::-1] == ["A", "B", "C"]

    def test_an_unknown_variable(self, cakes):
        with pytest.raises(pm.ArgumentError, match="specs or by"):
            pm.plots.effect(cakes, "replicate")


class TestCaterpillars:
    def test_every_effect_of_every_group_has_a_panel(self):
        rng = np.random.default_rng(1)
        data = pd.DataFrame({"g": np.arange(240) % 12, "h": np.arange(240) // 30})
        data["x"], data["y"] = rng.normal(size=(2, 240))
        data["y"] += (
            rng.normal(size=12)[data["g"]] * (1 + data["x"]) + rng.normal(size=8)[data["h"]]
        )
        fit = pm.lmer("y ~ x + (x | g) + (1 | h)", data)
        axes = pm.plots.caterpillars(fit).axes
        labels = ["(Intercept) by g", "x by g", "(Intercept) by h"]
        assert [ax.get_xlabel() for ax in axes] == labels
        order = fit.ranef["g"]["(Intercept)"].sort_values().index
        assert row_labels(axes[0]) == list(order)
        drawn = np.concatenate([np.column_stack(line.get_data()) for line in axes[1].lines[1:]])
        drawn = drawn[np.argsort(drawn[:, 1])]
        np.testing.assert_allclose(drawn[:, 0], fit.ranef["g"]["x"][order])
        assert [ax.get_legend() is None for ax in axes] == [False, True, True]
        assert len(pm.plots.caterpillars(fit, "h").axes) == 1

    def test_the_title_is_the_formula(self, fit, sleep):
        assert pm.plots.caterpillars(fit).get_suptitle() == SLEEP
        assert pm.plots.qq(fit).figure.get_suptitle() == SLEEP
        _, ax = plt.subplots()
        assert pm.plots.qq(fit, ax=ax).figure.get_suptitle() == ""


class TestProfiles:
    def test_each_parameter_has_its_interval(self, profile, fit):
        figure = profile.plot()
        expected = fit.confint()
        assert [ax.get_xlabel() for ax in figure.axes] == list(profile.labels.values())
        for ax, name in zip(figure.axes, profile.labels, strict=True):
            ends = ax.collections[-1].get_segments()[0][:, 0]
            length = expected.loc[name].iloc[1] - expected.loc[name].iloc[0]
            assert np.abs(ends - expected.loc[name]).max() < tol("profile spline") * length * 5

    def test_pairs_have_regions_on_both_sides(self, profile):
        axes = pm.plots.profile_pairs(profile, levels=[0.5, 0.9]).axes
        assert len(axes) == 36
        texts = [ax.texts[0].get_text().replace("\n| ", "|") for ax in axes[::7]]
        assert texts == list(profile.labels.values())
        radius = np.sqrt(stats.chi2.ppf(0.9, 2))
        for i in range(6):
            for j in range(i + 1, 6):
                for values in axes[6 * i + j].lines[1].get_data():
                    assert np.abs(values).max() == pytest.approx(radius, rel=0.02)

    def test_a_region_is_where_the_likelihood_falls_by_its_quantile(self, profile, sleep):
        """Both coefficients held at points of the region; the rest at its best, by other fits."""
        pair = ("(Intercept)", "Days")
        radius = float(np.sqrt(stats.chi2.ppf(0.8, 2)))
        traces = Trace.of(profile, *pair), Trace.of(profile, *pair[::-1])
        zetas = contour(*traces, radius)[[10, 60, 110, 160]]
        for zeta in zetas:
            points = [profile.frame[profile.frame["parameter"] == name] for name in pair]
            held = [np.interp(z, p["zeta"], p["value"]) for z, p in zip(zeta, points, strict=True)]
            data = sleep.assign(known=held[0] + held[1] * sleep["Days"])
            at = pm.lmer("Reaction ~ 0 + (Days | Subject)", data, offset="known", reml=False)
            assert at.criterion - profile.fit.criterion == pytest.approx(radius**2, rel=0.03)

    def test_one_parameter_has_no_pairs(self, fit):
        with pytest.raises(pm.ArgumentError, match="two parameters or more"):
            pm.plots.profile_pairs(fit.profile(".sigma"))

    def test_something_else_is_refused(self, fit):
        for draw in (pm.plots.profiles, pm.plots.profile_pairs):
            with pytest.raises(pm.ArgumentError, match=r"expected what pymackay\.profile"):
                draw(fit)


class TestTrace:
    def test_the_starting_point_is_iteration_zero(self, sleep):
        start = {"Subject": [[410.0, 0.0], [0.0, 22.0]]}
        loop = pm.mackay(SLEEP, sleep, update="diagonal", start=start, iterations=5)
        ax = pm.plots.trace(loop)
        x, y = ax.lines[0].get_data()
        assert list(x) == [0, 1, 2, 3, 4, 5]
        assert y[0] == pytest.approx(410.0)
        assert y[1:].tolist() == loop.trace["Subject.(Intercept).var"].tolist()
        assert ax.get_xlabel() == "iteration (0: starting point)"

    def test_a_loop_of_one_round_has_two_points_inside(self, sleep):
        loop = pm.mackay(SLEEP, sleep)
        assert len(loop.trace) == 1
        ax = pm.plots.trace(loop)
        assert list(ax.lines[0].get_xdata()) == [0, 1]
        assert ax.get_xlim() == (-0.5, 1.5)

    def test_a_model_without_a_residual_has_no_line_for_it(self):
        ticks = pm.load_data("grouseticks")
        loop = pm.mackay("TICKS ~ YEAR + (1 | BROOD)", ticks, family="poisson")
        ax = pm.plots.trace(loop)
        assert [line.get_label() for line in ax.lines] == ["BROOD.(Intercept)"]
        low, high = ax.get_ylim()
        assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 3

    def test_a_table_without_a_start_begins_at_one(self, sleep):
        table = pm.mackay(SLEEP, sleep).trace.copy()
        table.attrs = {}
        assert list(pm.plots.trace(table).lines[0].get_xdata()) == [1]


def test_the_levels_that_shrink_most_have_labels(fit, sleep):
    ax = pm.plots.shrinkage(fit)
    separate = pd.DataFrame(
        [np.polyfit(d["Days"], d["Reaction"], 1)[::-1] for _, d in sleep.groupby("Subject")],
        index=fit.ranef["Subject"].index, columns=["(Intercept)", "Days"],
    )  # fmt: skip
    moved = (separate - fit.ranef["Subject"] - fit.beta) / separate.std(ddof=0)
    far = (moved**2).sum(axis=1).nlargest(5).index
    assert {text.get_text() for text in ax.texts} == set(far)


def test_the_band_of_residual_quantiles_is_of_normal_order_statistics(fit):
    ax = pm.plots.qq(fit)
    low, high = np.quantile(fit.residuals / fit.sigma, [0.25, 0.75])
    slope = (high - low) / (2.0 * stats.norm.ppf(0.75))
    ends = ax.collections[0].get_paths()[0].get_extents()
    least = stats.norm.ppf(stats.beta.ppf([0.025, 0.975], 1, 180))
    assert ends.y0 == pytest.approx(0.5 * (low + high) + slope * least[0])
    assert ends.y1 == pytest.approx(0.5 * (low + high) - slope * least[0])


def test_hexagons_have_a_colour_bar():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.arange(2400) % 30, "y": rng.normal(size=2400)})
    figure = pm.plots.residuals(pm.lmer("y ~ 1 + (1 | g)", data)).figure
    assert [ax.get_ylabel() for ax in figure.axes] == ["residual / σ", "rows in a hexagon"]


def test_legends_of_short_labels_are_one_line(cakes):
    ax = pm.plots.effect(cakes, "temp", by="recipe")
    assert ax.get_legend()._ncols == 3
