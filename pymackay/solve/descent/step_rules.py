"""Step rules of gradient descent, `Sgd` and `Adam`: from bounds on the curvature to a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import tensorflow as tf
else:
    from pymackay.late import tf


Point = list[tf.Tensor]
Slots = list[Point]
Move = tuple[Point, Slots]


@dataclass(frozen=True)
class Sgd:
    """Gradient descent with momentum, all rows in every step.

    Step size and momentum follow Chebyshev's schedule for the bounds of the loss's curvature:
    after k epochs no other fixed schedule has a smaller guaranteed error, which falls as
    1/cosh(k a) with tanh(a/2) = 1/√κ, κ the condition number. So a few epochs never make things
    worse, and in the long run the schedule is Polyak's heavy ball.

    References
    ----------
    Golub, G. H. and Varga, R. S. (1961). Chebyshev semi-iterative methods, successive
    overrelaxation iterative methods, and second order Richardson iterative methods.
    Numerische Mathematik 3, 147-156.
    Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods.
    USSR Computational Mathematics and Mathematical Physics 4(5), 1-17.
    """

    name: ClassVar[str] = "SGD"
    slots: ClassVar[int] = 1

    def rates(self, smallest: float, largest: float) -> tuple[float, ...]:
        """Return half the range of the eigenvalues, and the a of 1/cosh(k a)."""
        half_range = (largest - smallest) / 2.0
        return half_range, math.acosh((largest + smallest) / 2.0 / half_range)

    @staticmethod
    def step(gradient: Point, slots: Slots, rates: tf.Tensor, epoch: tf.Tensor) -> Move:
        """Return the step to add to the point, and the same as velocity."""
        half_range, a = tf.unstack(rates, 2)

        def ratio(k: tf.Tensor) -> tf.Tensor:
            """Return cosh(k a) / cosh((k + 1) a) without overflow."""
            return tf.exp(-a) * (1.0 + tf.exp(-2.0 * a * k)) / (1.0 + tf.exp(-2.0 * a * (k + 1.0)))

        first = tf.cast(tf.equal(epoch, 0.0), tf.float64)
        size = (2.0 - first) * ratio(epoch) / half_range
        momentum = (1.0 - first) * ratio(epoch) * ratio(epoch - 1.0)
        velocity = [momentum * v - size * g for v, g in zip(slots[0], gradient, strict=True)]
        return velocity, [velocity]


@dataclass(frozen=True)
class Adam:
    """Adam, with an ε that lets it settle.

    A step is at most about `learning_rate` in each standardised coordinate. With the usual tiny
    ε Adam's steps do not shrink with the gradient, so near the minimum it jitters; here
    ε = `learning_rate` · (1 − `decay`) · (largest curvature), under which it turns into gradient
    descent with momentum and a safe step there, and converges.

    Parameters
    ----------
    learning_rate : float
        In standardised coordinates.
    decay, square_decay : float
        Forgetting rates of the gradient's mean and mean square (Kingma and Ba's β₁, β₂).

    References
    ----------
    Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
    """

    learning_rate: float = 3.0
    decay: float = 0.9
    square_decay: float = 0.999

    name: ClassVar[str] = "Adam"
    slots: ClassVar[int] = 2

    def rates(self, smallest: float, largest: float) -> tuple[float, ...]:
        """Return learning rate, both decays and ε for a largest eigenvalue of `largest`."""
        del smallest
        epsilon = self.learning_rate * (1.0 - self.decay) * largest
        return self.learning_rate, self.decay, self.square_decay, epsilon

    @staticmethod
    def step(
        gradient: Point, slots: Slots, rates: tf.Tensor, epoch: tf.Tensor
    ) -> tuple[Point, Slots]:
        """Return the step to add to the point, and the new running means."""
        rate, decay, square_decay, epsilon = tf.unstack(rates, 4)
        count = tf.cast(epoch + 1, tf.float64)
        means = [decay * m + (1.0 - decay) * g for m, g in zip(slots[0], gradient, strict=True)]
        squares = [
            square_decay * s + (1.0 - square_decay) * g * g
            for s, g in zip(slots[1], gradient, strict=True)
        ]
        mean_bias, square_bias = 1.0 - decay**count, 1.0 - square_decay**count
        steps = [
            -rate * (m / mean_bias) / (tf.sqrt(s / square_bias) + epsilon)
            for m, s in zip(means, squares, strict=True)
        ]
        return steps, [means, squares]


StepRule = Sgd | Adam
