"""Cross-products of a model's columns, sums over rows on which the criterion depends.

`Bases` is the base class of all kinds of cross-products: the bases that a model is computed in,
its blocks of random effects, and methods that do not depend on how the sums are stored. `Gram`
holds them densely, for the exact solver; `SparseGram`, in a file of its own, for the iterative one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from pymackay.covariance.layout import TermLayout, layouts_of, split_theta
from pymackay.model.bases.scaling import (
    Basis,
    Response,
    chunks,
    fixed_basis,
    residual_response,
    term_basis,
)
from pymackay.model.model import Model, level_gram, level_products

_CHUNK = 262_144  # rows summed at a time: memory beyond the columns themselves stays bounded

Chunk = tuple[list[np.ndarray], list[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Block:
    """All random effects of one grouping factor.

    Attributes
    ----------
    name : str
        The grouping factor.
    n_levels : int
        J.
    terms : tuple of int
        Positions in `Model.terms` of the terms on this factor.
    q : int
        Effects per level, all terms together.
    """

    name: str
    n_levels: int
    terms: tuple[int, ...]
    q: int

    @property
    def size(self) -> int:
        """Number of random effects, levels × q."""
        return self.n_levels * self.q


@dataclass(frozen=True, eq=False, kw_only=True)
class Bases(ABC):
    """What cross-products of [Z, X, y] have in common, however they are stored.

    They are in the bases of `pymackay.model.bases.scaling`: whitened columns of Z, an orthonormal
    basis of X, the least-squares residual of the response at unit length; rows weighted.

    Attributes
    ----------
    model : Model
        The model of the rows. Its arrays have no rows if these were read part by part.
    blocks : tuple of Block
        One per grouping factor; the leading block, which is eliminated level by level, first.
    n, p : int
        Rows and fixed columns.
    basis : Basis
        X = Q R, rows weighted.
    response : Response
        Least-squares residual of the weighted response, and the coefficients of the fit.
    log_weights : float
        Sum of the logs of the prior weights.
    layouts : tuple of TermLayout
        Where each term's parameters stand in theta.
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, T: effects in the user's units are T times those computed.
    """

    model: Model
    blocks: tuple[Block, ...]
    n: int
    p: int
    basis: Basis
    response: Response
    log_weights: float
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]

    @property
    def y_scale(self) -> float:
        """Length of the least-squares residual."""
        return self.response.scale

    @property
    def n_theta(self) -> int:
        """Number of covariance parameters."""
        return self.layouts[-1].stop

    @property
    def one_variance(self) -> bool:
        """Whether the only parameter is the variance of one effect."""
        return self.n_theta == 1 and self.layouts[0].q == 1

    @property
    def structured(self) -> bool:
        """Whether a term's covariance has a structure."""
        return any(layout.structure is not None for layout in self.layouts)

    @cached_property
    def n_others(self) -> int:
        """Number of random effects that are not in the leading block."""
        return sum(block.size for block in self.blocks[1:])

    @cached_property
    def other_slices(self) -> list[slice]:
        """Where each block but the leading one stands among these effects."""
        ends = accumulate((block.size for block in self.blocks[1:]), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def block_slices(self, block: Block) -> list[tuple[int, slice]]:
        """Return (term, its columns within the block) for the terms of `block`."""
        slices = []
        start = 0
        for term in block.terms:
            q = self.layouts[term].q
            slices.append((term, slice(start, start + q)))
            start += q
        return slices

    def joined(self, block: Block, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """Put one matrix per term on the diagonal of a block's, shape (q, q).

        Parameters
        ----------
        block : Block
        matrices : sequence of numpy.ndarray, each (q, q)
            Of all terms, in theta's order.
        """
        if len(block.terms) == 1:
            return matrices[block.terms[0]]
        whole = np.zeros((block.q, block.q))
        for term, columns in self.block_slices(block):
            whole[columns, columns] = matrices[term]
        return whole

    @abstractmethod
    def level_moments(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one block's ``Z_j'Z_j``, (J, q, q), and ``Z_j'[X y]``, (J, q, p + 1)."""

    def response_sums(
        self, values: np.ndarray
    ) -> tuple[Model, Response, list[np.ndarray], np.ndarray]:
        """Return the model with another response, and the cross-products that depend on it.

        These are ``Z_j'y``, block by block, (J, q), and ``[Q, y]'y``, (p + 1,).
        """
        model = self.model.with_response(values)
        root = _root(model)
        response = _response(model, root, self.basis)
        residual = response.residual
        weighted = residual if root is None else residual * root
        sums = []
        for block in self.blocks:
            raw = np.column_stack([model.terms[t].columns for t in block.terms])
            codes = model.factors[block.name].codes
            products = level_products(codes, raw, weighted[:, None], block.n_levels)[:, :, 0]
            sums.append(products @ self.joined(block, self.transforms))
        return model, response, sums, np.append(self.basis.Q.T @ residual, residual @ residual)

    def common(self) -> dict[str, Any]:
        """Return the fields that all kinds of cross-products have."""
        return {field.name: getattr(self, field.name) for field in fields(Bases)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Gram(Bases):
    """Cross-products as the exact solver takes them.

    The columns are ordered: the leading block (most effects, eliminated level by level), the
    other blocks (level-major: the effects of one level are neighbours), X's basis, the response.

    Attributes
    ----------
    A : numpy.ndarray, shape (J, q, q)
        ``Z_j' Z_j`` of each level of the leading block.
    C : numpy.ndarray, shape (J, q, m + 1), or scipy.sparse.csr_matrix, shape (J q, m + 1)
        ``Z_j' R`` with R all the other columns, response last; m = other random effects + p.
    D : numpy.ndarray, shape (m + 1, m + 1)
        ``R' R``.
    """

    A: np.ndarray
    C: np.ndarray | sp.csr_matrix
    D: np.ndarray

    def without_structures(self) -> Gram:
        """Return the same cross-products, any covariance matrix allowed in every term."""
        if not self.structured:
            return self
        return replace(self, layouts=split_theta([layout.q for layout in self.layouts]))

    def level_moments(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one block's ``Z_j'Z_j``, (J, q, q), and ``Z_j'[X y]``, (J, q, p + 1)."""
        block, width = self.blocks[index], self.p + 1
        if index == 0:
            C = self.C
            dense = C[:, :, -width:] if isinstance(C, np.ndarray) else C[:, -width:].toarray()
            return self.A, dense.reshape(block.n_levels, block.q, width)
        rows = self.other_slices[index - 1].start + np.arange(block.size).reshape(
            block.n_levels, block.q
        )
        return self.D[rows[:, :, None], rows[:, None, :]], self.D[rows, -width:]

    def with_response(self, response: np.ndarray) -> Gram:
        """Return the cross-products with another response; only those that depend on it change.

        Raises
        ------
        ArgumentError, PymackayError
            As `Model.with_response`.
        DataError
            If X explains the response without residual.
        """
        model, new_response, sums, last = self.response_sums(response)
        return replace(self.with_sums(new_response, sums, last), model=model)

    def with_sums(self, response: Response, sums: Sequence[np.ndarray], last: np.ndarray) -> Gram:
        """Return the cross-products with those of another response put in.

        Parameters
        ----------
        response : Response
        sums : sequence of numpy.ndarray, each (J, q)
            ``Z_j'y``, block by block.
        last : numpy.ndarray, shape (p + 1,)
            ``[Q, y]'y``.
        """
        C: Any = self.C
        if isinstance(C, np.ndarray):
            C = np.concatenate([C[:, :, :-1], sums[0][:, :, None]], axis=2)
        else:
            C = _with_last_column(C, sums[0].ravel())
        D = self.D.copy()
        D[-1] = D[:, -1] = np.concatenate([*(part.ravel() for part in sums[1:]), last])
        return replace(self, C=C, D=D, response=response)


def _with_last_column(C: sp.csr_matrix, column: np.ndarray) -> sp.csr_matrix:
    """Return C with another last column, (rows,), which shares the places of the others."""
    last = C.indptr[1:] - 1
    if (np.diff(C.indptr) > 0).all() and (C.indices[last] == C.shape[1] - 1).all():
        values = C.data.copy()
        values[last] = column
        return sp.csr_matrix((values, C.indices, C.indptr), shape=C.shape)
    return sp.hstack([C[:, :-1], sp.csr_matrix(column[:, None])], format="csr")


def cross_products(model: Model) -> Gram:
    """Sum the rows of a model into dense cross-products; no evaluation needs the rows again.

    Raises
    ------
    DataError
        If X explains the response without residual, so that there is no variance to estimate.
    """
    bases = find_bases(model)
    sums = _Sums(bases["blocks"], bases["p"] + 1)
    for columns, codes, dense in weighted_rows(bases, _CHUNK):
        sums.add(columns, codes, dense)
    A, C, D = sums.finish()
    return Gram(**bases, A=A, C=C, D=D)


def find_bases(model: Model) -> dict[str, Any]:
    """Return the fields of `Bases` for a model.

    Raises
    ------
    DataError
        If X explains the response without residual.
    """
    root = _root(model)
    basis = fixed_basis(_weigh(model.X, root))
    levels = {name: len(factor.levels) for name, factor in model.factors.items()}
    return {
        "model": model,
        "blocks": order_blocks(levels, [(term.group, len(term.effects)) for term in model.terms]),
        "n": len(model.y),
        "p": model.X.shape[1],
        "basis": basis,
        "response": _response(model, root, basis),
        "log_weights": 0.0 if model.weights is None else float(np.log(model.weights).sum()),
        "layouts": layouts_of(model.terms),
        "transforms": tuple(
            term_basis(_weigh(term.columns, root), term.structure) for term in model.terms
        ),
    }


def order_blocks(levels: dict[str, int], terms: Sequence[tuple[str, int]]) -> tuple[Block, ...]:
    """Make one block per grouping factor; the one with most effects comes first.

    Parameters
    ----------
    levels : dict of str to int
        Grouping factor to its number of levels.
    terms : sequence of (str, int)
        Grouping factor and number of effects of each term.
    """
    blocks = []
    for name, count in levels.items():
        positions = tuple(i for i, (group, _) in enumerate(terms) if group == name)
        blocks.append(Block(name, count, positions, sum(terms[i][1] for i in positions)))
    lead = max(range(len(blocks)), key=lambda i: blocks[i].size)
    return (blocks[lead], *blocks[:lead], *blocks[lead + 1 :])


def weighted_rows(bases: dict[str, Any], size: int) -> Iterator[Chunk]:
    """Yield the columns and codes that are summed, `size` rows at a time.

    Yields
    ------
    columns : list of numpy.ndarray, each (rows, q)
        Whitened, weighted columns of each block.
    codes : list of numpy.ndarray of int, each (rows,)
    dense : numpy.ndarray, shape (rows, p + 1)
        X's basis and the response.
    """
    model, blocks, transforms = bases["model"], bases["blocks"], bases["transforms"]
    root = _root(model)
    for rows in chunks(len(model.y), size):
        columns, codes = [], []
        for block in blocks:
            parts = [model.terms[i].columns[rows] @ transforms[i] for i in block.terms]
            joined = parts[0] if len(parts) == 1 else np.column_stack(parts)
            columns.append(_weigh(joined, None if root is None else root[rows]))
            codes.append(model.factors[block.name].codes[rows])
        dense = [bases["basis"].Q[rows], bases["response"].residual[rows]]
        yield columns, codes, np.column_stack(dense)


def _response(model: Model, root: np.ndarray | None, basis: Basis) -> Response:
    y = model.y.copy() if model.offset is None else model.y - model.offset
    return residual_response(y, model.X, root, basis, model.response)


def _root(model: Model) -> np.ndarray | None:
    """Return the roots of the prior weights, where there are any."""
    return None if model.weights is None else np.sqrt(model.weights)


def _weigh(columns: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    return columns if root is None else columns * root[:, None]


class _Sums:
    """Dense cross-products, to which chunks of rows are added one by one."""

    def __init__(self, blocks: tuple[Block, ...], n_dense: int) -> None:
        self.blocks = blocks
        lead, rest = blocks[0], sum(block.size for block in blocks[1:])
        self.A = np.zeros((lead.n_levels, lead.q, lead.q))
        self.lead_dense = np.zeros((lead.size, n_dense))
        self.lead_rest = sp.csr_matrix((lead.size, rest))
        self.D = np.zeros((rest + n_dense, rest + n_dense))
        self.rest = rest

    def add(self, columns: list[np.ndarray], codes: list[np.ndarray], dense: np.ndarray) -> None:
        """Add the rows of one chunk."""
        self.A += level_gram(codes[0], columns[0], self.blocks[0].n_levels)
        levels = [block.n_levels for block in self.blocks]
        Z = [sparse_design(*part) for part in zip(columns, codes, levels, strict=True)]
        self.lead_dense += Z[0].T @ dense
        k = self.rest
        self.D[k:, k:] += dense.T @ dense
        if k:
            others = sp.hstack(Z[1:], format="csr") if len(Z) > 2 else Z[1]
            self.lead_rest = self.lead_rest + Z[0].T @ others
            self.D[:k, :k] += (others.T @ others).toarray()
            self.D[:k, k:] += others.T @ dense

    def finish(self) -> tuple[np.ndarray, np.ndarray | sp.csr_matrix, np.ndarray]:
        """Return A, C and D (see `Gram`)."""
        k = self.rest
        self.D[k:, :k] = self.D[:k, k:].T
        if not k:
            return self.A, self.lead_dense.reshape(*self.A.shape[:2], -1), self.D
        C = sp.hstack([self.lead_rest, sp.csr_matrix(self.lead_dense)], format="csr")
        return self.A, C, self.D


def sparse_design(columns: np.ndarray, codes: np.ndarray, n_levels: int) -> sp.csr_matrix:
    """Return Z of one block, shape (n, J q): the q entries of each row at its level.

    Parameters
    ----------
    columns : numpy.ndarray, shape (n, q)
    codes : numpy.ndarray of int, shape (n,)
    n_levels : int
    """
    n, q = columns.shape
    indices = codes.astype(np.int32)[:, None] * q + np.arange(q, dtype=np.int32)
    indptr = np.arange(0, n * q + 1, q)
    return sp.csr_matrix(
        (np.ascontiguousarray(columns).ravel(), indices.ravel(), indptr), shape=(n, n_levels * q)
    )
