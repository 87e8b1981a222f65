"""`Accumulator`: adds up what partitions sum, with one code for each level in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.linalg

from pymackay.covariance.layout import split_theta
from pymackay.errors import DataError
from pymackay.model.bases.scaling import Basis, Response, basis_of_sums, chunks
from pymackay.model.design.build import Built, RandomPart, make_model
from pymackay.model.design.frame import Frame
from pymackay.model.model import GroupingFactor, Model
from pymackay.model.stream.level_keys import LevelKeys
from pymackay.model.stream.partition import GroupSums, PartitionSums, Plan
from pymackay.model.sums.gram import order_blocks
from pymackay.model.sums.level_pairs import GrowingPairs, LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram

_CHUNK = 1_000_000
_TOTALS = ("n", "dropped", "log_weights", "squared_response", "dense_gram")
_EXPLAINED = 1e-13  # of the response's size: a residual that is rounding


class LevelSums:
    """One grouping factor so far.

    Attributes
    ----------
    keys : LevelKeys
    diagonal : numpy.ndarray, shape (J or more, q, q)
    dense : numpy.ndarray, shape (J or more, q, p + 1)
        As in `GroupSums`, by the levels' codes; there may be room for levels to come.
    """

    def __init__(self) -> None:
        self.keys = LevelKeys()
        self.diagonal = np.zeros((0, 0, 0))
        self.dense = np.zeros((0, 0, 0))

    def add(self, part: GroupSums) -> np.ndarray:
        """Add a partition's sums; return the code of each of its levels."""
        places = self.keys.add(part.levels, part.integer)
        self.diagonal = _grown(self.diagonal, len(self.keys), part.diagonal.shape[1:])
        self.dense = _grown(self.dense, len(self.keys), part.dense.shape[1:])
        self.diagonal[places] += part.diagonal
        self.dense[places] += part.dense
        return places

    def state(self) -> dict[str, np.ndarray]:
        """Return all sums as arrays."""
        count = len(self.keys)
        sums = {"diagonal": self.diagonal[:count], "dense": self.dense[:count]}
        return {**sums, **self.keys.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> LevelSums:
        """Make the sums that `state` was taken of."""
        own = cls()
        own.keys = LevelKeys.from_state(state)
        own.diagonal, own.dense = state["diagonal"], state["dense"]
        return own


def _grown(array: np.ndarray, levels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array with room for `levels`, doubled so that growing stays cheap."""
    if len(array) >= levels:
        return array
    grown = np.zeros((max(levels, 2 * len(array)), *shape))
    grown[: len(array)] = array.reshape(len(array), *shape)
    return grown


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
        size = len(plan.names) + 1
        self.dense_gram = np.zeros((size, size))
        self._groups = {name: LevelSums() for name in plan.groups}
        self._pairs: dict[tuple[str, str], GrowingPairs] = {}

    def add(self, part: PartitionSums) -> None:
        """Add a partition's sums."""
        self.n += part.n
        self.dropped += part.dropped
        self.log_weights += part.log_weights
        self.squared_response += part.squared_response
        self.dense_gram += part.dense_gram
        codes = {name: self._groups[name].add(sums) for name, sums in part.groups.items()}
        for key, pairs in part.pairs.items():
            shape = (len(self._groups[key[0]].keys), len(self._groups[key[1]].keys))
            rows, columns = pairs.in_rows(codes[key[0]]), codes[key[1]][pairs.indices]
            self._pairs.setdefault(key, GrowingPairs()).add(rows, columns, pairs.values, shape)

    def state(self) -> dict[str, np.ndarray]:
        """Return all sums as arrays."""
        found = {name: np.array(getattr(self, name)) for name in _TOTALS}
        found |= {"rotation": self.plan.rotation, "center": self.plan.center}
        for i, group in enumerate(self._groups.values()):
            found |= {f"group{i}.{name}": array for name, array in group.state().items()}
        for i, pairs in enumerate(self._pairs.values()):
            found |= {f"pairs{i}.{name}": array for name, array in pairs.state().items()}
        keys = [list(key) for key in self._pairs]
        return {**found, "pairs": np.array(keys, dtype=np.str_).reshape(-1, 2)}

    @classmethod
    def from_state(cls, plan: Plan, state: Mapping[str, np.ndarray]) -> Accumulator:
        """Make the sums that `state` was taken of; they go on in the bases that they have."""
        own = cls(replace(plan, rotation=state["rotation"], center=state["center"]))
        for name in _TOTALS:
            value = state[name]
            setattr(own, name, value if value.ndim else value.item())
        for i, name in enumerate(own._groups):
            own._groups[name] = LevelSums.from_state(_part(state, f"group{i}."))
        for i, (a, b) in enumerate(state["pairs"].tolist()):
            own._pairs[a, b] = GrowingPairs.from_state(_part(state, f"pairs{i}."))
        return own

    def finish(self) -> Built:
        """Return model and cross-products; the accumulator is spent.

        Raises
        ------
        DataError
            If the rows cannot carry the model.
        """
        if self.n == 0:
            raise DataError("the source has no rows; a model needs some.")
        ordered = {
            name: group.keys.order(self.plan.categories.get(name))
            for name, group in self._groups.items()
        }
        model = self._model({name: tuple(levels) for name, (levels, _) in ordered.items()})
        gram = self._gram(model, {name: place for name, (_, place) in ordered.items()})
        return Built(model, self.n, gram)

    def _model(self, levels: dict[str, tuple[str, ...]]) -> Model:
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
            factors={name: GroupingFactor(name, own, no_codes) for name, own in levels.items()},
            sides=plan.sides,
            columns=[(effects, np.zeros((0, len(effects)))) for effects in plan.effects],
            n=self.n,
        )
        return make_model(plan.specification, plan.arguments, frame, plan.fixed, random, y)

    def _gram(self, model: Model, levels: dict[str, np.ndarray]) -> SparseGram:
        """Change to the bases of `bases.scaling`, and to the final order of levels.

        `levels` has, for each grouping factor, the place of each code in that order.
        """
        plan, p = self.plan, len(self.plan.names)
        blocks = order_blocks(
            {name: len(factor.levels) for name, factor in model.factors.items()},
            [(term.group, len(term.effects)) for term in model.terms],
        )
        bars = plan.specification.bars
        places = [i for own in model.blueprint.bars for i, bar in enumerate(bars) if bar is own]
        to_basis, basis, response = self._bases(model.response)
        columns = {name: self._columns_of(own, places) for name, own in plan.groups.items()}
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
                found = self._take_pairs(*names, levels)
                values = found.values
                if values.shape[1:] != (1, 1):
                    values = values[:, columns[names[0]]][:, :, columns[names[1]]]
                values = _turned(values, spans[names[0]], spans[names[1]])
                pairs[k, m] = LevelPairs(found.indptr, found.indices, values, found.n_columns)
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

    def _columns_of(self, own: tuple[int, ...], places: list[int]) -> np.ndarray:
        """Return the columns of a grouping factor's bars, in the order of the model's terms."""
        sizes = [len(self.plan.effects[i]) for i in own]
        starts = dict(zip(own, np.cumsum([0, *sizes[:-1]]), strict=True))
        return np.concatenate(
            [starts[i] + np.arange(len(self.plan.effects[i])) for i in places if i in starts]
        )

    def _bases(self, response: str) -> tuple[np.ndarray, Basis, Response]:
        """Return what turns the summed columns into [Q, y], X's basis, and the response."""
        p = len(self.plan.names)
        G = self.dense_gram
        try:
            R = scipy.linalg.cholesky(G[:p, :p]) if p else np.zeros((0, 0))
        except np.linalg.LinAlgError:
            raise DataError(
                "columns of the fixed part depend on each other; take some out of the formula."
            ) from None
        inverse = np.linalg.inv(R)
        along = inverse.T @ G[:p, p]
        left = float(G[p, p] - along @ along)
        if not left > (_EXPLAINED**2) * self.squared_response:
            raise DataError(
                f"the response {response!r} is an exact linear function of the fixed effects: a "
                f"mixed model needs residual variation; check the response and the formula."
            )
        length = float(np.sqrt(left))
        to_basis = np.zeros((p + 1, p + 1))
        to_basis[:p, :p] = inverse
        to_basis[:p, p] = -(inverse @ along) / length
        to_basis[p, p] = 1.0 / length
        beta = self.plan.center + self.plan.rotation @ (inverse @ along)
        basis = Basis(np.zeros((0, p)), R @ np.linalg.inv(self.plan.rotation))
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


def _turned(values: np.ndarray, T: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Return ``T' values U``; as it is where both are one."""
    if T.size == U.size == 1:
        scale = T[0, 0] * U[0, 0]
        return values if scale == 1.0 else values * scale
    return np.asarray(T.T @ values @ U)


def _placed(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    found = np.empty_like(values)
    found[place] = values
    return found


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
