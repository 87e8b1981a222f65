"""Reading the table that a command line names: what R would read, or an error with the cure."""

from __future__ import annotations

import gzip
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.feather
import pyarrow.parquet
import pytest

import pymackay as pm
from pymackay.incoming.table_file import read_table


def test_name_of_a_data_set():
    pd.testing.assert_frame_equal(read_table("Rail"), pm.load_data("Rail"))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_is_read_as_r_reads_it(tmp_path, suffix):
    text = "y,g,h,k,ok\n0.1,None,a,1,TRUE\n251.40510484848491,null,,2,FALSE\nNA,é b,c,3,TRUE\n"
    path = tmp_path / f"t{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    table = read_table(str(path))
    assert table["y"].tolist()[:2] == [0.1, 251.40510484848491]
    assert np.isnan(table["y"][2])
    assert table["g"].tolist() == ["None", "null", "é b"]
    assert table["h"].isna().tolist() == [False, True, False]
    assert table["k"].dtype == np.int64
    assert table["ok"].dtype == bool
    assert not isinstance(table["g"].dtype, pd.CategoricalDtype)


def test_every_digit_of_a_double_survives(tmp_path):
    values = np.random.default_rng(1).normal(size=2000) * 10.0 ** np.arange(2000.0) ** 0.3
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "\n".join(map(repr, values.tolist())), encoding="utf-8")
    assert read_table(str(path))["x"].tolist() == values.tolist()


def test_file_with_a_data_sets_name_is_reached_by_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Rail").write_text("a\n1\n", encoding="utf-8")
    assert list(read_table("./Rail").columns) == ["a"]


BAD = {
    "empty": (b"", "is empty"),
    "header only": (b"a,b\n", "0 rows"),
    "binary": (bytes(range(128, 256)) * 9, "not UTF-8 text"),
    "zeros": (b"\0\0\0,\0\n1,2\n", "binary file"),
    "latin": ("a\né\n".encode("latin-1"), "Save it as CSV in UTF-8"),
    "twice": (b"a,b,a\n1,2,3\n", "more than one column named a"),
    "too long": (b"a,b\n1,2\n1,2,3\n", "as many fields as the header"),
    "all too long": (b"a,b\n1,2,3\n4,5,6\n", "as many fields as the header"),
    "unclosed": (b'a,b\n"1,2\n', "not a CSV table"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, kind):
    content, reason = BAD[kind]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(pm.PymackayError, match=reason) as caught:
        read_table(str(path))
    assert str(caught.value).count("data: ") == 1
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_damaged_or_unreadable_file(tmp_path, name):
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 500)[:20])
    else:
        path.symlink_to(tmp_path / "loop")
        (tmp_path / "loop").symlink_to(path)
    with pytest.raises(pm.PymackayError, match="data: "):
        read_table(str(path))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(pm.ArgumentError, match="Did you mean sleepstudy"):
        read_table("sleepstudi")
    with pytest.raises(pm.ArgumentError, match="no data set and no file"):
        read_table(str(tmp_path / "none.csv"))
    with pytest.raises(pm.ArgumentError, match="is a folder"):
        read_table(str(tmp_path))


def test_parquet_or_the_word_how_to_get_it(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(pm.PymackayError, match=r"pip install pyarrow|cannot be read"):
        read_table(str(path))


# ---- files that hold types


def typed_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": [0.1, np.nan, 3.0, 251.40510484848491],
            "k": [1, 2, 3, 4],
            "ok": [True, False, True, True],
            "s": ["a", None, "é b", "None"],
            "g": pd.Categorical(["v", "u", None, "v"], categories=["v", "u", "unused"]),
            "o": pd.Categorical(["lo", "hi", "lo", "hi"], categories=["lo", "hi"], ordered=True),
        }
    )


def check_typed(found: pd.DataFrame) -> None:
    assert found["y"].tolist()[::3] == [0.1, 251.40510484848491]
    assert found["y"].isna().tolist() == [False, True, False, False]
    assert found["k"].tolist() == [1, 2, 3, 4]
    assert found["ok"].tolist() == [True, False, True, True]
    assert found["s"].fillna("-").tolist() == ["a", "-", "é b", "None"]
    assert found["g"].cat.categories.tolist() == ["v", "u", "unused"]
    assert found["g"].isna().tolist() == [False, False, True, False]
    assert found["o"].cat.ordered


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_typed_files_keep_values_factors_and_missing_ones(tmp_path, suffix):
    getattr(typed_table(), f"to_{suffix}")(tmp_path / f"t.{suffix}")
    check_typed(read_table(str(tmp_path / f"t.{suffix}")))


R_TABLE = """
d <- data.frame(y = c(0.1, NA, 3, 251.40510484848491), k = 1:4, ok = c(TRUE, FALSE, TRUE, TRUE),
                s = c("a", NA, "\\u00e9 b", "None"),
                g = factor(c("v", "u", NA, "v"), levels = c("v", "u", "unused")),
                o = factor(c("lo", "hi", "lo", "hi"), levels = c("lo", "hi"), ordered = TRUE))
saveRDS(d, commandArgs(TRUE)[1], compress = commandArgs(TRUE)[2])
"""


@pytest.mark.live
@pytest.mark.parametrize("compressed", ["gzip", "xz", "no"])
def test_rds_of_r_keeps_them_too(tmp_path, compressed):
    how = "FALSE" if compressed == "no" else f"'{compressed}'"
    code = R_TABLE.replace("commandArgs(TRUE)[2]", how)
    path = str(tmp_path / "t.rds")
    subprocess.run(["Rscript", "--vanilla", "-e", code, path], check=True)
    check_typed(read_table(path))


def test_rds_gives_the_same_fit(tmp_path):
    import rdata

    sleep = pm.load_data("sleepstudy")
    rdata.write_rds(tmp_path / "s.rds", sleep.set_axis(range(1, 181)))
    formula = "Reaction ~ Days + (Days | Subject)"
    fit = pm.lmer(formula, read_table(str(tmp_path / "s.rds")))
    assert fit.criterion == pm.lmer(formula, sleep).criterion


IDS = [1234567890123456789, None, 5, -(2**62) - 1]


def check_ids(found: pd.Series, ids: list[int | None]) -> None:
    assert [None if pd.isna(value) else int(value) for value in found] == ids


@pytest.mark.parametrize(
    "ids",
    [
        IDS,
        [2**64 - 3, None, 1, 2],
        [None, -1, 2**64 - 3, 2],
        [10**25 + 1, None, 1, 2],
        [2**53 + 1, None, None, 1],
    ],
)
def test_whole_numbers_keep_their_digits_beside_missing_cells(tmp_path, ids):
    path = str(tmp_path / "t.csv")
    pd.DataFrame({"id": pd.Series(ids, dtype=object), "x": 1.5}).to_csv(path, index=False)
    check_ids(read_table(path)["id"], ids)
    if max(abs(i) for i in ids if i) < 2**63:
        assert read_table(path)["id"].dtype == pd.Int64Dtype()
    assert read_table(path)["x"].dtype == np.float64


@pytest.mark.parametrize("text", ["1.5", "1e18", "Inf"])
def test_numbers_that_are_not_all_whole_stay_doubles(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(f"id,x\n9007199254740993,1\n,2\n{text},3\n", encoding="utf-8")
    assert read_table(str(path))["id"].dtype == np.float64


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_ids_of_typed_files_keep_their_digits(tmp_path, suffix):
    import pyarrow as pa

    types = {"signed": pa.int64(), "decimal": pa.decimal128(30, 0), "small": pa.int64()}
    columns = {"signed": IDS, "decimal": [Decimal(10**25 + 1), None, Decimal(1), Decimal(2)]}
    columns["small"] = [1, None, 2, 3]
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in types.items()})
    table = table.append_column("unsigned", pa.array([2**64 - 1, None, 2, 3], pa.uint64()))
    path = str(tmp_path / f"t.{suffix}")
    if suffix == "parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        pyarrow.feather.write_feather(table, path)
    result = read_table(path)
    check_ids(result["signed"], IDS)
    check_ids(result["decimal"], [10**25 + 1, None, 1, 2])
    check_ids(result["unsigned"], [2**64 - 1, None, 2, 3])
    assert result["small"].dtype == np.float64


R_COLUMNS = {
    # column of six rows in R -> what is read, or what is said of it
    "structure(c(1:6) * 5e-324, class = 'integer64')": [1, 2, 3, 4, 5, 6],
    "structure(c(1:5 * 5e-324, -0), class = 'integer64')": [1, 2, 3, 4, 5, None],
    "as.Date('2024-01-01') + 0:5": [19723.0, 19724.0, 19725.0, 19726.0, 19727.0, 19728.0],
    "as.POSIXct(1:6, origin = '1970-01-01', tz = 'UTC')": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "as.difftime(c(1:5, NA), units = 'hours')": [1, 2, 3, 4, 5, None],
    "structure(1:6 + 0.5, class = c('haven_labelled', 'vctrs_vctr', 'double'))":
        [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    "c(TRUE, FALSE, NA, TRUE, TRUE, TRUE)": [True, False, None, True, True, True],
    "local({x <- '\\xe9'; Encoding(x) <- 'latin1'; c(x, NA, 'b', 'b', 'b', 'b')})":
        ["é", None, "b", "b", "b", "b"],
    "addNA(factor(c(NA, 'a', 'b', 'a', 'b', 'a')))": ["NA", "a", "b", "a", "b", "a"],
    "addNA(factor(rep(c('b', 'a'), 3)))": ["b", "a", "b", "a", "b", "a"],
    "array(1:6 + 0.5)": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    "scale(1:6)": r"column 'z' is a matrix, such as scale\(\) makes one.*as\.numeric\(d\$z\)",
    "matrix(1:12, 6)": "column 'z' is a matrix",
    "as.POSIXlt(as.POSIXct(1:6, origin = '1970-01-01'))": r"POSIXlt.*as\.POSIXct\(d\$z\)",
    "data.frame(a = 1:6, b = 1:6)": "class data.frame",
    "I(as.list(1:6))": r"column 'z' is a list .*unlist\(d\$z\)",
    "structure(1:6 * 5e-324, class = 'nanotime')": r"class nanotime.*as\.character",
    "structure(1:6 + 0.5, class = 'mine')": "class mine, which only R can read",
    "addNA(factor(c(NA, 'NA', 'b', 'a', 'b', 'a')))": 'a level NA and a level "NA"',
    "rep('\\xff\\xfe', 6)": "text in an unknown encoding",
    "as.raw(1:6)": "what only R can read, such as functions or raw bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def r_columns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    lines = [
        f"d <- data.frame(y = 1:6); d$z <- {column}; saveRDS(d, '{folder}/{k}.rds')"
        for k, column in enumerate(R_COLUMNS)
    ]
    subprocess.run(["Rscript", "--vanilla", "-e", "\n".join(lines)], check=True)
    return folder


@pytest.mark.live
@pytest.mark.parametrize("column", R_COLUMNS)
def test_a_column_of_rds_is_what_r_has_or_is_named(r_columns, column):
    path, expected = str(r_columns / f"{list(R_COLUMNS).index(column)}.rds"), R_COLUMNS[column]
    if isinstance(expected, str):
        with pytest.raises(pm.DataError, match=expected) as caught:
            read_table(path)
        assert path in str(caught.value) and "In R" in str(caught.value)
        return
    result = read_table(path)["z"]
    assert [None if pd.isna(value) else value for value in result] == expected
    if "factor" in column:
        assert sorted(result.cat.categories) == sorted(set(expected))


R_OBJECTS = {
    "lme4::lmer(y ~ 1 + (1 | g), data.frame(y = rnorm(40), g = rep(letters[1:8], 5)))": "lmerMod",
    "Matrix::sparseMatrix(1:3, 1:3, x = 1:3 + 0.5)": "dgCMatrix",
    "lm(y ~ x, data.frame(y = rnorm(9), x = 1:9))": "class lm",
    "list(a = 1, b = data.frame(x = 1))": "a list",
    "function(x) x": "a function",
    "NULL": "NULL",
}


@pytest.mark.live
@pytest.mark.parametrize("made", R_OBJECTS)
def test_what_rds_holds_is_named(tmp_path, made):
    path = str(tmp_path / "t.rds")
    code = f"set.seed(1); suppressMessages(saveRDS({made}, commandArgs(TRUE)[1]))"
    subprocess.run(["Rscript", "--vanilla", "-e", code, path], check=True)
    with pytest.raises(pm.DataError, match="does not hold a data frame, but") as caught:
        read_table(path)
    assert R_OBJECTS[made] in str(caught.value)


@pytest.mark.parametrize("kind", ["noise", "cut", "vector", "workspace"])
def test_what_is_no_data_frame_of_r_is_refused(tmp_path, kind):
    import rdata

    path = tmp_path / ("t.RData" if kind == "workspace" else "t.rds")
    rdata.write_rds(path, np.arange(3.0))
    if kind == "noise":
        path.write_bytes(b"not an R file")
    elif kind == "cut":
        rdata.write_rds(path, typed_table()[["y", "k"]].set_axis([1, 2, 3, 4]))
        path.write_bytes(path.read_bytes()[:100])
    reasons = {
        "vector": "does not hold a data frame",
        "workspace": r"saveRDS\(data, file\)",
        "noise": "not a file that R's saveRDS wrote",
        "cut": "not a file that R's saveRDS wrote",
    }
    with pytest.raises(pm.PymackayError, match=reasons[kind]) as caught:
        read_table(str(path))
    assert str(caught.value).count("data: ") == 1


@pytest.mark.parametrize(
    ("suffix", "package"), [(".parquet", "pyarrow"), (".feather", "pyarrow"), (".rds", "rdata")]
)
def test_missing_reader_is_told_with_the_cure(tmp_path, monkeypatch, suffix, package):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"PAR1")
    for name in ("pyarrow", "fastparquet", "rdata"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(pm.PymackayError, match=f"pip install {package}"):
        read_table(str(path))


# ---- paths as data


def test_a_path_is_data(tmp_path):
    table = pm.load_data("Dyestuff")
    path = tmp_path / "s.CSV"
    table.to_csv(path, index=False, sep=";")
    formula = "Yield ~ 1 + (1 | Batch)"
    criterion = pm.lmer(formula, table).criterion
    for data in (path, str(path)):
        fit = pm.lmer(formula, data)
        assert fit.criterion == criterion and fit.n_obs == 30
    recorded = pm.lme4.lmer(formula, path, source="recorded")
    assert recorded.criterion == pytest.approx(criterion, abs=1e-4)
    assert pm.predict(fit, path).tolist() == fit.fitted.tolist()


def test_what_is_no_path_gets_a_hint(tmp_path):
    with pytest.raises(pm.ArgumentError, match=r"is pymackay\.load_data\('sleepstudy'\)"):
        pm.lmer("Reaction ~ 1 + (1 | Subject)", "sleepstudy")
    with pytest.raises(pm.ArgumentError, match="no file"):
        pm.lmer("Reaction ~ 1 + (1 | Subject)", tmp_path / "none.csv")


def test_two_decimal_marks_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;1.5\n2;3\n", encoding="utf-8")
    with pytest.raises(pm.DataError, match=r"commas \(column 'a'\) and with decimal points"):
        read_table(str(path))
    assert read_table(str(path), decimal=",")["a"].tolist() == [1.5, 2.0]
    with pytest.raises(pm.ArgumentError, match="both ','"):
        read_table(str(path), sep="comma", decimal=",")


def test_commas_in_texts_are_no_separators_and_no_decimals(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('name;"x,y,z";k\n"1,5 m";0.5;1\nb;1.5;2\n', encoding="utf-8")
    table = read_table(str(path))
    assert list(table) == ["name", "x,y,z", "k"]
    assert table["x,y,z"].tolist() == [0.5, 1.5]
