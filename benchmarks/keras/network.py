"""The network of a task, its weight groups, and one training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.keras.tasks import Rows, Task

__all__ = ["Penalised", "groups_of", "mean_square", "predict", "train", "untrained"]


def groups_of(task: Task) -> list[str]:
    """Return the names of the penalised layers: tables, hidden layers, output."""
    hidden = [f"hidden{place}" for place in range(1, len(task.hidden) + 1)]
    return [*task.levels, *hidden, "output"]


def untrained(task: Task, penalty: Mapping[str, Any], dropout: float = 0.0) -> keras.Model:
    """Return a compiled network.

    Parameters
    ----------
    task : Task
    penalty : mapping of str to regularizer
        Of each layer's kernel or table; a layer that is not named has none.
    dropout : float
        Share of the units of the covariates' hidden layers, and of the levels' effects, that is
        dropped during the training.
    """
    layers = keras.layers
    x = keras.Input((task.train.x.shape[1],), name="x")
    inputs, value = {"x": x}, x
    for place, units in enumerate(task.hidden, 1):
        name = f"hidden{place}"
        layer = layers.Dense(
            units, activation="tanh", name=name, kernel_regularizer=penalty.get(name)
        )
        value = layers.Dropout(dropout)(layer(value)) if dropout else layer(value)
    parts = [layers.Dense(1, name="output", kernel_regularizer=penalty.get("output"))(value)]
    for name, size in task.levels.items():
        inputs[name] = keras.Input((), dtype="int32", name=name)
        table = layers.Embedding(
            size, 1, name=f"{name}_table", embeddings_regularizer=penalty.get(name)
        )
        effect = table(inputs[name])
        parts.append(layers.Dropout(dropout)(effect) if dropout else effect)
    model = keras.Model(inputs, layers.Add()(parts) if len(parts) > 1 else parts[0])
    return compiled(model, task)


def compiled(model: keras.Model, task: Task) -> keras.Model:
    """Compile a network for mean squared error, eight batches per call of TensorFlow.

    Without XLA, whose compilation takes longer than it saves here.
    """
    model.compile(
        keras.optimizers.Adam(task.rate), loss="mse", steps_per_execution=8, jit_compile=False
    )
    return model


def train(model: keras.Model, task: Task, rows: Rows, **options: Any) -> keras.callbacks.History:
    """Train a network by the task's epochs and batches."""
    options = {"epochs": task.epochs, "batch_size": task.batch, "verbose": 0} | options
    return model.fit(rows.inputs, rows.y, **options)


def predict(model: keras.Model, rows: Rows) -> np.ndarray:
    """Return the network's mean of each row, (n,)."""
    return np.asarray(model.predict(rows.inputs, batch_size=4096, verbose=0), float)[:, 0]


def mean_square(model: keras.Model, rows: Rows) -> float:
    """Return the mean squared error; infinite where the training diverged."""
    square = float(np.mean((rows.y - predict(model, rows)) ** 2))
    return square if math.isfinite(square) else math.inf


class Strength(keras.regularizers.Regularizer):  # type: ignore[misc]
    """An L2 penalty whose factor is a variable, so that the next trial does not trace again."""

    def __init__(self) -> None:
        self.factor = keras.Variable(0.0, trainable=False, dtype="float32")

    def __call__(self, weights: Any) -> Any:
        return self.factor * keras.ops.sum(keras.ops.square(weights))


class Penalised:
    """One network that is trained again and again from the same weights with other penalties.

    An epoch is one compiled function, which does what ``model.fit`` does (the same optimiser, the
    same batches in random order) in a tenth of the time, so that a search of sixteen trainings on
    ten data sets is affordable here. `benchmarks.keras.run` counts what ``model.fit`` costs.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed
        keras.utils.set_random_seed(seed)
        self.strengths = {name: Strength() for name in groups_of(task)}
        self.model = untrained(task, self.strengths)
        self.model.optimizer.build(self.model.trainable_variables)
        self._begin = self.model.get_weights()
        self._epoch = tf.function(self._steps, jit_compile=True)
        self._errors: dict[tuple[float, ...], float] = {}

    def train(self, rows: Rows, l2: Mapping[str, float]) -> keras.Model:
        """Train from the first weights with a penalty for each layer."""
        self._reset()
        for name, value in l2.items():
            self.strengths[name].factor.assign(value)
        rng = np.random.default_rng([self.seed, 3])
        data = {name: tf.constant(value) for name, value in rows.inputs.items()}
        y = tf.constant(rows.y[:, None])
        steps = len(rows.y) // self.task.batch
        for _ in range(self.task.epochs):
            order = rng.permutation(len(rows.y))[: steps * self.task.batch]
            self._epoch(data, y, tf.constant(order.reshape(steps, -1).astype(np.int32)))
        return self.model

    def error(self, fitted: Rows, held: Rows, l2: Mapping[str, float]) -> float:
        """Return the mean square on held rows after a training; the same training is not repeated.

        `fitted` and `held` are the same in all calls: the seed divides the rows.
        """
        key = tuple(l2[name] for name in self.strengths)
        if key not in self._errors:
            self._errors[key] = mean_square(self.train(fitted, l2), held)
        return self._errors[key]

    def _reset(self) -> None:
        self.model.set_weights(self._begin)
        for variable in self.model.optimizer.variables:
            if variable is not self.model.optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def _steps(self, data: Mapping[str, tf.Tensor], y: tf.Tensor, batches: tf.Tensor) -> None:
        """Take one step per batch; batches has the shape (steps, batch)."""
        weights = [variable.value for variable in self.model.trainable_variables]
        for batch in batches:
            with tf.GradientTape() as tape:
                inputs = {name: tf.gather(value, batch) for name, value in data.items()}
                error = self.model(inputs, training=True) - tf.gather(y, batch)
                loss = tf.reduce_mean(tf.square(error)) + tf.add_n(self.model.losses)
            gradients = tape.gradient(loss, weights)
            dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
            self.model.optimizer.apply(dense, self.model.trainable_variables)
