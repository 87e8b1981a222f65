"""Reading the table that a command line names: what R would read, or an error with the cure."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.tables import read_table


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
