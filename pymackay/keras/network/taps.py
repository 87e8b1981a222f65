"""`tapped`: the inputs and pre-activations of Dense and Embedding layers while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True, eq=False)
class DenseTap:
    """One call of a Dense layer on n rows: J = Σ_t inputs ⊗ slopes.

    Attributes
    ----------
    kernel, bias : int
        Position of the variable among the trainable ones; −1: there is none.
    inputs : numpy.ndarray, shape (n, t, inputs)
    slopes : numpy.ndarray, shape (n, K, t, units)
        Derivative of each output in the pre-activations.
    """

    kernel: int
    bias: int
    inputs: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class TableTap:
    """One call of an Embedding layer on n rows.

    Attributes
    ----------
    table : int
        Position of the variable among the trainable ones.
    codes : numpy.ndarray of int, shape (n, t)
        Rows of the table that each data row uses.
    slopes : numpy.ndarray, shape (n, K, t, columns)
    """

    table: int
    codes: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class FullRows:
    """Jacobian rows of one variable, for layers that are not tapped.

    Attributes
    ----------
    variable : int
    rows : numpy.ndarray, shape (n, K, size)
    """

    variable: int
    rows: np.ndarray


Piece = DenseTap | TableTap | FullRows


@contextmanager
def tapped(
    model: Any, watch: Callable[[Any, Any, Any], None]
) -> Iterator[list[tuple[Any, Any, Any]]]:
    """Make the Dense and Embedding layers hand their inputs and pre-activations to `watch`.

    Yields a list that will hold the output, the pre-activation and the activation of every call.
    """
    activated: list[tuple[Any, Any, Any]] = []
    changed: list[tuple[Any, Any]] = []
    for layer in model._flatten_layers(include_self=False):
        if type(layer) is keras.layers.Dense:
            changed.append((layer, layer.activation))
            _tap_dense(layer, watch, activated)
        elif type(layer) is keras.layers.Embedding:
            changed.append((layer, None))
            _tap_table(layer, watch)
    try:
        yield activated
    finally:
        for layer, activation in changed:
            del layer.call
            if activation is not None:
                layer.activation = activation


def _tap_dense(layer: Any, watch: Any, activated: list[tuple[Any, Any, Any]]) -> None:
    call, activation = layer.call, layer.activation
    inputs_of: list[Any] = []

    def tapped_call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs_of.append(inputs)
        return call(inputs, *args, **kwargs)

    def tapped_activation(z: Any) -> Any:
        z = tf.identity(z)
        watch(layer, inputs_of[-1], z)
        result = z if activation is None else activation(z)
        activated.append((result, z, activation))
        return result

    layer.activation = tapped_activation
    layer.call = tapped_call


def _tap_table(layer: Any, watch: Any) -> None:
    call = layer.call

    def tapped_call(inputs: Any) -> Any:
        z = tf.identity(call(inputs))
        watch(layer, inputs, z)
        return z

    layer.call = tapped_call
