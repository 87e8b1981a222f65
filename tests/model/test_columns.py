"""Columns of every type that pandas, Arrow and polars have: exact names of groups, or an error."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
from design_tables import grouped_table

from pymackay.errors import ArgumentError, DataError
from pymackay.model.columns.column import Numeric, as_factor
from pymackay.model.columns.table import Table, read_column
from pymackay.model.design.build import build_model
from pymackay.model.design.many_responses import build_many
from pymackay.model.design.new_data import build_new

pa = pytest.importorskip("pyarrow")

BIG = 1_234_567_890_123_456_700
IDS = [BIG + k for k in (3, 1, 2, 3, 1)]


def with_gap(values: list[Any]) -> list[Any]:
    return [*values, None]


EXACT = {
    "Int64": lambda: pd.array(with_gap(IDS), dtype="Int64"),
    "UInt64": lambda: pd.array(with_gap(IDS), dtype="UInt64"),
    "int64[pyarrow]": lambda: pd.array(with_gap(IDS), dtype="int64[pyarrow]"),
    "objects": lambda: pd.Series(with_gap(IDS), dtype=object),
    "objects with nan": lambda: pd.Series([*IDS, np.nan], dtype=object),
    "list": lambda: with_gap(IDS),
    "decimals": lambda: pd.Series([decimal.Decimal(i) for i in IDS] + [None], dtype=object),
    "decimal128": lambda: pd.array(
        with_gap([decimal.Decimal(i) for i in IDS]), dtype=pd.ArrowDtype(pa.decimal128(25, 2))
    ),
    "Arrow array": lambda: pa.chunked_array([pa.array(with_gap(IDS))]),
    "categories": lambda: pd.Categorical(with_gap(IDS)),
    "text": lambda: [*map(str, IDS), None],
}


@pytest.mark.parametrize("kind", EXACT)
def test_large_integers_with_a_missing_one_stay_exact(kind: str) -> None:
    column = read_column(EXACT[kind](), "id")
    missing = column.missing()
    assert missing is not None and missing.tolist() == [False] * 5 + [True]
    factor = as_factor(column, "id")
    assert factor.levels == tuple(str(BIG + k) for k in (1, 2, 3))
    assert factor.codes.tolist() == [2, 0, 1, 2, 0, -1]
    some = as_factor(column.take(np.array([1, 5])), "id")
    assert some.levels == (str(BIG + 1),) and some.codes.tolist() == [0, -1]


def test_numbers_with_missing_ones_are_nan_where_numbers_are_needed() -> None:
    column = read_column(pd.array([3, None, -1], dtype="Int64"), "x")
    assert isinstance(column, Numeric) and column.integer
    np.testing.assert_array_equal(column.floats, [3.0, np.nan, -1.0])
    model = build_model(
        "y ~ x + I(x * 2 > 3) + (1 | g)",
        grouped_table(x=pd.array([None, *range(11)], dtype="Int64")),
    )
    np.testing.assert_array_equal(model.X[:, 1], np.arange(11.0))
    np.testing.assert_array_equal(model.X[:, 2], np.arange(11.0) > 1.5)


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "objects", "decimals"])
def test_groups_and_new_rows_by_large_integers(kind: str) -> None:
    make = EXACT[kind]
    ids = read_column(make(), "id")
    data = grouped_table(id=pd.Series(make()).iloc[[0, 1, 2, 3, 4, 5] * 2].reset_index(drop=True))
    model = build_model("y ~ x + (1 | id)", data)
    assert len(model.y) == 10 and len(model.factors["id"].levels) == 3
    new = build_new(model.blueprint, {"x": [1.0, 2.0], "id": [BIG + 2, BIG + 9]})
    assert new.codes["id"].tolist() == [1, -1]
    assert ids.missing() is not None


@pytest.mark.parametrize(
    "values",
    [
        np.array([*map(float, IDS), np.nan]),
        pd.array([*map(float, IDS), None], dtype="Float64"),
        pd.Series([*IDS[:-1], 1.5, np.nan], dtype=object),
        [decimal.Decimal("0.12345678901234567"), decimal.Decimal("0.12345678901234568"), None],
    ],
)
def test_numbers_that_lost_digits_cannot_name_groups(values: Any) -> None:
    column = read_column(values, "id")
    assert isinstance(column, Numeric) and np.isfinite(column.floats[0])
    with pytest.raises(DataError, match=r"'id' cannot name groups: .*'Int64'"):
        as_factor(column, "id")


def test_integers_beyond_64_bits_are_refused() -> None:
    for value in (2**64, -(2**63) - 1):
        with pytest.raises(DataError, match=r"'id' holds integers beyond 64 bits.*astype\(str\)"):
            read_column([value, 1, None], "id")
    assert as_factor(read_column([2**64 - 1, 1, None], "id"), "id").levels == ("1", str(2**64 - 1))


DAYS = [datetime.date(2024, 1, d) for d in (9, 10, 9)]
MADE = {
    "UUID": ([uuid.UUID(int=k) for k in (2, 10, 2)], "UUID"),
    "date": (DAYS, "date"),
    "date32": (pd.array(DAYS, dtype=pd.ArrowDtype(pa.date32())), "date"),
    "datetime": (
        pd.to_datetime(["2024-01-09 00:00", "2024-01-10 12:00", "2024-01-09 00:00"]),
        "datetime64",
    ),
    "timestamp[pyarrow]": (
        pd.array(DAYS, dtype=pd.ArrowDtype(pa.timestamp("ns"))),
        "timestamp",
    ),
    "zone": (pd.to_datetime(DAYS).tz_localize("UTC"), "datetime64"),
    "period": (pd.PeriodIndex(["2024-01", "2024-02", "2024-01"], freq="M"), "period"),
    "timedelta": (pd.to_timedelta([9, 10, 9], unit="D"), "timedelta64"),
    "time": ([datetime.time(9), datetime.time(10), datetime.time(9)], "time"),
    "interval": (pd.arrays.IntervalArray.from_tuples([(9, 10), (10, 11), (9, 10)]), "interval"),
}
TEXTS = {
    "UUID": (str(uuid.UUID(int=2)), str(uuid.UUID(int=10))),
    "datetime": ("2024-01-09", "2024-01-10 12:00:00"),
    "zone": ("2024-01-09 00:00:00+00:00", "2024-01-10 00:00:00+00:00"),
    "period": ("2024-01", "2024-02"),
    "timedelta": ("9 days", "10 days"),
    "time": ("09:00:00", "10:00:00"),
    "interval": ("(9, 10]", "(10, 11]"),
}


@pytest.mark.parametrize("kind", MADE)
def test_dates_and_the_like_name_groups_but_are_no_numbers(kind: str) -> None:
    values, held = MADE[kind]
    data = grouped_table(d=pd.Series(values).iloc[[0, 1, 2] * 4].reset_index(drop=True))
    model = build_model("y ~ x + factor(d) + (1 | d)", data)
    levels = model.factors["d"].levels
    assert levels == TEXTS.get(kind, ("2024-01-09", "2024-01-10"))
    assert model.factors["d"].codes.tolist() == [0, 1, 0] * 4
    new = build_new(model.blueprint, data.iloc[[1]])
    assert new.codes["d"].tolist() == [1] and new.X[0].tolist() == model.X[1].tolist()
    with pytest.raises(DataError, match=rf"'d' holds values of type {held}.*write factor\(d\)"):
        build_model("y ~ d + (1 | g)", data)
    with pytest.raises(DataError, match=rf"'d' holds values of type {held}"):
        build_model("y ~ x + (d | g)", data)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([b"a", b"b", None], "bytes"),
        ([1, "a", None], "int and str"),
        ([{"a": 1}, {}, None], "dict"),
        ([datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), None], "datetime.date and"),
        ([1j, 2j, None], "complex"),
    ],
)
def test_a_type_that_no_model_can_use_is_named(values: list[Any], held: str) -> None:
    with pytest.raises(DataError, match=f"'v' holds values of type {held}"):
        read_column(pd.Series(values, dtype=object), "v")


def test_the_order_of_an_arrow_dictionary_is_kept() -> None:
    values = pa.DictionaryArray.from_arrays([1, 0, 2, None], ["z", "b", "a"])
    for column in (values, pd.Series(values, dtype=pd.ArrowDtype(values.type)), values.to_pandas()):
        assert as_factor(read_column(column, "f"), "f").levels == ("z", "b", "a")


def foreign_tables() -> dict[str, Any]:
    polars = pytest.importorskip("polars")
    table = grouped_table(id=pd.array([None, *IDS, *IDS, BIG], dtype="Int64"))
    frame = polars.from_pandas(table)
    return {
        "polars": frame,
        "pyarrow": frame.to_arrow(),
        "mapping of polars": {name: frame[name] for name in frame.columns},
        "mapping of pyarrow": {name: frame[name].to_arrow() for name in frame.columns},
        "pandas": table,
    }


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "mapping of polars", "mapping of pyarrow"])
def test_tables_of_polars_and_pyarrow(kind: str) -> None:
    tables = foreign_tables()
    data, formula = tables[kind], "y ~ x + f + (x | g) + (1 | id)"
    expected = build_model("y ~ x + f + (x | g) + (1 | id)", tables["pandas"], weights="x + 1")
    model = build_model(formula, data, weights="x + 1")
    np.testing.assert_array_equal(model.X, expected.X)
    assert model.fixed == expected.fixed
    for name, factor in expected.factors.items():
        assert model.factors[name].levels == factor.levels
        np.testing.assert_array_equal(model.factors[name].codes, factor.codes)
    new = build_new(model.blueprint, data)
    np.testing.assert_array_equal(new.codes["id"][1:], expected.factors["id"].codes)
    many, _, _ = build_many("~ x + (1 | g)", data, np.ones((12, 2)), {})
    assert len(many.y) == 12


class Elsewhere:
    def toPandas(self) -> None: ...


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Elsewhere(), r"not .*test_columns.Elsewhere; pass data.toPandas\(\)"),
        (pd.Series([1.0]), r"not pandas\..*Series; pass data.to_frame\(\)"),
        (np.ones((3, 2)), r"not numpy.ndarray; make one with pandas.DataFrame"),
        ([1, 2], "not list; make one"),
    ],
)
def test_another_table_is_refused_by_the_name_of_its_type(data: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Table(data)


def test_a_lazy_frame_is_refused_with_the_cure() -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(ArgumentError, match=r"LazyFrame.*; pass data.collect\(\)"):
        Table(polars.LazyFrame({"a": [1]}))


def test_columns_without_names_are_told() -> None:
    with pytest.raises(DataError, match="no column 'y'; they have none that is named by text"):
        build_model("y ~ 1 + (1 | g)", pd.DataFrame(np.ones((3, 2))))


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match="more than one column called 'a'"):
        Table(table)


NUMBERS = [f"{k / 10}" for k in range(1, 10)]


def with_text(labels: list[str]) -> pd.DataFrame:
    table = pd.concat([grouped_table()] * 5, ignore_index=True)
    return table.assign(dose=np.resize(labels, len(table)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([*NUMBERS, "<0.1"], "9 of its 10 labels are numbers, and '<0.1' is not"),
        ([*NUMBERS, "ND", "nan"], "9 of its 11 labels are numbers, and 'ND', 'nan' are not"),
        (NUMBERS, "all 9 of its labels are numbers"),
        (["1,5", "2,5", "-3,1e2", "x"], "3 of its 4 labels are numbers, and 'x' is not"),
    ],
)
@pytest.mark.parametrize("formula", ["y ~ dose + (1 | g)", "y ~ x:dose + (1 | g)"])
def test_a_text_column_of_numbers_is_told(formula: str, labels: list[str], message: str) -> None:
    (told,) = build_model(formula, with_text(labels)).messages
    assert re.search(f"'dose' holds text.*{message}.*to_numeric.*write factor\\(dose\\)", told)


@pytest.mark.parametrize(
    ("formula", "labels"),
    [
        ("y ~ factor(dose) + (1 | g)", [*NUMBERS, "<0.1"]),
        ("y ~ x + (1 | dose)", [*NUMBERS, "<0.1"]),
        ("y ~ dose + (1 | g)", ["low", "1", "2"]),
        ("y ~ dose + (1 | g)", ["1", "2"]),
    ],
)
def test_nothing_is_said_of_other_text(formula: str, labels: list[str]) -> None:
    assert build_model(formula, with_text(labels)).messages == ()


def test_more_coefficients_than_rows_are_explained_by_text() -> None:
    labels = [*(str(k) for k in range(59)), "<0.1"]
    with pytest.raises(DataError, match=r"60 columns for 60 rows.*59 of its 60 labels are num"):
        build_model("y ~ dose + (1 | g)", with_text(labels))


def test_a_response_of_text_names_what_is_no_number() -> None:
    with pytest.raises(DataError, match=r"response 'dose' holds text.*'<0.1' is not"):
        build_model("dose ~ x + (1 | g)", with_text([*NUMBERS, "<0.1"]))
