"""Parity cases of generalised models on disk, read when they are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["GlmmCase", "glmm_case_names", "load_glmm_case"]

_FOLDER = Path(
    os.environ.get(
        "PYMACKAY_GLMM_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases_glmm"
    )
)
_SUPPORTS = {"binomial": "binomial", "poisson": "count", "negbin": "count", "gaussian": "real"}


@dataclass(frozen=True, eq=False)
class GlmmCase:
    """One parity case of a generalised model.

    Attributes
    ----------
    name : str
    meta : dict
        Formula, family, link, nAGQ, weights, tags.
    expected : dict
        Answers of lme4, glmmTMB, and of minimisers of each criterion.
    data : pandas.DataFrame
    """

    name: str
    meta: dict[str, Any]
    expected: dict[str, Any]
    data: pd.DataFrame

    @property
    def support(self) -> str:
        """What the family's response may be."""
        return _SUPPORTS.get(self.meta["family"], "positive")


def glmm_case_names() -> list[str]:
    """Return the names of the cases that are there, possibly none."""
    if not _FOLDER.is_dir():
        return []
    return sorted(path.parent.name for path in _FOLDER.glob("*/meta.json"))


def load_glmm_case(name: str) -> GlmmCase:
    """Read one case, its columns typed as the case says."""
    folder = _FOLDER / name
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    factors = meta["factors"]
    data = pd.read_csv(
        folder / "data.csv",
        dtype=dict.fromkeys(factors, str),
        na_values=["NA"],
        keep_default_na=False,
    )
    for column, levels in factors.items():
        data[column] = pd.Categorical(data[column], levels, ordered=column in meta["ordered"])
    return GlmmCase(name, meta, expected, data)
