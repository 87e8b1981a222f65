"""The data sets that come along: as datasets.json describes them, and safe to change."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay._resources import data_path
from pymackay.datasets import data_info

NAMES = [
    *("sleepstudy", "Dyestuff", "Dyestuff2", "Penicillin", "Pastes", "cake", "InstEval"),
    *(
        "VerbAgg",
        "cbpp",
        "grouseticks",
        "Arabidopsis",
        "Orthodont",
        "Oxboys",
        "Machines",
        "Rail",
        "Oats",
        "Pixel",
        "BtheB",
    ),
]


def text_of(name: str) -> bytes:
    path = data_path(data_info(name).file)
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def test_the_names():
    assert pm.list_data() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_the_one_that_was_exported(name):
    assert hashlib.sha256(text_of(name)).hexdigest() == data_info(name).sha256


@pytest.mark.parametrize("name", NAMES)
def test_the_frame_is_what_the_description_says(name):
    info, frame = data_info(name), pm.load_data(name)
    assert list(frame.columns) == [column.name for column in info.columns]
    assert isinstance(frame.index, pd.RangeIndex) and len(frame) == info.rows
    for column in info.columns:
        series = frame[column.name]
        assert series.notna().all()
        if column.levels:
            assert list(series.cat.categories) == list(column.levels)
            assert series.cat.ordered == (column.type == "ordered")
        else:
            assert series.dtype == {"integer": np.int64, "numeric": np.float64}[column.type]


@pytest.mark.parametrize("name", NAMES)
def test_each_label_and_number_is_the_one_in_the_file(name):
    header, *lines = text_of(name).decode().splitlines()
    columns = zip(*(line.split(",") for line in lines), strict=True)
    fields = dict(zip(header.split(","), columns, strict=True))
    for column, series in pm.load_data(name).items():
        if isinstance(series.dtype, pd.CategoricalDtype):
            assert series.astype(str).tolist() == list(fields[column])
        else:
            assert series.tolist() == [float(field) for field in fields[column]]


@pytest.mark.parametrize("name", NAMES)
def test_source_and_licence_are_named(name):
    info = data_info(name)
    readme = data_path("README.md").read_text(encoding="utf-8")
    licences = {"lme4": "GPL (>= 2)", "nlme": "GPL (>= 2)", "HSAUR3": "GPL-2"}
    assert info.licence == licences[info.package] and info.description
    row = next(line for line in readme.splitlines() if f" {name}," in line or f" {name} |" in line)
    assert f"{info.package} {info.version}" in row and info.licence in row


def test_orders_that_no_sorting_gives():
    assert list(pm.load_data("Rail")["Rail"].cat.categories) == list("251634")
    assert list(pm.load_data("InstEval")["dept"].cat.categories[:4]) == ["15", "5", "10", "12"]
    assert list(pm.load_data("Oats")["Block"].cat.categories) == ["VI", "V", "III", "IV", "II", "I"]


def test_each_call_gives_a_frame_of_its_own():
    first = pm.load_data("sleepstudy")
    first.loc[0, "Reaction"] = -1.0
    first["Subject"] = first["Subject"].cat.rename_categories(lambda label: f"s{label}")
    second = pm.load_data("sleepstudy")
    assert second.loc[0, "Reaction"] == 249.56
    assert second["Subject"].cat.categories[0] == "308"


@pytest.mark.parametrize(("wrong", "meant"), [("sleepstdy", "sleepstudy"), ("OATS", "Oats")])
def test_an_unknown_name_is_answered_with_the_near_and_the_known(wrong, meant):
    with pytest.raises(pm.PymackayError) as caught:
        pm.load_data(wrong)
    message = str(caught.value)
    assert f"Did you mean {meant}?" in message and repr(wrong) in message
    assert all(name in message for name in NAMES)


@pytest.mark.parametrize("wrong", ["qqqqqq", "", None, 3, ["sleepstudy"]])
def test_what_is_no_name_is_an_error_of_ours(wrong):
    with pytest.raises(pm.PymackayError, match="The data sets are sleepstudy"):
        pm.load_data(wrong)
