"""Cross-products of a model without rows, converted to plain values for a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from pymackay.covariance.layout import layouts_of
from pymackay.errors import RecordingError
from pymackay.model.bases.scaling import Basis, Response
from pymackay.model.model import Model
from pymackay.model.stream.digest import digest_response, digest_text
from pymackay.model.sums.gram import Bases, Block, Gram, order_blocks
from pymackay.model.sums.level_pairs import LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram

_FORMS = {"dense": ("A", "C", "D"), "sparse": ("diagonals", "pairs", "dense", "dense_gram")}


def drop_rows(model: Model) -> Model:
    """Return the model without its rows, like one whose rows came in partitions."""
    nothing = np.zeros(0)
    return replace(
        model,
        y=nothing,
        X=np.zeros((0, len(model.fixed))),
        terms=tuple(replace(t, columns=np.zeros((0, len(t.effects)))) for t in model.terms),
        factors={
            name: replace(factor, codes=np.zeros(0, dtype=np.int32))
            for name, factor in model.factors.items()
        },
        rows=pd.RangeIndex(0),
        weights=None if model.weights is None else nothing,
        offset=None,
        digest=digest_text(digest_response(model.y)) if len(model.y) else model.digest,
        columns={},
        given={},
    )


def encode_sums(sums: Bases) -> dict[str, Any]:
    """Return cross-products as numbers, arrays and tuples; `decode_sums` restores them."""
    values: dict[str, Any] = {
        "n": sums.n,
        "log_weights": sums.log_weights,
        "R": sums.basis.R,
        "scale": sums.response.scale,
        "beta": sums.response.beta,
        "transforms": sums.transforms,
    }
    for name in _FORMS["dense"] + _FORMS["sparse"]:
        if hasattr(sums, name):
            values[name] = _plain(getattr(sums, name))
    return values


def _plain(value: Any) -> Any:
    """Return a sparse matrix, or pairs of levels, as a tuple of arrays; other values unchanged."""
    if sp.issparse(value):
        rows = value.tocsr()
        return rows.data, rows.indices, rows.indptr
    if isinstance(value, dict):
        return tuple((k, m, v.indptr, v.indices, v.values) for (k, m), v in value.items())
    return value


def decode_sums(values: Mapping[str, Any], model: Model) -> Gram | SparseGram:
    """Return the cross-products that `encode_sums` converted.

    Raises
    ------
    RecordingError
        If the shape of an array does not fit the model.
    """
    blocks = order_blocks(
        {name: len(factor.levels) for name, factor in model.factors.items()},
        [(term.group, len(term.effects)) for term in model.terms],
    )
    p = len(model.fixed)
    common: dict[str, Any] = {
        "model": model,
        "blocks": blocks,
        "n": values["n"],
        "p": p,
        "basis": Basis(np.zeros((0, p)), values["R"]),
        "response": Response(np.zeros(0), values["scale"], values["beta"]),
        "log_weights": values["log_weights"],
        "layouts": layouts_of(model.terms),
        "transforms": values["transforms"],
    }
    _check_shape(values["R"], (p, p))
    _check_shape(values["beta"], (p,))
    for T, term in zip(values["transforms"], model.terms, strict=True):
        _check_shape(T, (len(term.effects),) * 2)
    return (_dense if "A" in values else _sparse)(values, blocks, common)


def _dense(values: Mapping[str, Any], blocks: tuple[Block, ...], common: dict[str, Any]) -> Gram:
    lead, A, C, D = blocks[0], values["A"], values["C"], values["D"]
    width = sum(block.size for block in blocks[1:]) + common["p"] + 1
    _check_shape(A, (lead.n_levels, lead.q, lead.q))
    _check_shape(D, (width, width))
    if isinstance(C, tuple):
        C = sp.csr_matrix(C, shape=(lead.size, width))
        C.check_format()
    else:
        _check_shape(C, (lead.n_levels, lead.q, width))
    return Gram(**common, A=A, C=C, D=D)


def _sparse(
    values: Mapping[str, Any], blocks: tuple[Block, ...], common: dict[str, Any]
) -> SparseGram:
    width = common["p"] + 1
    _check_shape(values["dense_gram"], (width, width))
    for block, diagonal, dense in zip(blocks, values["diagonals"], values["dense"], strict=True):
        _check_shape(diagonal, (block.n_levels, block.q, block.q))
        _check_shape(dense, (block.size, width))
    pairs = {}
    for k, m, indptr, indices, numbers in values["pairs"]:
        _check_shape(numbers, (len(indices), blocks[k].q, blocks[m].q))
        pairs[k, m] = LevelPairs(indptr, indices, numbers, blocks[m].n_levels)
        pattern = (np.ones(len(indices)), indices, indptr)
        sp.csr_matrix(pattern, shape=(blocks[k].n_levels, blocks[m].n_levels)).check_format()
    if set(pairs) != {(k, m) for m in range(len(blocks)) for k in range(m)}:
        raise RecordingError("its cross-products lack a pair of grouping factors")
    return SparseGram(
        **common,
        diagonals=values["diagonals"],
        pairs=pairs,
        dense=values["dense"],
        dense_gram=values["dense_gram"],
    )


def _check_shape(array: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise RecordingError(
            f"an array of its cross-products has the shape {np.shape(array)}, but the model asks "
            f"for {shape}"
        )
