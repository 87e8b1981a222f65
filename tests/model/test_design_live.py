"""Model matrices, names, levels and rows equal those of lme4's lFormula, asked live."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from design_cases import CASES, RANDOM_CASES, Case
from design_tables import TABLES
from tolerances import tol

from pymackay.errors import PymackayError
from pymackay.formula.rtext import quote
from pymackay.model.design.build import build_model
from pymackay.model.design.new_data import build_new
from pymackay.model.model import Model

FIRST_RENAMING = (1, 1, 36)
"""The lme4 from which on parentheses stay in the names of grouping factors."""

RENAMED = {
    "fixed: C(a, contr.treatment)": "R from 4.3 on leaves the levels' names out",
    "fixed: C(a, contr.treatment, base = 2)": "R from 4.3 on leaves the levels' names out",
    "random: (1 | batch/cask/l)": "l:(cask:batch)",
    "random: (1 | (g:h))": "(g:h)",
    "random: (1 | (g))": "(g)",
    "random: (1 | h/(a:b))": "(a:b):h, whose levels are the other way round, too",
}
"""Cases that a later lme4 builds alike and names otherwise."""

SCRIPT = Path(__file__).parents[2] / "r_reference" / "design_reference.R"


def r_kind(values: pd.Series) -> str:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "ordered" if values.cat.ordered else "factor"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "logical"
    if pd.api.types.is_integer_dtype(values.dtype):
        return "integer"
    return "numeric" if pd.api.types.is_float_dtype(values.dtype) else "character"


def r_vector(values: list[str]) -> str:
    return f"c({', '.join(quote(value) for value in values)})"


def write_tables(directory: Path, tables: dict[str, pd.DataFrame]) -> None:
    entries = []
    for name, table in tables.items():
        shown = table.copy()
        for column in shown:
            if r_kind(shown[column]) == "logical":
                text = shown[column].map({True: "TRUE", False: "FALSE"})
                shown[column] = text.astype(object)
        shown.to_csv(directory / f"{name}.csv", index=False, na_rep="NA", float_format="%.17g")
        levels = ", ".join(
            f"`{column}` = {r_vector(list(table[column].cat.categories))}"
            for column in table
            if r_kind(table[column]) in ("factor", "ordered")
        )
        kinds = ";".join(r_kind(table[column]) for column in table)
        entries.append(
            f"Name: {name}\nFile: {name}.csv\nColumns: {kinds}\nLevels: list({levels})\n"
        )
    (directory / "tables.dcf").write_text("\n".join(entries), encoding="utf-8")


def r_contrasts(contrasts: dict[str, Any]) -> str:
    items = []
    for name, expected in contrasts.items():
        if isinstance(expected, str):
            text = quote(expected)
        else:
            matrix = np.asarray(expected, dtype=float)
            cells = ", ".join(repr(float(v)) for v in matrix.ravel(order="F"))
            text = f"c({cells})"
            if matrix.ndim == 2:
                columns = getattr(expected, "columns", None)
                names = "NULL" if columns is None else f"list(NULL, {r_vector(list(columns))})"
                text = f"matrix({text}, {matrix.shape[0]}, dimnames = {names})"
        items.append(f"`{name}` = {text}")
    return f"list({', '.join(items)})"


def write_cases(directory: Path, cases: list[Case]) -> None:
    entries = []
    for i, case in enumerate(cases):
        fields = {
            "Name": f"case{i}",
            "Data": case.data,
            "Formula": case.formula,
            "Weights": case.weights,
            "Offset": case.offset,
            "Subset": case.subset,
            "Contrasts": None if case.contrasts is None else r_contrasts(case.contrasts),
        }
        entries.append("".join(f"{k}: {v}\n" for k, v in fields.items() if v is not None))
    (directory / "cases.dcf").write_text("\n".join(entries), encoding="utf-8")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {name: make() for name, make in TABLES.items()}


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    """Ask R once for all cases. Without R or lme4 this fails, and so do the tests."""
    directory = tmp_path_factory.mktemp("design")
    write_tables(directory, tables)
    cases = [*CASES, *RANDOM_CASES]
    write_cases(directory, cases)
    run = subprocess.run(
        ["Rscript", "--vanilla", str(SCRIPT), str(directory)],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"R stopped: {run.stderr}"
    message = json.loads((directory / "answers.json").read_text(encoding="utf-8"))
    version = message["versions"]["lme4"]
    version = version if isinstance(version, str) else version[0]
    renamed = tuple(int(part) for part in re.split("[.-]", version)[:3]) >= FIRST_RENAMING
    named = {
        case.name: not (renamed and (case.name in RENAMED or i >= len(CASES)))
        for i, case in enumerate(cases)
    }
    answer = message["answers"]
    return {
        case.name: {**answer[f"case{i}"], "named alike": named[case.name]}
        for i, case in enumerate(cases)
    }


def build(case: Case, tables: dict[str, pd.DataFrame]) -> Model:
    return build_model(
        case.formula,
        tables[case.data],
        weights=case.weights,
        offset=case.offset,
        subset=case.subset,
        contrasts=case.contrasts,
    )


def assert_close(ours: np.ndarray, theirs: list[float], shape: tuple[int, ...], what: str) -> None:
    expected = np.array(theirs, dtype=float).reshape(shape, order="F")
    scale = np.maximum(np.abs(expected).max(axis=0, initial=0.0), 1e-300)
    worst = np.max(np.abs(ours - expected) / scale, initial=0.0)
    assert worst <= tol("design"), f"{what} differs by {worst:.3g} of its size"


@pytest.mark.live
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_equals_lme4(
    case: Case, answers: dict[str, Any], tables: dict[str, pd.DataFrame]
) -> None:
    theirs = answers[case.name]
    assert "error" not in theirs, theirs["error"]
    ours = build(case, tables)
    assert_same_fixed_part(ours, theirs)
    assert_same_random_part(ours, theirs)


@pytest.mark.live
def test_random_formulas_give_what_lme4_gives(
    answers: dict[str, Any], tables: dict[str, pd.DataFrame]
) -> None:
    """Where lme4 builds a model, so do we, and the same one."""
    built = 0
    for case in RANDOM_CASES:
        theirs = answers[case.name]
        if "error" in theirs or any(not term["effects"] for term in theirs["terms"]):
            # Too many effects for the rows, or nothing on the left of a bar.
            with contextlib.suppress(PymackayError):
                build(case, tables)
            continue
        ours = build(case, tables)
        assert_same_fixed_part(ours, theirs)
        assert_same_random_part(ours, theirs)
        built += 1
    assert built > len(RANDOM_CASES) / 2


def assert_same_fixed_part(ours: Model, theirs: dict[str, Any]) -> None:
    n = len(theirs["rows"])
    assert [str(int(row) + 1) for row in ours.rows] == theirs["rows"]
    assert [ours.response] == theirs["response"]
    assert_close(ours.y, theirs["y"], (n,), "y")
    if theirs["named alike"]:
        assert list(ours.fixed) == theirs["fixed"]
        assert sorted(ours.dropped) == sorted(theirs["dropped"])
    assert_close(ours.X, theirs["X"], (n, len(ours.fixed)), "X")
    contrasts = {name: kind[0] for name, kind in (theirs["contrasts"] or {}).items()}
    assert ours.contrasts == contrasts
    for name in ("weights", "offset"):
        mine = getattr(ours, name)
        assert (mine is None) == (theirs[name] is None), name
        if mine is not None:
            assert_close(mine, theirs[name], (n,), name)


def assert_same_random_part(ours: Model, theirs: dict[str, Any]) -> None:
    n = len(theirs["rows"])
    if theirs["named alike"]:
        assert [t.name for t in ours.terms] == [t["name"][0] for t in theirs["terms"]]
        assert [t.group for t in ours.terms] == [t["group"][0] for t in theirs["terms"]]
    assert [list(t.effects) for t in ours.terms] == [t["effects"] for t in theirs["terms"]]
    for mine, term in zip(ours.terms, theirs["terms"], strict=True):
        assert_close(mine.columns, term["columns"], (n, len(mine.effects)), mine.name)
    if not theirs["named alike"]:
        return
    assert list(ours.factors) == list(theirs["factors"])
    for name, factor in ours.factors.items():
        assert list(factor.levels) == theirs["factors"][name]["levels"]
        assert factor.codes.tolist() == [int(c) for c in theirs["factors"][name]["codes"]]
        assert factor.codes.dtype == np.int32


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_new_data_get_the_same_columns(case: Case, tables: dict[str, pd.DataFrame]) -> None:
    """The model's own rows, given as new data in small pieces, give the model's own columns."""
    model = build(case, tables)
    data = tables[case.data]
    places = data.index.get_indexer(model.rows)
    piece = data.iloc[places[::-1][:7]]
    new = build_new(model.blueprint, piece)
    assert new.complete.all()
    assert_close(new.X, model.X[::-1][:7].ravel(order="F").tolist(), (7, len(model.fixed)), "X")
    for term, columns in zip(model.terms, new.columns, strict=True):
        expected = term.columns[::-1][:7].ravel(order="F").tolist()
        assert_close(columns, expected, columns.shape, term.name)
    for name, factor in model.factors.items():
        assert new.codes[name].tolist() == factor.codes[::-1][:7].tolist()
    assert not new.unseen
    if model.offset is not None:
        assert_close(new.offset, model.offset[::-1][:7].tolist(), (7,), "offset")
