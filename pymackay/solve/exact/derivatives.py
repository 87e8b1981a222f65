"""How the fixed effects and the criterion change with the covariance parameters, exactly.

Bases of `pymackay.model.sums.gram`; V = I + ZGZ' relative to sigma², V̇ᵢ its derivative by the i-th
element of G. With R = [other blocks' columns, X] and V₁ the covariance of the leading block alone,
``P = V₁⁻¹ − V₁⁻¹ R Q̄ R' V₁⁻¹``: every trace and quadratic form is a sum over the leading block's
levels and small dense products. No n × n matrix is formed, and none as large as Z'Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.model.bases.scaling import chunks
from pymackay.model.sums.gram import Block, Gram
from pymackay.solve.exact.curvature import trace_curvature
from pymackay.solve.exact.eliminated import Eliminated
from pymackay.solve.exact.levels import is_regular
from pymackay.solve.solver import Elements, by_term

_CHUNK = 4096  # levels of the leading block taken at a time


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives at one theta, by the elements of G in theta's order.

    For a term with a structure, along the tangents of its chart (see `Elements`).

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
    level_traces, level_squares : tuple of numpy.ndarray, each (q, q)
        Term by term, τ and s as `pymackay.solve.solver.Evaluation` has them: what a structure
        whose G bends needs of the traces and of y'PV̇Py.
    """

    precision_inverse: np.ndarray
    beta: np.ndarray
    r2: float
    logdet: float
    traces: np.ndarray
    trace_products: np.ndarray
    slopes: np.ndarray
    products: np.ndarray
    level_traces: tuple[np.ndarray, ...]
    level_squares: tuple[np.ndarray, ...]


def differentiate(
    gram: Gram,
    factors: list[np.ndarray],
    *,
    reml: bool,
    beside: Sequence[np.ndarray] | None = None,
) -> Derivatives:
    """Return the derivatives at these relative factors, one (q, q) lower triangle per term.

    `beside` are further directions of G, term by term, (q, q): one for each block of terms comes
    after the elements.
    """
    elements = Elements.of(gram, factors)
    if beside is not None:
        elements = elements.extended(gram, beside)
    bases, back = elements.matrices, elements.back
    rest = Eliminated.at(gram, factors)
    dense = _Dense.of(rest, reml=reml)
    sums = _Lead(gram, factors, rest.F).sums(dense, bases[0])
    projected = rest.K[: rest.size] @ dense.mixing
    moved = _moved(rest, bases[1:], projected)
    ZPZ = rest.K[: rest.size, : len(rest.Q)] @ rest.projection(dense.Q_trace)
    others = list(zip(rest.blocks, rest.slices, strict=True))
    level_traces = [_diagonal_sum(ZPZ[span, span], block) for block, span in others]
    residual = [projected[span, -1].reshape(block.n_levels, -1) for block, span in others]
    traces = [
        np.einsum("iab,ab->i", basis, matrix)
        for basis, matrix in zip(bases[1:], level_traces, strict=True)
    ]
    return Derivatives(
        precision_inverse=rest.precision_inverse,
        beta=rest.beta,
        r2=rest.r2,
        logdet=rest.logdet_v,
        traces=np.concatenate([sums.traces, *traces])[back],
        trace_products=elements.in_theta(_trace_products(dense, sums, bases[1:], ZPZ)),
        slopes=np.concatenate([dense.mixing.T @ sums.inner @ dense.mixing, projected.T @ moved])[
            back
        ],
        products=elements.in_theta(_products(dense, sums, moved)),
        level_traces=by_term(gram, [sums.level_traces, *level_traces]),
        level_squares=by_term(gram, [sums.level_squares, *(a.T @ a for a in residual)]),
    )


@dataclass(frozen=True, eq=False)
class _Dense:
    """What is dense at one theta.

    Attributes
    ----------
    rest : Eliminated
    Q_trace : numpy.ndarray, shape (m, m)
        The Q̄ that the traces take: of P under REML, of V⁻¹ under ML.
    mixing : numpy.ndarray, shape (m + 1, p + 1)
        ``t' = V₁⁻¹ [R y] mixing``.
    """

    rest: Eliminated
    Q_trace: np.ndarray
    mixing: np.ndarray

    @classmethod
    def of(cls, rest: Eliminated, *, reml: bool) -> _Dense:
        """Return it for these equations."""
        m, size = len(rest.Q), rest.size
        p = m - size
        mixing = np.zeros((m + 1, p + 1))
        mixing[:m, :p] = rest.Q[:, size:]
        mixing[:m, p] = -rest.coefficients
        mixing[m, p] = 1.0
        return cls(rest, rest.Q if reml else rest.given_beta(), mixing)


@dataclass(frozen=True, eq=False)
class _LeadSums:
    """Sums over the leading block's levels, by its elements of G.

    Attributes
    ----------
    inner : numpy.ndarray, shape (k, m + 1, m + 1)
        ``R'V₁⁻¹V̇ᵢV₁⁻¹R``, response last.
    traces : numpy.ndarray, shape (k,)
    trace_products : numpy.ndarray, shape (k, k)
        Without what only dense matrices enter.
    products : numpy.ndarray, shape (k, k, p + 1, p + 1)
        ``t V̇ᵢV₁⁻¹V̇ⱼ t'``.
    level_traces, level_squares : numpy.ndarray, each (q, q)
        Of the block.
    """

    inner: np.ndarray
    traces: np.ndarray
    trace_products: np.ndarray
    products: np.ndarray
    level_traces: np.ndarray
    level_squares: np.ndarray


class _Lead:
    """The leading block: its levels' matrices, and sums over them chunk by chunk."""

    def __init__(self, gram: Gram, factors: list[np.ndarray], F: np.ndarray) -> None:
        factor = gram.joined(gram.blocks[0], factors)
        self.gram = gram
        if is_regular(factor):
            self.N = np.linalg.solve(factor.T, np.linalg.solve(factor, F))
        else:
            self.N = np.eye(len(factor)) - gram.A @ F
        self.H = self.N @ gram.A

    def columns(self, levels: slice) -> np.ndarray:
        """Return C of some levels, dense, shape (levels, q, m + 1)."""
        C, q = self.gram.C, self.gram.A.shape[1]
        if isinstance(C, np.ndarray):
            return C[levels]
        return C[levels.start * q : levels.stop * q].toarray().reshape(-1, q, C.shape[1])

    def sums(self, dense: _Dense, basis: np.ndarray) -> _LeadSums:
        """Sum over the levels what scores, traces and products need."""
        k, m, w = len(basis), len(dense.rest.Q), dense.mixing.shape[1]
        q = basis.shape[1]
        sums = _LeadSums(
            np.zeros((k, m + 1, m + 1)),
            np.zeros(k),
            np.zeros((k, k)),
            np.zeros((k, k, w, w)),
            np.zeros((q, q)),
            np.zeros((q, q)),
        )
        for levels in chunks(len(self.gram.A), _CHUNK):
            H = self.H[levels]
            NC = self.N[levels] @ self.columns(levels)
            T = NC[:, :, :m] @ dense.Q_trace @ NC[:, :, :m].transpose(0, 2, 1)
            mixed = NC @ dense.mixing
            sums.level_traces[:] += (H - T).sum(axis=0)
            sums.level_squares[:] += mixed[:, :, -1].T @ mixed[:, :, -1]
            Et, HE = basis[:, None] @ mixed, H @ basis[:, None]
            TE = T @ basis[:, None]
            for i in range(k):
                sums.inner[i] += np.tensordot(NC, basis[i] @ NC, axes=([0, 1], [0, 1]))
            cross = np.einsum("ilab,jlba->ij", HE, TE)
            sums.traces[:] += np.einsum("ilaa->i", HE - TE)
            sums.trace_products[:] += np.einsum("ilab,jlba->ij", HE, HE) - cross - cross.T
            sums.products[:] += np.einsum("ilau,jlav->ijuv", Et, H @ Et, optimize=True)
        return sums


def _products(dense: _Dense, sums: _LeadSums, moved: np.ndarray) -> np.ndarray:
    """Return ``t V̇ᵢPV̇ⱼ t'`` of all pairs of elements, (m, m, p + 1, p + 1).

    `moved`, (m₂, size, p + 1), is ``E_i Z₂'t'`` of the other blocks' m₂ elements (`_moved`).
    """
    rest = dense.rest
    k, m, w = len(sums.inner), len(rest.Q), dense.mixing.shape[1]
    projection = rest.projection(rest.Q)
    ZPZ = rest.K[: rest.size, :m] @ projection
    h = (dense.mixing.T @ sums.inner)[:, :, :m]
    products = np.empty((k + len(moved), k + len(moved), w, w))
    products[:k, :k] = sums.products - np.einsum("ium,jvm->ijuv", h @ rest.Q, h, optimize=True)
    products[:k, k:] = np.einsum("ius,jsv->ijuv", h @ projection, moved, optimize=True)
    products[k:, :k] = products[:k, k:].transpose(1, 0, 3, 2)
    products[k:, k:] = np.einsum("isu,jsv->ijuv", moved, ZPZ @ moved, optimize=True)
    return products


def _trace_products(
    dense: _Dense,
    sums: _LeadSums,
    bases: list[np.ndarray],
    ZPZ: np.ndarray,
) -> np.ndarray:
    """Return tr(PV̇ᵢPV̇ⱼ) of all pairs, (m, m); ZPZ = Z₂'PZ₂, (size, size), of other blocks."""
    rest = dense.rest
    m = len(rest.Q)
    Q_inner = dense.Q_trace @ sums.inner[:, :m, :m]
    own = sums.trace_products + np.einsum("iab,jba->ij", Q_inner, Q_inner)
    if not rest.blocks:
        return own
    projection = rest.projection(dense.Q_trace)
    crossed = [_lead_other(inner[:m, :m], projection, rest, bases) for inner in sums.inner]
    own_rest = trace_curvature(ZPZ, rest.blocks, bases)
    return np.block([[own, np.array(crossed)], [np.array(crossed).T, own_rest]])


def _moved(rest: Eliminated, bases: list[np.ndarray], columns: np.ndarray) -> np.ndarray:
    """Return Eᵢ times `columns`, (size, p + 1), for other blocks' elements: (m, size, p + 1)."""
    parts = [np.zeros((0, *columns.shape))]
    for block, basis, span in zip(rest.blocks, bases, rest.slices, strict=True):
        part = np.zeros((len(basis), *columns.shape))
        levels = columns[span].reshape(block.n_levels, block.q, -1)
        moved = np.einsum("iab,jbc->ijac", basis, levels)
        part[:, span] = moved.reshape(len(basis), block.size, -1)
        parts.append(part)
    return np.concatenate(parts)


def _diagonal_sum(ZPZ: np.ndarray, block: Block) -> np.ndarray:
    """Sum the (q, q) blocks on the diagonal of Z'PZ over a block's levels."""
    levels = ZPZ.reshape(block.n_levels, block.q, block.n_levels, block.q)
    return np.einsum("jajb->ab", levels)


def _lead_other(
    inner: np.ndarray, projection: np.ndarray, rest: Eliminated, bases: list[np.ndarray]
) -> np.ndarray:
    """Return tr(PV̇ᵢPV̇ⱼ) of one element of the leading block with all those of the others.

    Parameters
    ----------
    inner : numpy.ndarray, shape (m, m)
        ``R'V₁⁻¹V̇ᵢV₁⁻¹R`` of the leading block's element.
    projection : numpy.ndarray, shape (m, size)
        ``I − Q̄K``, the columns of the other blocks' effects.
    """
    inner_projected = inner @ projection
    crossed = []
    for block, basis, span in zip(rest.blocks, bases, rest.slices, strict=True):
        shape, columns = (len(inner), block.n_levels, block.q), projection[:, span]
        sums = np.einsum(
            "mja,mjb->ab", columns.reshape(shape), inner_projected[:, span].reshape(shape)
        )
        crossed.append(np.einsum("iab,ab->i", basis, sums))
    return np.concatenate(crossed)
