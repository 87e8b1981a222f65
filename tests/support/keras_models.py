"""Mixed models as Keras networks: an Embedding per grouping factor and a Dense layer."""

from __future__ import annotations

import keras
import numpy as np


def codes(column) -> np.ndarray:
    """Return the levels of a column as numbers from 0."""
    return column.astype("category").cat.codes.to_numpy()


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
        parts.append(keras.layers.Embedding(count, 1, name=name, dtype="float64")(level))
    return keras.Model([x, *inputs], keras.layers.Add(dtype="float64")(parts))
