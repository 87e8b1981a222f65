"""The dense oracle as the tests use it, and its own search for the optimum."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from pymackay.fuzz.dense import (
    DenseFit,
    dense_as_fit,
    dense_criterion,
    dense_fit,
    random_design,
    relative_blocks,
    theta_names,
)
from pymackay.model.model import Model

__all__ = [
    "DenseFit",
    "dense_as_fit",
    "dense_criterion",
    "dense_fit",
    "dense_optimum",
    "random_design",
    "relative_blocks",
    "theta_names",
]


def dense_optimum(model: Model, reml: bool, start: np.ndarray | None = None) -> np.ndarray:
    """Find theta of the smallest criterion by restarted Nelder-Mead: slow, simple, independent."""
    diagonal = np.concatenate(
        [
            np.concatenate(
                [[1.0] + [0.0] * (len(t.effects) - i - 1) for i in range(len(t.effects))]
            )
            for t in model.terms
        ]
    )
    theta = diagonal if start is None else np.asarray(start, dtype=np.float64)
    bounds = [(0.0 if d == 1.0 else None, None) for d in diagonal]
    for _ in range(6):
        result = minimize(
            lambda t: dense_criterion(model, t, reml),
            theta,
            method="Nelder-Mead",
            bounds=bounds,
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000, "maxfev": 4000},
        )
        moved = float(np.max(np.abs(result.x - theta), initial=0.0))
        theta = result.x
        if moved < 1e-7:
            break
    return theta
