"""`minimise`: a trust-region search over β, factors and dispersion or shape together.

Gradients are exact. To the curvature of `pymackay.solve.pirls.criteria.curvature` symmetric
rank-one secants are added (Conn, Gould & Toint 1991, Math. Program. 50): they make up for the
movement of the weights, which it leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.arguments import positive_number, whole_number
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criterion import Criterion, Evaluated
from pymackay.solve.pirls.hessian import exact_hessian
from pymackay.solve.search import limits
from pymackay.solve.search.trust_region import Quadratics

_SMALL_PIVOT = 1e-8  # of |residual| |step|, under which a secant says nothing
_FIRST_RADIUS, _RADIUS_BY_ROWS = 3.0, 0.05  # at least, and by the root of the number of rows
_LONGEST = 2.0  # first steps that later ones may be long
_REFRESH = 25  # evaluations after which secants have not sufficed
_ROUNDING = 1e-14  # of 1 + |criterion|, the rounding of its sums
_MISLED = 1e3  # times as much to gain without secants as with them: then they mislead
_DIGITS = 1e-10  # of 1 + |criterion|: modes that end early leave differences of this size
_LEVEL = 100.0  # roundings under which a gain cannot be told from them
NEAR = 0.3  # in units of the parameters' curvature: points that are closer lead to the same end
_SHORTEST = 1e-6  # in units of the parameters' curvature: steps that short lead nowhere
_POLISHED = 1e-20  # decrement below which no digit is left to gain
_POLISHED_ESTIMATE = 1e-10  # the same where the criterion is estimated: 1e-5 standard errors


@dataclass(frozen=True)
class GeneralControl:
    """Tolerances of the search of `glmer`.

    Attributes
    ----------
    spent : float
        Newton decrement, in units of the criterion, at which the search hands over to Newton steps
        with the exact second derivatives. These leave about its square.
    max_evaluations : int
        Evaluations of the criterion before the search gives up.
    tolerance : float
        Of the iterative solver: largest Monte-Carlo standard error of a variance, relative to the
        variance. Probes are added until it is reached, up to `max_probes`.
    probes, max_probes : int
        Of the iterative solver: number of probe vectors at the start, and its limit.
    seed : int
        Of the probe vectors; the same seed gives the same result.
    """

    spent: float = 1e-10
    max_evaluations: int = 200
    tolerance: float = 1e-3
    probes: int = 8
    max_probes: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("tolerance", "spent"):
            positive_number(name, getattr(self, name))
        least = {"max_evaluations": 1, "probes": 2, "max_probes": 2, "seed": 0}
        for name, smallest in least.items():
            whole_number(name, getattr(self, name), smallest)


@dataclass(frozen=True)
class Stopping:
    """When a search stops.

    Attributes
    ----------
    spent : float
        Newton decrement, in units of the criterion, that is left to gain.
    max_evaluations : int
    radius : float
        Length of the first step at most, in units of the parameters' curvature.
    ends : tuple of numpy.ndarray, each (P,)
        Where other searches have ended. A search that comes near one of them, up to signs, stops.
    """

    spent: float = 1e-9
    max_evaluations: int = 200
    radius: float = _FIRST_RADIUS
    ends: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, control: GeneralControl, n: int) -> Stopping:
        """Return what a user asks for, with a first step that suits n rows.

        A step is measured in standard errors, which shrink with the data; the region in which the
        criterion is nearly quadratic does not.
        """
        radius = max(_FIRST_RADIUS, _RADIUS_BY_ROWS * float(np.sqrt(n)))
        return cls(control.spent, control.max_evaluations, radius)


@dataclass(frozen=True, eq=False)
class Arrival:
    """Where a search ended.

    Attributes
    ----------
    point : Evaluated
    evaluations : int
        Of the criterion, each with a search for the mode; gradients for second derivatives, which
        need none, are not counted.
    decrement : float
        Newton decrement there.
    arrived : bool
        False where the evaluations ran out.
    """

    point: Evaluated
    evaluations: int
    decrement: float
    arrived: bool


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A quadratic model in units of the parameters' curvature."""

    model: Quadratics
    scale: np.ndarray

    @classmethod
    def of(cls, gradient: np.ndarray, hessian: np.ndarray) -> _Scaled:
        diagonal = np.abs(hessian.diagonal())
        scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-8 * diagonal.max()))
        scaled = scale[:, None] * hessian * scale
        return cls(Quadratics.of((scale * gradient)[None], scaled[None]), scale)

    @property
    def decrement(self) -> float:
        """By how much the model says that the criterion could still fall."""
        return float(self.model.decrement[0])

    def step(self, radius: float) -> tuple[np.ndarray, float, float]:
        """Return the step, its length in scaled units, and the gain it promises."""
        steps, predicted = self.model.steps(np.array([radius]))
        return self.scale * steps[0], float(np.linalg.norm(steps[0])), float(predicted[0])


def minimise(criterion: Criterion, start: np.ndarray, stopping: Stopping) -> Arrival:
    """Minimise a criterion from a start.

    Parameters
    ----------
    criterion : Criterion
    start : numpy.ndarray, shape (P,)
    stopping : Stopping

    Raises
    ------
    numpy.linalg.LinAlgError
        If the criterion has no value at the start.
    """
    here = _Here.of(criterion, start, None)
    if here is None:
        raise np.linalg.LinAlgError("the criterion has no value at the start")
    secant = np.zeros((len(start), len(start)))
    radius, evaluations = stopping.radius, 1
    longest = max(limits.LARGEST_RADIUS, _LONGEST * radius)
    while True:
        model = _Scaled.of(here.point.gradient, here.curvature.hessian + secant)
        step, length, predicted = model.step(radius)
        decrement = model.decrement
        if predicted < stopping.spent:
            if not _misled(here, secant, stopping.spent):
                return Arrival(here.point, evaluations, decrement, True)
            secant, radius = np.zeros_like(secant), stopping.radius
            continue
        if evaluations >= stopping.max_evaluations:
            return Arrival(here.point, evaluations, decrement, False)
        if length < _SHORTEST and decrement > _LEVEL * stopping.spent:
            return Arrival(here.point, evaluations, decrement, False)
        trial = here.after(criterion, step)
        evaluations += 1
        if trial is None:
            radius = limits.SHRINK * length
            continue
        secant = _corrected(secant, here, trial, step)
        if evaluations % _REFRESH == 0:
            secant = _refreshed(criterion, here, secant)
        if predicted < _LEVEL * _ROUNDING * (1.0 + abs(here.point.criterion)):
            last = min(here.point, trial.point, key=_size_of_gradient)
            return Arrival(last, evaluations, decrement, True)
        ratio = _share_gained(here, trial, model, predicted)
        if ratio < limits.POOR:
            radius = limits.SHRINK * length
        elif ratio > limits.GOOD and length > limits.EDGE * radius:
            radius = min(limits.GROW * radius, longest)
        if ratio > limits.ENOUGH:
            here = trial
            if here.is_near(stopping.ends):
                return Arrival(here.point, evaluations, decrement, False)


def _share_gained(here: _Here, trial: _Here, model: _Scaled, predicted: float) -> float:
    """Return the share of the predicted gain that a step made.

    Where the criterion is estimated and the gain is below its error, gradients decide, which are
    known better: 1 if the step shortens the gradient, otherwise 0.
    """
    if predicted < here.point.noise:
        before, after = (model.scale * each.point.gradient for each in (here, trial))
        return float(np.linalg.norm(after) < np.linalg.norm(before))
    return (here.point.criterion - trial.point.criterion) / predicted


def _misled(here: _Here, secant: np.ndarray, spent: float) -> bool:
    """Whether only the secants say that nothing is left to gain.

    One from a step that overshot has the size of the gradient there, which may be enormous.
    """
    if not secant.any():
        return False
    plain = _Scaled.of(here.point.gradient, here.curvature.hessian)
    return plain.decrement > _MISLED * spent


def _size_of_gradient(point: Evaluated) -> float:
    return float(np.abs(point.gradient).max())


@dataclass(frozen=True, eq=False)
class _Here:
    """A point of the search with its curvature."""

    point: Evaluated
    curvature: Curvature

    @classmethod
    def of(cls, criterion: Criterion, psi: np.ndarray, u: np.ndarray | None) -> _Here | None:
        """Evaluate; None where the criterion has no value."""
        try:
            point = criterion.at(psi, u)
            usable = np.isfinite(point.criterion) and np.isfinite(point.gradient).all()
            curvature = point.curvature
        except np.linalg.LinAlgError:
            return None
        usable = usable and np.isfinite(curvature.hessian).all()
        return cls(point, curvature) if usable else None

    def is_near(self, ends: tuple[np.ndarray, ...]) -> bool:
        """Whether a point is near one of some ends, in units of the parameters' curvature."""
        size = np.sqrt(np.abs(self.curvature.hessian.diagonal()))
        gaps = (size * (np.abs(end) - np.abs(self.point.psi)) for end in ends)
        return any(bool(np.abs(gap).max() < NEAR) for gap in gaps)

    def after(self, criterion: Criterion, step: np.ndarray) -> _Here | None:
        """Evaluate after a step, the mode begun where its slopes lead."""
        begin = self.point.start + self.curvature.mode_slopes @ step
        return _Here.of(criterion, self.point.psi + step, begin)


def _corrected(secant: np.ndarray, before: _Here, after: _Here, step: np.ndarray) -> np.ndarray:
    """Return the secant correction, (P, P), that explains the change of the gradient too."""
    between = 0.5 * (before.curvature.hessian + after.curvature.hessian)
    change = after.point.gradient - before.point.gradient
    residual = change - (between + secant) @ step
    pivot = float(residual @ step)
    if abs(pivot) < _SMALL_PIVOT * np.linalg.norm(residual) * np.linalg.norm(step):
        return secant
    return secant + np.outer(residual, residual) / pivot


def _refreshed(criterion: Criterion, here: _Here, secant: np.ndarray) -> np.ndarray:
    """Return the correction, (P, P), that makes the curvature exact here, if it can be had."""
    try:
        exact = exact_hessian(criterion, here.point)
    except np.linalg.LinAlgError:
        return secant
    return exact - here.curvature.hessian if np.isfinite(exact).all() else secant


def polished(
    arrival: Arrival, criterion: Criterion, hessian: np.ndarray, free: np.ndarray
) -> Arrival:
    """Take Newton steps with the exact second derivatives, (P, P), while they lower the decrement.

    Two at most: the first leaves the square of what there was. Parameters that are not `free`,
    (P,), stay on the boundary. The mode begins where its slopes at the first point lead.
    """
    point, evaluations = arrival.point, arrival.evaluations
    slopes, model = point.curvature.mode_slopes, _Scaled.of(point.gradient, hessian)
    enough = _POLISHED_ESTIMATE if point.noise else _POLISHED
    for _ in range(2):
        if model.decrement <= enough:
            break
        step = np.where(free, model.step(1.0)[0], 0.0)
        try:
            trial = criterion.at(point.psi + step, point.start + slopes @ step)
        except np.linalg.LinAlgError:
            break
        evaluations += 1
        if not np.isfinite(trial.gradient).all() or _rises(point, trial):
            break
        after = _Scaled.of(trial.gradient, hessian)
        if not after.decrement < model.decrement:
            break
        point, model = trial, after
    return replace(arrival, point=point, evaluations=evaluations, decrement=model.decrement)


def _rises(before: Evaluated, after: Evaluated) -> bool:
    """Whether a criterion is higher by more than its digits; an estimated one is not judged."""
    digits = _DIGITS * (1.0 + abs(before.criterion))
    return not before.noise and after.criterion > before.criterion + digits
