"""The levels of a grouping factor for many responses: alike ones counted, not repeated.

The notation is that of `pymackay.solve.exact.levels`. Two levels with the same ``A_j = Z_j'Z_j``
and ``Z_j'X`` (every subject seen on the same days) have the same matrices at every theta, and their
responses enter through sums alone: ``c = Σ c_j`` and ``cc = Σ c_j c_j'`` with ``c_j = Z_j'y``. A
balanced design has one kind of level, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.covariance.layout import symmetric_basis
from pymackay.model.sums.gram import Gram
from pymackay.solve.many.responses import Responses

_DIGITS = 12  # to which two levels must agree, of the largest element: rounding is below


@dataclass(frozen=True, eq=False)
class ResponseSums:
    """The part that B responses have in the cross-products, kind of level by kind of level.

    Attributes
    ----------
    c : numpy.ndarray, shape (q, kinds, B)
    cc : numpy.ndarray, shape (q, q, kinds, B)
    along : numpy.ndarray, shape (p, B)
    squares, scale : numpy.ndarray, each (B,)
        As in `Responses`.
    """

    c: np.ndarray
    cc: np.ndarray
    along: np.ndarray
    squares: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, which: np.ndarray) -> ResponseSums:
        """Return those of some responses, each as often as it is named."""
        if np.array_equal(which, np.arange(len(self))):
            return self
        return ResponseSums(
            self.c[..., which],
            self.cc[..., which],
            self.along[:, which],
            self.squares[which],
            self.scale[which],
        )


class Kinds:
    """The kinds of levels of a model with one grouping factor.

    Parameters
    ----------
    gram : Gram
        With a single block.
    reml : bool

    Attributes
    ----------
    q, p, n : int
        Effects per level, fixed columns, rows.
    levels : int
        J.
    counts : numpy.ndarray, shape (kinds,)
        Levels of each kind.
    A : numpy.ndarray, shape (q, q, kinds)
    X : numpy.ndarray, shape (q, p, kinds)
        ``Z_j'Q``.
    X_sizes : numpy.ndarray, shape (q, q, kinds)
        Sums of ``|Z_j'Q| |Q'Z_j|`` over the levels of each kind.
    flat : numpy.ndarray, shape (m, q²)
        Derivatives of the relative covariance matrix by its elements.
    terms : tuple of slice
        Columns of each term within the block.
    """

    def __init__(self, gram: Gram, reml: bool) -> None:
        block = gram.blocks[0]
        self.gram, self.reml = gram, reml
        self.q, self.p, self.n, self.levels = block.q, gram.p, gram.n, block.n_levels
        places = gram.block_slices(block)
        self.terms = tuple(columns for _, columns in places)
        basis = [symmetric_basis(gram.layouts[k], block.q, u.start) for k, u in places]
        self.flat = np.concatenate(basis).reshape(-1, block.q**2)
        C = np.asarray(gram.C)[:, :, :-1]
        first, self._member = _alike(gram.A, C)
        self.counts = np.asarray(self._member.sum(axis=1)).ravel()
        self.A = np.ascontiguousarray(gram.A[first].transpose(1, 2, 0))
        self.X = np.ascontiguousarray(C[first].transpose(1, 2, 0))
        size = np.abs(self.X)
        self.X_sizes = np.einsum("k,apk,bpk->abk", self.counts, size, size)
        self.D = gram.D[:-1, :-1]

    @property
    def cells(self) -> int:
        """Elements that one response adds to a batch of small matrices."""
        return self.q * max(self.p, self.q) * len(self.counts)

    @property
    def nu(self) -> int:
        """Degrees of freedom of the residual variance."""
        return self.n - self.p if self.reml else self.n

    @property
    def constant(self) -> float:
        """What the criterion holds beside determinants and the residual sum of squares."""
        nu = self.nu
        fixed = self.gram.basis.log_determinant if self.reml else 0.0
        return nu * (1.0 + np.log(2.0 * np.pi / nu)) + fixed - self.gram.log_weights

    def sums(self, responses: Responses) -> ResponseSums:
        """Sum the responses' part up over the levels of each kind."""
        c = responses.sums[0]
        J, q, B = c.shape
        cc = c[:, :, None, :] * c[:, None, :, :]
        if len(self.counts) < J:
            c = (self._member @ c.reshape(J, q * B)).reshape(-1, q, B)
            cc = (self._member @ cc.reshape(J, q * q * B)).reshape(-1, q, q, B)
        return ResponseSums(
            c=np.ascontiguousarray(c.transpose(1, 0, 2)),
            cc=np.ascontiguousarray(cc.transpose(1, 2, 0, 3)),
            along=responses.along,
            squares=responses.squares,
            scale=responses.scale,
        )


def _alike(A: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, sp.csr_matrix]:
    """Return one level of each kind, and which levels are of which kind, shape (kinds, J)."""
    J = len(A)
    parts = [each.reshape(J, -1) / max(np.abs(each).max(initial=0.0), 1e-300) for each in (A, C)]
    key = np.round(np.concatenate(parts, axis=1), _DIGITS) + 0.0
    _, first, kind = np.unique(key, axis=0, return_index=True, return_inverse=True)
    if len(first) == J:
        return np.arange(J), sp.identity(J, format="csr")
    kind = kind.reshape(J)
    member = sp.csr_matrix((np.ones(J), (kind, np.arange(J))), shape=(len(first), J))
    return first, member
