"""`Question`: a model, data and arguments for lme4, with a key for recordings of the answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import check_labels, flag
from pymackay.errors import ArgumentError, DataError
from pymackay.formula.normal import named_columns, normal_formula
from pymackay.formula.rtext import NAME
from pymackay.incoming.frames import as_frame
from pymackay.reference.columns import Table, table
from pymackay.reference.naming import naming_columns

_SHORT_NAMES = ("treatment", "sum", "helmert", "poly")  # accepted without the prefix "contr."
_PER_ROW = ("weights", "offset", "subset")
_NUMBERS = (("double", "integer"), "numbers")


@dataclass(frozen=True, eq=False)
class Question:
    """A model, its data, and the arguments of `lmer`.

    Attributes
    ----------
    formula : str
    data : pandas.DataFrame
    reml : bool
    weights, offset : str, array of shape (n,), or None
        A column's name, an R expression of columns, or numbers; a Series must have the data's
        index.
    subset : str, array of bool of shape (n,), or None
        An R expression, or a mask of the rows to keep; a Series must have the data's index.
    contrasts : mapping of str to str or matrix, or None
        Column to the name of R's contrasts, or a matrix levels × columns; a data frame also gives
        the names of the columns and, unless its index is a range, of the levels.
    start : array of shape (m,) or None
        Theta to start from.
    control : mapping or None
        Arguments of R's ``lmerControl``.
    theta : array of shape (m,) or None
        Where to evaluate the model, in lme4's order; None means at its optimum.
    """

    formula: str
    data: pd.DataFrame = field(repr=False)
    reml: bool = True
    weights: str | np.ndarray | None = None
    offset: str | np.ndarray | None = None
    subset: str | np.ndarray | None = None
    contrasts: Mapping[str, Any] | None = None
    start: np.ndarray | None = None
    control: Mapping[str, Any] | None = None
    theta: np.ndarray | pd.Series | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.formula, str):
            raise ArgumentError(
                f"formula: a string is expected, not {type(self.formula).__name__}."
            )
        if not isinstance(self.data, pd.DataFrame):
            mapping = isinstance(self.data, Mapping)
            frame = pd.DataFrame(dict(self.data)) if mapping else as_frame(self.data)
            object.__setattr__(self, "data", frame)
        flag("reml", self.reml)
        for name in ("contrasts", "control"):
            value = getattr(self, name)
            if not isinstance(value, Mapping | None):
                raise ArgumentError(f"{name}: a dict is expected, not {type(value).__name__}.")

    @cached_property
    def table(self) -> Table:
        """The columns that the model uses, as R holds them.

        Raises
        ------
        DataError
            If R has no type for one of them, or two columns have the same name.
        """
        return table(self.data, self._used, self._naming)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The other arguments of the call that are not None, checked and converted.

        Raises
        ------
        ArgumentError
            If one is of the wrong type or length.
        DataError
            If one names a column that the data do not have.
        """
        arguments: dict[str, Any] = {}
        for name in _PER_ROW:
            value = getattr(self, name)
            if value is not None:
                is_text = isinstance(value, str)
                arguments[name] = self._text(name) if is_text else self._values(name)
        if self.contrasts:
            arguments["contrasts"] = {k: self._scheme(k, v) for k, v in self.contrasts.items()}
        if self.start is not None:
            arguments["start"] = _floats("start", self.start)
        if self.control:
            arguments["control"] = dict(self.control)
        return arguments

    @property
    def is_general(self) -> bool:
        """Whether it is a question to ``glmer``."""
        return False

    def call(self, how: Any) -> tuple[Any, ...]:
        """Return the R function that answers the question, and its arguments.

        Parameters
        ----------
        how : str or array-like, shape (m,)
            ``"default"``, ``"tight"``, or theta.
        """
        how = how if isinstance(how, str) else for_r("theta", how)
        return "ask", self.formula, self.table, bool(self.reml), self.arguments, how

    def object_call(self, fit: Any, suffix: str, rows: Any) -> tuple[Any, ...]:
        """Return the R function that makes a merMod at a fit's theta, and its arguments.

        Parameters
        ----------
        fit : Fit
        suffix : str
            Ends the names under which data and arguments are stored in R.
        rows : object
            Names of the rows, or None.
        """
        theta = for_r("theta", fit.theta)
        reml = bool(self.reml)
        return "mermod_at", self.formula, self.table, reml, self.arguments, theta, suffix, rows

    @cached_property
    def key(self) -> str:
        """Checksum of `asked`, which identifies the question apart from its data."""
        text = json.dumps(self.asked, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def asked(self) -> dict[str, Any]:
        """Formula and arguments as JSON data; long arrays are replaced by their checksums."""
        asked: dict[str, Any] = {"formula": normal_formula(self.formula), "reml": bool(self.reml)}
        if self._used is None:
            asked["columns"] = list(self.data.columns)  # the dot's terms are in their order
        for name, value in self.arguments.items():
            raw = getattr(self, name)
            text = name in _PER_ROW and isinstance(raw, str)
            expression = text and raw not in self.data.columns
            asked[name] = normal_formula(raw) if expression else _json(raw if text else value)
        if self.theta is not None:  # rounded to digits that are the same on every machine
            asked["theta"] = [
                float(f"{value:.12g}") for value in _floats("theta", self.theta).ravel()
            ]
        return asked

    @property
    def _used(self) -> list[str] | None:
        """Names of the columns that the call mentions; None for all of them."""
        mentioned = set(named_columns(self.formula))
        if "." in mentioned:
            return None
        for text in (getattr(self, name) for name in _PER_ROW):
            if isinstance(text, str):
                mentioned |= {text} if text in self.data.columns else set(named_columns(text))
        return sorted(mentioned)

    @property
    def _naming(self) -> frozenset[str]:
        """The columns that only name groups."""
        others = (getattr(self, name) for name in _PER_ROW)
        texts = [text for text in others if isinstance(text, str)]
        return naming_columns(self.formula, self.data.columns, texts)

    def _text(self, name: str) -> str:
        """Return weights, offset or subset, given as text, as an R expression of columns."""
        text: str = getattr(self, name)
        if text in self.data.columns:
            escaped = re.sub(r"([`\\])", r"\\\1", text)
            return f"`{escaped}`"
        if name != "subset" and NAME.fullmatch(text):
            raise DataError(
                f"{name}: the data have no column {text!r}. "
                f"Their columns are {', '.join(map(str, self.data.columns))}."
            )
        return text

    def _values(self, name: str) -> np.ndarray:
        """Return weights, offset or subset, given as values, shape (n,): float64, or bool.

        A missing number is NaN, and its row is left out; a missing truth value is False.
        """
        values = getattr(self, name)
        if np.shape(values) != (len(self.data),):
            raise ArgumentError(
                f"{name}: one value for each of the {len(self.data)} rows is expected, "
                f"not an array of shape {np.shape(values)}."
            )
        check_labels(values, self.data.index, name)
        column = table(pd.DataFrame({name: pd.Series(values).array})).columns[0]
        kinds, words = (("logical",), "True and False") if name == "subset" else _NUMBERS
        if column.kind not in kinds:
            raise ArgumentError(f"{name}: {words} are expected, not values that are {column.kind}.")
        return column.values == 1 if name == "subset" else column.as_doubles()

    def _scheme(self, column: str, scheme: Any) -> str | np.ndarray | pd.DataFrame:
        """Return R's name of the contrasts, or a matrix, shape (levels, columns).

        A data frame is put into the order of the levels if its index names them.
        """
        if column not in self.data.columns:
            raise DataError(f"contrasts: the data have no column {column!r}.")
        if isinstance(scheme, str):
            return f"contr.{scheme}" if scheme.lower() in _SHORT_NAMES else scheme
        if isinstance(scheme, pd.DataFrame):
            return self._in_level_order(column, scheme)
        matrix = _floats(f"contrasts of {column}", scheme)
        if matrix.ndim != 2:
            raise ArgumentError(
                f"contrasts: for {column!r} a name or a matrix levels × columns is expected, "
                f"not an array of shape {matrix.shape}."
            )
        return matrix

    def _in_level_order(self, column: str, matrix: pd.DataFrame) -> pd.DataFrame:
        """Return a contrast matrix with its rows, named by levels, in the order of the levels."""
        _floats(f"contrasts of {column}", matrix)
        matrix = matrix.rename(columns=str).astype(np.float64)
        if isinstance(matrix.index, pd.RangeIndex):
            return matrix
        matrix = matrix.rename(index=str)
        (factor,) = table(self.data, [column]).columns
        levels = factor.levels or ("FALSE", "TRUE")
        if not set(matrix.index) <= set(levels) or not matrix.index.is_unique:
            raise ArgumentError(
                f"contrasts of {column!r} have the rows {', '.join(matrix.index)}, but its levels "
                f"are {', '.join(levels)}; name the rows by the levels, or reset the index."
            )
        return matrix.loc[[level for level in levels if level in matrix.index]]


def for_r(name: str, values: Any) -> dict[str, Any]:
    """Return parameters in the form that the R scripts take: values, and names or None."""
    numbers = _floats(name, values).ravel()
    named = isinstance(values, pd.Series) and all(isinstance(label, str) for label in values.index)
    return {"values": numbers, "names": list(values.index) if named else None}


def _floats(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name}: numbers are expected, not {value!r}.") from None


def _json(value: Any) -> Any:
    """Convert an argument to JSON types; a large array (over 100 numbers) to its checksum."""
    if isinstance(value, np.ndarray):
        if value.size <= 100:
            return value.tolist()
        return {"shape": list(value.shape), "sha256": hashlib.sha256(value.tobytes()).hexdigest()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.DataFrame):
        return {"columns": list(value.columns), "values": value.to_numpy().tolist()}
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value
