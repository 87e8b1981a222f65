"""`Columns`: the weights of a network as one vector, and its scaling by the priors' roots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
        return _by_rows(vector, self.spans, [root.T for root in roots])

    def scale_back(self, vector: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λ'x, (P,): every row g of a gradient becomes F'g."""
        return _by_rows(vector, self.spans, roots)

    def standardise(self, weights: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λ⁺w, (P,): every row w of a group's table becomes F⁻¹w."""
        return _by_rows(weights, self.spans, [np.linalg.pinv(root).T for root in roots])


def _by_rows(vector: np.ndarray, spans: Iterable[Span], right: Sequence[np.ndarray]) -> np.ndarray:
    """Return x (P,) or (P, S) with every row of q elements multiplied from the right."""
    result = vector.copy()
    for span in spans:
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


class Part:
    """The weights of a network without those of one table, as one vector.

    Parameters
    ----------
    columns : Columns
    eliminated : int
        Position of the variable that is left out; −1: none.
    """

    def __init__(self, columns: Columns, eliminated: int = -1) -> None:
        self.columns, self.eliminated = columns, eliminated
        self._cut = columns.spans[eliminated].slice if eliminated >= 0 else slice(0, 0)
        self._width = self._cut.stop - self._cut.start
        self.spans = {
            i: replace(span, start=self._at(span.start), stop=self._at(span.stop))
            for i, span in enumerate(columns.spans)
            if i != eliminated
        }
        self.size = columns.size - self._width

    def _at(self, position: int) -> int:
        return position - self._width * int(position >= self._cut.stop)

    def of(self, vector: np.ndarray) -> np.ndarray:
        """Return the part's elements of a vector of all weights, (P, ...)."""
        return np.delete(vector, self._cut, axis=0)

    def others(self, vector: np.ndarray) -> np.ndarray:
        """Return the elements of a vector of all weights that this part leaves out."""
        return vector[self._cut]

    def places(self, places: np.ndarray) -> np.ndarray:
        """Return the positions in this part of positions among all weights."""
        return places - self._width * (places >= self._cut.stop)

    def join(self, kept: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """Return the vector of all weights from the part's and the others' elements."""
        return np.concatenate([kept[: self._cut.start], left_out, kept[self._cut.start :]])

    def scale(self, vector: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λx: every row u of a group's table becomes F u."""
        return _by_rows(vector, self.spans.values(), [root.T for root in roots])

    def scale_back(self, vector: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return Λ'x: every row g of a gradient becomes F'g."""
        return _by_rows(vector, self.spans.values(), roots)


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
