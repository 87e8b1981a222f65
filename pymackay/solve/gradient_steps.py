"""Step rules of gradient descent, `Sgd` and `Adam`: from bounds on the curvature to a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

__all__ = ["Adam", "Point", "Sgd", "Slots", "StepRule"]

Point = list[tf.Tensor]
Slots = list[Point]
Move = tuple[Point, Slots]


@dataclass(frozen=True)
class Sgd:
    """Gradient descent with constant momentum (Polyak's heavy ball), all rows in every step.

    Step and momentum come from the bounds of the loss's curvature and are the best constant
    ones for a quadratic loss: the error falls by (√κ − 1)/(√κ + 1) per epoch, κ the condition
    number.

    References
    ----------
    Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods.
    USSR Computational Mathematics and Mathematical Physics 4(5), 1-17.
    """

    name: ClassVar[str] = "SGD"
    slots: ClassVar[int] = 1

    def rates(self, smallest: float, largest: float) -> tuple[float, ...]:
        """Return step size and momentum for eigenvalues between `smallest` and `largest`."""
        low, high = math.sqrt(smallest), math.sqrt(largest)
        return (2.0 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2

    @staticmethod
    def step(
        gradient: Point, slots: Slots, rates: tf.Tensor, epoch: tf.Tensor
    ) -> tuple[Point, Slots]:
        """Return the step to add to the point, and the new velocity."""
        del epoch
        velocity = [rates[1] * v - rates[0] * g for v, g in zip(slots[0], gradient, strict=True)]
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
