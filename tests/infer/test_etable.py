"""Fits side by side: the numbers of the fits, in every markup."""

from __future__ import annotations

import re

import numpy as np
import pytest

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
    wanted = fits[1].contrast({"Days": 1.0}, level=0.9).iloc[0]
    place = shown.index.get_loc(("Fixed effects", "Days"))
    assert shown.iloc[place + 1] == f"[{wanted['lower']:.3f}, {wanted['upper']:.3f}]"
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
