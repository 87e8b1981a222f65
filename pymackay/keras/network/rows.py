"""`TrainingRows`: the training data of a network, in chunks of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pymackay.errors import DataError

CHUNK = 1024  # rows whose Jacobian is in memory at a time


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows of the training data, all chunks of the same length.

    Attributes
    ----------
    x : array or structure of arrays, first axis CHUNK
        The last chunk is filled up with copies of its first row.
    y : numpy.ndarray, shape (n, ...)
    weight : numpy.ndarray, shape (n,)
        n rows of the chunk are data.
    """

    x: Any
    y: np.ndarray
    weight: np.ndarray


class TrainingRows:
    """Arrays, structures of arrays, or a `tf.data.Dataset` of batches, read chunk by chunk.

    Parameters
    ----------
    x : array, structure of arrays, or tf.data.Dataset
        A dataset has batches (x, y) or (x, y, sample weight), and an end.
    y : array, first axis n, or None
        None for a dataset.
    sample_weight : array of shape (n,), or None

    Raises
    ------
    DataError
        If lengths differ, there are no rows, or a weight is negative or not finite.
    """

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None) -> None:
        self.dataset = x if isinstance(x, tf.data.Dataset) else None
        if self.dataset is not None:
            if y is not None or sample_weight is not None:
                raise DataError("x is a tf.data.Dataset: y and sample weights belong into it.")
            if int(self.dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
                raise DataError("x is a tf.data.Dataset without an end: use dataset.take(n).")
            return
        if y is None:
            raise DataError("y is missing: give the responses of the training rows.")
        self.x = keras.tree.map_structure(np.asarray, x)
        self.y = np.asarray(y)
        ones = np.ones(len(self.y))
        self.weight = ones if sample_weight is None else _weights(sample_weight, len(self.y))
        lengths = {len(part) for part in keras.tree.flatten(self.x)}
        if lengths != {len(self.y)} or not len(self.y):
            raise DataError(f"x has {sorted(lengths)} rows and y has {len(self.y)}.")

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in chunks."""
        for x, y, weight in self._pieces():
            missing = CHUNK - len(y)
            if missing:
                x = keras.tree.map_structure(lambda part, m=missing: _filled(part, m), x)
            yield Chunk(x, y, weight)

    def _pieces(self) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        for x, y, weight in self._batches():
            for at in range(0, len(y), CHUNK):
                rows = slice(at, at + CHUNK)
                part = keras.tree.map_structure(lambda values, r=rows: values[r], x)
                yield part, y[rows], weight[rows]

    def _batches(self) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        if self.dataset is None:
            yield self.x, self.y, self.weight
            return
        for batch in self.dataset.rebatch(CHUNK):
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            values = np.asarray(y)
            ones = np.ones(len(values))
            yield (
                keras.tree.map_structure(np.asarray, x),
                values,
                ones if weight is None else _weights(weight, len(values)),
            )


def _filled(part: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([part, np.repeat(part[:1], missing, axis=0)])


def _weights(sample_weight: Any, n: int) -> np.ndarray:
    weight = np.asarray(sample_weight, dtype=np.float64).reshape(-1)
    if len(weight) != n or not np.isfinite(weight).all() or weight.min() < 0.0:
        raise DataError(
            f"sample_weight has {len(weight)} values for {n} rows; it must hold one finite "
            f"number from 0 for each."
        )
    return weight
