"""`read_rds`: reads a data frame from a file of R's saveRDS, without R."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError

WORKSPACE = (
    "is an R workspace, which may hold many objects. In R: saveRDS(data, file) for the one data "
    "frame."
)
_NOT_RDS = "is not a file that R's saveRDS wrote"
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
}
_TOP = {b"X\n": "big", b"B\n": "little"}  # byte order of the two binary formats

# classes whose values can be used without the class, as R's model.matrix does
_PLAIN = {
    *("numeric", "integer", "double", "character", "logical", "array", "table", "ts", "AsIs"),
    *("noquote", "Date", "IDate", "POSIXct", "POSIXt", "difftime", "hms", "ITime", "yearmon"),
    *("yearqtr", "units", "labelled", "haven_labelled", "vctrs_vctr", "pseries", "factor"),
    *("ordered", "interaction", "octmode", "hexmode", "roman"),
}
_MISSING_INTEGER64 = np.iinfo(np.int64).min
_S4 = 25  # the type of an S4 object in R's serialization

# R code that converts a column with several values in a row to a vector; {0} is the column
_TO_VECTOR = {
    "POSIXlt": "{0} <- as.POSIXct({0})",
    "data.frame": "d <- cbind(d, {0})",
    "list": "{0} <- unlist({0})",
}


def read_rds(path: Path) -> pd.DataFrame:
    """Read a data frame.

    Returns
    -------
    pandas.DataFrame
        Numbers are unchanged; dates and times become the numbers that R's ``lmer`` would use,
        ``integer64`` becomes int64 (Int64 with missing values); factors keep their levels. A level
        ``NA``, made by R's `addNA`, becomes the level ``"NA"``.

    Raises
    ------
    DataError
        If the file is not from saveRDS, is damaged, does not hold a data frame, or has a column
        that is not a vector of numbers, logical values, texts or levels; the message names it.
    """
    import rdata

    content = _content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about encodings, and objects outside of the columns
            parsed = rdata.parser.parse_data(content, extension=".rds")
    except Exception as error:  # errors of many types, from wrong bytes or byte code
        _refuse_s4(content, path)
        raise DataError(
            f"data: {path} cannot be read ({type(error).__name__}: {error}). It {_NOT_RDS}, or it "
            f"is cut off or damaged, or holds what only R can read, such as functions or raw "
            f"bytes. In R: saveRDS(d[names], file) for the columns that are needed."
        ) from error
    top = _attributes(parsed.object)
    classes = _texts(top.get("class"))
    if "data.frame" not in classes or parsed.object.info.type.name != "VEC":
        raise _other(path, classes, parsed.object.info.type.name)
    encoding = parsed.extra.encoding or "utf-8"
    columns = parsed.object.value
    names = [text if isinstance(text, str) else "" for text in _texts(top.get("names"), encoding)]
    check_names(names, len(columns), path)
    read = [_column(name, item, path, encoding) for name, item in zip(names, columns, strict=True)]
    return _frame(names, read, top.get("row.names"), path)


def _content(path: Path) -> bytes:
    """Return the decompressed content; raise a `DataError` if it is not from saveRDS."""
    content = path.read_bytes()
    for start, decompress in _DECOMPRESS.items():
        if content.startswith(start):
            try:
                content = decompress(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise DataError(
                    f"data: {path} {_NOT_RDS}, or is cut off or damaged ({error}). Copy it again."
                ) from error
            break
    if content[:3] == b"RDX":
        raise DataError(f"data: {path} {WORKSPACE}")
    if content[:2] not in (*_TOP, b"A\n"):
        raise DataError(
            f"data: {path} {_NOT_RDS}. In R: saveRDS(d, file) for the data frame d, or save it as "
            f"CSV under a name that ends in .csv."
        )
    return content


def _refuse_s4(content: bytes, path: Path) -> None:
    """Raise an error that names the class if the file holds an S4 object, such as a merMod.

    The parser fails on the functions in such an object. Its class is searched in the bytes: it is
    the last attribute at the end of the file, a vector of one text with the attribute "package".
    Since lme4 2 a merMod has the covariances of its terms behind its class, with their own classes.
    """
    order = _TOP.get(content[:2], "")
    if not order:
        return
    version = int.from_bytes(content[2:6], order)  # type: ignore[arg-type]
    place = 14 if version < 3 else 18 + int.from_bytes(content[14:18], order)  # type: ignore[arg-type]
    if int.from_bytes(content[place : place + 4], order) & 0xFF == _S4:  # type: ignore[arg-type]
        class_text = rb"\0\0\x02\x10\0\0\0\x01\0\x04\0\x09\0\0\0.(?=([\w.]+))"
        classes = [m.decode() for m in re.findall(class_text, content)]
        models = [name for name in classes if "merMod" in name]
        raise _other(path, (models or classes)[-1:], "S4")


def _other(path: Path, classes: list[Any], kind: str) -> DataError:
    what = f"an object of class {classes[0]}" if classes else _KINDS.get(kind, "another object")
    return DataError(
        f"data: {path} does not hold a data frame, but {what}. In R: "
        f"saveRDS(as.data.frame(x), file), or saveRDS(model.frame(x), file) for a fitted model x."
    )


_KINDS = {"VEC": "a list", "S4": "an S4 object", "CLO": "a function", "ENV": "an environment"}
_KINDS |= {"NILVALUE": "NULL", "REAL": "numbers", "INT": "numbers", "STR": "texts"}


def check_names(names: list[str], count: int, path: Path) -> None:
    """Raise a `DataError` unless the columns of a file have names that differ."""
    if len(names) != count:
        raise DataError(f"data: {path} is damaged: {count} columns have {len(names)} names.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"data: {path} has more than one column named {', '.join(repeated)}; give every column "
            f"its own name."
        )


def _column(name: str, item: Any, path: Path, encoding: str) -> Any:
    """Return a parsed column as an array of pandas or NumPy, shape (n,)."""
    attributes = _attributes(item)
    classes = [str(text) for text in _texts(attributes.get("class"))]
    kind = item.info.type.name
    d = f"d${name}" if re.fullmatch(r"[A-Za-z.][\w.]*", name) else f"d[['{name}']]"

    def refusal(what: str, cure: str) -> DataError:
        return DataError(
            f"data: {path}: column '{name}' {what}. In R before saveRDS: {cure.format(d)}, or "
            f"leave the column out."
        )

    if kind == "VEC":
        what = f"is a list (of class {classes[0]})" if classes else "is a list"
        cure = next((c for c in classes if c in _TO_VECTOR), "list")
        raise refusal(f"{what}, which holds several values a row", _TO_VECTOR[cure])
    dim = attributes.get("dim")
    if dim is not None and len(dim.value) > 1:
        raise refusal("is a matrix, such as scale() makes one", "{0} <- as.numeric({0})")
    if kind not in _READ:
        raise refusal(f"holds {_KINDS.get(kind, kind.lower())}", "{0} <- as.numeric({0})")
    if "integer64" in classes and kind == "REAL":
        return _integer64(item.value)
    strange = [c for c in classes if c not in _PLAIN]
    if strange:
        cure = "{0} <- as.numeric({0}), or as.integer, as.character"
        raise refusal(f"is of class {strange[0]}, which only R can read", cure)
    if "factor" in classes:
        levels = _texts(attributes.get("levels"), encoding)
        return _factor(item.value, levels, "ordered" in classes, refusal)
    if kind == "STR":
        return _text(_strings(item, encoding), refusal)
    return _READ[kind](item.value)


def _integer64(doubles: np.ndarray) -> Any:
    """Return 64-bit integers, shape (n,), which R's package bit64 stores in doubles."""
    values = np.asarray(doubles, dtype=np.float64).view(np.int64)
    missing = values == _MISSING_INTEGER64
    return pd.arrays.IntegerArray(values.copy(), missing) if missing.any() else values


def _factor(
    values: np.ndarray, levels: list[Any], ordered: bool, refusal: Callable[[str, str], DataError]
) -> pd.Categorical:
    """Return a factor from R's 1-based codes, shape (n,), and its levels."""
    codes = np.ma.filled(values, 0).astype(np.int64) - 1
    if codes.size and not -1 <= codes.min() <= codes.max() < len(levels):
        raise refusal(
            f"has codes beyond its {len(levels)} levels", "{0} <- factor(as.character({0}))"
        )
    if None in levels:  # made by addNA
        used = bool((codes == levels.index(None)).any())
        if used and "NA" in levels:
            raise refusal('has a level NA and a level "NA"', "{0} <- factor({0}, exclude = NA)")
        place = levels.index(None)
        levels = [*levels[:place], *(["NA"] if used else []), *levels[place + 1 :]]
        codes = codes if used else codes - (codes > place)
    _text(levels, refusal)
    return pd.Categorical.from_codes(codes, levels, ordered=ordered)


def _text(values: list[Any], refusal: Callable[[str, str], DataError]) -> Any:
    if any(isinstance(value, bytes) for value in values):
        raise refusal("holds text in an unknown encoding", "{0} <- iconv({0}, 'latin1', 'UTF-8')")
    return pd.array(values, dtype=pd.StringDtype())


def _masked(dtype: Any) -> Callable[[np.ndarray], Any]:
    return lambda values: pd.Series(values, dtype=dtype).array


_READ: Mapping[str, Callable[[np.ndarray], Any]] = {
    "REAL": lambda values: values,
    "INT": _masked(pd.Int32Dtype()),
    "LGL": _masked(pd.BooleanDtype()),
    "CPLX": lambda values: values,
    "STR": lambda values: values,
}


def _frame(names: list[str], columns: list[Any], labels: Any, path: Path) -> pd.DataFrame:
    """Return the columns as a data frame with R's row names, or 1, 2, ..., as the index."""
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise DataError(
            f"data: {path} is damaged: its columns have from {lengths[0]} to {lengths[-1]} rows."
        )
    rows = lengths[0] if lengths else 0
    index: Any = pd.RangeIndex(1, rows + 1)
    if labels is not None and labels.info.type.name == "STR" and len(labels.value) == rows:
        index = pd.Index(_texts(labels))
    return pd.DataFrame(dict(zip(names, columns, strict=True)), index=index)


def _attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a parsed object by name, unconverted."""
    attributes = {}
    node = item.attributes
    while node is not None and node.info.type.name == "LIST":
        symbol = node.tag.referenced_object or node.tag
        attributes[symbol.value.value.decode()] = node.value[0]
        node = node.value[1]
    return attributes


def _texts(item: Any, encoding: str = "utf-8") -> list[Any]:
    """Return the texts of a parsed vector; an empty list for other objects."""
    return _strings(item, encoding) if item is not None and item.info.type.name == "STR" else []


def _strings(item: Any, encoding: str) -> list[Any]:
    """Return the texts of a vector; None if missing, bytes if the encoding is not known."""
    from rdata.conversion import convert_char

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [convert_char(text, default_encoding=encoding) for text in item.value]
