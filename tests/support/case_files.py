"""Parity cases on disk: data, formula and trusted answers, read when they are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["Case", "as_list", "case_names", "load_case"]

_SHARED = Path(__file__).resolve().parents[3] / "shared"
_FOLDERS = {
    "plain": Path(os.environ.get("PYMACKAY_CASES", _SHARED / "cases")),
    "glmm": Path(os.environ.get("PYMACKAY_GLMM_CASES", _SHARED / "cases_glmm")),
    "structures": Path(os.environ.get("PYMACKAY_STRUCTURE_CASES", _SHARED / "cases_structures")),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One parity case.

    Attributes
    ----------
    name : str
    meta : dict
        Formula, kind of criterion, columns and their types, what to expect.
    expected : dict
        Trusted answers.
    data : pandas.DataFrame
    """

    name: str
    meta: dict[str, Any]
    expected: dict[str, Any]
    data: pd.DataFrame

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of a fit."""
        kept = {k: self.meta[k] for k in ("weights", "offset", "subset") if self.meta.get(k)}
        if self.meta["contrasts"]:
            kept["contrasts"] = self.meta["contrasts"]
        return {"reml": self.meta["reml"], **kept}


def case_names(kind: str = "plain") -> list[str]:
    """Return the names of the cases of a kind that are there, possibly none."""
    if not _FOLDERS[kind].is_dir():
        return []
    return sorted(path.parent.name for path in _FOLDERS[kind].glob("*/meta.json"))


def load_case(name: str, kind: str = "plain") -> Case:
    """Read one case, its columns typed as the case says."""
    folder = _FOLDERS[kind] / name
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    kinds = meta.get("columns", {})
    text = [*meta["factors"], *(c for c, kind in kinds.items() if kind in _TEXT)]
    data = pd.read_csv(
        folder / meta.get("data", "data.csv"),
        dtype=dict.fromkeys(text, str),
        na_values=[meta.get("na_string", "NA")],
        keep_default_na=False,
        encoding="utf-8",
    )
    ordered = meta.get("ordered", [c for c, kind in kinds.items() if kind == "ordered"])
    for column, levels in meta["factors"].items():
        data[column] = pd.Categorical(data[column], levels, ordered=column in ordered)
    for column, kind in kinds.items():
        if kind == "logical" and data[column].dtype == object:
            data[column] = data[column].map({"TRUE": True, "FALSE": False}).astype("boolean")
    return Case(name, meta, expected, data)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as the only element of one: JSON made by R."""
    return value if isinstance(value, list) else [value]


_TEXT = ("factor", "ordered", "character")
