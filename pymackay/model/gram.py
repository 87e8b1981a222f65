"""Cross-products: all that a solver needs to know of the rows, as sums over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.errors import DataError
from pymackay.model.covariance import TermLayout, split_theta
from pymackay.model.model import Model
from pymackay.model.scaling import Basis, fixed_basis, term_basis

__all__ = ["Block", "Gram", "Response", "cross_products"]


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


@dataclass(frozen=True, eq=False)
class Response:
    """The response with its least-squares fit on X taken off.

    Attributes
    ----------
    residual : numpy.ndarray, shape (n,)
        Weighted, at unit length.
    scale : float
        Its length before; relative quantities do not depend on it.
    beta : numpy.ndarray, shape (p,)
        What was taken off, in the user's columns of X.
    """

    residual: np.ndarray
    scale: float
    beta: np.ndarray


@dataclass(frozen=True, eq=False)
class Gram:
    """Weighted cross-products of [Z, X, y] in the bases of `pymackay.model.scaling`.

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


def cross_products(model: Model) -> Gram:
    """Sum the rows of `model` up; after this no evaluation touches a row.

    Raises
    ------
    DataError
        If X explains the response without residual: no variance is left to share out.
    """
    root = None if model.weights is None else np.sqrt(model.weights)
    basis = fixed_basis(_weigh(model.X, root))
    response = _residual_response(model, root, basis)
    transforms = tuple(term_basis(_weigh(term.columns, root)) for term in model.terms)
    blocks = _order_blocks(model)
    leading, others = blocks[0], blocks[1:]
    Z = [_block_columns(model, block, transforms, root) for block in blocks]
    dense = np.column_stack([basis.Q, response.residual])
    A = _level_gram(Z[0], model.factors[leading.name].codes, leading.n_levels)
    Z_lead = _sparse(Z[0], model.factors[leading.name].codes, leading)
    Z_rest = [
        _sparse(columns, model.factors[block.name].codes, block)
        for columns, block in zip(Z[1:], others, strict=True)
    ]
    C, D = _cross(Z_lead, Z_rest, dense)
    if not others:
        C = C.reshape(leading.n_levels, leading.q, -1)
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


def _weigh(columns: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    return columns if root is None else columns * root[:, None]


def _residual_response(model: Model, root: np.ndarray | None, basis: Basis) -> Response:
    """Take the least-squares fit off the response.

    A constant that X can carry goes first, by exact subtraction: products with Q would leave
    rounding of the response's size in every row.
    """
    y = model.y if model.offset is None else model.y - model.offset
    one = np.ones(len(y)) if root is None else root
    along = basis.Q.T @ one
    carried = np.abs(one - basis.Q @ along).max() < 1e-12 * np.abs(one).max()
    center = float(np.mean(y)) if carried else 0.0
    left = (y - center) * one
    first = basis.Q.T @ left
    left = left - basis.Q @ first
    second = basis.Q.T @ left
    left = left - basis.Q @ second
    length = float(np.sqrt(left @ left))
    size = float(np.sqrt(np.sum((y * one) ** 2)))
    if not length > 1e-14 * max(size, np.finfo(float).tiny):
        raise DataError(
            f"the response {model.response!r} is an exact linear function of the fixed effects: "
            f"the residual of the least-squares fit has length {length:.3g}. "
            f"A mixed model needs residual variation; check the response and the formula."
        )
    beta = basis.from_basis(first + second) + center * _constant(model.X, basis.from_basis(along))
    return Response(left / length, length, beta)


def _constant(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the coefficients of X that give the constant 1, exactly where they are integers."""
    rounded = np.round(coefficients)
    return rounded if np.array_equal(X @ rounded, np.ones(len(X))) else coefficients


def _order_blocks(model: Model) -> tuple[Block, ...]:
    """One block per grouping factor; the one whose elimination saves most comes first."""
    blocks = []
    for name, factor in model.factors.items():
        terms = tuple(i for i, term in enumerate(model.terms) if term.group == name)
        q = sum(len(model.terms[i].effects) for i in terms)
        blocks.append(Block(name, len(factor.levels), terms, q))
    lead = max(range(len(blocks)), key=lambda i: blocks[i].size)
    return (blocks[lead], *blocks[:lead], *blocks[lead + 1 :])


def _block_columns(
    model: Model, block: Block, transforms: tuple[np.ndarray, ...], root: np.ndarray | None
) -> np.ndarray:
    parts = [model.terms[i].columns @ transforms[i] for i in block.terms]
    columns = parts[0] if len(parts) == 1 else np.column_stack(parts)
    return _weigh(columns, root)


def _level_gram(columns: np.ndarray, codes: np.ndarray, n_levels: int) -> np.ndarray:
    """Sum ``z z'`` over the rows of each level, shape (J, q, q)."""
    q = columns.shape[1]
    gram = np.empty((n_levels, q, q))
    for i in range(q):
        for j in range(i + 1):
            product = columns[:, i] * columns[:, j]
            gram[:, i, j] = np.bincount(codes, weights=product, minlength=n_levels)
            gram[:, j, i] = gram[:, i, j]
    return gram


def _sparse(columns: np.ndarray, codes: np.ndarray, block: Block) -> sp.csr_matrix:
    """Return Z of one block, shape (n, J q): q entries in every row."""
    n, q = columns.shape
    indices = codes.astype(np.int32)[:, None] * q + np.arange(q, dtype=np.int32)
    indptr = np.arange(0, n * q + 1, q)
    return sp.csr_matrix(
        (np.ascontiguousarray(columns).ravel(), indices.ravel(), indptr), shape=(n, block.size)
    )


def _cross(
    Z_lead: sp.csr_matrix, Z_rest: list[sp.csr_matrix], dense: np.ndarray
) -> tuple[np.ndarray | sp.csr_matrix, np.ndarray]:
    lead_dense = Z_lead.T @ dense
    dense_dense = dense.T @ dense
    if not Z_rest:
        return lead_dense, dense_dense
    Z = sp.hstack(Z_rest, format="csr") if len(Z_rest) > 1 else Z_rest[0]
    C = sp.hstack([Z_lead.T @ Z, sp.csr_matrix(lead_dense)], format="csr")
    rest_dense = Z.T @ dense
    D = np.block([[(Z.T @ Z).toarray(), rest_dense], [rest_dense.T, dense_dense]])
    return C, D
