"""`Linearisation`: the network's outputs and their Jacobian rows, layer by layer.

Dense and Embedding layers are tapped: the gradient of an output in a layer's pre-activations, taken
for all rows in one backward pass, is with the layer's inputs all that the Jacobian rows need. The
weights of other layers have their Jacobian rows computed one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pymackay.keras.network.taps import DenseTap, FullRows, Piece, TableTap, tapped

_AGREE = 1e-3  # of a gradient's length: taps and backward pass are the same up to float32


_KEPT = "_pymackay_linearisation"  # attribute of a model: a second fit is not traced again


def linearisation_of(model: Any, activation: str) -> Linearisation:
    """Return the linearisation of a model, the one that was traced before if there is one."""
    kept: Linearisation | None = getattr(model, _KEPT, None)
    present = [id(variable) for variable in model.trainable_variables]
    if kept is not None and (kept.activation, [id(v) for v in kept.variables]) == (
        activation,
        present,
    ):
        return kept
    made = Linearisation(model, activation)
    object.__setattr__(model, _KEPT, made)
    return made


class Linearisation:
    """The network as a linear function of its weights, at the present weights.

    Parameters
    ----------
    model : keras.Model
    activation : str
        The likelihood's activation.

    Attributes
    ----------
    means : bool
        Whether the model's last layer makes means of f, with the likelihood's activation; known
        after the first pass.
    untapped : list of int
        Trainable variables whose Jacobian rows are computed one by one.
    traces : int
        How often the pass was traced.

    Notes
    -----
    Layers run as in prediction (``training=False``). Where the last layer is a Dense layer with
    the likelihood's activation (sigmoid, softmax, exponential), the output is its pre-activation.
    """

    def __init__(self, model: Any, activation: str) -> None:
        self.model = model
        self.variables = list(model.trainable_variables)
        self.position = {id(v): i for i, v in enumerate(self.variables)}
        self.activation = activation
        self.traces = 0
        self.untapped: list[int] = []
        self.means = False
        self._checked = False
        self._pass = tf.function(self._traced, autograph=False)
        self._outputs = tf.function(self._plain, autograph=False)

    def outputs(self, x: Any) -> np.ndarray:
        """Return the linear predictor f of a chunk, (rows, K), float64."""
        return np.asarray(self._outputs(x), dtype=np.float64)

    def glance(self, x: Any) -> np.ndarray:
        """Return f of a chunk once, (rows, K), float64: tracing it would take longer."""
        return np.asarray(self._plain(x), dtype=np.float64)

    def is_linear(self, x: Any) -> bool:
        """Say whether f is linear in the trainable weights, from a chunk's f at −w, 0, w and 2w.

        An offset that no trainable weight changes does not count.
        """
        weights = [variable.numpy() for variable in self.variables]

        def at(factor: float) -> np.ndarray:
            for variable, value in zip(self.variables, weights, strict=True):
                variable.assign(factor * value)
            return self.glance(x)

        try:
            zero, minus, twice = at(0.0), at(-1.0), at(2.0)
        finally:
            one = at(1.0)
        bends = np.abs(minus - 2.0 * zero + one), np.abs(twice - 2.0 * one + zero)
        return bool(max(map(np.max, bends)) <= _AGREE * np.abs(one - zero).max())

    def pieces(self, x: Any, n: int) -> tuple[np.ndarray, list[Piece]]:
        """Return f (n, K) and the Jacobian rows, in pieces, of the first n rows of a chunk."""
        if not self._checked:
            self.untapped = self._disagreeing(x)
            if self.untapped:
                self._pass = tf.function(self._traced, autograph=False)
            self._checked = True
        f, taps, full = self._pass(x)
        pieces: list[Piece] = [
            _piece(where, tap, n) for where, tap in zip(self._where, taps, strict=True)
        ]
        pieces += [
            FullRows(i, np.asarray(rows, np.float64)[:n].reshape(n, f.shape[1], -1))
            for i, rows in zip(self.untapped, full, strict=True)
        ]
        return np.asarray(f, dtype=np.float64)[:n], pieces

    def _plain(self, x: Any) -> Any:
        """The linear predictor, traced once."""
        with tapped(self.model, lambda *_: None) as activated:
            output = self.model(x, training=False)
        return self._predictor(output, activated)

    def _traced(self, x: Any) -> tuple[Any, list[Any], list[Any]]:
        """Return f, the taps' inputs and slopes, and the full Jacobians; traced once."""
        self.traces += 1
        calls: list[tuple[Any, Any, Any]] = []
        with tf.GradientTape(persistent=True) as tape:

            def watch(layer: Any, inputs: Any, z: Any) -> None:
                tape.watch(z)
                calls.append((layer, inputs, z))

            with tapped(self.model, watch) as activated:
                output = self.model(x, training=False)
            f = self._predictor(output, activated)
            columns = [f[:, k] for k in range(f.shape[1])]
        calls = [call for call in calls if self._is_tapped(call[0])]
        self._where = [self._places(layer) for layer, _, _ in calls]
        preactivations = [z for _, _, z in calls]
        slopes = [
            tape.gradient(column, preactivations, unconnected_gradients="zero")
            for column in columns
        ]
        taps = [
            (inputs, tf.stack([by_output[i] for by_output in slopes], axis=1))
            for i, (_, inputs, _) in enumerate(calls)
        ]
        sources = [self.variables[i].value for i in self.untapped]
        full = [tape.jacobian(column, sources) for column in columns] if sources else []
        stacked = [tf.stack([by[i] for by in full], axis=1) for i in range(len(sources))]
        return f, taps, stacked

    def _predictor(self, output: Any, activated: list[tuple[Any, Any, Any]]) -> Any:
        """Return f, (n, K): the output, or what the last layer's activation is applied to."""
        name = self.activation
        self.means = False
        for result, z, activation in activated:
            if result is output and getattr(activation, "__name__", "") == name != "linear":
                output, self.means = z, True
        return tf.reshape(output, (tf.shape(output)[0], int(np.prod(output.shape[1:]))))

    def _is_tapped(self, layer: Any) -> bool:
        return not any(
            self.position.get(id(v), -1) in self.untapped for v in layer._trainable_variables
        )

    def _places(self, layer: Any) -> tuple[str, int, int]:
        if isinstance(layer, keras.layers.Embedding):
            return "table", self.position.get(id(layer._embeddings), -1), -1
        bias = -1 if layer.bias is None else self.position.get(id(layer.bias), -1)
        return "dense", self.position.get(id(layer._kernel), -1), bias

    def _disagreeing(self, x: Any) -> list[int]:
        """Return the variables whose taps do not add up to the gradient of the outputs' sum.

        These are the weights of other layers, and those that are used outside their layer.
        """
        _, taps, _ = self._pass(x)
        n = len(keras.tree.flatten(x)[0])
        totals = [np.zeros(v.shape).reshape(-1) for v in self.variables]
        for where, tap in zip(self._where, taps, strict=True):
            for i, total in _totals(_piece(where, tap, n), self.variables):
                totals[i] += total
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(self._plain(x))  # once only: tracing it would take longer
        gradients = tape.gradient(total, [v.value for v in self.variables])
        different = []
        for i, (sums, gradient) in enumerate(zip(totals, gradients, strict=True)):
            expected = (
                0.0 * sums
                if gradient is None
                else np.asarray(tf.convert_to_tensor(gradient), dtype=np.float64).reshape(-1)
            )
            scale = np.linalg.norm(expected) + np.linalg.norm(sums)
            if np.linalg.norm(sums - expected) > _AGREE * scale:
                different.append(i)
        return different


def _totals(piece: Piece, variables: list[Any]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the sum over rows and outputs of a tap's Jacobian, by variable."""
    if isinstance(piece, DenseTap):
        slopes = piece.slopes.sum(axis=1)
        if piece.kernel >= 0:
            yield piece.kernel, np.einsum("nti,nto->io", piece.inputs, slopes).reshape(-1)
        if piece.bias >= 0:
            yield piece.bias, slopes.sum(axis=(0, 1))
    elif isinstance(piece, TableTap) and piece.table >= 0:
        total = np.zeros(variables[piece.table].shape)
        slopes = piece.slopes.sum(axis=1)
        np.add.at(total, piece.codes.reshape(-1), slopes.reshape(-1, slopes.shape[-1]))
        yield piece.table, total.reshape(-1)


def _piece(where: tuple[str, int, int], tap: tuple[Any, Any], n: int) -> Piece:
    """Return a tap of the first n rows as arrays, axes between rows and columns made one."""
    kind, first, second = where
    inputs, slopes = np.asarray(tap[0])[:n], np.asarray(tap[1], dtype=np.float64)[:n]
    outputs, columns = slopes.shape[1], slopes.shape[-1]
    slopes = slopes.reshape(n, outputs, -1, columns)
    if kind == "table":
        return TableTap(first, inputs.astype(np.int64).reshape(n, -1), slopes)
    inputs = inputs.astype(np.float64).reshape(n, -1, inputs.shape[-1])
    return DenseTap(first, second, inputs, slopes)
