"""The data sets that come along, as R has them: levels in R's order, every digit of a double."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from pymackay._resources import data_path
from pymackay.errors import ArgumentError
from pymackay.simulated import simulate_crossed

__all__ = ["DataColumn", "DataInfo", "data_info", "list_data", "load_data", "simulate_crossed"]


@dataclass(frozen=True)
class DataColumn:
    """One column of a data set.

    Attributes
    ----------
    name : str
    type : str
        What it is in R: ``"numeric"``, ``"integer"``, ``"factor"`` or ``"ordered"``.
    levels : tuple of str
        The factor's levels in R's order; empty for numbers.
    """

    name: str
    type: str
    levels: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype | pd.CategoricalDtype:
        """The pandas type that says the same."""
        if self.type in ("factor", "ordered"):
            return pd.CategoricalDtype(list(self.levels), ordered=self.type == "ordered")
        return np.dtype(np.int64 if self.type == "integer" else np.float64)


@dataclass(frozen=True)
class DataInfo:
    """What is known of one data set.

    Attributes
    ----------
    name, description : str
    package, version : str
        The R package that it was exported from.
    licence : str
        The licence of that package, which the data keep.
    rows : int
    columns : tuple of DataColumn
    file : str
        Name of the file under ``data/``.
    sha256 : str
        Checksum of the uncompressed CSV text.
    """

    name: str
    description: str
    package: str
    version: str
    licence: str
    rows: int
    columns: tuple[DataColumn, ...]
    file: str
    sha256: str


def list_data() -> list[str]:
    """Return the names that `load_data` knows.

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.list_data()[:4]
    ['sleepstudy', 'Dyestuff', 'Dyestuff2', 'Penicillin']
    """
    return list(_catalogue())


def data_info(name: str) -> DataInfo:
    """Return source, licence and columns of a data set.

    Parameters
    ----------
    name : str
        One of `list_data`.

    Raises
    ------
    ArgumentError
        If there is no data set of that name.

    Examples
    --------
    >>> data_info("Rail").columns[0].levels
    ('2', '5', '1', '6', '3', '4')
    """
    catalogue = _catalogue()
    if not isinstance(name, str) or name not in catalogue:
        raise ArgumentError(_unknown(name, list(catalogue)))
    return catalogue[name]


def load_data(name: str) -> pd.DataFrame:
    """Return a data set as a new data frame.

    Factors are `pandas.Categorical` with R's levels in R's order, ordered where R's are ordered;
    R's integers are int64, its doubles the same float64.

    Parameters
    ----------
    name : str
        One of `list_data`.

    Raises
    ------
    ArgumentError
        If there is no data set of that name; the message lists the names.

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.load_data("sleepstudy").head(2)
       Reaction  Days Subject
    0  249.5600   0.0     308
    1  258.7047   1.0     308
    """
    return _read(data_info(name)).copy()


@cache
def _catalogue() -> Mapping[str, DataInfo]:
    raw = json.loads(data_path("datasets.json").read_text(encoding="utf-8"))
    return {name: _info(name, entry) for name, entry in raw.items()}


def _info(name: str, entry: dict) -> DataInfo:
    columns = tuple(
        DataColumn(column["name"], column["type"], tuple(column.get("levels", ())))
        for column in entry.pop("columns")
    )
    return DataInfo(name=name, columns=columns, **entry)


@cache
def _read(info: DataInfo) -> pd.DataFrame:
    numeric = [column.name for column in info.columns if column.type == "numeric"]
    return pd.read_csv(
        data_path(info.file),
        dtype={column.name: column.dtype for column in info.columns if column.name not in numeric},
        # Python's own float: pandas' default reader was off by an ulp before its version 3
        converters=dict.fromkeys(numeric, float),
        keep_default_na=False,
        encoding="utf-8",
    )


def _unknown(name: object, known: list[str]) -> str:
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(str(name).casefold(), list(by_folded), n=3)
    hint = f" Did you mean {' or '.join(by_folded[key] for key in near)}?" if near else ""
    return f"name: there is no data set {name!r}.{hint} The data sets are {', '.join(known)}."
