"""Cross-products: all that a solver needs to know of the rows, as sums over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.covariance.layout import TermLayout, split_theta
from pymackay.model.bases.scaling import Basis, fixed_basis, term_basis
from pymackay.model.model import Model
from pymackay.model.sums.by_level import chunks, level_gram
from pymackay.model.sums.response import Response, residual_response

__all__ = [
    "Bases",
    "Block",
    "Gram",
    "cross_products",
    "order_blocks",
    "order_model",
    "random_columns",
    "weigh",
]

_CHUNK = 262_144  # rows summed at a time: memory beyond the columns themselves stays bounded


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


class Bases:
    """What cross-products tell of their bases and blocks, however their sums are stored."""

    response: Response
    layouts: tuple[TermLayout, ...]

    @property
    def y_scale(self) -> float:
        """Length of the least-squares residual."""
        return self.response.scale

    @property
    def n_theta(self) -> int:
        """Number of covariance parameters."""
        return self.layouts[-1].stop

    def block_slices(self, block: Block) -> list[tuple[int, slice]]:
        """Return (term, its columns within the block) for the terms of `block`."""
        found = []
        start = 0
        for term in block.terms:
            q = self.layouts[term].q
            found.append((term, slice(start, start + q)))
            start += q
        return found


@dataclass(frozen=True, eq=False)
class Gram(Bases):
    """Weighted cross-products of [Z, X, y] in the bases of `pymackay.model.bases.scaling`.

    The columns are ordered: the leading block (most levels, eliminated level by level), the
    other blocks (level-major: the effects of one level are neighbours), X's orthonormal basis,
    the response (least-squares residual on X, unit length).

    Attributes
    ----------
    blocks : tuple of Block
        Leading block first.
    A : numpy.ndarray, shape (J, q, q)
        ``Z_j' Z_j`` of each level of the leading block.
    C : numpy.ndarray, shape (J, q, m + 1), or scipy.sparse.csr_matrix, shape (J q, m + 1)
        ``Z_j' R`` with R all the other columns, response last; m = other random effects + p.
    D : numpy.ndarray, shape (m + 1, m + 1)
        ``R' R``.
    n, p : int
        Rows and fixed columns.
    basis : Basis
        X = Q R, rows weighted.
    response : Response
        Least-squares residual of the weighted response, and what was taken off.
    log_weights : float
        Sum of the logs of the prior weights.
    layouts : tuple of TermLayout
        Where each term's parameters stand in theta.
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, T: effects in the user's units are T times those computed.
    """

    blocks: tuple[Block, ...]
    A: np.ndarray
    C: np.ndarray | sp.csr_matrix
    D: np.ndarray
    n: int
    p: int
    basis: Basis
    response: Response
    log_weights: float
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]

    def level_moments(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one block's ``Z_j'Z_j``, (J, q, q), and ``Z_j'[X y]``, (J, q, p + 1)."""
        block, width = self.blocks[index], self.p + 1
        if index == 0:
            C = self.C
            dense = C[:, :, -width:] if isinstance(C, np.ndarray) else C[:, -width:].toarray()
            return self.A, dense.reshape(block.n_levels, block.q, width)
        start = sum(other.size for other in self.blocks[1:index])
        rows = start + np.arange(block.size).reshape(block.n_levels, block.q)
        return self.D[rows[:, :, None], rows[:, None, :]], self.D[rows, -width:]


def cross_products(model: Model) -> Gram:
    """Sum the rows of `model` up; after this no evaluation touches a row.

    Raises
    ------
    DataError
        If X explains the response without residual: no variance is left to share out.
    """
    root = None if model.weights is None else np.sqrt(model.weights)
    basis = fixed_basis(weigh(model.X, root))
    response = residual_response(model, root, basis)
    transforms = tuple(term_basis(weigh(term.columns, root)) for term in model.terms)
    blocks = order_model(model)
    sums = _Sums(blocks, model.X.shape[1] + 1)
    for rows in chunks(len(model.y), _CHUNK):
        dense = np.column_stack([basis.Q[rows], response.residual[rows]])
        sums.add(*random_columns(model, blocks, transforms, root, rows), dense)
    A, C, D = sums.finish()
    return Gram(
        blocks=blocks,
        A=A,
        C=C,
        D=D,
        n=len(model.y),
        p=model.X.shape[1],
        basis=basis,
        response=response,
        log_weights=0.0 if model.weights is None else float(np.log(model.weights).sum()),
        layouts=split_theta([len(term.effects) for term in model.terms]),
        transforms=transforms,
    )


def weigh(columns: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    """Multiply rows by the roots of their weights, where there are weights."""
    return columns if root is None else columns * root[:, None]


def order_model(model: Model) -> tuple[Block, ...]:
    """Return `order_blocks` of a model's factors and terms."""
    return order_blocks(
        {name: len(factor.levels) for name, factor in model.factors.items()},
        [(term.group, len(term.effects)) for term in model.terms],
    )


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
        own = tuple(i for i, (group, _) in enumerate(terms) if group == name)
        blocks.append(Block(name, count, own, sum(terms[i][1] for i in own)))
    lead = max(range(len(blocks)), key=lambda i: blocks[i].size)
    return (blocks[lead], *blocks[:lead], *blocks[lead + 1 :])


def random_columns(
    model: Model,
    blocks: tuple[Block, ...],
    transforms: tuple[np.ndarray, ...],
    root: np.ndarray | None,
    rows: slice,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return whitened, weighted columns and level codes of each block for some rows."""
    columns, codes = [], []
    for block in blocks:
        parts = [model.terms[i].columns[rows] @ transforms[i] for i in block.terms]
        joined = parts[0] if len(parts) == 1 else np.column_stack(parts)
        columns.append(weigh(joined, None if root is None else root[rows]))
        codes.append(model.factors[block.name].codes[rows])
    return columns, codes


class _Sums:
    """Cross-products so far; chunks of rows are added one by one."""

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
        Z = [_sparse(*block) for block in zip(columns, codes, self.blocks, strict=True)]
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


def _sparse(columns: np.ndarray, codes: np.ndarray, block: Block) -> sp.csr_matrix:
    """Return Z of one block, shape (n, J q): q entries in every row."""
    n, q = columns.shape
    indices = codes.astype(np.int32)[:, None] * q + np.arange(q, dtype=np.int32)
    indptr = np.arange(0, n * q + 1, q)
    return sp.csr_matrix(
        (np.ascontiguousarray(columns).ravel(), indices.ravel(), indptr), shape=(n, block.size)
    )
