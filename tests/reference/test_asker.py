"""Files of recordings are told apart by who asks, whatever a name is made of."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

import pymackay as pm
from pymackay.reference.asker import Asker, file_name
from pymackay.reference.question import Question

QUESTION = Question("travel ~ 1 + (1 | Rail)", pm.load_data("Rail"))

# (file, test) and a check's own name: each two of them lost what tells them apart, or may
ASKERS = [
    *(("test_m", test, "") for test in (
        "test_a[-1]", "test_a[1]", "test_a[+1]", "test_a_1", "test_a[x<0]", "test_a[x>0]",
        "test_a[a b]", "test_a[a_b]", "test_a[a-b]", "test_a[A_B]", "test_a[ab]", "test_a[a.b]",
        "TestX::test_a", "TestX_test_a", "testx_test_a", "test_a", "test_A", "test_a_", "_test_a",
        "test_[α]", "test_[β]", "test_[日本]", "test_[日]", "test_[é]", "test_[e\u0301]",
        "test_" + 90 * "x" + "[1]", "test_" + 90 * "x" + "[2]", "test_" + 200 * "日" + "[1]",
        "test_" + 200 * "日" + "[2]", "test_" + 300 * "y", "test_" + 301 * "y", "!", "?", "",
    )),
    ("test_m", "test_a", "-1"), ("test_m", "test_a", "1"), ("test_m", "test_a[1]", "1"),
    ("test_m", "test_a[-1]", "1"), ("test_m", "test_a", 90 * "z"), ("test_m", "test_a", 91 * "z"),
    ("test_m.test_a", "b", ""), ("test_m", "test_a.b", ""), ("test_m", "test_a", "b"),
    ("a/b_c/test_m", "test_a", ""), ("a_b/c/test_m", "test_a", ""), ("a_b_c_test_m", "test_a", ""),
]  # fmt: skip


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [Asker.of(*parts, label=own).file_name(QUESTION) for *parts, own in ASKERS]


def test_no_two_share_a_file_where_capitals_do_not_count_either(names: list[str]) -> None:
    for (a, one), (b, other) in itertools.combinations(zip(names, ASKERS, strict=True), 2):
        assert a.casefold() != b.casefold(), (one, other)


def test_any_file_system_takes_them(names: list[str], tmp_path: Path) -> None:
    for name in names:
        assert len(os.fsencode(name)) <= 255
        (tmp_path / name).touch()
    long = Question(f"travel ~ {' + '.join(40 * ['日本語'])} + (1 | Rail)", QUESTION.data)
    (tmp_path / Asker.of(300 * "日", 300 * "本", label=300 * "語").file_name(long)).touch()


@pytest.mark.parametrize(
    ("parts", "own", "name"),
    [
        (("test_m", "test_a"), "", "test_m.test_a"),
        (("test_m", "test_a"), "fold_1", "test_m.test_a.fold_1"),
    ],
)
def test_what_loses_nothing_keeps_its_name(parts: tuple[str, ...], own: str, name: str) -> None:
    suffix = "-travel_1_1_Rail-reml-5dd0a4773c56.json"
    assert Asker.of(*parts, label=own).file_name(QUESTION) == name + suffix
    assert file_name(QUESTION, "Rail") == "Rail-travel_1_1_Rail-reml-5dd0a4773c56.json"


def test_an_asker_knows_its_recordings(tmp_path: Path) -> None:
    one, other = Asker.of("test_m", "test_a[1]"), Asker.of("test_m", "test_a[-1]")
    fold = Asker.of("test_m", "test_a[1]", label="fold 1")
    mine = [tmp_path / asker.file_name(QUESTION) for asker in (one, fold)]
    before = tmp_path / "test_m.test_a_1-travel_1_1_Rail-reml-5dd0a4773c56.json"  # had no checksum
    for path in (*mine, before, tmp_path / other.file_name(QUESTION), tmp_path / "a.json"):
        path.touch()
    assert one.recordings(tmp_path) == sorted([*mine, before])
    assert other.recordings(tmp_path) == sorted([tmp_path / other.file_name(QUESTION), before])
