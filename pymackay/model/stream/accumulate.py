"""`Accumulator`: adds up the sums of partitions, with one code for each level in all of them.

With the plan's rotation and centre, the columns that are summed are ``W = X rotation`` and
``e = y − X center``, [W e] together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import scipy.linalg

from pymackay.model.bases.scaling import chunks, independent_columns
from pymackay.model.stream.level_sums import ColumnMap, LevelSums, spread
from pymackay.model.stream.partition import PartitionSums
from pymackay.model.stream.plan import Plan
from pymackay.model.sums.level_pairs import GrowingPairs, LevelPairs

_CHUNK = 1_000_000
_TOTALS = ("n", "dropped", "log_weights", "squared_response", "dense_gram", "digest")
_DEPENDENT = 1e-6  # of a column's norm: what others leave of it, below which it is dropped
_EMPTY = 1e-7  # of a column's largest norm: that of a column of zeros, such as of an empty cell


def _part(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


class Accumulator:
    """Cross-products of all partitions so far.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    plan : Plan
        With the levels of all partitions so far.
    n, dropped : int
        Rows used, and rows left out for missing values.
    log_weights, squared_response : float
        As in `PartitionSums`.
    digest : numpy.ndarray of uint64, shape (1,)
        Of the response (see `digest_response`).
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
        ``[W e]'[W e]``.
    groups : dict of str to LevelSums
    pairs : dict of (str, str) to GrowingPairs
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.n = 0
        self.dropped = 0
        self.log_weights = 0.0
        self.squared_response = 0.0
        self.digest = np.zeros(1, dtype=np.uint64)
        size = plan.p + 1
        self.dense_gram = np.zeros((size, size))
        self.groups = {name: LevelSums() for name in plan.groups}
        self.pairs: dict[tuple[str, str], GrowingPairs] = {}

    def add(self, part: PartitionSums) -> None:
        """Add a partition's sums; new levels get columns and codes of their own."""
        self._grow(self.plan.joined(part.plan))
        maps, M = self._maps(part.plan, self.plan), _change(part.plan, self.plan)
        self.n += part.n
        self.dropped += part.dropped
        self.log_weights += part.log_weights
        self.squared_response += part.squared_response
        self.dense_gram += part.dense_gram if M is None else M.T @ part.dense_gram @ M
        self.digest += part.digest
        codes = {}
        for name, sums in part.groups.items():
            diagonal = spread(sums.diagonal, {1: maps[name], 2: maps[name]})
            dense = spread(sums.dense if M is None else sums.dense @ M, {1: maps[name]})
            codes[name] = self.groups[name].add(replace(sums, diagonal=diagonal, dense=dense))
        for key, pairs in part.pairs.items():
            shape = (len(self.groups[key[0]].keys), len(self.groups[key[1]].keys))
            rows, columns = pairs.in_rows(codes[key[0]]), codes[key[1]][pairs.indices]
            values = spread(pairs.values, {1: maps[key[0]], 2: maps[key[1]]})
            self.pairs.setdefault(key, GrowingPairs()).add(rows, columns, values, shape)

    def _grow(self, plan: Plan) -> None:
        """Extend all sums by the columns that `plan` adds; these are zero in all rows so far."""
        if plan is self.plan:
            return
        maps, M = self._maps(self.plan, plan), _change(self.plan, plan)
        self.plan = plan
        self.dense_gram = self.dense_gram if M is None else M.T @ self.dense_gram @ M
        for name, group in self.groups.items():
            if len(group.keys):
                group.diagonal = spread(group.diagonal, {1: maps[name], 2: maps[name]})
                dense = group.dense if M is None else group.dense @ M
                group.dense = spread(dense, {1: maps[name]})
        for a, b in self.pairs:
            if not (maps[a].same and maps[b].same):
                self._change_pairs(a, b, partial(spread, maps={1: maps[a], 2: maps[b]}))

    def _change_pairs(self, a: str, b: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Apply `change` to the matrices, (pairs, q_a, q_b), of two grouping factors' pairs."""
        pairs, changed = self.pairs[a, b].compressed(), GrowingPairs()
        rows = pairs.in_rows(np.arange(pairs.n_rows))
        shape = (len(self.groups[a].keys), len(self.groups[b].keys))
        changed.add(rows, pairs.indices, change(pairs.values), shape)
        self.pairs[a, b] = changed

    def _maps(self, old: Plan, new: Plan) -> dict[str, ColumnMap]:
        """Return where the columns of each grouping factor stand in a plan that has grown."""
        maps = {}
        for name, bars in old.groups.items():
            widths = [new.q(i) for i in bars]
            starts = np.cumsum([0, *widths[:-1]])
            places = [
                start + old.sides[i + 1].places_in(new.sides[i + 1])
                for start, i in zip(starts, bars, strict=True)
            ]
            maps[name] = ColumnMap(np.concatenate(places), sum(widths))
        return maps

    def state(self) -> dict[str, np.ndarray]:
        """Return all sums as arrays."""
        arrays = {name: np.array(getattr(self, name)) for name in _TOTALS}
        arrays |= {"rotation": self.plan.rotation, "center": self.plan.center}
        arrays["levels"] = np.array(json.dumps([side.state() for side in self.plan.sides]))
        for i, group in enumerate(self.groups.values()):
            arrays |= {f"group{i}.{name}": array for name, array in group.state().items()}
        for i, pairs in enumerate(self.pairs.values()):
            arrays |= {f"pairs{i}.{name}": array for name, array in pairs.state().items()}
        keys = [list(key) for key in self.pairs]
        return {**arrays, "pairs": np.array(keys, dtype=np.str_).reshape(-1, 2)}

    @classmethod
    def from_state(cls, plan: Plan, state: Mapping[str, np.ndarray]) -> Accumulator:
        """Restore sums from `state`, in the bases in which they were saved."""
        levels = json.loads(str(state["levels"]))
        sides = [side.with_state(saved) for side, saved in zip(plan.sides, levels, strict=True)]
        plan = replace(plan, sides=tuple(sides))
        sums = cls(replace(plan, rotation=state["rotation"], center=state["center"]))
        for name in _TOTALS:
            value = state[name]
            setattr(sums, name, value if value.ndim else value.item())
        for i, name in enumerate(sums.groups):
            sums.groups[name] = LevelSums.from_state(_part(state, f"group{i}."))
        for i, (a, b) in enumerate(state["pairs"].tolist()):
            sums.pairs[a, b] = GrowingPairs.from_state(_part(state, f"pairs{i}."))
        return sums

    def independent(self, T: np.ndarray) -> np.ndarray:
        """Return which of the columns ``X T``, T (p, p'), do not depend on columns before them."""
        return independent_columns(self._rooted(T), _DEPENDENT)

    def dependences(self, T: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Return A, (kept, dropped): the other columns of ``X T`` are ``(X T)[:, kept] A``.

        What is below the rounding of the cross-products is zero.
        """
        columns = self._rooted(T)
        dropped = columns[:, np.setdiff1d(np.arange(T.shape[1]), kept)]
        A = np.linalg.lstsq(columns[:, kept], dropped, rcond=None)[0]
        parts = np.abs(A) * np.linalg.norm(columns[:, kept], axis=0)[:, None]
        A[parts <= _DEPENDENT * np.linalg.norm(dropped, axis=0)] = 0.0
        return A

    def _rooted(self, T: np.ndarray) -> np.ndarray:
        """Return ``root(X'X) T``, which has the same dependences between columns as ``X T``."""
        values, vectors = np.linalg.eigh(self.dense_gram[:-1, :-1])
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        rotated = np.linalg.solve(self.plan.rotation, T)
        columns = root @ rotated
        largest = np.linalg.norm(rotated, axis=0) * np.sqrt(values.max(initial=0.0))
        columns[:, np.linalg.norm(columns, axis=0) < _EMPTY * largest] = 0.0
        return columns

    def change_fixed(self, T: np.ndarray) -> None:
        """Replace the fixed columns X by ``X T``, T (p, p').

        With ``rotation⁻¹ T = Q R``, the new W is ``X T R⁻¹ = W Q``. Where T is square, W and e can
        stay, and only the rotation and the centre change.
        """
        rotation, center = self.plan.rotation, self.plan.center
        if T.shape[0] == T.shape[1]:
            if not np.array_equal(T, np.eye(len(T))):
                rotation, center = np.linalg.solve(T, rotation), np.linalg.solve(T, center)
        else:
            Q, R = np.linalg.qr(np.linalg.solve(rotation, T))
            new_center = np.linalg.lstsq(T, center, rcond=None)[0]
            M = np.zeros((len(T) + 1, T.shape[1] + 1))
            M[:-1, :-1], M[-1, -1] = Q, 1.0
            M[:-1, -1] = np.linalg.solve(rotation, center - T @ new_center)
            self.dense_gram = M.T @ self.dense_gram @ M
            for group in self.groups.values():
                group.dense = group.dense @ M
            rotation, center = np.linalg.inv(R), new_center
        self.plan = replace(self.plan, rotation=rotation, center=center)

    def change_random(self, Ts: Sequence[np.ndarray]) -> None:
        """Replace the columns Z of each bar by ``Z T``, one T of shape (q, q') for each bar."""
        by_group = {
            name: scipy.linalg.block_diag(*(Ts[i] for i in bars))
            for name, bars in self.plan.groups.items()
        }
        unchanged = {name for name, T in by_group.items() if np.array_equal(T, np.eye(len(T)))}
        for name in by_group.keys() - unchanged:
            group, T = self.groups[name], by_group[name]
            group.diagonal = T.T @ group.diagonal @ T
            group.dense = T.T @ group.dense
        for a, b in self.pairs:
            if not {a, b} <= unchanged:
                change = partial(times_both, left=by_group[a], right=by_group[b])
                self._change_pairs(a, b, change)

    def take_pairs(self, first: str, second: str, places: dict[str, np.ndarray]) -> LevelPairs:
        """Return and remove the pairs of two grouping factors, in the final order of levels.

        `places` has, for each grouping factor, the place of each code in that order, (J,).
        """
        transposed = (first, second) not in self.pairs
        key = (second, first) if transposed else (first, second)
        pairs = self.pairs.pop(key)
        rows, columns = places[key[0]], places[key[1]]
        if pairs.scalar:
            return _scalar_pairs(pairs, rows, columns, transposed=transposed)
        unordered, ordered = pairs.compressed(), GrowingPairs()
        rows, columns = unordered.in_rows(rows[: unordered.n_rows]), columns[unordered.indices]
        values = unordered.values
        if transposed:
            rows, columns, values = columns, rows, values.swapaxes(1, 2)
        ordered.add(rows, columns, values, (len(places[first]), len(places[second])))
        return ordered.compressed()


def _change(old: Plan, new: Plan) -> np.ndarray | None:
    """Return M, (p + 1, p' + 1), with ``[W e] M = [W' e']``; None where that is the identity.

    [W e] is by the old plan, [W' e'] by the new one. The columns that the new plan adds are zero in
    the rows summed so far, so that ``W' = W rotation⁻¹ rotation'`` and
    ``e' = e + W rotation⁻¹ (center − center')``, with the rows of the old columns in the new plan's
    rotation' and center'.
    """
    if old is new or (
        old.sides[0].labels == new.sides[0].labels
        and np.array_equal(old.rotation, new.rotation)
        and np.array_equal(old.center, new.center)
    ):
        return None
    places, p = old.sides[0].places_in(new.sides[0]), new.p
    M = np.zeros((old.p + 1, p + 1))
    M[:-1, :-1] = np.linalg.solve(old.rotation, new.rotation[places])
    M[:-1, -1] = np.linalg.solve(old.rotation, old.center - new.center[places])
    M[-1, -1] = 1.0
    return M


def times_both(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left' values right``, (pairs, ., .); the same array where both are the number 1."""
    if left.size == right.size == 1:
        scale = left[0, 0] * right[0, 0]
        return values if scale == 1.0 else values * scale
    return np.asarray(left.T @ values @ right)


def _scalar_pairs(
    pairs: GrowingPairs, rows: np.ndarray, columns: np.ndarray, *, transposed: bool
) -> LevelPairs:
    """Put pairs of one number each into the final order, with at most two copies in memory.

    `rows` and `columns`, (J,) each, are the places of the levels' codes.
    """
    matrix = pairs.matrix((len(rows), len(columns)))
    for span in chunks(matrix.nnz, _CHUNK):
        matrix.indices[span] = columns[matrix.indices[span]]
    matrix.has_sorted_indices = False
    matrix = matrix[np.argsort(rows)]
    if transposed:
        matrix = matrix.T.tocsr()
    matrix.sort_indices()
    return LevelPairs.of(matrix, matrix.data.reshape(-1, 1, 1))
