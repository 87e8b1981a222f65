"""`along_curvature`: how V curves, averaged over the errors of its parameters, as KR needs it."""

from __future__ import annotations

import numpy as np

from pymackay.solve.marginal.clusters import Clusters
from pymackay.solve.marginal.criterion import Point, moved


def along_curvature(point: Point, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the direction ``H = Σ_ij W_ij V̈_ij`` gives under REML.

    Parameters
    ----------
    point : Point
    W : numpy.ndarray, shape (P, P)
        Symmetric.

    Returns
    -------
    fixed : numpy.ndarray, shape (p, p)
        ``Q'V⁻¹HV⁻¹Q``, coefficients of Q scaled (`Whitened`).
    traces : numpy.ndarray, shape (P + 1,)
        ``tr(P V̇ᵢ P H)``, then ``tr(P H)``.
    """
    P, p = len(point.psi), len(point.beta)
    fixed, traces = np.zeros((p, p)), np.zeros(P + 1)
    for batch in point.batches:
        clusters, D = batch.clusters, batch.columns[..., :p]
        M, G = moved(point, batch)
        L = batch.inverse
        H = L @ _bent(point, clusters, W) @ L.swapaxes(1, 2)
        HD = H[clusters.pattern] @ D
        fixed += np.einsum("cma,cmb->ab", D, HD)
        traces[:P] += np.einsum("u,ukab,uab->k", clusters.counts, M, H, optimize=True)
        traces[:P] -= 2.0 * np.einsum("ckma,cma->k", G[..., :p], HD, optimize=True)
        traces[P] += clusters.counts @ np.trace(H, axis1=1, axis2=2)
    traces[:P] += np.einsum("kab,ab->k", point.sums.slopes[:, :p, :p], fixed)
    traces[P] -= np.trace(fixed)
    return fixed, traces


def _bent(point: Point, clusters: Clusters, W: np.ndarray) -> np.ndarray:
    """Return H of each pattern, (u, m, m)."""
    marginal, psi = point.marginal, point.psi
    cut = marginal.n_theta
    own = marginal.residual.structure.bent(
        psi[cut:], clusters.strata, clusters.times, W[cut:, cut:]
    )
    H = own * clusters.same
    for k, (layout, part) in enumerate(zip(marginal.layouts, marginal.parts(psi), strict=True)):
        Z, span = marginal.columns[k][clusters.rows], slice(layout.start, layout.stop)
        H = H + (Z @ part.bent(W[span, span]) @ Z.swapaxes(1, 2)) * clusters.levels[k]
    return H
