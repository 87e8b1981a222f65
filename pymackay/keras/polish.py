"""`polish`: all weights to the mode of the penalised likelihood, and the loop to its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.keras.evidence import Evidence
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.snapshot import Snapshot, deviance_of

_HALVINGS = 12
_SLACK = 1e-12  # relative: rounding of the penalised deviance
_QUADRATIC = 1e-6  # relative: a step falls by what the quadratic promises
TIGHT = 1e-9  # relative change of variances: the end where the network is linear in its weights
_GAIN = 0.02  # of log evidence: the end where it is not


@dataclass(frozen=True, eq=False)
class Step:
    """What a Gauss-Newton step did.

    Attributes
    ----------
    before, after : float
        Penalised deviance, deviance + |u|².
    decrement : float
        The fall that the quadratic promises: the squared length of the gradient in the metric of
        M.
    length : float
        Share of the full step that was taken; 0: none.
    """

    before: float
    after: float
    decrement: float
    length: float

    @property
    def exact(self) -> bool:
        """Whether the penalised deviance is quadratic, as far as the step can tell."""
        rounding = 1e-9 * self.before
        return abs(self.before - self.after - self.decrement) <= (
            _QUADRATIC * self.decrement + rounding
        )


def polish(evidence: Evidence, rows: TrainingRows, rounds: int, tolerance: float | None) -> bool:
    """Alternate a Gauss-Newton step and an update until the variances come to rest.

    Returns whether they did. Nothing is done where the curvature is too coarse for a step.

    Parameters
    ----------
    evidence : Evidence
    rows : TrainingRows
    rounds : int
    tolerance : float or None
        Largest relative change of variances; None: `TIGHT` where the network is linear in its
        weights and the likelihood gaussian, and otherwise until the log evidence rises by less
        than 0.02 in two rounds.
    """
    snapshot = evidence.snapshot(rows)
    gains: list[float] = []
    for _ in range(rounds):
        step = gauss_newton(evidence, rows, snapshot)
        if step is None:
            return False
        snapshot = evidence.snapshot(rows)
        update = evidence.advance(snapshot)
        gains.append(update.log_evidence)
        if update.change < (TIGHT if tolerance is None else tolerance):
            return True
        if tolerance is None and not step.exact and _at_rest(gains):
            return True
    return False


def _at_rest(gains: list[float]) -> bool:
    return len(gains) > 2 and abs(gains[-1] - gains[-3]) < _GAIN


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
    noise = 1.0 if evidence.noise is None else evidence.noise
    evidence.last_step = decrement / noise
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
