"""Many responses to one design: their least-squares residuals, and the sums that they enter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.model.bases.scaling import Response
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram, sparse_design

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
        residual, length, beta = self._residuals(Y)
        residual /= np.where(length > 0.0, length, 1.0)
        return Responses(
            scale=length,
            beta=beta,
            sums=tuple(
                (Z @ residual).reshape(block.n_levels, block.q, -1)
                for Z, block in zip(self._Z, self.gram.blocks, strict=True)
            ),
            along=self._Q.T @ residual,
            squares=np.einsum("nb,nb->b", residual, residual),
        )

    def explained(self, Y: np.ndarray) -> np.ndarray:
        """Say which columns of `Y` X explains without residual, shape (B,)."""
        return self._residuals(Y)[1] == 0.0

    def _residuals(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return residuals, (n, B), their lengths, (B,), and what was taken off, (B, p)."""
        residual = Y if self.offset is None else Y - self.offset[:, None]
        size = np.linalg.norm(self._weigh(residual), axis=0)
        center = residual.mean(axis=0) if self._carries_one else np.zeros(Y.shape[1])
        residual = self._weigh(residual - center)
        first = self._Q.T @ residual
        residual -= self._Q @ first
        second = self._Q.T @ residual
        residual -= self._Q @ second
        length = np.linalg.norm(residual, axis=0)
        length[length <= _EXACT * np.maximum(size, np.finfo(float).tiny)] = 0.0
        beta = self.gram.basis.from_basis(first + second) + np.outer(self._one, center)
        return residual, length, np.ascontiguousarray(beta.T)

    def _weigh(self, columns: np.ndarray) -> np.ndarray:
        return columns * (1.0 if self.root is None else self.root[:, None])


def _transposed(model: Model, gram: Gram, index: int, root: np.ndarray | None) -> sp.csr_matrix:
    """Return Z' of one block, weighted and whitened, shape (J q, n)."""
    block = gram.blocks[index]
    columns = np.column_stack([model.terms[t].columns @ gram.transforms[t] for t in block.terms])
    if root is not None:
        columns = columns * root[:, None]
    return sparse_design(columns, model.factors[block.name].codes, block.n_levels).T.tocsr()


def gram_of(gram: Gram, responses: Responses, which: int) -> Gram:
    """Return the cross-products of the design with one of the responses."""
    response = Response(
        gram.response.residual, float(responses.scale[which]), responses.beta[which]
    )
    sums = [block[:, :, which] for block in responses.sums]
    return gram.with_sums(
        response, sums, np.append(responses.along[:, which], responses.squares[which])
    )
