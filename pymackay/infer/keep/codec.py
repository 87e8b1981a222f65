"""Converts the values of a fit to JSON and arrays, and back; only listed types, and no code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.residual.estimate import ResidualCovariance
from pymackay.covariance.structure import Structure
from pymackay.covariance.structures import STRUCTURES
from pymackay.errors import DataError, RecordingError
from pymackay.family.family import Observations
from pymackay.family.general import General
from pymackay.family.named import FAMILIES
from pymackay.incoming.parts import check_type
from pymackay.model.bases.polynomial import PolynomialBasis
from pymackay.model.bases.splines import BSplineBasis, NaturalSplineBasis
from pymackay.model.columns.column import Contrasts, Factor, Numeric
from pymackay.model.model import GroupingFactor, RandomTerm
from pymackay.results import Convergence, Engine, ModelSummary, TermSummary
from pymackay.solve.iterative.control import IterativeControl

_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        BSplineBasis,
        Contrasts,
        Convergence,
        Engine,
        Factor,
        General,
        GroupingFactor,
        IterativeControl,
        ModelSummary,
        NaturalSplineBasis,
        Numeric,
        Observations,
        PolynomialBasis,
        RandomTerm,
        ResidualCovariance,
        TermSummary,
        *FAMILIES.values(),
        *STRUCTURES.values(),
    )
}
_LATER = {"structure": (None, ""), "hom": (False,), "times": ((),), "known": ((),), "rank": (0,)}
"""Fields that earlier versions lack, with the values at which they are left out."""

_NUMERIC = "biuf"


class Encoder:
    """Converts values to JSON, with arrays replaced by names.

    Attributes
    ----------
    arrays : dict of str to numpy.ndarray
        The arrays by the names that the JSON has.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def encode(self, value: Any) -> Any:
        """Return `value` as JSON.

        Raises
        ------
        DataError
            If the format has no such type.
        """
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, np.generic):
            return self.encode(value.item())
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item) for item in value]}
        if isinstance(value, Mapping):
            return {"dict": {_text_key(k): self.encode(v) for k, v in value.items()}}
        if isinstance(value, pd.Index):
            return {"index": self.index(value)}
        if isinstance(value, pd.Series):
            parts = [self.index(value.index), self.column(value), self.encode(value.name)]
            return {"series": parts}
        if isinstance(value, pd.DataFrame):
            return {"frame": self.frame(value)}
        if type(value).__name__ in _CLASSES and type(value) is _CLASSES[type(value).__name__]:
            return {"object": type(value).__name__, "fields": self.fields(value)}
        raise DataError(f"a {type(value).__name__} cannot be saved: the format has no such kind")

    def array(self, values: np.ndarray) -> Any:
        """Store an array of numbers and return its name; an array of other values becomes JSON."""
        if values.dtype.kind in _NUMERIC:
            name = f"a{len(self.arrays):04}"
            self.arrays[name] = values
            return {"array": name}
        return {"objects": [self.encode(item) for item in values.tolist()]}

    def fields(self, value: Any) -> dict[str, Any]:
        """Return the fields that a class is made from."""
        if isinstance(value, Structure):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: self.encode(getattr(value, name)) for name in names}
        return {
            field.name: self.encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init and getattr(value, field.name) not in _LATER.get(field.name, ())
        }

    def frame(self, value: pd.DataFrame) -> dict[str, Any]:
        """Return a table column by column."""
        return {
            "rows": self.index(value.index),
            "columns": self.index(value.columns),
            "values": [self.column(value.iloc[:, k]) for k in range(value.shape[1])],
        }

    def column(self, value: pd.Series) -> Any:
        """Return the values of a column."""
        return self.array(value.to_numpy())

    def index(self, index: pd.Index) -> dict[str, Any]:
        """Return labels with their type."""
        name = self.encode(tuple(index.names) if index.nlevels > 1 else index.name)
        if isinstance(index, pd.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "name": name}
        if isinstance(index, pd.MultiIndex):
            levels = [self.index(level) for level in index.levels]
            codes = [self.array(np.asarray(code)) for code in index.codes]
            return {"levels": levels, "codes": codes, "name": name}
        if isinstance(index, pd.CategoricalIndex):
            return {
                "categories": self.index(index.categories),
                "codes": self.array(index.codes),
                "ordered": bool(index.ordered),
                "name": name,
            }
        if isinstance(index, pd.DatetimeIndex):
            zone = None if index.tz is None else str(index.tz)
            details = {"unit": index.unit, "zone": zone, "every": index.freqstr, "name": name}
            return {"times": self.array(index.asi8), **details}
        if isinstance(index.dtype, np.dtype) and index.dtype.kind in _NUMERIC:
            return {"values": self.array(index.to_numpy()), "name": name}
        if index.dtype == object or isinstance(index.dtype, pd.StringDtype):
            kind = "object" if index.dtype == object else "text"
            labels = [None if label is pd.NA else self.encode(label) for label in index.tolist()]
            return {"labels": labels, "kind": kind, "name": name}
        raise DataError(
            f"rows labelled by {index.dtype} cannot be saved: the format has numbers, text, times "
            f"and categories; reset the index of the data before the fit"
        )


def _text_key(key: Any) -> str:
    if not isinstance(key, str):
        raise DataError(f"a dictionary with the key {key!r} cannot be saved: keys must be text")
    return key


class Decoder:
    """Restores values from the JSON of `Encoder`.

    Parameters
    ----------
    read_array : callable
        Takes the name of an array and returns it.
    """

    def __init__(self, read_array: Callable[[str], np.ndarray]) -> None:
        self.read_array = read_array
        self.kinds: dict[str, Callable[[Any], Any]] = {
            "float": float,
            "tuple": lambda items: tuple(self.decode(item) for item in items),
            "dict": lambda items: {key: self.decode(item) for key, item in items.items()},
            "array": read_array,
            "objects": self.objects,
            "index": self.index,
            "series": self.series,
            "frame": self.frame,
        }

    def decode(self, value: Any) -> Any:
        """Return the value that was encoded.

        Raises
        ------
        RecordingError
            If this version does not have its type.
        """
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "object" in value:
            return self.object(value["object"], value["fields"])
        if len(value) != 1 or next(iter(value)) not in self.kinds:
            raise RecordingError(f"the file has a value of the unknown kind {sorted(value)}")
        kind, content = next(iter(value.items()))
        return self.kinds[kind](content)

    def object(self, name: str, fields: dict[str, Any]) -> Any:
        """Return an object of one of the listed classes."""
        if name not in _CLASSES:
            raise RecordingError(f"the file has an object of the unknown kind {name!r}")
        restored = _CLASSES[name](**{key: self.decode(item) for key, item in fields.items()})
        check_type(restored, _CLASSES[name], f"a {name}")
        return restored

    def objects(self, items: list[Any]) -> np.ndarray:
        """Return an array of values other than numbers."""
        values = np.empty(len(items), dtype=object)
        values[:] = [self.decode(item) for item in items]
        return values

    def series(self, parts: list[Any]) -> pd.Series:
        """Return a series."""
        rows, values, name = parts
        return pd.Series(self.decode(values), index=self.index(rows), name=self.decode(name))

    def frame(self, parts: dict[str, Any]) -> pd.DataFrame:
        """Return a table."""
        rows = self.index(parts["rows"])
        columns = {k: self.decode(values) for k, values in enumerate(parts["values"])}
        table = pd.DataFrame(columns, index=rows)
        table.columns = self.index(parts["columns"])
        return table

    def index(self, parts: dict[str, Any]) -> pd.Index:
        """Return labels."""
        name = self.decode(parts["name"])
        if "range" in parts:
            return pd.RangeIndex(*parts["range"], name=name)
        if "levels" in parts:
            levels = [self.index(level) for level in parts["levels"]]
            codes = [self.decode(code) for code in parts["codes"]]
            return pd.MultiIndex(levels=levels, codes=codes, names=list(name))
        if "categories" in parts:
            values = pd.Categorical.from_codes(
                self.decode(parts["codes"]),
                self.index(parts["categories"]),
                ordered=parts["ordered"],
            )
            return pd.CategoricalIndex(values, name=name)
        if "times" in parts:
            values = self.decode(parts["times"]).view(f"M8[{parts['unit']}]")
            times = pd.DatetimeIndex(values, name=name)
            if parts["zone"] is not None:
                times = times.tz_localize("UTC").tz_convert(parts["zone"])
            return pd.DatetimeIndex(times, freq=parts["every"])
        if "values" in parts:
            return pd.Index(self.decode(parts["values"]), name=name)
        labels = [self.decode(label) for label in parts["labels"]]
        if any(isinstance(label, list | dict) for label in labels):
            raise RecordingError("a label is a list")
        return pd.Index(labels, dtype=object if parts["kind"] == "object" else None, name=name)
