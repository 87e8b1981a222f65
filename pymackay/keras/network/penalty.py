"""`EvidencePenalty`: a regularizer whose strength is a variable."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="pymackay")
class EvidencePenalty(keras.regularizers.Regularizer):
    """Add w'P w for every row w of a table of weights to the loss.

    `strength` is a variable: it changes between epochs without a new trace of the training step.

    Parameters
    ----------
    strength : float or array-like, shape (q, q)
        P, in units of the mean loss: for a prior N(0, V) and n training rows, σ²V⁻¹/n with mean
        squared error, V⁻¹/(2n) with a mean negative log likelihood. A number, or q = 1: the same
        for every weight. Otherwise q is the last axis of the weights.
    root : array-like of shape (q, q), or None
        F, with V = σ²FF'; kept with a saved model, so that training can be continued.
    noise : float or None
        σ²; likewise.

    Examples
    --------
    >>> import keras, pymackay as pm
    >>> penalty = pm.keras.EvidencePenalty(0.5)
    >>> float(penalty(keras.ops.ones((2, 3))))
    3.0
    """

    def __init__(self, strength: Any = 0.0, root: Any = None, noise: float | None = None) -> None:
        matrix = np.array(strength, dtype=np.float64, ndmin=2)
        self.strength = keras.Variable(matrix, trainable=False, dtype="float64", name="strength")
        self.root = None if root is None else np.array(root, dtype=np.float64, ndmin=2)
        self.noise = noise

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weights `x`, a scalar tensor of the type of Keras' losses."""
        matrix = keras.ops.cast(keras.ops.convert_to_tensor(self.strength), x.dtype)
        q = self.strength.shape[0]
        if q == 1:
            total = matrix[0, 0] * keras.ops.sum(keras.ops.square(x))
        else:
            table = keras.ops.reshape(x, (-1, q))
            total = keras.ops.sum(keras.ops.matmul(table, matrix) * table)
        return keras.ops.cast(total, keras.config.floatx())

    def assign(self, strength: np.ndarray, root: np.ndarray, noise: float) -> None:
        """Set P, F and σ²; nothing is traced again."""
        self.strength.assign(strength)
        self.root, self.noise = root, noise

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs: the present strength and the state of the loop."""
        return {
            "strength": self.strength.numpy().tolist(),
            "root": None if self.root is None else self.root.tolist(),
            "noise": self.noise,
        }


def attach(model: Any, variable: Any, penalty: EvidencePenalty | None) -> None:
    """Make `penalty` the regularizer of a variable, and of its layer's configuration.

    Keras saves the attribute ``kernel_regularizer`` (or ``embeddings_regularizer`` ...) of a layer.
    """
    variable.regularizer = penalty
    for layer in model._flatten_layers():
        attribute = f"{variable.name}_regularizer"
        if any(variable is weight for weight in layer._trainable_variables) and hasattr(
            layer, attribute
        ):
            setattr(layer, attribute, penalty)
