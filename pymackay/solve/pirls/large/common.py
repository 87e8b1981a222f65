"""`common_moves`: directions along which all levels of a block move together.

Other blocks can explain such a move as well, so that S is small along it, and its inverse large:
with random signs z, most of the variance of an estimate of ``S⁻¹`` would come from ``(z'w)²`` of a
few directions w, whose distribution is so skewed that a few probes do not show it. So these
directions are solved for, and probes are made orthogonal to them (deflation, as in Meyer, Musco,
Musco, Woodruff 2021, SIAM Symp. Simplicity Algorithms; `pymackay.solve.iterative.traces`).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from pymackay.solve.pirls.coupling import Meeting
from pymackay.solve.pirls.rows import Rows

_MOST_PARTS = 8  # separate parts of a design with directions of their own
_FAINT = 1e-3  # added to a level's weight in a common move, so that no move is zero


def separate_parts(rows: Rows) -> list[np.ndarray]:
    """Return the separate part of the design that each level belongs to, (J,), by other block.

    Parts are not connected by any row. All are zero where there are too many of them.
    """
    leading, among = rows.meetings
    ends = np.cumsum([0] + [block.n_levels for block in rows.blocks])
    sides = [(0, i + 1, meeting) for i, meeting in enumerate(leading)]
    sides += [(i + 1, k + 1, meeting) for i, k, meeting in among]
    left, right = [], []
    for i, k, meeting in sides:
        levels, others = _met(meeting)
        left.append(ends[i] + levels)
        right.append(ends[k] + others)
    met = np.concatenate(left), np.concatenate(right)
    graph = sp.csr_matrix((np.ones(len(met[0]), dtype=np.int8), met), 2 * (int(ends[-1]),))
    count, labels = connected_components(graph, directed=False)
    if count > _MOST_PARTS:
        labels = np.zeros_like(labels)
    return [labels[a:b] for a, b in pairwise(ends[1:])]


def _met(meeting: Meeting) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of the pairs that meet in a row; a meeting may hold others as well."""
    if not len(meeting.index):  # the rows are read in parts, and the pairs are those of all parts
        return meeting.rows, meeting.columns
    seen = np.bincount(meeting.index, minlength=len(meeting.rows)) > 0
    return meeting.rows[seen], meeting.columns[seen]


def common_moves(parts: tuple[np.ndarray, ...], inverses: list[np.ndarray]) -> np.ndarray:
    """Return orthonormal directions along which all levels of a block move together, (m, r).

    There is one for each effect of each block and each separate part of the design. The weight of
    a level is the share ``I − S_jj⁻¹`` that its own data determine.

    Parameters
    ----------
    parts : tuple of numpy.ndarray, each (J,)
        As of `separate_parts`.
    inverses : list of numpy.ndarray, each (q, q, J)
        ``S_jj⁻¹`` of each block.
    """
    size, start = sum(len(inverse) * inverse.shape[2] for inverse in inverses), 0
    columns = []
    for labels, inverse in zip(parts, inverses, strict=True):
        q, _, J = inverse.shape
        weights = -inverse
        weights[np.arange(q), np.arange(q)] += 1.0 + _FAINT
        for part in np.unique(labels):
            members = np.flatnonzero(labels == part)
            stacked = weights[:, :, members].transpose(0, 2, 1).reshape(-1, q)
            moves = np.zeros((size, q))
            places = start + J * np.arange(q)[:, None] + members
            moves[places.ravel()] = np.linalg.qr(stacked)[0]
            columns.append(moves)
        start += q * J
    return np.concatenate(columns, axis=1)
