"""The report: one file, whole, readable without the network, without colours and without eyes."""

from __future__ import annotations

import html.parser
import json
import re
import shlex
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pymackay as pm
from pymackay.cli import main
from pymackay.compare.show.page import as_page
from pymackay.compare.show.reproduce import command_line, python_code, r_code
from pymackay.reference.modes import Lme4
from pymackay.reference.question import Question

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="module")
def fit(sleep):
    return pm.lmer(SLEEP, sleep)


@pytest.fixture(scope="module")
def comparison(fit, sleep):
    return pm.compare(fit, Lme4("recorded").ask(Question(SLEEP, sleep, True, None, None)))


@pytest.fixture(scope="module")
def page(comparison) -> str:
    return as_page(comparison)


class Reader(html.parser.HTMLParser):
    """Checks that tags close in order, and collects what a browser would fetch and read aloud."""

    VOID = ("meta", "br", "hr", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, given))
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_file_needs_nothing_else(comparison, tmp_path):
    path = tmp_path / "report.html"
    comparison.to_html(path)
    page = path.read_text(encoding="utf-8")
    read = Reader(page)
    assert read.open == []
    assert all(link.startswith("#") for link in read.links)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "http" not in page
    assert "@import" not in page
    assert not {"script", "link", "iframe", "img", "object"} & set(read.tags)
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_says_what_it_is(page, comparison):
    read = Reader(page)
    assert read.tags.count("title") == 1
    assert read.tags.count("h1") == 1
    assert ("html", {"lang": "en"}) in read.attributes
    assert re.search(r"<h1>(.*?)</h1>", page)[1] == comparison.sentence
    assert '<meta name="viewport"' in page


def test_names_within_the_page_are_unique_and_references_hit(page):
    read = Reader(page)
    doubled = [name for name, count in Counter(read.ids).items() if count > 1]
    assert doubled == []
    wanted = {link[1:] for link in read.links} | set(re.findall(r"url\(#([^)]*)\)", page))
    assert wanted
    assert wanted <= set(read.ids)


def test_each_picture_can_be_read_aloud_and_has_text(page):
    read = Reader(page)
    spoken = [given["aria-label"] for _, given in read.attributes if given.get("role") == "img"]
    assert len(spoken) == read.tags.count("svg") == read.tags.count("figure") == 7
    assert any("18 levels of Subject, from -40" in text for text in spoken)
    assert any("(Intercept): 28 % hidden" in text for text in spoken)
    assert page.count("<text") > 50  # not outlines of letters


def test_parts_stand_in_their_order(page):
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Model", "Numbers", "Variance gap", "Pictures", "Versions", "How to reproduce",
    ]  # fmt: skip


def test_colours_of_pictures_follow_the_page(page):
    pictures = page[page.index("<h2>Pictures") : page.index("<h2>Versions")]
    assert "var(--ink)" in pictures
    assert "#000000" not in pictures
    assert "#0072b2" not in pictures.lower()
    for media in (
        "screen and (prefers-color-scheme:dark)",
        "print",
        "screen and (max-width:40rem)",
    ):
        assert f"@media {media}" in page


def test_what_is_said_to_reproduce_it_does(page, sleep, tmp_path, monkeypatch):
    code = re.search(r"<h3>In Python</h3><pre>(.*?)</pre>", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(html.unescape(code), {"data": sleep})
    again = Path("report.html").read_text(encoding="utf-8")
    assert "<h1>Same optimum" in again


def test_the_data_can_be_told_by_their_numbers(page, sleep):
    y = sleep["Reaction"]
    assert f"mean {y.mean():.8g} and the standard deviation {y.std():.8g}" in page


def test_reports_of_one_comparison_are_equal(comparison):
    assert as_page(comparison) == as_page(comparison)


def test_different_models_have_a_diff_and_no_pictures(sleep, comparison):
    other = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    page = as_page(pm.compare(other, comparison.reference))
    assert Reader(page).open == []
    assert "Where the models differ" in page
    assert "<svg" not in page
    assert "Numbers</h2>" not in page


def test_a_fit_of_another_engine_has_the_pictures_that_it_offers(comparison):
    page = as_page(pm.compare(comparison.reference, comparison.reference))
    assert "Predicted effects of Subject, Days" in page
    assert "Shrinkage" not in page
    assert page.count("<svg") == 6


def test_what_cannot_be_drawn_is_said(comparison, monkeypatch):
    def fails(*args: object, **kwargs: object) -> None:
        raise pm.PymackayError("it rains")

    monkeypatch.setattr("pymackay.plots.qq", fails)
    page = as_page(comparison)
    assert "Left out, Quantiles of the residuals against normal ones: it rains" in page
    assert page.count("<svg") == 6


def test_what_the_user_wrote_stays_text(fit, sleep):
    levels = {
        "308": "<script>alert('1')</script>", "309": "$x_", "310": 'id="a" #000000 & b',
        "330": "病院",
    }  # fmt: skip
    renamed = sleep.assign(Subject=sleep["Subject"].astype(str).replace(levels))
    found = pm.lmer(SLEEP, renamed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no fonts are asked for
        page = as_page(pm.compare(found, found))
    read = Reader(page)
    assert read.open == []
    assert "病院" in page
    assert "script" not in read.tags
    assert "$x_" in page
    assert 'id="a" #000000 &amp; b' in page


def test_quotes_in_a_formula(fit):
    quoted = fit.replace(formula='y ~ relevel(g, "b") + (1 | h)')
    page = html.unescape(as_page(pm.compare(quoted, quoted)))
    assert """formula = 'y ~ relevel(g, "b") + (1 | h)'""" in page


def test_weights_are_asked_for(sleep):
    weighted = pm.lmer(SLEEP, sleep, weights=np.ones(180))
    page = html.unescape(as_page(pm.compare(weighted, weighted)))
    assert "weights = ...  # as before" in page
    assert "pm.lmer(formula, data, weights=weights)" in page
    assert "On the command line" not in page


def test_without_matplotlib_the_report_still_comes(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import pymackay as pm\n"
        "fit = pm.lmer('Yield ~ 1 + (1 | Batch)', pm.load_data('Dyestuff'))\n"
        f"pm.compare(fit, fit).to_html({str(tmp_path / 'r.html')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<svg" not in page
    assert "Left out, all: matplotlib is not installed; run: pip install matplotlib" in page


def test_the_users_figures_and_settings_are_left_alone(comparison):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = plt.get_fignums(), dict(mpl.rcParams)
    as_page(comparison)
    assert (plt.get_fignums(), dict(mpl.rcParams)) == before


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(comparison, tmp_path, width, dark):
    from browser import browser

    path = tmp_path / "report.html"
    comparison.to_html(path)
    with browser() as chromium:
        seen = chromium.visit(path, width, dark=dark)
    assert seen.requests == [path.resolve().as_uri()]
    assert seen.complaints == []
    assert seen.width <= width
    assert comparison.sentence in seen.text
    assert len(seen.png) > 10_000


def reproduced(comparison: pm.Comparison, data: pd.DataFrame, **arrays: object) -> pm.Comparison:
    """Run the report's Python code, with the arrays that it cannot hold, and compare again."""
    code = python_code(comparison)
    for name in arrays:
        code = code.replace(f"{name} = ...  # as before\n", "")
    scope = {"data": data, **arrays}
    exec(code.rpartition("\n")[0], scope)
    return pm.compare(scope["fit"], scope["reference"])


def test_each_kind_of_comparison_is_made_again(sleep, tmp_path):
    weighted = sleep.assign(w=1.0 + sleep["Days"] % 3)
    formula = "Reaction ~ Days + (Days | Subject)"
    keep = (weighted["Days"] > 0).to_numpy()
    kinds = {
        "tight": (pm.lmer(formula, sleep), pm.lme4.lmer(formula, sleep, tight=True)),
        "ml": (pm.lmer(formula, sleep, reml=False), pm.lme4.lmer(formula, sleep, reml=False)),
        "weights": (
            pm.lmer(formula, weighted, weights="w", subset=keep),
            pm.lme4.lmer(formula, weighted, weights="w", subset=keep),
        ),
        "loop": (
            pm.mackay(formula, sleep, update="diagonal", iterations=7),
            pm.lme4.lmer(formula, sleep, source="recorded"),
        ),
        "two of ours": (pm.lmer(formula, sleep), pm.mackay(formula, sleep)),
    }
    for name, (fit, reference) in kinds.items():
        first = pm.compare(fit, reference)
        again = reproduced(first, weighted, **({"subset": keep} if name == "weights" else {}))
        assert again.verdict == first.verdict, name
        assert again.fit.criterion == fit.criterion, name
        assert again.reference.criterion == reference.criterion, name
        assert len(again.table) == len(first.table), name


def test_the_command_is_shown_where_one_makes_the_comparison(sleep):
    formula = "Reaction ~ Days + (Days | Subject)"
    weighted = sleep.assign(w=1.0 + sleep["Days"] % 3)
    fit = pm.lmer(formula, weighted, weights="w", reml=False)
    recorded = pm.lme4.lmer(formula, sleep, source="recorded")
    shown = command_line(pm.compare(fit, pm.lme4.lmer(formula, weighted, weights="w", reml=False)))
    assert shown == (f"pymackay compare DATA.csv '{formula}' --ml --weights w --report report.html")
    by_array = pm.lmer(formula, weighted, weights=weighted["w"].to_numpy())
    assert command_line(pm.compare(by_array, recorded)) == ""
    ours = pm.lmer(formula, sleep)
    assert "--recorded" in command_line(pm.compare(ours, recorded))
    assert command_line(pm.compare(ours, ours)) == ""


def test_the_two_fits_have_the_names_of_their_engines(page, comparison):
    assert 'data-head="pymackay"' in page and 'data-head="lme4"' in page
    assert 'data-head="ours"' not in page
    both = as_page(pm.compare(comparison.fit, comparison.fit))
    assert 'data-head="pymackay (1)"' in both and 'data-head="pymackay (2)"' in both


def test_comparisons_of_generalised_models_are_made_again():
    draw = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.arange(80) % 10, "x": draw.normal(size=80)})
    data["y"] = draw.poisson(np.exp(0.5 + 0.3 * data["x"] + 0.4 * draw.normal(size=10)[data["g"]]))
    data["t"] = draw.gamma(2.0, np.exp(0.3 * data["x"])) + 0.01
    kinds = [
        ("y", "poisson", {}, "poisson", {"nagq": 5}),
        ("y", pm.NegativeBinomial(theta=2.0), {}, pm.Poisson("sqrt"), {"determinant": "observed"}),
        ("t", pm.Gamma("log"), {}, pm.Gamma("log"), {"dispersion": "lme4"}),
        ("y", pm.NegativeBinomial(), {"nagq": 0}, "poisson", {"nagq": "exact"}),
    ]
    for name, family, asked, other, otherwise in kinds:
        formula = f"{name} ~ x + (1 | g)"
        one = pm.glmer(formula, data, family, **asked)
        two = pm.glmer(formula, data, other, **otherwise)
        before = pm.compare(one, two)
        after = reproduced(before, data)
        assert after.verdict == before.verdict
        for mine, theirs in ((after.fit, one), (after.reference, two)):
            assert mine.criterion == pytest.approx(theirs.criterion, rel=1e-12)
            assert repr(mine.general.family) == repr(theirs.general.family)


def test_the_call_of_r_names_family_and_nodes():
    draw = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.arange(40) % 8, "y": draw.poisson(2.0, 40)})
    fit = pm.glmer("y ~ 1 + (1 | g)", data, "poisson", nagq=7)
    held = pm.glmer("y ~ 1 + (1 | g)", data, pm.NegativeBinomial(theta=2.0))
    lines = [r_code(pm.compare(one, one)).splitlines()[1] for one in (fit, held)]
    assert lines == [
        'glmer(y ~ 1 + (1 | g), data, poisson("log"), nAGQ = 7)',
        'glmer(y ~ 1 + (1 | g), data, MASS::negative.binomial(2.0, "log"))',
    ]


def test_the_command_repeats_a_generalised_comparison(tmp_path):
    herds = pm.load_data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fit = pm.glmer(formula, herds, "binomial")
    reference = pm.lme4.glmer(formula, herds, "binomial", tight=True, source="recorded")
    first = pm.compare(fit, reference)
    words = shlex.split(command_line(first).replace("DATA.csv", "cbpp"))
    page, content = tmp_path / "report.html", tmp_path / "again.json"
    words[words.index("report.html")] = str(page)
    result = CliRunner().invoke(main, [*words[1:], "--json", str(content)])
    assert result.exit_code == 0, result.output
    assert page.is_file()
    assert json.loads(content.read_text(encoding="utf-8"))["verdict"] == first.verdict
    probit = pm.glmer(formula, herds, pm.Binomial("probit"), nagq=5)
    shown = command_line(pm.compare(probit, reference))
    assert "--link probit --nagq 5" in shown
    observed = pm.glmer(formula, herds, pm.Binomial("probit"), determinant="observed")
    assert command_line(pm.compare(observed, reference)) == ""
