"""`summary`: R's layout, and the exports."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table

import pymackay as pm
from pymackay.infer.tables.r_print import (
    abbreviate,
    format_coefficients,
    format_numbers,
    format_p_values,
    significance,
)
from pymackay.results import GroupTables

SLEEP_THETA = [0.966741773967412343, 0.015169058896036137, 0.230909953207794533]

# R 4.2.2, lme4 1.1-31: print(summary(lmer(...))), and lmerTest's table below
PRINTED = """\
Linear mixed model fit by REML ['lmerMod']
Formula: Reaction ~ Days + (Days | Subject)

REML criterion at convergence: 1743.6

Scaled residuals:
    Min      1Q  Median      3Q     Max
-3.9536 -0.4634  0.0231  0.4634  5.1793

Random effects:
 Groups   Name        Variance Std.Dev. Corr
 Subject  (Intercept) 612.10   24.741
          Days         35.07    5.922   0.07
 Residual             654.94   25.592
Number of obs: 180, groups:  Subject, 18

Fixed effects:
            Estimate Std. Error t value
(Intercept)  251.405      6.825  36.838
Days          10.467      1.546   6.771

Correlation of Fixed Effects:
     (Intr)
Days -0.138"""

TESTED = """\
            Estimate Std. Error      df t value Pr(>|t|)
(Intercept)  251.405      6.825  17.000  36.838  < 2e-16 ***
Days          10.467      1.546  17.000   6.771 3.26e-06 ***
---"""

NAMES = [
    *("(Intercept)", "Days", "recipeB", "recipeC", "temperature", "temp.L"),
    *("recipeB:temperature", "recipeC:temperature", "poly(x, 2)1", "poly(x, 2)2", "SexFemale"),
    *("age:SexFemale", "I(Days^2)", "VarietyGolden Rain", "VarietyMarvellous"),
    *("ns(x, df = 3)1", "ns(x, df = 3)2"),
]
SHORT = [
    *("(Intr)", "Days", "recipB", "recipC", "tmprtr", "temp.L"),
    *("rcpB:t", "rcpC:t", "p(,2)1", "p(,2)2", "SexFml"),
    *("ag:SxF", "I(D^2)", "VrtyGR", "VrtyMr"),
    *("n(,d=3)1", "n(,d=3)2"),
]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.split("\n")]


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    formula = "Reaction ~ Days + (Days | Subject)"
    return pm.evaluate(formula, pm.load_data("sleepstudy"), SLEEP_THETA)


def test_it_prints_as_r_s(fit: pm.Fit) -> None:
    summary = fit.summary(ddf=None)
    printed = str(summary).replace("['pymackay']", "['lmerMod']")
    assert _lines(printed) == _lines(PRINTED)
    assert repr(summary) == str(summary)


def test_p_values_are_shown_where_they_are_quick(
    fit: pm.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, asked = fit.summary(), fit.summary(ddf="Satterthwaite")
    pd.testing.assert_frame_equal(quick.coefficients, asked.coefficients)
    assert "summary(ddf='Kenward-Roger')" in str(quick)
    assert quick.hint not in str(asked)
    monkeypatch.setattr("pymackay.infer.significance.ddf._QUICK", 0.0)
    slow = fit.summary()
    assert list(slow.coefficients) == ["Estimate", "Std. Error", "t value"]
    assert "For p-values: summary(ddf='Satterthwaite')." in str(slow)
    of_lme4 = pm.lme4.lmer(fit.formula, pm.load_data("sleepstudy"), source="recorded").summary()
    assert of_lme4.hint == "" and "Pr(>|t|)" not in of_lme4.coefficients


def test_with_degrees_of_freedom_it_prints_as_lmertest_s(fit: pm.Fit) -> None:
    printed = str(fit.summary(ddf="Satterthwaite"))
    assert "\n".join(_lines(TESTED)) in "\n".join(_lines(printed))
    assert "t-tests use Satterthwaite's method" in printed
    assert "Signif. codes:" in printed


def test_the_parts_are_there_as_numbers(fit: pm.Fit) -> None:
    result = fit.summary()
    pd.testing.assert_series_equal(result.coefficients["Estimate"], fit.beta, check_names=False)
    assert result.random["sd"].iloc[-1] == fit.sigma
    assert result.groups == {"Subject": 18} and result.n_obs == 180
    scaled = fit.residuals / fit.sigma
    assert result.scaled_residuals["Median"] == pytest.approx(scaled.median())
    by_ml = fit.evaluate(fit.theta).replace(reml=False).summary()
    assert list(by_ml.criteria.index) == ["AIC", "BIC", "logLik", "deviance", "df.resid"]


def test_many_correlations_are_shown_on_demand() -> None:
    cake = pm.load_data("cake")
    fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", cake)
    assert "Correlation matrix not shown by default, as p = 18 > 12." in str(fit.summary())
    shown = str(fit.summary(correlation=True))
    assert "Correlation of Fixed Effects:" in shown and "-0.000" not in shown
    hidden = str(fit.summary(correlation=False))
    assert "Correlation" not in hidden


def test_weights_scale_the_residuals() -> None:
    fit = pm.lmer("y ~ x + (1 | g)", crossed_table(), weights="w")
    scaled = fit.residuals * np.sqrt(fit.model.weights) / fit.sigma
    assert fit.summary().scaled_residuals["Max"] == pytest.approx(scaled.max())


def test_a_singular_fit_says_so() -> None:
    fit = pm.evaluate("y ~ x + (x | g)", crossed_table(), [0.5, 0.0, 0.0])
    printed = str(fit.summary())
    assert "NaN" in printed and "The fit is singular" in printed


def test_exports(fit: pm.Fit) -> None:
    result = fit.summary(ddf=None)
    markdown = result.to_markdown()
    assert "| (Intercept) | 251.405 | 6.825 | 36.838 |" in markdown
    assert "| Subject | (Intercept) | 612.10 | 24.741 |  |" in markdown
    latex = result.to_latex()
    assert r"(Intercept) & 251.405 & 6.825 & 36.838 \\" in latex
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 2
    assert r"Days \textbar{} Subject" in latex
    page = fit._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 2
    assert '<td style="text-align:right">251.405</td>' in page


def test_names_are_escaped() -> None:
    data = crossed_table().rename(columns={"x": "a_b & <c>", "z": "100%|$"})
    fit = pm.lmer("y ~ `a_b & <c>` + `100%|$` + (1 | g)", data)
    page = fit._repr_html_()
    assert "<c>" not in page and "&lt;c&gt;" in page
    latex = fit.summary().to_latex()
    assert r"a\_b \& \textless{}c\textgreater{}" in latex and r"100\%\textbar{}\$" in latex
    assert "`" not in fit.summary().to_markdown().replace(r"\`", "")


def test_a_fit_of_lme4_can_be_summarised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ref = pm.lme4.lmer(
            "Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"), source="recorded"
        )
    assert "['lme4']" in str(ref.summary())


def test_what_summary_refuses(fit: pm.Fit) -> None:
    with pytest.raises(pm.ArgumentError, match="correlation is 'yes'"):
        fit.summary(correlation="yes")  # type: ignore[arg-type]
    with pytest.raises(pm.PymackayError, match="exact"):
        fit.summary(ddf="exact")


def test_abbreviations_are_r_s() -> None:
    # R 4.2.2: abbreviate(NAMES, minlength = 6), and 11 for the long ones
    assert abbreviate(NAMES, 6) == SHORT
    assert abbreviate(["VarietyGolden Rain", "recipeB:temperature"], 11) == [
        "VartyGldnRn",
        "rcpB:tmprtr",
    ]
    assert abbreviate(["recipeBB", "recipeBC"], 3) == ["rBB", "rBC"]


@pytest.mark.parametrize(
    ("values", "digits", "wanted"),
    [
        ([251.40512345, 10.4671, 6.825, 1.546], 4, ["251.405", " 10.467", "  6.825", "  1.546"]),
        ([1e-10, 10.4671, 6.825], 4, ["1.000e-10", "1.047e+01", "6.825e+00"]),
        ([612.1, 35.07171, 654.94], 4, ["612.10", " 35.07", "654.94"]),
        ([0.0, -0.0], 4, ["0", "0"]),
        ([0.00001234, float("nan"), -1.0], 3, [" 1.23e-05", "      NaN", "-1.00e+00"]),
        ([1e15, 1.0, -3.0], 4, [" 1e+15", " 1e+00", "-3e+00"]),
        ([], 4, []),
    ],
)
def test_numbers_are_r_s(values: list[float], digits: int, wanted: list[str]) -> None:
    assert format_numbers(values, digits) == wanted


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1e-20, 3.2637e-6], ["< 2e-16", "3.26e-06"]),
        ([0.5, 0.012345, 0.00012345], ["0.500000", "0.012345", "0.000123"]),
        ([1e-20], ["<2e-16"]),
        ([1e-20, 0.3], ["<2e-16", "0.3"]),
        ([0.99, 1e-5, float("nan"), 0.04], ["0.99", "1e-05", "NA", "0.04"]),
        ([0.5, 0.000012345], ["0.5", "1.23e-05"]),
    ],
)
def test_p_values_are_r_s(values: list[float], wanted: list[str]) -> None:
    assert format_p_values(values, 3) == wanted


def test_small_estimates_are_not_printed_as_zero() -> None:
    # R 4.2.2: printCoefmat(cbind(c(1000, 1e-6), c(10, 1e-7), c(100, 10)), digits = 4)
    table = np.array([[1000.0, 10.0, 100.0], [1e-6, 1e-7, 10.0]])
    columns = format_coefficients(table, 4)
    assert float(columns[0][1]) == 1e-6 and float(columns[1][1]) == 1e-7
    assert significance([0.0005, 0.005, 0.03, 0.08, 0.5, float("nan")]) == [
        *("***", "**", "*", ".", " ", " "),
    ]


# ---- other tables in notebooks and as text


def test_columns_of_a_fit_line_up_at_the_point(fit: pm.Fit) -> None:
    lines = repr(fit).splitlines()
    start = lines.index("Random effects:")
    assert lines[start + 1 :] == [
        "Groups    Name         Std.Dev.  Corr",
        "Subject   (Intercept)  24.7407",
        "          Days          5.92214  0.07",
        "Residual               25.5918",
        "Fixed effects:",
        "             Estimate  Std. Error   t value",
        "(Intercept)  251.405      6.8246   36.8381",
        "Days          10.4673     1.54579   6.77148",
    ]


def test_tables_by_group_are_shown_in_notebooks(fit: pm.Fit, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit")
    for one in (fit, pm.load_fit(tmp_path / "fit")):
        for tables, rows in ((one.ranef, 18), (one.varcorr, 2), (one.coef(), 18)):
            page = tables._repr_html_()
            assert page.count("<b>Subject</b>") == 1
            assert page.count("<tr") - page.count("<thead>") >= rows
    many = {"<g>": pd.DataFrame({"<x>": np.arange(1000.0)}, index=[f"<{k}>" for k in range(1000)])}
    page = GroupTables(many)._repr_html_()
    assert page.count("<tr") == 1 + 61 and "1,000 rows" in page
    assert "<g>" not in page and "<x>" not in page and "<0>" not in page


def test_a_summary_is_whole_in_html(fit: pm.Fit) -> None:
    page = fit.summary()._repr_html_()
    for part in ("***", "&lt; 2e-16", "-0.138", "1743.6", "Max 5.179", "Kenward-Roger"):
        assert part in page
    assert page.count("<table>") == page.count("</table>") == 3


def test_a_profile_prints_its_ends_and_whole_zeta(fit: pm.Fit) -> None:
    profile = pm.profile(fit, [".sigma", "Days"], points=5, max_zeta=2.0)
    table = profile.table
    assert list(table.index) == [".sigma", "Days"]
    points = profile.frame[profile.frame["parameter"] == ".sigma"]["value"].tolist()
    ends = table.loc[".sigma", ["lowest", "highest"]].tolist()
    assert ends == points[:: len(points) - 1]
    columns = ["zeta -2", "zeta -1", "zeta 0", "zeta 1", "zeta 2"]
    assert table.loc[".sigma", columns].tolist() == points
    assert "at zeta -2 and 2, or at a bound" in repr(profile)
    assert ".sigma" in profile._repr_html_()


def test_p_values_of_every_table_are_written_as_r_s() -> None:
    cake = pm.load_data("cake")
    fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", cake)
    shown = repr(pm.joint_tests(fit)).splitlines()
    assert [line.split()[-1] for line in shown[2:5]] == ["0.7809", "<2e-16", "0.4393"]
