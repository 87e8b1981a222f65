"""Contrasts among k means: one row of coefficients for each comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.model.bases.polynomial import orthonormal_polynomials

METHODS = ("pairwise", "trt.vs.ctrl", "poly", "eff", "consec")
_DEGREES = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")
_LARGEST = 5000  # factors tried to make polynomial contrasts whole numbers
DEFAULT_ADJUST = {
    "pairwise": "tukey",
    "trt.vs.ctrl": "mvt",
    "poly": "none",
    "eff": "fdr",
    "consec": "mvt",
}


def contrast_table(method: Any, labels: Sequence[str], *, ratio: bool = False) -> pd.DataFrame:
    """Return the coefficients, one row for each contrast and one column for each mean.

    Parameters
    ----------
    method : str, mapping, pandas.DataFrame or array-like of shape (contrasts, k)
        One of `METHODS`; or coefficients: a mapping of the contrast's name to k numbers, or a
        table with k columns whose index names the contrasts.
    labels : sequence of str, length k
    ratio : bool
        Whether differences are shown as ratios, so that names have `` / ``.

    Raises
    ------
    ArgumentError
    """
    k = len(labels)
    if isinstance(method, str):
        if method not in METHODS:
            raise ArgumentError(
                f"method is {method!r}, but must be one of {', '.join(map(repr, METHODS))}, or a "
                f"table of coefficients with one column for each of the {k} means"
            )
        if k < 2:
            return pd.DataFrame(np.zeros((0, k)), columns=list(labels))
        return _named(method, labels, " / " if ratio else " - ")
    return _by_hand(method, labels)


def _named(method: str, labels: Sequence[str], sign: str) -> pd.DataFrame:
    k, eye = len(labels), np.eye(len(labels))
    if method == "pairwise":
        pairs = list(combinations(range(k), 2))
        rows = {f"{labels[i]}{sign}{labels[j]}": eye[i] - eye[j] for i, j in pairs}
    elif method == "trt.vs.ctrl":
        rows = {f"{labels[i]}{sign}{labels[0]}": eye[i] - eye[0] for i in range(1, k)}
    elif method == "consec":
        rows = {f"{labels[i]}{sign}{labels[i - 1]}": eye[i] - eye[i - 1] for i in range(1, k)}
    elif method == "eff":
        rows = {f"{labels[i]} effect": eye[i] - 1.0 / k for i in range(k)}
    else:
        values = orthonormal_polynomials(np.arange(1.0, k + 1.0))[:, : len(_DEGREES)]
        rows = {name: _whole(values[:, d]) for d, name in enumerate(_DEGREES[: k - 1])}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(labels))


def _whole(values: np.ndarray) -> np.ndarray:
    """Scale a vector to the smallest whole numbers, if there are any of moderate size."""
    sizes = np.abs(values)
    scaled = values / sizes[sizes > 1e-8 * sizes.max()].min()
    for factor in range(1, _LARGEST):
        tried = factor * scaled
        if np.abs(tried - np.round(tried)).max() < 1e-6:
            return np.asarray(np.round(tried) + 0.0)
    return scaled


def _by_hand(method: Any, labels: Sequence[str]) -> pd.DataFrame:
    """Read coefficients; see `contrast_table`."""
    k = len(labels)
    if isinstance(method, Mapping):
        names = [str(name) for name in method]
        values: Any = list(method.values())
    elif isinstance(method, pd.DataFrame):
        names, values = [str(name) for name in method.index], method.to_numpy()
    else:
        values = np.atleast_2d(np.asarray(method, dtype=object))
        names = [f"contrast {i + 1}" for i in range(len(values))]
    try:
        table = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"method must hold numbers, but it is {method!r}") from error
    if table.ndim != 2 or table.shape[1] != k or not np.isfinite(table).all():
        raise ArgumentError(
            f"method has shape {table.shape}, but needs one finite number for each of the {k} "
            f"means ({', '.join(labels[:12])}{', ...' if k > 12 else ''}) in every contrast"
        )
    return pd.DataFrame(table, index=names, columns=list(labels))
