"""Data on their way to R and back: every dtype survives, or is refused with the column's name."""

from __future__ import annotations

import os
from datetime import date, time
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from pandas import Timestamp

import pymackay as pm
from pymackay.incoming.reticulate import SAFE
from pymackay.model.columns.column import Factor
from pymackay.model.columns.table import Table
from pymackay.reference.columns import NA_INTEGER, level_name, table
from pymackay.reference.r.bridge import rinterface
from pymackay.reference.r.session import session


def column(values: object, **series: object) -> object:
    return table(pd.DataFrame({"x": pd.Series(values, **series)})).columns[0]


def there_and_back(data: pd.DataFrame) -> pd.DataFrame:
    return session().call("identity", table(data)).value


# --- what a column becomes (no R)

CATEGORIES = [
    (["b", "a", "ü", ""], ("b", "a", "ü", "")),
    ([3, 1, 10], ("3", "1", "10")),
    ([0.5, 100000.0, 123456.0, 1 / 3, 2.0], ("0.5", "1e+05", "123456", "0.333333333333333", "2")),
    ([False, True], ("FALSE", "TRUE")),
    (list(pd.to_datetime(["2000-01-02"])), ("2000-01-02 00:00:00",)),
    ([("a", 1), ("b", 2)], ("('a', 1)", "('b', 2)")),
]


@pytest.mark.parametrize(("categories", "levels"), CATEGORIES)
@pytest.mark.parametrize("ordered", [False, True])
def test_categories_of_any_type_keep_their_order(
    categories: list, levels: tuple, ordered: bool
) -> None:
    codes = [len(categories) - 1, -1, *range(len(categories) - 1)]
    dtype = pd.CategoricalDtype(pd.Index(categories, tupleize_cols=False), ordered=ordered)
    result = column(pd.Categorical.from_codes(codes, dtype=dtype))
    assert result.levels == levels
    assert result.kind == ("ordered" if ordered else "factor")
    assert result.values.tolist() == [NA_INTEGER if c < 0 else c + 1 for c in codes]


def test_unused_levels_stay() -> None:
    assert column(pd.Categorical(["b"], categories=["a", "b", "c"])).levels == ("a", "b", "c")


@pytest.mark.parametrize("dtype", [object, "str", "string", "string[python]"])
def test_strings_are_factors_in_code_point_order(dtype: object) -> None:
    result = column(["b", "a", None, "B", "ä", "10", "9"], dtype=dtype)
    assert result.levels == ("10", "9", "B", "a", "b", "ä")
    assert result.values.tolist() == [5, 4, NA_INTEGER, 3, 6, 1, 2]


NUMBERS = [
    ([1, 2, 3], "int8", "integer"),
    ([1, 2, 3], "uint64", "integer"),
    ([1, None], "Int64", "integer"),
    ([2**31 - 1, -(2**31) + 1], "int64", "integer"),
    ([2**31], "int64", "double"),
    ([-(2**31)], "int64", "double"),
    ([2**31, None], "Int64", "double"),
    ([1.5, None], "Float64", "double"),
    ([1.5, np.nan], "float32", "double"),
    ([True, False], bool, "logical"),
    ([True, None], "boolean", "logical"),
    ([True, None], object, "logical"),
    ([1, None], object, "integer"),
    ([1, 2.5, None], object, "double"),
    ([None, None], object, "logical"),
    ([np.inf, -np.inf], float, "double"),
]


@pytest.mark.parametrize(("values", "dtype", "kind"), NUMBERS)
def test_numbers_and_truth_values(values: list, dtype: object, kind: str) -> None:
    result = column(values, dtype=dtype)
    assert result.kind == kind
    assert result.values.dtype == (np.float64 if kind == "double" else np.int32)
    for got, want in zip(result.values, values, strict=True):
        missing = want is None or want != want
        assert (np.isnan(got) or got == NA_INTEGER) if missing else got == want


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (pd.to_datetime(["2000-01-01"]), None),
        (pd.to_timedelta([1], unit="s"), None),
        (pd.period_range("2000", periods=1, freq="M"), None),
        (pd.interval_range(0, 1), None),
        ([1 + 2j], complex),
        ([object()], object),
        ([[1, 2]], object),
        ([1, "a"], object),
        ([b"a"], object),
        ([2**53 + 1], "int64"),
        ([2**64 - 1], "uint64"),
        (["a\0b"], object),
        (["\ud800"], object),
        (pd.Categorical(["a", "b"], categories=["a", "b"]).rename_categories([1, "1"]), None),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],  # an address would change every time
)
def test_what_r_cannot_hold_is_refused_by_name(values: object, dtype: object) -> None:
    data = pd.DataFrame({"good": [1.0] * len(values), "the bad": pd.Series(values, dtype=dtype)})
    with pytest.raises(pm.DataError, match="'the bad'"):
        table(data)


def test_names_that_r_cannot_hold_are_refused() -> None:
    with pytest.raises(pm.DataError, match="more than one column is called 'x'"):
        table(pd.DataFrame([[1, 2]], columns=["x", "x"]))
    with pytest.raises(pm.DataError, match="called 0, which is not a string"):
        table(pd.DataFrame([[1]]))
    with pytest.raises(pm.DataError, match="NUL"):
        table(pd.DataFrame({"a\0": [1]}))


def test_sparse_columns_become_dense() -> None:
    result = column(pd.arrays.SparseArray([1.0, 0.0, np.nan]))
    assert result.kind == "double"
    np.testing.assert_array_equal(result.values, [1.0, 0.0, np.nan])


def arrow_dictionary(levels: list, ordered: bool = False) -> pd.Series:
    codes = pa.array([0, 1, None, 0], type=pa.int8())
    values = pa.DictionaryArray.from_arrays(codes, pa.array(levels), ordered=ordered)
    return pd.Series(pd.arrays.ArrowExtensionArray(values))


READ_ALIKE = {
    "decimals": [Decimal("1.50"), None, Decimal("-2"), Decimal("NaN")],
    "decimals of Arrow": pd.array(
        [Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(10, 3))
    ),
    "dictionary of Arrow": arrow_dictionary(["z", "a", "unused"]),
    "ordered dictionary of Arrow": arrow_dictionary(["lo", "hi"], ordered=True),
    "numbers in a dictionary": arrow_dictionary([7, 3]),
    "text of Arrow": pd.array(["b", "a", None], dtype=pd.ArrowDtype(pa.string())),
    "truth values of Arrow": pd.array([True, None], dtype=pd.ArrowDtype(pa.bool_())),
    "integers of Arrow": pd.array([1, None], dtype=pd.ArrowDtype(pa.int32())),
    "text, all missing": pd.array([None, None], dtype="string"),
    "half precision": np.array([1.5, 2.0], dtype=np.float16),
    "numbers as categories": pd.Categorical([0.1, 1e5, 1e-5, 2.0]),
    "large integers as categories": pd.Categorical([3_000_000_000, 1]),
    "larger integers as categories": pd.Categorical([10**15, 10**16 + 1]),
    "decimals as categories": pd.Categorical([Decimal("1.50"), Decimal("2")]),
    "truth values as categories": pd.Categorical([True, False]),
    "intervals as categories": pd.cut(pd.Series([1.0, 2.0, 3.0]), 2),
    "R's missing integer": np.array([1, -(2**31), 3], dtype=np.int32),
}


@pytest.mark.parametrize("kind", READ_ALIKE)
def test_what_our_own_reader_takes_r_gets_as_the_same(kind: str) -> None:
    data = pd.DataFrame({"x": READ_ALIKE[kind]})
    ours, theirs = Table(data).column("x"), column(READ_ALIKE[kind])
    if isinstance(ours, Factor):
        codes = [None if code == NA_INTEGER else code for code in theirs.values.tolist()]
        first = 0 if theirs.kind == "logical" else 1
        assert codes == [None if code < 0 else code + first for code in ours.codes.tolist()]
        assert theirs.levels == (() if theirs.kind == "logical" else ours.levels)
    else:
        np.testing.assert_array_equal(theirs.as_doubles(), ours.floats)


@pytest.mark.parametrize("value", [UUID(int=1), date(2024, 1, 1), time(12), Timestamp("2024")])
def test_objects_of_one_type_are_called_by_it(value: object) -> None:
    data = pd.DataFrame({"g": pd.Series([value, None], dtype=object)})
    with pytest.raises(pm.DataError, match=r"'g' holds objects that are (?!mixed).*astype\(str\)"):
        table(data)


# --- what reticulate makes of R's missing values


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (np.array([True, False]), "NA becomes True"),
        (pd.Series(["lo", "NA"], dtype=object), "missing text"),
        (pd.Series(["lo", "NA"], dtype="str"), "missing text"),
    ],
)
def test_missing_values_that_reticulate_loses_are_warned_of(values, lost, monkeypatch) -> None:
    data = pd.DataFrame({"x": values})
    table(data)  # a Python that no R has started has nothing to lose
    monkeypatch.setenv("R_SESSION_INITIALIZED", f"PID={os.getpid()}:NAME=reticulate")
    for read in (table, lambda given: Table(given).column("x")):
        with pytest.warns(pm.errors.PymackayWarning, match=f"column 'x' came from R.*{lost}"):
            read(data)
    safe = pd.DataFrame({"x": ["lo", "hi"], "n": [1.5, 2.5]})
    data.attrs[SAFE] = True  # it came through frame()
    table(data)
    table(safe)


def test_missing_integers_of_reticulate_are_missing(monkeypatch) -> None:
    wide = pd.Series([1, -(2**31)])
    assert column(wide).kind == "double"
    monkeypatch.setenv("R_SESSION_INITIALIZED", f"PID={os.getpid()}:NAME=reticulate")
    assert column(wide).values.tolist() == [1, NA_INTEGER]


# --- checksums


def test_a_checksum_sees_meaning_only() -> None:
    assert column([1, 2, 0]).sha256() == column([1.0, 2.0, -0.0]).sha256()
    assert column(["a", "b"]).sha256() == column(pd.Categorical(["a", "b"])).sha256()
    assert column([1, None], dtype="Int64").sha256() == column([1.0, np.nan]).sha256()


def test_a_checksum_sees_every_difference_in_meaning() -> None:
    different = [
        column([1, 0]),
        column([1, 2]),
        column([1, np.nextafter(2.0, 3.0)]),
        column([1, None]),
        column([True, False]),
        column(["1", "2"]),
        column(pd.Categorical(["1", "2"], ordered=True)),
        column(pd.Categorical(["1", "2"], categories=["2", "1"])),
        column(pd.Categorical(["1", "2"], categories=["1", "2", "3"])),
        column(pd.Categorical(["1", "1"], categories=["1", "2"])),
        column(pd.Categorical(["12"], categories=["12"])),
    ]
    assert len({result.sha256() for result in different}) == len(different)


# --- through R


@pytest.mark.live
def test_level_names_are_r_s_own() -> None:
    values = [0.1, 1 / 3, 1e5, 123456.0, 1e-5, 0.0001, 1e15, 1e16, 2.5e-300, 1e300, 100.0, -0.5]
    values += [-1e5, 1234567.891, 0.1 + 0.2, 3.0, np.inf, 2**53 + 0.0, 12345678901234.5]
    result = session().call("as.character", np.array(values)).value
    assert [level_name(value) for value in values] == result


EVERYTHING = pd.DataFrame(
    {
        "double": [1.5, np.nan, -0.0],
        "integer": [1, -5, 2**31 - 1],
        "integer NA": pd.array([1, None, -(2**31) + 1], dtype="Int64"),
        "logical": [True, False, True],
        "logical NA": pd.array([True, None, False], dtype="boolean"),
        "größe µ 変数": pd.Categorical(["é", None, "b c"], categories=["z", "b c", "é", ""]),
        "ordered": pd.Categorical(["lo", "hi", "lo"], categories=["lo", "mid", "hi"], ordered=True),
        "NA": pd.Categorical(["NA", None, "NA"]),
    }
)


@pytest.mark.live
def test_everything_comes_back_as_it_was() -> None:
    pd.testing.assert_frame_equal(there_and_back(EVERYTHING), EVERYTHING, check_categorical=True)


@pytest.mark.live
def test_r_sees_what_was_meant() -> None:
    call = session().call
    frame = table(EVERYTHING)
    classes = {name: kind[-1] for name, kind in call("lapply", frame, "class").value.items()}
    assert (
        list(classes.values())
        == ["numeric", "integer", "integer", "logical", "logical"] + ["factor"] * 3
    )
    assert call("names", frame).value == list(EVERYTHING.columns)
    missing = {
        name: result.tolist() for name, result in call("lapply", frame, "is.na").value.items()
    }
    assert missing == {name: EVERYTHING[name].isna().tolist() for name in EVERYTHING}
    assert call("row.names", frame).value == ["1", "2", "3"]
    levels = call("lapply", frame, "levels").value
    assert levels["größe µ 変数"] == ["z", "b c", "é", ""]
    assert call("lapply", frame, "is.ordered").value["ordered"].tolist() == [True]


@pytest.mark.live
@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001])
@pytest.mark.parametrize("odd", ["", "NA", "a\x1fb", "ü"])
def test_long_level_tables_survive(n: int, odd: str) -> None:
    levels = [*(f"l{i}" for i in range(n)), odd]
    data = pd.DataFrame({"g": pd.Categorical([odd], categories=levels)})
    assert list(there_and_back(data)["g"].cat.categories) == levels


@pytest.mark.live
def test_frames_without_rows_or_columns() -> None:
    empty = EVERYTHING.iloc[:0]
    assert there_and_back(empty).shape == (0, len(EVERYTHING.columns))
    assert there_and_back(pd.DataFrame({"x": []}, dtype=float)).shape == (0, 1)


@pytest.fixture
def strict_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rpy2 refuse buffers without elements, as it does where its extension is compiled."""

    def refusing(original):
        def memoryview_of(vector):
            if not len(vector):
                raise TypeError("memoryview: cannot cast view with zeros in shape or strides")
            return original(vector)

        return memoryview_of

    session()  # R has started
    for name in ("FloatSexpVector", "IntSexpVector", "BoolSexpVector"):
        kind = getattr(rinterface(), name)
        monkeypatch.setattr(kind, "memoryview", refusing(kind.memoryview))


@pytest.mark.live
@pytest.mark.parametrize(
    ("asked", "shape", "dtype"),
    [
        (("vector", "numeric", 0), (0,), np.float64),
        (("vector", "integer", 0), (0,), np.int32),
        (("vector", "logical", 0), (0,), np.bool_),
        (("matrix", 1.5, 0, 3), (0, 3), np.float64),
        (("matrix", 1, 2, 0), (2, 0), np.int32),
    ],
    ids=str,
)
def test_vectors_without_elements(strict_buffers, asked, shape, dtype) -> None:
    got = session().call(*asked).value
    assert (got.shape, got.dtype) == (shape, dtype)


@pytest.mark.live
def test_frames_without_rows_whatever_rpy2(strict_buffers) -> None:
    got = there_and_back(EVERYTHING.iloc[:0])
    assert (len(got), list(got.columns)) == (0, list(EVERYTHING.columns))
    assert list(got["ordered"].cat.categories) == list(EVERYTHING["ordered"].cat.categories)


@pytest.mark.live
def test_a_fit_keeps_unicode_spaces_and_the_order_of_levels() -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "die Größe": rng.normal(size=60),
            "x y": rng.normal(size=60),
            "grüppe": pd.Categorical(
                rng.choice(["ж", "a b", "z"], 60), categories=["z", "unused", "ж", "a b"]
            ),
        }
    )
    fit = pm.lme4.lmer("`die Größe` ~ `x y` + (1 | grüppe)", data, source="live")
    assert fit.model.levels == {"grüppe": ("z", "ж", "a b")}
    assert list(fit.beta.index) == ["(Intercept)", "`x y`"]
    assert fit.theta.index[0] == "grüppe.(Intercept)"


@pytest.mark.live
def test_strings_are_grouped_in_code_point_order_whatever_the_locale() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": rng.normal(size=40), "g": rng.choice(["b", "B", "a", "A", "_"], 40)})
    data["h"] = np.tile(["1", "2", "3", "4"], 10)
    data["y"] += data["h"].astype(float)
    fit = pm.lme4.lmer("y ~ 1 + (1 | g)", data, source="live")
    assert fit.model.levels["g"] == ("A", "B", "_", "a", "b")
    made_in_r = pm.lme4.lmer("y ~ 0 + factor(paste(g)) + (1 | h)", data, source="live")
    assert list(made_in_r.beta.index) == [f"factor(paste(g)){level}" for level in "AB_ab"]


@pytest.mark.live
def test_missing_rows_are_dropped_and_the_rest_keep_their_labels() -> None:
    data = pm.load_data("sleepstudy").astype({"Days": "Int64"})
    data.loc[[3, 50], "Reaction"] = np.nan
    data.loc[7, "Days"] = pd.NA
    data.loc[9, "Subject"] = np.nan
    data.index = [f"r{i}" for i in data.index]
    fit = pm.lme4.lmer("Reaction ~ Days + (Days | Subject)", data, source="live")
    expected = [label for label in data.index if label not in ("r3", "r50", "r7", "r9")]
    assert list(fit.fitted.index) == list(fit.residuals.index) == list(fit.model.rows) == expected
    np.testing.assert_allclose(fit.fitted + fit.residuals, data.loc[expected, "Reaction"])


@pytest.mark.live
def test_a_million_rows_cross_both_ways_exactly() -> None:
    n = 1_000_000
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "i": rng.integers(0, 100, n),
            "b": rng.random(n) < 0.5,
            "g": pd.Categorical.from_codes(
                rng.integers(0, 50_000, n), [f"level {i}" for i in range(50_000)]
            ),
            "o": pd.Categorical.from_codes(rng.integers(0, 5, n), list("edcba"), ordered=True),
        }
    )
    kept = session().call("keep", table(data)).value
    returned = session().call("recall", int(kept[0])).value
    session().call("forget", int(kept[0]))
    pd.testing.assert_frame_equal(returned, data, check_exact=True)


@pytest.mark.live
def test_tables_of_polars_are_taken_on_both_sides() -> None:
    data = pm.load_data("Dyestuff")
    table = polars.from_pandas(data)
    ours = pm.lmer("Yield ~ 1 + (1 | Batch)", table)
    theirs = pm.lme4.lmer("Yield ~ 1 + (1 | Batch)", table, source="live")
    assert pm.compare(ours, theirs).verdict == "same optimum"
