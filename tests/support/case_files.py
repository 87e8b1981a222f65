"""Parity cases on disk: data, formula and trusted answers, read when they are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["Case", "case_names", "load_case"]

_SHARED = Path(__file__).resolve().parents[3] / "shared"
_FOLDERS = {
    "plain": Path(os.environ.get("PYMACKAY_CASES", _SHARED / "cases")),
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
    return Case(name, meta, expected, _read(folder / meta["data"], meta))


def _read(path: Path, meta: dict[str, Any]) -> pd.DataFrame:
    text = {c: str for c, kind in meta["columns"].items() if kind in _TEXT}
    data = pd.read_csv(
        path, dtype=text, na_values=[meta["na_string"]], keep_default_na=False, encoding="utf-8"
    )
    for column, kind in meta["columns"].items():
        if kind in ("factor", "ordered"):
            data[column] = pd.Categorical(
                data[column], categories=meta["factors"][column], ordered=kind == "ordered"
            )
        elif kind == "logical" and data[column].dtype == object:
            data[column] = data[column].map({"TRUE": True, "FALSE": False}).astype("boolean")
    return data


_TEXT = ("factor", "ordered", "character")
