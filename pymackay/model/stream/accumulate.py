"""`Accumulator`: adds up what partitions sum, with one code for each level in all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import scipy.linalg

from pymackay.covariance.layout import split_theta
from pymackay.errors import DataError
from pymackay.model.bases.scaling import (
    Basis,
    Response,
    basis_of_sums,
    chunks,
    independent_columns,
)
from pymackay.model.design.arguments import fixed_contrasts
from pymackay.model.design.build import (
    Built,
    FixedPart,
    RandomPart,
    contrast_labels,
    describe_fixed_part,
    make_model,
)
from pymackay.model.design.frame import Frame
from pymackay.model.model import GroupingFactor, Model
from pymackay.model.stream.digest import digest_text
from pymackay.model.stream.growing_side import FinalSide
from pymackay.model.stream.level_sums import ColumnMap, LevelSums, spread
from pymackay.model.stream.partition import PartitionSums, Plan
from pymackay.model.sums.gram import order_blocks
from pymackay.model.sums.level_pairs import GrowingPairs, LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram

_CHUNK = 1_000_000
_TOTALS = ("n", "dropped", "log_weights", "squared_response", "dense_gram", "digest")
_DEPENDENT = 1e-6  # of a column's norm: what others leave of it, below which it is dropped
_EMPTY = 1e-7  # of a column's largest norm: that of a column of zeros, such as of an empty cell
_EXPLAINED = 1e-13  # of the response's size: a residual that is rounding


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
        self._groups = {name: LevelSums() for name in plan.groups}
        self._pairs: dict[tuple[str, str], GrowingPairs] = {}

    def add(self, part: PartitionSums) -> None:
        """Add a partition's sums; its new levels get columns of their own."""
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
            codes[name] = self._groups[name].add(replace(sums, diagonal=diagonal, dense=dense))
        for key, pairs in part.pairs.items():
            shape = (len(self._groups[key[0]].keys), len(self._groups[key[1]].keys))
            rows, columns = pairs.in_rows(codes[key[0]]), codes[key[1]][pairs.indices]
            values = spread(pairs.values, {1: maps[key[0]], 2: maps[key[1]]})
            self._pairs.setdefault(key, GrowingPairs()).add(rows, columns, values, shape)

    def _grow(self, plan: Plan) -> None:
        """Give all sums the columns that `plan` has besides; these are zero so far."""
        if plan is self.plan:
            return
        maps, M = self._maps(self.plan, plan), _change(self.plan, plan)
        self.plan = plan
        self.dense_gram = self.dense_gram if M is None else M.T @ self.dense_gram @ M
        for name, group in self._groups.items():
            if len(group.keys):
                group.diagonal = spread(group.diagonal, {1: maps[name], 2: maps[name]})
                dense = group.dense if M is None else group.dense @ M
                group.dense = spread(dense, {1: maps[name]})
        for (a, b), held in self._pairs.items():
            if not (maps[a].same and maps[b].same):
                widen = partial(spread, maps={1: maps[a], 2: maps[b]})
                self._pairs[a, b] = self._mapped(held, (a, b), widen)

    def _mapped(
        self, held: GrowingPairs, names: tuple[str, str], change: Callable[[np.ndarray], np.ndarray]
    ) -> GrowingPairs:
        """Return the same pairs of levels with their matrices, (pairs, q_k, q_l), changed."""
        pairs, made = held.compressed(), GrowingPairs()
        rows = pairs.in_rows(np.arange(pairs.n_rows))
        shape = (len(self._groups[names[0]].keys), len(self._groups[names[1]].keys))
        made.add(rows, pairs.indices, change(pairs.values), shape)
        return made

    def _maps(self, old: Plan, new: Plan) -> dict[str, ColumnMap]:
        """Say where each grouping factor's columns go when a plan grows."""
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
        for i, group in enumerate(self._groups.values()):
            arrays |= {f"group{i}.{name}": array for name, array in group.state().items()}
        for i, pairs in enumerate(self._pairs.values()):
            arrays |= {f"pairs{i}.{name}": array for name, array in pairs.state().items()}
        keys = [list(key) for key in self._pairs]
        return {**arrays, "pairs": np.array(keys, dtype=np.str_).reshape(-1, 2)}

    @classmethod
    def from_state(cls, plan: Plan, state: Mapping[str, np.ndarray]) -> Accumulator:
        """Make the sums that `state` was taken of; they go on in the bases that they have."""
        levels = json.loads(str(state["levels"]))
        sides = [side.with_state(held) for side, held in zip(plan.sides, levels, strict=True)]
        plan = replace(plan, sides=tuple(sides))
        sums = cls(replace(plan, rotation=state["rotation"], center=state["center"]))
        for name in _TOTALS:
            value = state[name]
            setattr(sums, name, value if value.ndim else value.item())
        for i, name in enumerate(sums._groups):
            sums._groups[name] = LevelSums.from_state(_part(state, f"group{i}."))
        for i, (a, b) in enumerate(state["pairs"].tolist()):
            sums._pairs[a, b] = GrowingPairs.from_state(_part(state, f"pairs{i}."))
        return sums

    def finish(self) -> Built:
        """Return model and cross-products; the accumulator is spent.

        Raises
        ------
        DataError
            If the rows cannot carry the model.
        """
        if self.n == 0:
            raise DataError(
                "no row is complete: every one has a missing value in some variable; leave the "
                "emptiest variable out of the formula, or fill it"
            )
        fixed, sides = self._final_columns()
        ordered = {
            name: group.keys.order(self.plan.orders[name]) for name, group in self._groups.items()
        }
        levels = {name: tuple(levels) for name, (levels, _) in ordered.items()}
        model = self._model(levels, fixed, sides)
        gram = self._gram(model, {name: place for name, (_, place) in ordered.items()})
        return Built(model, self.n, gram)

    def _final_columns(self) -> tuple[FixedPart, list[FinalSide]]:
        """Change all sums to the columns that the formula asks for, now that levels are known."""
        plan, specification = self.plan, self.plan.specification
        columns = plan.sides[0].final_columns(plan.categories)
        contrasts = plan.arguments.contrasts
        asked, notes = fixed_contrasts(contrasts, specification.fixed, columns, list(plan.known))
        side, names, T = plan.sides[0].final_side(columns, asked)
        kept = self._independent(T)
        self._turn_fixed(T[:, kept])
        labels = contrast_labels(specification.fixed, columns, side.contrasts)
        nothing = np.zeros((0, len(kept)))
        fixed = describe_fixed_part(side, names, kept, nothing, self.n, labels, notes)
        sides = [
            side.final_side(side.final_columns(plan.categories), {}) for side in plan.sides[1:]
        ]
        self._turn_random([side.T for side in sides])
        return fixed, sides

    def _independent(self, T: np.ndarray) -> np.ndarray:
        """Return which of the columns ``X T``, T (p, p'), do not depend on columns before them.

        A matrix with the same cross-products takes the place of the rows.
        """
        values, vectors = np.linalg.eigh(self.dense_gram[:-1, :-1])
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        rotated = np.linalg.solve(self.plan.rotation, T)
        columns = root @ rotated
        largest = np.linalg.norm(rotated, axis=0) * np.sqrt(values.max(initial=0.0))
        columns[:, np.linalg.norm(columns, axis=0) < _EMPTY * largest] = 0.0
        return independent_columns(columns, _DEPENDENT)

    def _turn_fixed(self, T: np.ndarray) -> None:
        """Take the columns ``X T``, T (p, p'), in place of X.

        With W = X rotation, ``X T R⁻¹ = W Q`` where ``rotation⁻¹ T = Q R``. A square T leaves the
        sums as they are.
        """
        rotation, center = self.plan.rotation, self.plan.center
        if T.shape[0] == T.shape[1]:
            if not np.array_equal(T, np.eye(len(T))):
                rotation, center = np.linalg.solve(T, rotation), np.linalg.solve(T, center)
        else:
            Q, R = np.linalg.qr(np.linalg.solve(rotation, T))
            moved = np.linalg.lstsq(T, center, rcond=None)[0]
            M = np.zeros((len(T) + 1, T.shape[1] + 1))
            M[:-1, :-1], M[-1, -1] = Q, 1.0
            M[:-1, -1] = np.linalg.solve(rotation, center - T @ moved)
            self.dense_gram = M.T @ self.dense_gram @ M
            for group in self._groups.values():
                group.dense = group.dense @ M
            rotation, center = np.linalg.inv(R), moved
        self.plan = replace(self.plan, rotation=rotation, center=center)

    def _turn_random(self, Ts: Sequence[np.ndarray]) -> None:
        """Take the columns ``Z T`` of each bar in place of Z."""
        turns = {
            name: scipy.linalg.block_diag(*(Ts[i] for i in bars))
            for name, bars in self.plan.groups.items()
        }
        plain = {name for name, T in turns.items() if np.array_equal(T, np.eye(len(T)))}
        for name in turns.keys() - plain:
            group, T = self._groups[name], turns[name]
            group.diagonal = T.T @ group.diagonal @ T
            group.dense = T.T @ group.dense
        for (a, b), held in self._pairs.items():
            if not {a, b} <= plain:
                turn = partial(_turned, T=turns[a], U=turns[b])
                self._pairs[a, b] = self._mapped(held, (a, b), turn)

    def _model(
        self, levels: dict[str, tuple[str, ...]], fixed: FixedPart, sides: list[FinalSide]
    ) -> Model:
        """Return the model without rows, given each grouping factor's levels."""
        plan, y, no_codes = self.plan, np.zeros(0), np.zeros(0, dtype=np.int32)
        total = self.n + self.dropped
        dropped = (f"dropped {self.dropped} of {total} rows with missing values",)
        frame = Frame(
            columns={},
            rows=pd.RangeIndex(0),
            weights=None if plan.arguments.weights is None else np.zeros(0),
            offset=None,
            memory={},
            messages=dropped if self.dropped else (),
        )
        random = RandomPart(
            factors={
                name: GroupingFactor(name, labels, no_codes) for name, labels in levels.items()
            },
            sides=[side.side for side in sides],
            columns=[(side.names, np.zeros((0, len(side.names)))) for side in sides],
            n=self.n,
        )
        model = make_model(plan.specification, plan.arguments, frame, fixed, random, y)
        return replace(model, digest=digest_text(self.digest))

    def _gram(self, model: Model, levels: dict[str, np.ndarray]) -> SparseGram:
        """Change to the bases of `bases.scaling`, and to the final order of levels.

        `levels` has, for each grouping factor, the place of each code in that order.
        """
        plan, p = self.plan, len(model.fixed)
        blocks = order_blocks(
            {name: len(factor.levels) for name, factor in model.factors.items()},
            [(term.group, len(term.effects)) for term in model.terms],
        )
        bars = plan.specification.bars
        places = [i for term in model.blueprint.bars for i, bar in enumerate(bars) if bar is term]
        to_basis, basis, response = self._bases(model.response)
        widths = dict(zip(places, (len(term.effects) for term in model.terms), strict=True))
        columns = {
            name: _columns_of(group_bars, places, widths)
            for name, group_bars in plan.groups.items()
        }
        diagonals, dense, spans = [], [], {}
        transforms: list[np.ndarray] = [np.zeros((0, 0))] * len(places)
        for block in blocks:
            order, take = columns[block.name], levels[block.name]
            group = self._groups.pop(block.name)
            count = len(take)
            diagonal = group.diagonal[:count][:, order][:, :, order]
            T = np.zeros((block.q, block.q))
            start = 0
            for term in block.terms:
                stop = start + len(model.terms[term].effects)
                total = diagonal[:, start:stop, start:stop].sum(axis=0)
                transforms[term] = basis_of_sums(total, self.n)
                T[start:stop, start:stop] = transforms[term]
                start = stop
            spans[block.name] = T
            diagonals.append(_placed(T.T @ diagonal @ T, take))
            turned = T.T @ group.dense[:count][:, order] @ to_basis
            dense.append(_placed(turned, take).reshape(-1, p + 1))
        pairs = {}
        for m, second in enumerate(blocks):
            for k, first in enumerate(blocks[:m]):
                names = (first.name, second.name)
                ordered_pairs = self._take_pairs(*names, levels)
                values = ordered_pairs.values
                if values.shape[1:] != (1, 1):
                    values = values[:, columns[names[0]]][:, :, columns[names[1]]]
                values = _turned(values, spans[names[0]], spans[names[1]])
                pairs[k, m] = replace(ordered_pairs, values=values)
        return SparseGram(
            model=model,
            blocks=blocks,
            diagonals=tuple(diagonals),
            pairs=pairs,
            dense=tuple(dense),
            dense_gram=np.eye(p + 1),
            n=self.n,
            p=p,
            basis=basis,
            response=response,
            log_weights=self.log_weights,
            layouts=split_theta([len(term.effects) for term in model.terms]),
            transforms=tuple(transforms),
        )

    def _bases(self, response: str) -> tuple[np.ndarray, Basis, Response]:
        """Return what turns the summed columns into [Q, y], X's basis, and the response."""
        G = self.dense_gram
        p = len(G) - 1
        try:
            R = scipy.linalg.cholesky(G[:p, :p]) if p else np.zeros((0, 0))
        except np.linalg.LinAlgError:
            raise DataError(
                "columns of the fixed part depend on each other; take some out of the formula."
            ) from None
        inverse = np.linalg.inv(R)
        along = inverse.T @ G[:p, p]
        squared = float(G[p, p] - along @ along)
        if not squared > (_EXPLAINED**2) * self.squared_response:
            raise DataError(
                f"the response {response!r} is an exact linear function of the fixed effects: a "
                f"mixed model needs residual variation; check the response and the formula."
            )
        length = float(np.sqrt(squared))
        to_basis = np.zeros((p + 1, p + 1))
        to_basis[:p, :p] = inverse
        to_basis[:p, p] = -(inverse @ along) / length
        to_basis[p, p] = 1.0 / length
        beta = self.plan.center + self.plan.rotation @ (inverse @ along)
        turn, R = _triangular(R @ np.linalg.inv(self.plan.rotation))
        to_basis[:p, :p] = to_basis[:p, :p] @ turn
        basis = Basis(np.zeros((0, p)), R)
        return to_basis, basis, Response(np.zeros(0), length, beta)

    def _take_pairs(self, first: str, second: str, levels: dict[str, np.ndarray]) -> LevelPairs:
        """Return the pairs of two grouping factors in the final order of levels."""
        turned = (first, second) not in self._pairs
        key = (second, first) if turned else (first, second)
        pairs = self._pairs.pop(key)
        rows, columns = levels[key[0]], levels[key[1]]
        if pairs.scalar:
            return _scalar_pairs(pairs, rows, columns, turned=turned)
        held, ordered = pairs.compressed(), GrowingPairs()
        at, to = held.in_rows(rows[: held.n_rows]), columns[held.indices]
        values = held.values.swapaxes(1, 2) if turned else held.values
        at, to = (to, at) if turned else (at, to)
        ordered.add(at, to, values, (len(levels[first]), len(levels[second])))
        return ordered.compressed()


def _columns_of(bars: tuple[int, ...], places: list[int], widths: dict[int, int]) -> np.ndarray:
    """Return the columns of a grouping factor's bars, in the order of the model's terms."""
    starts = dict(zip(bars, np.cumsum([0, *(widths[i] for i in bars[:-1])]), strict=True))
    return np.concatenate([starts[i] + np.arange(widths[i]) for i in places if i in starts])


def _triangular(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Q and an upper triangular matrix with ``Q @ it = R``, shape (p, p)."""
    if np.abs(np.tril(R, -1)).max(initial=0.0) == 0.0:
        return np.eye(len(R)), R
    return np.linalg.qr(R)


def _change(old: Plan, new: Plan) -> np.ndarray | None:
    """Return M, (p + 1, p' + 1), with ``[W e] M = [W' e']``; None where that is the identity.

    W = X rotation and e = y − X center by the old plan; X' has zeros in its other columns, so that
    ``W' = W rotation⁻¹ rotation'`` and ``e' = e + W rotation⁻¹ (center − center')``, the new plan's
    rows of the old columns being taken.
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


def _turned(values: np.ndarray, T: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Return ``T' values U``; as it is where both are one."""
    if T.size == U.size == 1:
        scale = T[0, 0] * U[0, 0]
        return values if scale == 1.0 else values * scale
    return np.asarray(T.T @ values @ U)


def _placed(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return values, (J, ...), in the final order of levels, where `place`, (J,), puts each."""
    ordered = np.empty_like(values)
    ordered[place] = values
    return ordered


def _scalar_pairs(
    pairs: GrowingPairs, rows: np.ndarray, columns: np.ndarray, *, turned: bool
) -> LevelPairs:
    """Put pairs of one number each into the final order, never holding more than two copies."""
    matrix = pairs.matrix((len(rows), len(columns)))
    for span in chunks(matrix.nnz, _CHUNK):
        matrix.indices[span] = columns[matrix.indices[span]]
    matrix.has_sorted_indices = False
    matrix = matrix[np.argsort(rows)]
    if turned:
        matrix = matrix.T.tocsr()
    matrix.sort_indices()
    return LevelPairs.of(matrix, matrix.data.reshape(-1, 1, 1))
