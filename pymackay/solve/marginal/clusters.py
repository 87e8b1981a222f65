"""`Cluster`: rows whose responses correlate, many clusters of one size side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from pymackay.covariance.layout import layouts_of
from pymackay.errors import ArgumentError
from pymackay.model.memory import free_memory
from pymackay.model.model import Model
from pymackay.model.residual_rows import ResidualRows

_MATRICES = (4, 3)  # of the size of a cluster at a time: in all, and for each parameter
_CELLS = 2_000_000  # elements of the matrices of a batch, where it has more than one cluster


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of m rows each; those of one pattern share R, and, without random terms, V.

    Attributes
    ----------
    rows : numpy.ndarray of int, shape (c, m)
        Places of the rows, within a cluster by time.
    pattern : numpy.ndarray of int, shape (c,)
        Which of the u patterns a cluster has.
    counts : numpy.ndarray, shape (u,)
        Clusters of each pattern.
    strata, times : numpy.ndarray, shapes (u, m)
        Of the rows of each pattern.
    same : numpy.ndarray of bool, shape (u, m, m)
        Which rows are of the same residual group.
    levels : tuple of numpy.ndarray of bool, each (c, m, m)
        Random term by term, which rows are of the same level.
    """

    rows: np.ndarray
    pattern: np.ndarray
    counts: np.ndarray
    strata: np.ndarray
    times: np.ndarray
    same: np.ndarray
    levels: tuple[np.ndarray, ...]


def find_clusters(model: Model, residual: ResidualRows) -> tuple[Clusters, ...]:
    """Put the rows of a model into clusters.

    Raises
    ------
    ArgumentError
        If the dense matrices of the largest would take more than half of the free memory.
    """
    labels = _components(model, residual)
    order = np.lexsort((residual.times, residual.groups, labels))
    sizes = np.bincount(labels)
    _refuse_large(model, residual, int(sizes.max()))
    starts = np.cumsum(sizes) - sizes
    made: list[Clusters] = []
    for m in np.unique(sizes):
        rows = order[starts[sizes == m][:, None] + np.arange(m)]
        made.extend(_batches(model, residual, rows))
    return tuple(made)


def _refuse_large(model: Model, residual: ResidualRows, largest: int) -> None:
    """Refuse clusters whose matrices would take more than half of the free memory.

    Only the size of the largest matters: V is block-diagonal, and blocks are made one by one.
    """
    n_par = residual.structure.n_par + sum(layout.n_par for layout in layouts_of(model.terms))
    needed = 8.0 * largest**2 * (_MATRICES[0] + _MATRICES[1] * n_par)
    free = free_memory()
    if needed > 0.5 * free:
        raise ArgumentError(
            f"residual={residual.text!r}: {largest:,} rows are joined by the random terms and the "
            f"groups of the residuals. The dense matrices of so large a block need about "
            f"{needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB of free "
            f"memory. Leave crossed random terms out, make the groups of the residuals finer, or "
            f"give known variances as weights."
        )


def _components(model: Model, residual: ResidualRows) -> np.ndarray:
    """Return the cluster of each row, (n,): connected by levels of factors and by groups."""
    n = len(residual.groups)
    parts = [residual.groups, *(factor.codes for factor in model.factors.values())]
    columns, offset = [], 0
    for codes in parts:
        columns.append(codes.astype(np.int64) + offset)
        offset += int(codes.max()) + 1
    at = np.concatenate(columns)
    design = sp.csr_matrix((np.ones(len(at)), (np.tile(np.arange(n), len(parts)), at)))
    empty = sp.csr_matrix((n, n))
    joined = sp.bmat([[empty, design], [design.T, None]], format="csr")
    return np.unique(connected_components(joined, directed=False)[1][:n], return_inverse=True)[1]


def _batches(model: Model, residual: ResidualRows, rows: np.ndarray) -> Iterator[Clusters]:
    """Yield clusters of one size, (c, m), in batches that bound the memory."""
    if not model.terms:  # clusters of one pattern next to each other
        kinds = np.concatenate([residual.strata[rows], residual.times[rows]], axis=1)
        rows = rows[np.lexsort(kinds.T)]
    size = max(1, _CELLS // (rows.shape[1] ** 2 * max(1, residual.structure.n_par)))
    for start in range(0, len(rows), size):
        yield _cluster(model, residual, rows[start : start + size])


def _cluster(model: Model, residual: ResidualRows, rows: np.ndarray) -> Clusters:
    """Return what is known of clusters, (c, m)."""
    groups = residual.groups[rows]
    strata, times = residual.strata[rows], residual.times[rows]
    pattern, first = np.arange(len(rows)), np.arange(len(rows))
    if not model.terms:  # then a cluster is one group
        kinds = np.concatenate([strata, times], axis=1)
        _, first, pattern = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
        pattern = pattern.ravel()
    codes = [model.factors[term.group].codes[rows] for term in model.terms]
    return Clusters(
        rows=rows,
        pattern=pattern,
        counts=np.bincount(pattern).astype(np.float64),
        strata=strata[first],
        times=times[first],
        same=(groups[:, :, None] == groups[:, None, :])[first],
        levels=tuple(code[:, :, None] == code[:, None, :] for code in codes),
    )
