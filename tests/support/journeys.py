"""Fits after a journey: saved, pickled and copied; what their methods return must be the same."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm


def methods_besides(known: Container[str]) -> list[str]:
    """Return the public methods and properties of a fit, fields aside, that are not known."""
    fields = set(pm.Fit.__dataclass_fields__)
    public = {name for name in vars(pm.Fit) if not name.startswith("_")} | {"_repr_html_"}
    return sorted(name for name in public - fields if name not in known)


def journeys_of(fit: pm.Fit, folder: Path) -> dict[str, pm.Fit]:
    """Return the fit saved and read again, pickled, and copied."""
    return {
        "saved": pm.load_fit(fit.save(folder / "one.fit")),
        "pickled": pickle.loads(pickle.dumps(fit)),
        "copied": copy.deepcopy(fit),
    }


def assert_same(ours: Any, theirs: Any, *, rtol: float = 1e-9, atol: float = 0.0) -> None:
    """Compare tables, arrays or numbers; text must be equal."""
    assert type(ours) is type(theirs)
    if isinstance(ours, pd.DataFrame):
        tables = pd.DataFrame(ours), pd.DataFrame(theirs)
        pd.testing.assert_frame_equal(*tables, rtol=rtol, atol=atol)
    elif isinstance(ours, pd.Series):
        pd.testing.assert_series_equal(ours, theirs, rtol=rtol, atol=atol)
    elif isinstance(ours, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
