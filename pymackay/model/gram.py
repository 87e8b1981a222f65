"""Cross-products: all that a solver needs to know of the rows, as sums over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.errors import DataError
from pymackay.model.covariance import TermLayout, split_theta
from pymackay.model.model import Model
from pymackay.model.scaling import Basis, fixed_basis, term_basis

__all__ = ["Block", "Gram", "cross_products"]


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
    beta_ls : numpy.ndarray, shape (p,)
        Least-squares coefficients of Q that were taken off the response.
    residual : numpy.ndarray, shape (n,)
        Least-squares residual of the weighted response, at unit length.
    y_scale : float
        Its length before; relative quantities do not depend on it.
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
    beta_ls: np.ndarray
    residual: np.ndarray
    y_scale: float
    log_weights: float
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]

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
    residual, beta_ls, y_scale = _residual_response(model, root, basis)
    transforms = tuple(term_basis(_weigh(term.columns, root)) for term in model.terms)
    blocks = _order_blocks(model)
    leading, others = blocks[0], blocks[1:]
    Z = [_block_columns(model, block, transforms, root) for block in blocks]
    dense = np.column_stack([basis.Q, residual])
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
        beta_ls=beta_ls,
        residual=residual,
        y_scale=y_scale,
        log_weights=0.0 if model.weights is None else float(np.log(model.weights).sum()),
        layouts=split_theta([len(term.effects) for term in model.terms]),
        transforms=transforms,
    )


def _weigh(columns: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    return columns if root is None else columns * root[:, None]


def _residual_response(
    model: Model, root: np.ndarray | None, basis: Basis
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the least-squares residual at unit length, the coefficients of Q, and the length."""
    y = model.y if model.offset is None else model.y - model.offset
    y = y if root is None else y * root
    beta = basis.Q.T @ y
    residual = y - basis.Q @ beta
    correction = basis.Q.T @ residual  # a second pass: the first leaves rounding of y's size
    residual = residual - basis.Q @ correction
    length = float(np.sqrt(residual @ residual))
    size = float(np.sqrt(y @ y))
    if not length > 1e-14 * max(size, np.finfo(float).tiny):
        raise DataError(
            f"the response {model.response!r} is an exact linear function of the fixed effects: "
            f"the residual of the least-squares fit has length {length:.3g}. "
            f"A mixed model needs residual variation; check the response and the formula."
        )
    return residual / length, beta + correction, length


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
