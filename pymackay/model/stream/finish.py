"""`finish`: model and cross-products from the sums of all partitions, in their final bases.

While partitions are added, sums are made in columns and in an order of levels that are easy to
extend. When all levels are known, `finish` changes the sums to the columns that the formula asks
for, to the bases of `pymackay.model.bases.scaling`, and to R's order of levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.linalg

from pymackay.covariance.layout import layouts_of
from pymackay.errors import DataError
from pymackay.model.bases.scaling import Basis, Response, basis_of_sums
from pymackay.model.design.arguments import fixed_contrasts
from pymackay.model.design.build import (
    Built,
    contrast_labels,
    describe_fixed_part,
    make_model,
)
from pymackay.model.design.frame import Frame
from pymackay.model.design.parts import FixedPart, RandomPart
from pymackay.model.model import GroupingFactor, Model
from pymackay.model.stream.accumulate import Accumulator, times_both
from pymackay.model.stream.digest import digest_text
from pymackay.model.stream.growing_side import FinalSide
from pymackay.model.sums.gram import Block, order_blocks
from pymackay.model.sums.level_pairs import LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram

_EXPLAINED = 1e-13  # of the response's size: a smaller residual is rounding


def finish(sums: Accumulator) -> Built:
    """Return model and cross-products; the accumulator cannot be used afterwards.

    Raises
    ------
    DataError
        If the rows cannot carry the model.
    """
    if sums.n == 0:
        raise DataError(
            "no row is complete: every one has a missing value in some variable; leave the "
            "emptiest variable out of the formula, or fill it"
        )
    fixed, sides, aliases = _final_columns(sums)
    levels, places = {}, {}
    for name, group in sums.groups.items():
        labels, places[name] = group.keys.order(sums.plan.orders[name])
        levels[name] = tuple(labels)
    model = _model(sums, levels, fixed, sides, aliases)
    return Built(model, sums.n, _gram(sums, model, places))


def _final_columns(
    sums: Accumulator,
) -> tuple[FixedPart, list[FinalSide], np.ndarray | None]:
    """Change all sums to the columns that the formula asks for, now that levels are known.

    The last part is how dropped columns depend on those kept, (p, d), if any was dropped.
    """
    plan, specification = sums.plan, sums.plan.specification
    columns = plan.sides[0].final_columns(plan.categories)
    contrasts = plan.arguments.contrasts
    requested, notes = fixed_contrasts(contrasts, specification.fixed, columns, list(plan.known))
    side, names, T = plan.sides[0].final_side(columns, requested)
    kept = sums.independent(T)
    aliases = sums.dependences(T, kept) if len(kept) < T.shape[1] else None
    sums.change_fixed(T[:, kept])
    labels = contrast_labels(specification.fixed, columns, side.contrasts)
    no_rows = np.zeros((0, len(kept)))
    rows = sums.n if plan.kind.weighted else None
    fixed = describe_fixed_part(side, names, kept, no_rows, rows, labels, notes)
    sides = [side.final_side(side.final_columns(plan.categories), {}) for side in plan.sides[1:]]
    sums.change_random([side.T for side in sides])
    return fixed, sides, aliases


def _model(
    sums: Accumulator,
    levels: dict[str, tuple[str, ...]],
    fixed: FixedPart,
    sides: list[FinalSide],
    aliases: np.ndarray | None,
) -> Model:
    """Return the model without rows, given each grouping factor's levels."""
    plan, y, no_codes = sums.plan, np.zeros(0), np.zeros(0, dtype=np.int32)
    total = sums.n + sums.dropped
    dropped = (f"dropped {sums.dropped} of {total} rows with missing values",)
    frame = Frame(
        columns={},
        rows=pd.RangeIndex(0),
        weights=None if plan.arguments.weights is None else np.zeros(0),
        offset=None,
        memory={},
        messages=dropped if sums.dropped else (),
    )
    random = RandomPart(
        factors={name: GroupingFactor(name, labels, no_codes) for name, labels in levels.items()},
        sides=[side.side for side in sides],
        columns=[(side.names, np.zeros((0, len(side.names)))) for side in sides],
        n=sums.n,
        has_residual=plan.kind.weighted,
    )
    model = make_model(plan.specification, plan.arguments, frame, fixed, random, y)
    blueprint = replace(model.blueprint, aliases=aliases)
    return replace(model, digest=digest_text(sums.digest), blueprint=blueprint)


def _gram(sums: Accumulator, model: Model, places: dict[str, np.ndarray]) -> SparseGram:
    """Change the sums to the bases of `bases.scaling`, and to the final order of levels.

    `places` has, for each grouping factor, the place of each code in that order, (J,).
    """
    blocks = order_blocks(
        {name: len(factor.levels) for name, factor in model.factors.items()},
        [(term.group, len(term.effects)) for term in model.terms],
    )
    fixed = _FixedBases.of(sums, model.response)
    columns = _term_columns(sums, model)
    diagonals, dense, transforms = [], [], dict[int, np.ndarray]()
    of_block: dict[str, np.ndarray] = {}
    for block in blocks:
        place = places[block.name]
        group = sums.groups.pop(block.name)
        order = columns[block.name]
        diagonal = group.diagonal[: len(place)][:, order][:, :, order]
        by_term = _block_transforms(diagonal, block, model, sums.n)
        transforms |= by_term
        U = of_block[block.name] = scipy.linalg.block_diag(*by_term.values())
        diagonals.append(_placed(U.T @ diagonal @ U, place))
        products = U.T @ group.dense[: len(place)][:, order] @ fixed.to_basis
        dense.append(_placed(products, place).reshape(block.size, -1))
    pairs = {}
    for m, second in enumerate(blocks):
        for k, first in enumerate(blocks[:m]):
            a, b = first.name, second.name
            ordered = sums.take_pairs(a, b, places)
            pairs[k, m] = _change_pairs(ordered, columns[a], columns[b], of_block[a], of_block[b])
    return SparseGram(
        model=model,
        blocks=blocks,
        diagonals=tuple(diagonals),
        pairs=pairs,
        dense=tuple(dense),
        dense_gram=np.eye(len(fixed.to_basis)),
        n=sums.n,
        p=len(model.fixed),
        basis=fixed.basis,
        response=fixed.response,
        log_weights=sums.log_weights,
        layouts=layouts_of(model.terms),
        transforms=tuple(transforms[k] for k in range(len(model.terms))),
    )


def _term_columns(sums: Accumulator, model: Model) -> dict[str, np.ndarray]:
    """Return which of a grouping factor's summed columns its terms have, in the model's order."""
    bars = sums.plan.specification.bars
    places = [i for term in model.blueprint.bars for i, bar in enumerate(bars) if bar is term]
    widths = dict(zip(places, (len(term.effects) for term in model.terms), strict=True))
    columns = {}
    for name, of_group in sums.plan.groups.items():
        starts = dict(
            zip(of_group, np.cumsum([0, *(widths[i] for i in of_group[:-1])]), strict=True)
        )
        ranges = [starts[i] + np.arange(widths[i]) for i in places if i in starts]
        columns[name] = np.concatenate(ranges)
    return columns


def _block_transforms(
    diagonal: np.ndarray, block: Block, model: Model, n: int
) -> dict[int, np.ndarray]:
    """Return U, (q, q), of each term of a block, from ``Z_j'Z_j`` of its levels, (J, q, q)."""
    transforms, start = {}, 0
    for term in block.terms:
        stop = start + len(model.terms[term].effects)
        total = diagonal[:, start:stop, start:stop].sum(axis=0)
        transforms[term] = basis_of_sums(total, n, model.terms[term].structure)
        start = stop
    return transforms


def _change_pairs(
    pairs: LevelPairs, rows: np.ndarray, columns: np.ndarray, left: np.ndarray, right: np.ndarray
) -> LevelPairs:
    """Return pairs with their matrices, (pairs, q_k, q_l), changed to ``left' Z_k'Z_l right``.

    `rows`, (q_k,), and `columns`, (q_l,), first put the effects into the model's order.
    """
    values = pairs.values
    if values.shape[1:] != (1, 1):
        values = values[:, rows][:, :, columns]
    return replace(pairs, values=times_both(values, left, right))


@dataclass(frozen=True, eq=False)
class _FixedBases:
    """The bases of the fixed columns and the response.

    Attributes
    ----------
    to_basis : numpy.ndarray, shape (p + 1, p + 1)
        ``[W e] to_basis = [Q y]``: from the columns that were summed (rotated X, and the response
        less its centre) to an orthonormal basis of X and the residual of length one.
    basis : Basis
    response : Response
    """

    to_basis: np.ndarray
    basis: Basis
    response: Response

    @classmethod
    def of(cls, sums: Accumulator, response: str) -> _FixedBases:
        """Factor the summed cross-products of the fixed columns; `response` is its name.

        Raises
        ------
        DataError
            If columns depend on each other, or explain the response without a residual.
        """
        G = sums.dense_gram
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
        if not sums.plan.kind.weighted:
            squared = 1.0  # the response of a generalised model is read again in every pass
        elif not squared > (_EXPLAINED**2) * sums.squared_response:
            raise DataError(
                f"the response {response!r} is an exact linear function of the fixed effects: a "
                f"mixed model needs residual variation; check the response and the formula."
            )
        length = float(np.sqrt(squared))
        beta = sums.plan.center + sums.plan.rotation @ (inverse @ along)
        turn, triangle = _triangular(R @ np.linalg.inv(sums.plan.rotation))
        to_basis = np.zeros((p + 1, p + 1))
        to_basis[:p, :p] = inverse @ turn
        to_basis[:p, p] = -(inverse @ along) / length
        to_basis[p, p] = 1.0 / length
        basis = Basis(np.zeros((0, p)), triangle)
        return cls(to_basis, basis, Response(np.zeros(0), length, beta))


def _triangular(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Q, orthonormal, and T, upper triangular, with ``Q T = R``, each (p, p)."""
    if np.abs(np.tril(R, -1)).max(initial=0.0) == 0.0:
        return np.eye(len(R)), R
    return np.linalg.qr(R)


def _placed(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return values, (J, ...), in the final order of levels, where `place`, (J,), puts each."""
    ordered = np.empty_like(values)
    ordered[place] = values
    return ordered
