"""What a comparison looks like: text for a mail, HTML without a network, JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from oracle import dense_as_fit
from small_models import crossed_model, sleepstudy_model, sleepstudy_theta

import pymackay as pm
from pymackay.compare.show.layout import number, size

THETA = np.array([1.4, 0.3, 0.6, 0.8])


@pytest.fixture(scope="module")
def same():
    model = sleepstudy_model()
    ours = dense_as_fit(model, sleepstudy_theta(), True)
    return pm.compare(ours, dense_as_fit(model, sleepstudy_theta() * (1 + 1e-6), True))


@pytest.fixture(scope="module")
def different():
    ours = dense_as_fit(sleepstudy_model(), sleepstudy_theta(), True)
    return pm.compare(ours, dense_as_fit(sleepstudy_model(double_bar=True), [1.0, 0.2], False))


@pytest.fixture(scope="module")
def lower():
    model = crossed_model()
    low, high = (dense_as_fit(model, t * THETA, False) for t in (1.0, 3.0))
    return pm.compare(high, low)


@pytest.fixture(params=["same", "different", "lower"])
def comparison(request):
    return request.getfixturevalue(request.param)


def test_text_fits_a_mail(comparison):
    text = str(comparison)
    assert text == repr(comparison)
    lines = text.splitlines()
    assert lines[0] == comparison.sentence
    assert max(map(len, lines)) <= 100
    assert text.isascii()
    assert not any(line != line.rstrip() for line in lines)


def test_text_names_model_engines_and_numbers(same):
    text = str(same)
    for part in (
        "Reaction ~ Days + (Days | Subject)",
        "REML, 180 rows, Subject: 18 levels",
        "at one theta: criterion",
        "251.405",
        "24.7405",
        "5.92213",
        "25.5918",
        "0.0656",
        "variance gap",
    ):
        assert part in text


def test_numbers_stand_under_each_other(same):
    block = str(same).split("REML criterion")[1].split("variance gap")[0]
    numbers = [
        [match.end(k) for k in range(1, 5)]
        for line in block.splitlines()[1:]
        if (match := re.match(r".{41} *(\S+) +(\S+) +(\S+) +(\S+)  \S", line))
    ]
    assert len(numbers) >= 10
    assert len(set(map(tuple, numbers))) == 1


def test_different_model_shows_the_differences_and_no_numbers(different):
    text = str(different)
    assert text.startswith("Different model: the two fits differ in criterion; random effects")
    assert "((Intercept), Days | Subject)" in text
    assert "251.405" not in text
    assert "Read the differences" in text


def test_defect_is_flagged_and_explained(lower):
    assert lower.verdict == "theirs lower"
    assert str(lower).count("<--") == 1
    assert "It is a defect of our fit" in str(lower).replace("\n", " ")


def test_json_holds_every_digit(comparison, tmp_path):
    path = tmp_path / "out.json"
    comparison.to_json(path)
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read["verdict"] == comparison.verdict
    assert read["ok"] is comparison.ok
    assert len(read["table"]) == len(comparison.table)
    for entry, row in zip(read["table"], comparison.rows, strict=True):
        assert entry["ours"] == (None if np.isnan(row.ours) else row.ours)
        assert entry["ok"] is row.ok
    assert len(read["variance_gap"]) == len(comparison.variance_gap)
    assert len(read["model_diff"]) == len(comparison.model_diff)
    assert read["tolerances"]["beta"]["value"] == 1e-3


def test_html_escapes_what_the_user_wrote():
    fit = dense_as_fit(crossed_model(), THETA, True).replace(formula="y ~ <script>alert(1)")
    assert "<script>" not in pm.compare(fit, fit)._repr_html_()


@pytest.mark.parametrize("method", ["to_html", "to_json"])
def test_path_that_cannot_be_written_is_the_users_error(same, tmp_path, method):
    with pytest.raises(pm.ArgumentError, match=r"path: .*cannot be written"):
        getattr(same, method)(tmp_path / "no" / "such" / "folder.x")


def test_many_coefficients_are_cut_to_the_worst():
    model = crossed_model()
    fit = dense_as_fit(model, THETA, True)
    names = [f"c{i:02}" for i in range(40)]
    beta = np.linspace(1.0, 2.0, 40)
    wide = fit.replace(
        beta=pd.Series(beta, names),
        vcov=pd.DataFrame(np.eye(40), names, names),
        model=dataclasses.replace(fit.model, fixed=tuple(names)),
        evaluate_source=None,
    )
    moved = wide.replace(beta=wide.beta + np.where(np.arange(40) == 33, 5e-4, 0.0))
    result = pm.compare(wide, moved)
    assert (result.table["quantity"] == "beta").sum() == 40
    text = str(result)
    assert "c33" in text
    assert "and 28 more, all closer" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (251.40510484848, "251.405"),
        (-0.0151690588, "-0.0151691"),
        (1.5e-7, "1.50000e-07"),
        (1234567.8, "1234568"),
        (1e12, "1.00000e+12"),
        (float("nan"), "-"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_written_without_noise(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.4615e-9, "1.5e-09"), (0.0237, "0.024"), (30.1, "30"), (104.2, "1.0e+02")],
)
def test_sizes_have_two_digits(value, text):
    assert size(value) == text
