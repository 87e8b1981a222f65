"""Fits side by side: the numbers of the fits, in every markup."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pandas.io.formats.style import Styler

import pymackay as pm
from pymackay.reference.modes import Lme4
from pymackay.reference.question import Question

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fits() -> list[pm.Fit]:
    sleep = pm.load_data("sleepstudy")
    return [pm.lmer("Reaction ~ 1 + (1 | Subject)", sleep), pm.lmer(SLEEP, sleep, reml=False)]


def test_cells_are_the_numbers_of_the_fits(fits: list[pm.Fit]) -> None:
    frame = pm.etable(fits, digits=4).frame
    table = fits[1].coefficients()
    assert frame.loc[("Fixed effects", "Days")].tolist() == ["", f"{fits[1].beta['Days']:.4f}***"]
    below = frame.iloc[frame.index.get_loc(("Fixed effects", "Days")) + 1]
    assert below.tolist() == ["", f"({table.loc['Days', 'Std. Error']:.4f})"]
    sd = np.sqrt(np.diag(fits[1].varcorr["Subject"]))
    assert frame.loc[("Random effects", "SD Days | Subject"), "(2)"] == f"{sd[1]:.4f}"
    assert frame.loc[("Random effects", "SD residual"), "(1)"] == f"{fits[0].sigma:.4f}"
    assert frame.loc[("Fit", "Rows")].tolist() == ["180", "180"]
    assert frame.loc[("Fit", "R² conditional"), "(2)"] == f"{pm.r2(fits[1])['conditional']:.4f}"
    assert frame.loc[("Fit", "REML criterion")].tolist() == [f"{fits[0].criterion:.4f}", ""]
    assert frame.loc[("Fit", "AIC"), "(2)"] == f"{fits[1].aic:.4f}"


def test_intervals_are_those_of_contrasts(fits: list[pm.Fit]) -> None:
    shown = pm.etable(fits[1], intervals=True, level=0.9, stars=False).frame["(1)"]
    expected = fits[1].contrast({"Days": 1.0}, level=0.9).iloc[0]
    place = shown.index.get_loc(("Fixed effects", "Days"))
    assert shown.iloc[place + 1] == f"[{expected['lower']:.3f}, {expected['upper']:.3f}]"
    assert shown.iloc[place] == f"{fits[1].beta['Days']:.3f}"


def test_columns_line_up_in_text_and_every_markup_has_every_cell(fits: list[pm.Fit]) -> None:
    table = pm.etable(fits, names=["null", "a|b & <c>"])
    lines = repr(table).splitlines()
    assert len({len(line) for line in lines if line.startswith("---")}) == 1
    for text in (table.to_html(), table.to_markdown(), table.to_latex(), table.to_text()):
        plain = re.sub(r"\\([*|_<&])", r"\1", text)
        for cell in table.frame.to_numpy().ravel():
            assert cell in plain
    assert r"a\textbar{}b \& \textless{}c\textgreater{}" in table.to_latex()
    assert table.to_latex().count(r"\toprule") == 1
    assert "a|b &amp; &lt;c&gt;" in table._repr_html_()


def test_a_styler_shows_every_cell(fits: list[pm.Fit]) -> None:
    table = pm.etable(fits)
    styler = table.to_styler()
    assert isinstance(styler, Styler)
    shown = styler.to_html()
    assert table.title in shown
    for cell in table.frame.to_numpy().ravel():
        assert f">{cell}</td>" in shown
    assert r"\begin{tabular}" in styler.to_latex()


def test_a_fit_of_another_engine_has_no_stars_and_the_note_says_so(fits: list[pm.Fit]) -> None:
    data = pm.load_data("sleepstudy")
    theirs = Lme4("recorded").ask(Question(SLEEP, data, True, None, None), "sleepstudy")
    table = pm.etable([fits[1], theirs], names=["ours", "lme4"])
    assert "*" not in "".join(table.frame["lme4"])
    assert "lme4 has no p-values" in table.note


def test_wrong_arguments_are_refused(fits: list[pm.Fit]) -> None:
    with pytest.raises(pm.ArgumentError, match="fits is empty"):
        pm.etable([])
    with pytest.raises(pm.ArgumentError, match="names must be 2 different names"):
        pm.etable(fits, names=["a", "a"])
    with pytest.raises(pm.ArgumentError, match="needs a Fit"):
        pm.etable([1])


def test_terms_with_structures_have_one_row_for_what_effects_share() -> None:
    sleep = pm.load_data("sleepstudy")
    sleep["late"] = (sleep["Days"] > 4).map({True: "yes", False: "no"})
    fits = [
        pm.lmer("Reaction ~ Days + cs(0 + late | Subject)", sleep),
        pm.lmer("Reaction ~ Days + ar1(0 + late | Subject, hom = TRUE)", sleep),
        pm.lmer("Reaction ~ Days + diag(1 + Days | Subject)", sleep),
    ]
    rows = pm.etable(fits, digits=4).frame.loc["Random effects"]
    covariances = [fit.varcorr["Subject"].to_numpy() for fit in fits]
    sds = [np.sqrt(np.diag(covariance)) for covariance in covariances]
    rho = [c[1, 0] / s[0] / s[1] for c, s in zip(covariances[:2], sds[:2], strict=True)]
    expected = {
        "SD lateno | Subject (cs)": [f"{sds[0][0]:.4f}", "", ""],
        "SD lateyes | Subject (cs)": [f"{sds[0][1]:.4f}", "", ""],
        "Cor rho | Subject (cs)": [f"{rho[0]:.4f}", "", ""],
        "SD of each effect | Subject (ar1)": ["", f"{sds[1][0]:.4f}", ""],
        "Cor rho | Subject (ar1)": ["", f"{rho[1]:.4f}", ""],
        "SD (Intercept) | Subject (diag)": ["", "", f"{sds[2][0]:.4f}"],
        "SD Days | Subject (diag)": ["", "", f"{sds[2][1]:.4f}"],
        "SD residual": [f"{fit.sigma:.4f}" for fit in fits],
    }
    assert rows.T.to_dict("list") == expected


def test_generalised_models_have_normal_tests_and_no_residual() -> None:
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fit = pm.glmer(formula, pm.load_data("cbpp"), "binomial")
    table = pm.etable(fit)
    assert table.frame.loc[("Fixed effects", "period2"), "(1)"] == "-0.992**"
    assert ("Random effects", "SD residual") not in table.frame.index
    assert "no p-values" not in table.note
    assert "*" not in "".join(pm.etable(fit, ddf="none").frame["(1)"])


def test_criteria_that_cannot_be_compared_are_named(fits: list[pm.Fit]) -> None:
    sleep = pm.load_data("sleepstudy")
    assert "of REML and of ML fits cannot be compared" in pm.etable(fits).note
    by_reml = [fits[0], pm.lmer(SLEEP, sleep)]
    assert "different fixed effects cannot be compared" in pm.etable(by_reml).note
    one = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    assert "compared" not in pm.etable([one, by_reml[1]]).note


def test_decimal_points_line_up_in_every_layout(fits: list[pm.Fit]) -> None:
    table = pm.etable(fits[1])
    lines = [line for line in repr(table).splitlines() if re.search(r"\d\.\d{3}\D*$", line)]
    assert len(lines) > 8
    assert len({line.rindex(".") for line in lines}) == 1
    page = table.to_html()
    hidden = '<span style="visibility:hidden" aria-hidden="true">***</span>'
    assert f"{fits[1].sigma:.3f}{hidden}</td>" in page
    latex = table.to_latex()
    assert rf"{fits[1].sigma:.3f}\phantom{{***}}" in latex
    assert r"R\textsuperscript{2} marginal" in latex and "$-$2 log likelihood" in latex
    assert latex.isascii()


def test_latex_rows_are_complete(fits: list[pm.Fit]) -> None:
    latex = pm.etable(fits, intervals=True).to_latex()
    body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) > 10
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 2
        assert row.count("{") == row.count("}")
        assert not re.match(r"\s*[\[*]", row)
