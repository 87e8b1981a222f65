"""Structured terms of lme4 2: live where R has it, and what an older lme4 says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from r_versions import lme4_at_least

import pymackay as pm

FOLDER = Path(__file__).parents[3] / "shared" / "cases_structures"
# their tightening takes minutes, or their optimum has sigma 0 and lme4's parameters run away
LEFT_OUT = {"insteval_diag", "chick_ar1", "bodyweight_ar1", "ar1het", "gaps", "ar1items_noresid"}


def lme4_2() -> bool:
    return lme4_at_least(2)


def asked(name: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return what a case expects, and the arguments of `pm.lme4.lmer`."""
    meta = json.loads((FOLDER / name / "meta.json").read_text())
    data = pd.read_csv(
        FOLDER / name / "data.csv", keep_default_na=False, na_values=[meta["na_string"]]
    )
    for column, levels in meta["factors"].items():
        ordered = column in meta["ordered"]
        data[column] = pd.Categorical(data[column].astype(str), levels, ordered=ordered)
    options = {k: meta[k] for k in ("formula", "reml", "weights", "offset", "subset")}
    contrasts = meta["contrasts"] or None
    return json.loads((FOLDER / name / "expected.json").read_text()), {
        **options, "data": data, "contrasts": contrasts,
    }  # fmt: skip


def names() -> list[str]:
    folders = sorted(path.name for path in FOLDER.glob("cov_*"))
    return [n for n in folders if n.removeprefix("cov_") not in LEFT_OUT and "bars_diag" not in n]


@pytest.mark.live
@pytest.mark.parametrize("name", names())
def test_a_tight_answer_is_the_dense_optimum(name: str) -> None:
    if not lme4_2():
        pytest.skip("structures came with lme4 2")
    expected, arguments = asked(name)
    if expected["outcome"] == "error":
        with pytest.raises(pm.RError):
            pm.lme4.lmer(**arguments, tight=True)
        return
    fit = pm.lme4.lmer(**arguments, tight=True)
    dense = expected["dense"]["criterion"]
    assert fit.criterion == pytest.approx(dense, abs=1e-9 * (1 + abs(dense)))
    again = pm.lme4.evaluate(**arguments, theta=fit.theta)
    assert again.criterion == pytest.approx(fit.criterion, abs=1e-9 * (1 + abs(dense)))


@pytest.mark.live
def test_an_answer_that_is_no_number_is_refused() -> None:
    if not (lme4_2() and FOLDER.is_dir()):
        pytest.skip("lme4 2.1 returns NaN for this case, and only there")
    _, arguments = asked("cov_ortho_cs_het")
    with pytest.raises(pm.RError, match="not numbers"):
        pm.lme4.lmer(**arguments)
