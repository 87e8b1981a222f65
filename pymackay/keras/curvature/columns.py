"""`Columns`: the weights of a network as one vector, and its scaling by the priors' roots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pymackay.keras.network.groups import WeightGroups


@dataclass(frozen=True, eq=False)
class Span:
    """The columns of one variable.

    Attributes
    ----------
    start, stop : int
    group : int
        Position of the group; −1: no prior.
    q : int
        Columns of the group's V; 1 where there is none.
    width : int
        Last axis of the variable.
    shape : tuple of int
    """

    start: int
    stop: int
    group: int
    q: int
    width: int
    shape: tuple[int, ...]

    @property
    def slice(self) -> slice:
        """The columns."""
        return slice(self.start, self.stop)

    @property
    def size(self) -> int:
        """Number of columns."""
        return self.stop - self.start


class Columns:
    """The trainable variables one after another, with the group of each.

    Parameters
    ----------
    groups : WeightGroups
    """

    def __init__(self, groups: WeightGroups) -> None:
        self.variables = list(groups.model.trainable_variables)
        self.groups = groups.groups
        owner = {id(v): k for k, group in enumerate(groups.groups) for v in group.variables}
        self.spans: list[Span] = []
        at = 0
        for variable in self.variables:
            shape = tuple(int(axis) for axis in variable.shape)
            size = int(np.prod(shape))
            k = owner.get(id(variable), -1)
            q = 1 if k < 0 else groups.groups[k].q
            self.spans.append(Span(at, at + size, k, q, shape[-1] if shape else 1, shape))
            at += size
        self.size = at
        self.sizes = [span.size for span in self.spans]
        self.penalised = np.concatenate([np.full(s.size, s.group >= 0) for s in self.spans])

    @property
    def precision(self) -> float:
        """Relative rounding error of the weights: that of their coarsest type."""
        kinds = [keras.backend.standardize_dtype(v.dtype) for v in self.variables]
        return max(float(np.finfo(kind).eps) for kind in kinds)

    @property
    def n_free(self) -> int:
        """p, weights without a prior."""
        return int(np.count_nonzero(~self.penalised))

    def weights(self) -> np.ndarray:
        """Return the present weights, float64, (P,)."""
        return np.concatenate([v.numpy().astype(np.float64).reshape(-1) for v in self.variables])

    def assign(self, weights: np.ndarray) -> None:
        """Set the weights of the network, (P,)."""
        for variable, span in zip(self.variables, self.spans, strict=True):
            variable.assign(weights[span.slice].reshape(span.shape))

    def scale(self, vector: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λx, (P,): every row u of a group's table becomes F u."""
        return self._by_rows(vector, [root.T for root in roots])

    def scale_back(self, vector: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λ'x, (P,): every row g of a gradient becomes F'g."""
        return self._by_rows(vector, roots)

    def standardise(self, weights: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λ⁺w, (P,): every row w of a group's table becomes F⁻¹w."""
        return self._by_rows(weights, [np.linalg.pinv(root).T for root in roots])

    def _by_rows(self, vector: np.ndarray, right: Sequence[np.ndarray]) -> np.ndarray:
        """Return x (P,) or (P, S) with every row of q elements multiplied from the right."""
        result = vector.copy()
        for span in self.spans:
            if span.group < 0:
                continue
            matrix = right[span.group]
            if span.q == 1:
                result[span.slice] *= matrix[0, 0]
                continue
            rows = vector[span.slice].reshape(-1, span.q, *vector.shape[1:])
            product = np.einsum("ja...,ab->jb...", rows, matrix)
            result[span.slice] = product.reshape(vector[span.slice].shape)
        return result


def wide_root(span: Span, roots: Sequence[np.ndarray]) -> np.ndarray:
    """Return what scales a row of a variable, (width, width): F, or f times the identity."""
    if span.group < 0:
        return np.eye(span.width)
    root = roots[span.group]
    return root if span.q > 1 else root[0, 0] * np.eye(span.width)


def scale_columns(
    matrix: np.ndarray, spans: Sequence[Span], roots: Sequence[np.ndarray]
) -> np.ndarray:
    """Return a matrix whose columns, those of some variables, are multiplied by their F."""
    result, at = matrix.copy(), 0
    for span in spans:
        cols = slice(at, at + span.size)
        if span.group >= 0:
            result[:, cols] = _right(matrix[:, cols], roots[span.group])
        at += span.size
    return result


def _right(matrix: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return a matrix whose columns, q by q, are multiplied by F."""
    if len(root) == 1:
        return matrix * root[0, 0]
    rows = matrix.reshape(len(matrix), matrix.shape[1] // len(root), len(root))
    return (rows @ root).reshape(matrix.shape)
