"""`polish`: all weights to the mode of the penalised likelihood, and the loop to its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.keras.accelerate import Acceleration
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.snapshot import Snapshot, deviance_of

_TRIALS = 8
_GOOD, _POOR = 0.75, 0.25  # of the promised fall: damping falls above, rises below
_FIRST, _FACTOR, _LEAST = 1e-3, 5.0, 1e-5  # damping: the first, its change, the least
_ROUNDING = 1e3  # times the precision of the weights: relative rounding of the penalised deviance
_QUADRATIC = 1e-6  # relative: a step falls by what the quadratic promises
_STEPS, _NEAR = 3, 0.1  # steps of a round; share of the effective weights that counts as near
_MODE = 1e-3  # of the deviance over σ²: closer to the mode than any comparison resolves
_SETTLING = 5  # steps at the final priors
_TIGHT, _SINGLE = 1e-9, 1e-4  # change of variances where the network is linear; in float32
_GAIN = 0.02  # of log evidence: the end where it is not


@dataclass(frozen=True, eq=False)
class Step:
    """What a Gauss-Newton step did.

    Attributes
    ----------
    before, after : float
        Penalised deviance, deviance + |u|².
    decrement : float
        The squared length of the gradient in the metric of M: without damping, the fall that the
        quadratic promises.
    taken : bool
    rounding : float
        Rounding error of the penalised deviance.
    """

    before: float
    after: float
    decrement: float
    taken: bool
    rounding: float

    @property
    def exact(self) -> bool:
        """Whether the penalised deviance is quadratic, as far as the step can tell."""
        error = abs(self.before - self.after - self.decrement)
        return self.taken and error <= _QUADRATIC * self.decrement + self.rounding


def polish(
    evidence: Evidence,
    rows: TrainingRows,
    rounds: int,
    tolerance: float | None,
    acceleration: bool,
) -> bool:
    """Alternate a Gauss-Newton step and an update until the variances come to rest.

    Returns whether they did. Nothing is done where the curvature is too coarse for a step.

    Parameters
    ----------
    evidence : Evidence
    rows : TrainingRows
    rounds : int
    tolerance : float or None
        Largest relative change of variances; None: 1e-9 (float32: 1e-4) where the network is
        linear in its weights and the likelihood gaussian, and otherwise until the log evidence
        changes by less than 0.02 in two rounds.
    acceleration : bool
        Whether Anderson's proposals are tried.
    """
    larger = Acceleration(evidence) if acceleration else None
    snapshot = evidence.snapshot(rows)
    evidences: list[float] = []
    linear, rested = True, False
    end = _end(evidence.columns.precision) if tolerance is None else tolerance
    for _ in range(rounds):
        step, snapshot = _approach(evidence, rows, snapshot)
        if step is None:
            return False
        if larger is not None:
            larger.note()
        update = evidence.advance(snapshot)
        if larger is not None and larger.rejected(update):
            continue
        evidences.append(update.log_evidence)
        at_mode = step.exact or step.decrement < _MODE * evidence.sigma2
        linear = linear and step.exact
        rested = bool(at_mode and update.change < end)
        if tolerance is None and not linear:
            rested = rested or _at_rest(evidences)
        if rested:
            break
        if larger is not None:
            larger.propose()
    _settle(evidence, rows, snapshot)
    return rested


def _end(precision: float) -> float:
    return _TIGHT if precision <= np.finfo(np.float64).eps else _SINGLE


def _approach(
    evidence: Evidence, rows: TrainingRows, snapshot: Snapshot
) -> tuple[Step | None, Snapshot]:
    """Take one step, or up to three where the weights are far from their mode.

    Updates far from the mode take the noise for what the weights have not learned yet.
    """
    for _ in range(_STEPS):
        step = gauss_newton(evidence, rows, snapshot)
        if step is None:
            return None, snapshot
        snapshot = evidence.snapshot(rows)
        gamma = evidence.updates[-1].gamma if evidence.updates else [np.inf]
        if step.exact or step.decrement < _NEAR * evidence.sigma2 * sum(gamma):
            break
    return step, snapshot


def _at_rest(evidences: list[float]) -> bool:
    return bool(len(evidences) > 2 and abs(evidences[-1] - evidences[-3]) < _GAIN)


def _settle(evidence: Evidence, rows: TrainingRows, snapshot: Snapshot) -> None:
    """Take the weights to the mode of the final priors."""
    for _ in range(_SETTLING):
        step = gauss_newton(evidence, rows, snapshot)
        if step is None or step.exact or step.decrement < _MODE * evidence.sigma2:
            return
        snapshot = evidence.snapshot(rows)


def gauss_newton(evidence: Evidence, rows: TrainingRows, snapshot: Snapshot) -> Step | None:
    """Take one step δu = (M + λ diag M)⁻¹(−Λ'g − Du), λ raised until the step does not go uphill.

    λ is 0 until a step fails, and falls after steps that do not. Returns None where the kind of
    curvature is too coarse for a step.

    Parameters
    ----------
    evidence : Evidence
    rows : TrainingRows
    snapshot : Snapshot
        Taken at the present weights; g is half the gradient of the deviance.

    References
    ----------
    Marquardt, D. W. (1963). An algorithm for least-squares estimation of nonlinear parameters.
    J. SIAM 11(2).
    """
    columns, roots = evidence.columns, evidence.roots
    u = columns.standardise(columns.weights(), roots)
    downhill = evidence.downhill(snapshot)
    before = snapshot.deviance + _size(columns.penalised, u)
    decrement, rounding = 0.0, _ROUNDING * columns.precision * before
    for _ in range(_TRIALS):
        damping = evidence.damping
        solve = snapshot.sums.solver(roots, damping)
        if solve is None:
            return None
        step = solve(downhill)
        decrement = float(downhill @ step)
        columns.assign(columns.scale(u + step, roots))
        deviance = deviance_of(rows, evidence.linearisation, evidence.family)
        after = deviance + _size(columns.penalised, u + step)
        if after <= before + rounding:
            evidence.damping = _next_damping(damping, (before - after) / max(decrement, 1e-300))
            return Step(before, after, decrement, True, rounding)
        if decrement < _MODE * evidence.sigma2:
            break
        evidence.damping = max(_FIRST, damping * _FACTOR)
    columns.assign(columns.scale(u, roots))
    return Step(before, before, decrement, False, rounding)


def _next_damping(damping: float, ratio: float) -> float:
    """Return λ for the next step, from the fall of the deviance over what was promised."""
    if ratio > _GOOD:
        damping /= _FACTOR
    elif ratio < _POOR:
        damping *= _FACTOR
    return damping if damping > _LEAST else 0.0


def _size(penalised: np.ndarray, u: np.ndarray) -> float:
    return float(np.sum(u[penalised] ** 2))
