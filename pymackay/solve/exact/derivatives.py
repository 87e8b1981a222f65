"""How the fixed effects and the criterion change with the covariance parameters, exactly.

Bases of `pymackay.model.sums.gram`; V = I + ZGZ' relative to sigma², V̇ᵢ its derivative by the i-th
element of G. With R = [other blocks' columns, X] and V₁ the covariance of the leading block alone,
``P = V₁⁻¹ − V₁⁻¹ R Q̄ R' V₁⁻¹``: every trace and quadratic form is a sum over the leading block's
levels and small dense products. No n × n matrix is formed, and none as large as Z'Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg

from pymackay.model.sums.chunks import chunks
from pymackay.model.sums.gram import Block, Gram
from pymackay.solve.exact.curvature import trace_curvature
from pymackay.solve.exact.solver import is_regular
from pymackay.solve.solver import block_factor, symmetric_basis

__all__ = ["Derivatives", "differentiate"]

_CHUNK = 4096  # levels of the leading block taken at a time


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives at one theta, by the elements of G in theta's order.

    With ``t = [ΦX'V⁻¹; y'P]``, the p rows that give beta and the one that gives the residual:

    Attributes
    ----------
    precision_inverse : numpy.ndarray, shape (p, p)
        Φ = (X'V⁻¹X)⁻¹.
    beta : numpy.ndarray, shape (p,)
        Coefficients of the orthonormal basis of X, on the least-squares residual.
    r2 : float
        y'Py.
    logdet : float
        log |V|.
    traces : numpy.ndarray, shape (m,)
        tr(PV̇ᵢ) under REML, tr(V⁻¹V̇ᵢ) under ML.
    trace_products : numpy.ndarray, shape (m, m)
        tr(PV̇ᵢPV̇ⱼ) under REML, tr(V⁻¹V̇ᵢV⁻¹V̇ⱼ) under ML.
    slopes : numpy.ndarray, shape (m, p + 1, p + 1)
        tV̇ᵢt'. Its first p rows and columns are dΦ/dGᵢ; its last element is y'PV̇ᵢPy.
    products : numpy.ndarray, shape (m, m, p + 1, p + 1)
        tV̇ᵢPV̇ⱼt'.
    """

    precision_inverse: np.ndarray
    beta: np.ndarray
    r2: float
    logdet: float
    traces: np.ndarray
    trace_products: np.ndarray
    slopes: np.ndarray
    products: np.ndarray


def differentiate(gram: Gram, factors: list[np.ndarray], *, reml: bool) -> Derivatives:
    """Return the derivatives at these relative factors, one (q, q) lower triangle per term."""
    bases = [_block_basis(gram, block) for block in gram.blocks]
    lead = _Lead(gram, factors)
    dense = _Dense(gram, factors, lead.schur(), reml)
    sums = lead.sums(dense, bases[0])
    order = np.concatenate(
        [
            np.arange(gram.layouts[t].start, gram.layouts[t].stop)
            for block in gram.blocks
            for t in block.terms
        ]
    )
    by_block = _join(dense, sums, gram.blocks[1:], bases[1:])
    back = np.argsort(order)
    pairs = np.ix_(back, back)
    return Derivatives(
        precision_inverse=dense.precision_inverse,
        beta=-dense.tau[dense.size : dense.m, -1],
        r2=dense.r2,
        logdet=lead.logdet + dense.logdet,
        traces=by_block.traces[back],
        trace_products=by_block.trace_products[pairs],
        slopes=by_block.slopes[back],
        products=by_block.products[pairs],
    )


def _block_basis(gram: Gram, block: Block) -> np.ndarray:
    """Return dG/dGᵢ of a block's elements, shape (m_block, q, q)."""
    return np.concatenate(
        [
            symmetric_basis(gram.layouts[term], block.q, columns.start)
            for term, columns in gram.block_slices(block)
        ]
    )


class _Dense:
    """What is dense at one theta: K = R'V₁⁻¹R and Q̄, with and without beta's uncertainty.

    Attributes
    ----------
    K : numpy.ndarray, shape (m + 1, m + 1)
        Response last.
    Q, Q_trace : numpy.ndarray, shape (m, m)
        Q̄ of P, and the one that the traces take (of P under REML, of V⁻¹ under ML).
    tau : numpy.ndarray, shape (m + 1, p + 1)
        ``t' = V₁⁻¹ [R y] tau``.
    """

    def __init__(self, gram: Gram, factors: list[np.ndarray], K: np.ndarray, reml: bool) -> None:
        others = gram.blocks[1:]
        self.K, self.p = K, gram.p
        self.m, self.size = len(K) - 1, sum(block.size for block in others)
        m, size = self.m, self.size
        parts = [np.kron(np.eye(b.n_levels), block_factor(gram, b, factors)) for b in others]
        root = scipy.linalg.block_diag(*parts, np.eye(gram.p))
        B = root.T @ K[:m, :m] @ root
        B[np.arange(size), np.arange(size)] += 1.0
        L = np.linalg.cholesky(B)
        self.logdet = 2.0 * float(np.log(np.diag(L)[:size]).sum())
        half = np.linalg.solve(L, root.T)
        self.Q = half.T @ half
        self.Q_trace = self.Q if reml else self._given_beta()
        self.precision_inverse = self.Q[size:, size:]
        coefficients = self.Q @ K[:m, m]
        self.r2 = float(K[m, m] - K[m, :m] @ coefficients)
        self.tau = np.zeros((m + 1, gram.p + 1))
        self.tau[:m, : gram.p] = self.Q[:, size:]
        self.tau[:m, gram.p] = -coefficients
        self.tau[m, gram.p] = 1.0

    def _given_beta(self) -> np.ndarray:
        size = self.size
        given = np.zeros_like(self.Q)
        given[:size, :size] = self.Q[:size, :size]
        if self.p:
            given[:size, :size] -= self.Q[:size, size:] @ np.linalg.solve(
                self.Q[size:, size:], self.Q[size:, :size]
            )
        return given

    def left(self, Q: np.ndarray) -> np.ndarray:
        """Return U = (I − Q K) in the columns of the other blocks, shape (m, size)."""
        U = -Q @ self.K[: self.m, : self.size]
        U[np.arange(self.size), np.arange(self.size)] += 1.0
        return U


@dataclass(frozen=True, eq=False)
class _LeadSums:
    """Sums over the leading block's levels, by its elements of G.

    Attributes
    ----------
    M : numpy.ndarray, shape (k, m + 1, m + 1)
        ``R'V₁⁻¹V̇ᵢV₁⁻¹R``, response last.
    traces : numpy.ndarray, shape (k,)
    trace_products : numpy.ndarray, shape (k, k)
        Without what only dense matrices enter.
    products : numpy.ndarray, shape (k, k, p + 1, p + 1)
        ``t V̇ᵢV₁⁻¹V̇ⱼ t'``.
    """

    M: np.ndarray
    traces: np.ndarray
    trace_products: np.ndarray
    products: np.ndarray


@dataclass(frozen=True, eq=False)
class _Joined:
    """What `Derivatives` holds by elements of G, these ordered block by block."""

    traces: np.ndarray
    trace_products: np.ndarray
    slopes: np.ndarray
    products: np.ndarray


class _Lead:
    """The leading block: its levels' matrices, and sums over them chunk by chunk."""

    def __init__(self, gram: Gram, factors: list[np.ndarray]) -> None:
        factor = block_factor(gram, gram.blocks[0], factors)
        eye = np.eye(len(factor))
        inverse = np.linalg.inv(eye + factor.T @ gram.A @ factor)
        self.gram = gram
        self.logdet = -float(np.linalg.slogdet(inverse)[1].sum())
        self.F = factor @ inverse @ factor.T
        if is_regular(factor):
            self.N = np.linalg.solve(factor.T, inverse @ factor.T)
        else:
            self.N = eye - gram.A @ self.F
        self.H = self.N @ gram.A

    def columns(self, levels: slice) -> np.ndarray:
        """Return C of some levels, dense, shape (levels, q, m + 1)."""
        C, q = self.gram.C, self.gram.A.shape[1]
        if isinstance(C, np.ndarray):
            return C[levels]
        return C[levels.start * q : levels.stop * q].toarray().reshape(-1, q, C.shape[1])

    def schur(self) -> np.ndarray:
        """Return K = R'V₁⁻¹R, response last."""
        K = self.gram.D.copy()
        for levels in chunks(len(self.gram.A), _CHUNK):
            C = self.columns(levels)
            K -= np.tensordot(C, self.F[levels] @ C, axes=([0, 1], [0, 1]))
        return K

    def sums(self, dense: _Dense, basis: np.ndarray) -> _LeadSums:
        """Sum over the levels what scores, traces and products need."""
        k, m, w = len(basis), dense.m, dense.p + 1
        found = _LeadSums(
            np.zeros((k, m + 1, m + 1)), np.zeros(k), np.zeros((k, k)), np.zeros((k, k, w, w))
        )
        for levels in chunks(len(self.gram.A), _CHUNK):
            H = self.H[levels]
            E = self.N[levels] @ self.columns(levels)
            S = E[:, :, :m] @ dense.Q_trace @ E[:, :, :m].transpose(0, 2, 1)
            ET, HE = basis[:, None] @ (E @ dense.tau), H @ basis[:, None]
            SE = S @ basis[:, None]
            for i in range(k):
                found.M[i] += np.tensordot(E, basis[i] @ E, axes=([0, 1], [0, 1]))
            cross = np.einsum("ilab,jlba->ij", HE, SE)
            found.traces[:] += np.einsum("ilaa->i", HE - SE)
            found.trace_products[:] += np.einsum("ilab,jlba->ij", HE, HE) - cross - cross.T
            found.products[:] += np.einsum("ilau,jlav->ijuv", ET, H @ ET, optimize=True)
        return found


def _join(
    dense: _Dense, sums: _LeadSums, others: tuple[Block, ...], bases: list[np.ndarray]
) -> _Joined:
    """Put the leading block and the others together, elements ordered block by block."""
    T = dense.K[: dense.size] @ dense.tau
    V = _turned(dense, others, bases, T)
    W = dense.K[: dense.size, : dense.m] @ dense.left(dense.Q_trace)
    traces = [
        np.einsum("iab,ab->i", basis, _diagonal_sum(W[span, span], block))
        for block, basis, span in zip(others, bases, _spans(others), strict=True)
    ]
    return _Joined(
        traces=np.concatenate([sums.traces, *traces]),
        trace_products=_trace_products(dense, sums, others, bases, W),
        slopes=np.concatenate([dense.tau.T @ sums.M @ dense.tau, T.T @ V]),
        products=_products(dense, sums, V),
    )


def _spans(blocks: tuple[Block, ...]) -> list[slice]:
    ends = np.cumsum([0, *(block.size for block in blocks)])
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _products(dense: _Dense, sums: _LeadSums, V: np.ndarray) -> np.ndarray:
    """Return ``t V̇ᵢPV̇ⱼ t'`` of all pairs, from V̇ⱼt' in the columns of the other blocks."""
    k, m, w = len(sums.M), dense.m, dense.p + 1
    U = dense.left(dense.Q)
    W = dense.K[: dense.size, :m] @ U
    h = (dense.tau.T @ sums.M)[:, :, :m]
    products = np.empty((k + len(V), k + len(V), w, w))
    products[:k, :k] = sums.products - np.einsum("ium,jvm->ijuv", h @ dense.Q, h, optimize=True)
    products[:k, k:] = np.einsum("ius,jsv->ijuv", h @ U, V, optimize=True)
    products[k:, :k] = products[:k, k:].transpose(1, 0, 3, 2)
    products[k:, k:] = np.einsum("isu,jsv->ijuv", V, W @ V, optimize=True)
    return products


def _trace_products(
    dense: _Dense,
    sums: _LeadSums,
    others: tuple[Block, ...],
    bases: list[np.ndarray],
    W: np.ndarray,
) -> np.ndarray:
    """Return tr(PV̇ᵢPV̇ⱼ) of all pairs; W = Z₂'PZ₂ of the other blocks."""
    m = dense.m
    QM = dense.Q_trace @ sums.M[:, :m, :m]
    own = sums.trace_products + np.einsum("iab,jba->ij", QM, QM)
    if not others:
        return own
    U = dense.left(dense.Q_trace)
    crossed = np.array([_lead_other(M[:m, :m], U, others, bases) for M in sums.M])
    rest = trace_curvature(W, others, bases)
    return np.block([[own, crossed], [crossed.T, rest]])


def _turned(
    dense: _Dense, others: tuple[Block, ...], bases: list[np.ndarray], T: np.ndarray
) -> np.ndarray:
    """Return EᵢT of the other blocks' elements, shape (elements, size, p + 1)."""
    parts = [np.zeros((0, dense.size, dense.p + 1))]
    for block, basis, span in zip(others, bases, _spans(others), strict=True):
        part = np.zeros((len(basis), dense.size, dense.p + 1))
        levels = T[span].reshape(block.n_levels, block.q, -1)
        turned = np.einsum("iab,jbc->ijac", basis, levels)
        part[:, span] = turned.reshape(len(basis), block.size, -1)
        parts.append(part)
    return np.concatenate(parts)


def _diagonal_sum(W: np.ndarray, block: Block) -> np.ndarray:
    """Sum the (q, q) blocks on the diagonal of W over a block's levels."""
    levels = W.reshape(block.n_levels, block.q, block.n_levels, block.q)
    return np.einsum("jajb->ab", levels)


def _lead_other(
    M: np.ndarray, U: np.ndarray, others: tuple[Block, ...], bases: list[np.ndarray]
) -> np.ndarray:
    """Return tr(PV̇ᵢPV̇ⱼ) of one element of the leading block with all those of the others."""
    MU = M @ U
    found = []
    for block, basis, span in zip(others, bases, _spans(others), strict=True):
        shape = (len(M), block.n_levels, block.q)
        sums = np.einsum("mja,mjb->ab", U[:, span].reshape(shape), MU[:, span].reshape(shape))
        found.append(np.einsum("iab,ab->i", basis, sums))
    return np.concatenate(found)
