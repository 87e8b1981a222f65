"""`polish`: Gauss-Newton steps of all weights to the mode of the penalised likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.keras.evidence import Evidence
from pymackay.keras.rows import TrainingRows
from pymackay.keras.snapshot import Snapshot, deviance_of

_HALVINGS = 12
_SLACK = 1e-12  # relative: rounding of the penalised deviance


@dataclass(frozen=True, eq=False)
class Step:
    """What a Gauss-Newton step did.

    Attributes
    ----------
    before, after : float
        Penalised deviance, deviance + |u|².
    decrement : float
        Half the fall that the quadratic model promises: the squared length of the gradient in the
        metric of M.
    length : float
        Share of the full step that was taken; 0: none.
    """

    before: float
    after: float
    decrement: float
    length: float


def gauss_newton(evidence: Evidence, rows: TrainingRows, snapshot: Snapshot) -> Step | None:
    """Take one step δu = M⁻¹(−Λ'g − Du), halved until the penalised deviance does not rise.

    Returns None where the kind of curvature is too coarse for a step.

    Parameters
    ----------
    evidence : Evidence
    rows : TrainingRows
    snapshot : Snapshot
        Taken at the present weights; g is half the gradient of the deviance.
    """
    columns, roots = evidence.columns, evidence.roots
    solve = snapshot.sums.solver(roots)
    if solve is None:
        return None
    u = columns.standardise(columns.weights(), roots)
    downhill = -columns.scale_back(snapshot.gradient, roots) - columns.penalised * u
    step = solve(downhill)
    decrement = float(downhill @ step)
    before = snapshot.deviance + _size(columns.penalised, u)
    length = 1.0
    for _ in range(_HALVINGS):
        columns.assign(columns.scale(u + length * step, roots))
        deviance = deviance_of(rows, evidence.linearisation, evidence.family)
        after = deviance + _size(columns.penalised, u + length * step)
        if after <= before * (1.0 + _SLACK):
            return Step(before, after, decrement, length)
        length *= 0.5
    columns.assign(columns.scale(u, roots))
    return Step(before, before, decrement, 0.0)


def _size(penalised: np.ndarray, u: np.ndarray) -> float:
    return float(np.sum(u[penalised] ** 2))
