"""Many responses to one design: their least-squares residuals, and the sums that they enter."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from pymackay.model.bases.scaling import Response
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram

__all__ = ["Design", "Responses", "gram_of"]

_EXACT = 1e-14  # of a response's size: a residual below it is rounding


@dataclass(frozen=True, eq=False)
class Responses:
    """What a solver needs to know of B responses; the basis is that of the design's `Gram`.

    Attributes
    ----------
    scale : numpy.ndarray, shape (B,)
        Lengths of the least-squares residuals; 0 where X explains a response exactly.
    beta : numpy.ndarray, shape (B, p)
        The least-squares fits, user's units.
    sums : tuple of numpy.ndarray, each (J, q, B)
        Block by block, ``Z_j' r`` for residuals r of unit length.
    along : numpy.ndarray, shape (p, B)
        ``Q' r``, rounding only.
    squares : numpy.ndarray, shape (B,)
        ``r' r``.
    """

    scale: np.ndarray
    beta: np.ndarray
    sums: tuple[np.ndarray, ...]
    along: np.ndarray
    squares: np.ndarray

    def __len__(self) -> int:
        return len(self.scale)


class Design:
    """The rows of a model's design, ready to meet responses.

    Parameters
    ----------
    model : Model
        Its response is not used.
    gram : Gram
        The model's cross-products.
    """

    def __init__(self, model: Model, gram: Gram) -> None:
        self.gram = gram
        self.offset = model.offset
        self.root = None if model.weights is None else np.sqrt(model.weights)
        self._Q = gram.basis.Q
        one = np.ones(len(model.X)) if self.root is None else self.root
        along = self._Q.T @ one
        self._carries_one = np.abs(one - self._Q @ along).max() < 1e-12 * np.abs(one).max()
        self._one = gram.basis.from_basis(along)
        self._Z = [_transposed(model, gram, index, self.root) for index in range(len(gram.blocks))]

    def responses(self, Y: np.ndarray) -> Responses:
        """Take the least-squares fit off each column of `Y`, shape (n, B), and sum the rows up.

        A constant that X can carry goes first, by exact subtraction: products with Q would leave
        rounding of the response's size in every row.
        """
        left, length, beta = self._residuals(Y)
        left /= np.where(length > 0.0, length, 1.0)
        return Responses(
            scale=length,
            beta=beta,
            sums=tuple(
                (Z @ left).reshape(block.n_levels, block.q, -1)
                for Z, block in zip(self._Z, self.gram.blocks, strict=True)
            ),
            along=self._Q.T @ left,
            squares=np.einsum("nb,nb->b", left, left),
        )

    def explained(self, Y: np.ndarray) -> np.ndarray:
        """Say which columns of `Y` X explains without residual, shape (B,)."""
        return self._residuals(Y)[1] == 0.0

    def _residuals(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return residuals, (n, B), their lengths, (B,), and what was taken off, (B, p)."""
        left = Y if self.offset is None else Y - self.offset[:, None]
        size = np.linalg.norm(self._weigh(left), axis=0)
        center = left.mean(axis=0) if self._carries_one else np.zeros(Y.shape[1])
        left = self._weigh(left - center)
        first = self._Q.T @ left
        left -= self._Q @ first
        second = self._Q.T @ left
        left -= self._Q @ second
        length = np.linalg.norm(left, axis=0)
        length[length <= _EXACT * np.maximum(size, np.finfo(float).tiny)] = 0.0
        beta = self.gram.basis.from_basis(first + second) + np.outer(self._one, center)
        return left, length, np.ascontiguousarray(beta.T)

    def _weigh(self, columns: np.ndarray) -> np.ndarray:
        return columns * (1.0 if self.root is None else self.root[:, None])


def _transposed(model: Model, gram: Gram, index: int, root: np.ndarray | None) -> sp.csr_matrix:
    """Return Z' of one block, weighted and whitened, shape (J q, n)."""
    block = gram.blocks[index]
    columns = np.column_stack([model.terms[t].columns @ gram.transforms[t] for t in block.terms])
    if root is not None:
        columns = columns * root[:, None]
    n, q = columns.shape
    indices = model.factors[block.name].codes.astype(np.int64)[:, None] * q + np.arange(q)
    rows = np.arange(0, n * q + 1, q)
    Z = sp.csr_matrix((columns.ravel(), indices.ravel(), rows), shape=(n, block.size))
    return Z.T.tocsr()


def gram_of(gram: Gram, responses: Responses, which: int) -> Gram:
    """Return the cross-products of the design with one of the responses."""
    sums = [found[:, :, which] for found in responses.sums]
    C: Any = gram.C
    if sp.issparse(C):
        C = sp.hstack([C[:, :-1], sp.csr_matrix(sums[0].reshape(-1, 1))], format="csr")
    else:
        C = np.concatenate([C[:, :, :-1], sums[0][:, :, None]], axis=2)
    D = gram.D.copy()
    rest = [*(part.ravel() for part in sums[1:]), responses.along[:, which]]
    D[-1, :-1] = D[:-1, -1] = np.concatenate(rest)
    D[-1, -1] = responses.squares[which]
    scale, beta = float(responses.scale[which]), responses.beta[which]
    response = Response(gram.response.residual, scale, beta)
    return dataclasses.replace(gram, C=C, D=D, response=response)
