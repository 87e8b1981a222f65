"""`EffectsDescent`: fixed and random effects of any `Model`, learned by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pymackay.arguments import positive_number, whole_number
from pymackay.errors import ConvergenceError
from pymackay.model.model import Model, RandomTerm
from pymackay.solve.descent.coordinates import choose_coordinates, weight_arrays
from pymackay.solve.descent.step_rules import Point, Sgd, Slots, StepRule

if TYPE_CHECKING:
    import tensorflow as tf
else:
    from pymackay.late import tf


@dataclass(frozen=True)
class Training:
    """How one call of `EffectsDescent.train` ended.

    Attributes
    ----------
    optimizer : str
        Name of the rule that took the steps.
    epochs : int
        Steps taken; every step sees all rows.
    loss : float
        SSE/σ² + bᵀVb at the end.
    gradient_norm : float
        Euclidean norm of the loss's gradient in standardised coordinates. The distance to the
        minimum is at most this much: in prior standard deviations for the random effects, in
        `coefficient_unit` least-squares standard errors for the fixed ones.
    coefficient_unit : float
        See `gradient_norm`.
    tolerance : float
        The gradient norm at which training stops: the one asked for, or what rounding allows.
    converged : bool
        Whether `gradient_norm` reached `tolerance`.
    """

    optimizer: str
    epochs: int
    loss: float
    gradient_norm: float
    coefficient_unit: float
    tolerance: float
    converged: bool

    @property
    def message(self) -> str:
        """How it ended, in words."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        reached = f"gradient norm {self.gradient_norm:.2g} after {epochs}"
        if self.converged:
            return f"{self.optimizer} converged: {reached}"
        return (
            f"{self.optimizer} ran out of epochs: {reached}, where {self.tolerance:.2g} "
            f"was asked for; train for more epochs"
        )


class EffectsDescent(tf.Module):
    """Minimise SSE/σ² + Σ bⱼᵀ V⁻¹ bⱼ over `beta` and `b` by `tf.GradientTape`.

    SSE is weighted by the model's prior weights. Steps are taken in standardised coordinates
    (b = L u with L Lᵀ = V; columns of X orthonormal), where the loss is
    ‖y − Xβ − ZLu‖²/σ² + ‖u‖² and its curvature is bounded on both sides whatever the units and
    however close to singular V is. V may be singular: its null directions stay at zero.

    Parameters
    ----------
    model : Model
    covariances : mapping of str to array-like of shape (q, q)
        Term name to the covariance matrix of its effects, absolute scale.
    noise_var : float
        Residual variance σ².

    Attributes
    ----------
    beta : tf.Variable, shape (p, 1)
        Fixed effects, user's units. Training starts from its value and ends in it.
    b : tf.Variable, shape (sum of levels × q, 1)
        Random effects, user's units: term by term, level by level, effects fastest.

    Raises
    ------
    ArgumentError
        If a covariance matrix is missing, not symmetric or has a negative eigenvalue, or
        `noise_var` is not a positive number.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from pymackay.model.model import GroupingFactor, Model, RandomTerm
    >>> y, ones = np.array([1.0, 2.0, 6.0, 7.0]), np.ones((4, 1))
    >>> group = GroupingFactor("g", ("a", "b"), np.array([0, 0, 1, 1], dtype=np.int32))
    >>> term = RandomTerm("g", "g", ("(Intercept)",), ones)
    >>> model = Model("y ~ 1 + (1 | g)", "y", y, ones, ("(Intercept)",), (term,),
    ...               {"g": group}, pd.RangeIndex(4))
    >>> descent = EffectsDescent(model, {"g": [[2.0]]}, 1.0)
    >>> descent.train().converged
    True
    >>> descent.ranef()["g"].round(6).ravel().tolist()
    [-2.0, 2.0]
    """

    def __init__(
        self, model: Model, covariances: Mapping[str, np.ndarray], noise_var: float
    ) -> None:
        super().__init__(name="effects_descent")
        self.model = model
        self._arrays = weight_arrays(model)
        self._target = tf.constant(self._arrays.target)
        self._fixed = tf.constant(self._arrays.fixed)
        self._columns = [tf.constant(c) for c in self._arrays.columns]
        self._codes = [tf.constant(model.factors[t.group].codes) for t in model.terms]
        self.graphs: dict[str, Callable] = {}
        self.beta = tf.Variable(tf.zeros((model.X.shape[1], 1), tf.float64), name="beta")
        size = sum(math.prod(_shape(model, term)) for term in model.terms)
        self.b = tf.Variable(tf.zeros((size, 1), tf.float64), name="b")
        self.set_variances(covariances, noise_var)

    def set_variances(self, covariances: Mapping[str, np.ndarray], noise_var: float) -> None:
        """Set the effects' covariance matrices and the residual variance; keep the effects.

        Parameters
        ----------
        covariances : mapping of str to array-like of shape (q, q)
            Term name to covariance matrix, absolute scale.
        noise_var : float
            Residual variance σ².
        """
        self.coordinates = choose_coordinates(
            self._arrays, self.model.terms, covariances, noise_var
        )

    def zero(self) -> None:
        """Set `beta` and `b` to zero."""
        self.beta.assign(tf.zeros_like(self.beta))
        self.b.assign(tf.zeros_like(self.b))

    def ranef(self) -> dict[str, np.ndarray]:
        """Return term name to its random effects, each of shape (levels, q), user's units."""
        flat, effects, start = self.b.numpy(), {}, 0
        for term in self.model.terms:
            shape = _shape(self.model, term)
            effects[term.name] = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return effects

    def fitted(self) -> np.ndarray:
        """Return Xβ + Zb + offset at the current effects, shape (n,)."""
        model = self.model
        fit = (model.X @ self.beta.numpy()).ravel()
        for term, effects in zip(model.terms, self.ranef().values(), strict=True):
            fit += np.einsum("iq,iq->i", term.columns, effects[model.factors[term.group].codes])
        return fit if model.offset is None else fit + model.offset

    def sse(self) -> float:
        """Return the sum of squared residuals, weighted by the prior weights."""
        squares = (self.model.y - self.fitted()) ** 2
        return float(squares.sum() if self.model.weights is None else squares @ self.model.weights)

    def train(
        self, epochs: int = 5000, optimizer: StepRule | None = None, tolerance: float = 1e-11
    ) -> Training:
        """Descend from the current effects; stop early when the gradient is down to `tolerance`.

        Parameters
        ----------
        epochs : int
            The largest number of steps; every step sees all rows.
        optimizer : Sgd or Adam, default Sgd()
            The rule that makes steps out of gradients.
        tolerance : float
            Gradient norm in standardised coordinates: see `Training.gradient_norm`. It is
            raised to what rounding allows where it asks for more than that.

        Returns
        -------
        Training
            ``converged`` is False when the epochs ran out first.

        Raises
        ------
        ArgumentError
            If `epochs` is not an integer of at least 1, or `tolerance` is not positive.
        ConvergenceError
            If the loss is not finite.
        """
        steps = whole_number("epochs", epochs)
        goal = max(positive_number("tolerance", tolerance), self._rounding())
        rule = Sgd() if optimizer is None else optimizer
        at = self.coordinates
        start = at.inward(self.beta.numpy()[:, 0], list(self.ranef().values()))
        taken, loss, norm, point = self._graph(type(rule))(
            [tf.constant(z) for z in start],
            [tf.constant(factor) for factor in at.factors],
            tf.constant([1.0 / at.sigma, at.unit], tf.float64),
            tf.constant(rule.rates(2.0 * at.smallest, 2.0 * at.largest), tf.float64),
            tf.constant([goal], tf.float64),
            tf.constant(steps, tf.int64),
        )
        if not np.isfinite(loss.numpy()):
            raise ConvergenceError(
                f"{rule.name} met a loss that is not finite after {int(taken)} epochs. Call zero() "
                f"to start from zero effects, and look for values near the limits of float64."
            )
        self._take(point)
        return Training(
            optimizer=rule.name,
            epochs=int(taken),
            loss=float(loss),
            gradient_norm=float(norm),
            coefficient_unit=at.unit,
            tolerance=goal,
            converged=float(norm) <= goal,
        )

    def _rounding(self) -> float:
        """Return the gradient norm below which there is only rounding."""
        at = self.coordinates
        size = float(np.linalg.norm(self._arrays.target)) / at.sigma
        return 32.0 * float(np.finfo(np.float64).eps) * math.sqrt(at.largest) * size

    def _take(self, point: Point) -> None:
        beta, effects = self.coordinates.outward([z.numpy() for z in point])
        self.beta.assign(beta[:, None])
        self.b.assign(np.concatenate([np.zeros(0), *(e.ravel() for e in effects)])[:, None])

    def _graph(self, rule: type[StepRule]) -> Callable:
        """Return the compiled loop of one step rule; made once, whatever the variances."""
        if rule.name not in self.graphs:
            self.graphs[rule.name] = tf.function(partial(self._descend, rule), autograph=False)
        return self.graphs[rule.name]

    def _descend(
        self,
        rule: type[StepRule],
        start: Point,
        factors: list[tf.Tensor],
        units: tf.Tensor,
        rates: tf.Tensor,
        goal: tf.Tensor,
        epochs: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Point]:
        slope = partial(self._loss_and_gradient, factors=factors, units=units)

        def unfinished(epoch: tf.Tensor, loss: tf.Tensor, norm: tf.Tensor, *_: Any) -> tf.Tensor:
            return (epoch < epochs) & (norm > goal[0]) & tf.math.is_finite(loss)

        def advance(epoch: tf.Tensor, *state: Any) -> tuple:
            _, _, point, gradient, slots = state
            step, slots = rule.step(gradient, slots, rates, tf.cast(epoch, tf.float64))
            point = [z + dz for z, dz in zip(point, step, strict=True)]
            loss, gradient = slope(point)
            return epoch + 1, loss, tf.linalg.global_norm(gradient), point, gradient, slots

        loss, gradient = slope(start)
        slots: Slots = [[tf.zeros_like(z) for z in start] for _ in range(rule.slots)]
        state = (tf.constant(0, tf.int64), loss, tf.linalg.global_norm(gradient), start)
        end = tf.while_loop(unfinished, advance, (*state, gradient, slots))
        return end[0], end[1], end[2], end[3]

    def _loss_and_gradient(
        self, point: Point, factors: list[tf.Tensor], units: tf.Tensor
    ) -> tuple[tf.Tensor, Point]:
        """Return ‖y − Xβ − ZLu‖²/σ² + ‖u‖² and its gradient in the standardised coordinates."""
        with tf.GradientTape() as tape:
            tape.watch(point)
            residual = self._target * units[0] - units[1] * tf.linalg.matvec(self._fixed, point[0])
            penalty = tf.constant(0.0, tf.float64)
            parts = zip(point[1:], factors, self._columns, self._codes, strict=True)
            for effects, factor, columns, codes in parts:
                rows = tf.gather(tf.matmul(effects, factor, transpose_b=True), codes)
                residual -= tf.reduce_sum(columns * rows, axis=1)
                penalty += tf.reduce_sum(tf.square(effects))
            loss = tf.reduce_sum(tf.square(residual)) + penalty
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, point)]


def _shape(model: Model, term: RandomTerm) -> tuple[int, int]:
    """Return (levels, q) of a term's effects."""
    return len(model.factors[term.group].levels), len(term.effects)
