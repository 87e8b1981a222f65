"""Small networks: mixed models with an Embedding per factor, and others of a dozen weights."""

from __future__ import annotations

import keras
import numpy as np


def codes(column) -> np.ndarray:
    """Return the levels of a column as numbers from 0."""
    return column.astype("category").cat.codes.to_numpy().astype("int32")


def slopes_model(levels: int) -> keras.Model:
    """Return the network of ``y ~ x + (x | g)``: float64, inputs x (n, 1) and g (n,)."""
    x = keras.Input((1,), dtype="float64")
    level = keras.Input((), dtype="int32")
    table = keras.layers.Embedding(levels, 2, name="effects", dtype="float64")(level)
    slope = keras.layers.Dot(axes=1, dtype="float64")([table[:, 1:], x])
    fixed = keras.layers.Dense(1, name="fixed", dtype="float64")(x)
    total = keras.layers.Add(dtype="float64")([fixed, table[:, :1], slope])
    return keras.Model([x, level], total)


def intercepts_model(levels: dict[str, int], columns: int) -> keras.Model:
    """Return the network of ``y ~ X + (1 | g) + (1 | h)``: float64, inputs X and the factors."""
    x = keras.Input((columns,), dtype="float64")
    inputs = [keras.Input((), dtype="int32") for _ in levels]
    parts = [keras.layers.Dense(1, name="fixed", use_bias=False, dtype="float64")(x)]
    for (name, count), level in zip(levels.items(), inputs, strict=True):
        parts.append(keras.layers.Embedding(int(count), 1, name=name, dtype="float64")(level))
    return keras.Model([x, *inputs], keras.layers.Add(dtype="float64")(parts))


def small_network(outputs: int = 1, activation: str = "linear", table: int = 5) -> keras.Model:
    """Return a network of two dozen weights: inputs x (n, 2) and a level (n,); float64."""
    keras.utils.set_random_seed(3)
    x = keras.Input((2,), dtype="float64")
    level = keras.Input((), dtype="int32")
    hidden = keras.layers.Dense(2, activation="tanh", name="hidden", dtype="float64")(x)
    rows = keras.layers.Embedding(table, 2, name="table", dtype="float64")(level)
    joined = keras.layers.Concatenate(dtype="float64")([hidden, rows])
    output = keras.layers.Dense(outputs, activation=activation, name="output", dtype="float64")
    return keras.Model([x, level], output(joined))


def small_data(seed: int = 1, n: int = 40, table: int = 5):
    """Return x (n, 2), levels (n,) and responses (n,) with a noise sd of 0.3."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2))
    level = generator.integers(0, table, n)
    effect = generator.normal(size=table)
    mean = np.tanh(x[:, 0]) + 0.5 * x[:, 1] + effect[level]
    return x, level, mean + 0.3 * generator.normal(size=n)
