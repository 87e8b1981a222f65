"""`OneFactor`: the rows of a design with one grouping factor, and sums over them side by side.

Arrays of rows are (n, B), those of levels (q, J, B) or (q, q, J, B): responses stand last, so that
every operation runs over long contiguous vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from pymackay.solve.pirls.rows import RowBlock, Rows


@dataclass(frozen=True, eq=False)
class OneFactor:
    """A design with one grouping factor.

    Attributes
    ----------
    rows : Rows
        With any response.
    """

    rows: Rows

    @property
    def block(self) -> RowBlock:
        """The grouping factor."""
        return self.rows.blocks[0]

    @property
    def Q(self) -> np.ndarray:
        """Orthonormal fixed columns, (n, p)."""
        return self.rows.basis.Q

    @property
    def levels(self) -> tuple[int, int]:
        """Effects per level and number of levels, (q, J)."""
        return self.block.q, self.block.n_levels

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return ``Z'v``, (q, J, B), for v of shape (n, B)."""
        return (self.rows.transposed @ values).reshape(*self.levels, -1)

    def gather(self, b: np.ndarray) -> np.ndarray:
        """Return ``Zb``, (n, B), for effects of shape (q, J, B)."""
        total = self._of_rows(0, b[0])
        for a in range(1, len(b)):
            total += self._of_rows(a, b[a])
        return total

    def _of_rows(self, a: int, values: np.ndarray) -> np.ndarray:
        """Return effect a of each row's level times its column, (n, B), for values (J, B)."""
        made = values[self.block.codes]
        return made if self.block.constant[a] else made * self.block.columns[a][:, None]

    def gram(self, weights: np.ndarray) -> np.ndarray:
        """Return ``Z_j'WZ_j`` of each level, (q, q, J, B), for weights of shape (n, B)."""
        q, J = self.levels
        sums = (self._pairs @ weights).reshape(-1, J, weights.shape[1])
        made = np.empty((q, q, *sums.shape[1:]))
        for place, (a, b) in enumerate(self.block.products):
            made[a, b] = made[b, a] = sums[place]
        return made

    def quadratic(self, matrices: np.ndarray) -> np.ndarray:
        """Return ``z_i'M_j(i)z_i``, (n, B), for symmetric M of shape (q, q, J, B)."""
        total = np.zeros((len(self.block.codes), matrices.shape[-1]))
        for (a, b), product in self.block.products.items():
            values = (matrices[a, b] if a == b else 2.0 * matrices[a, b])[self.block.codes]
            total += values if product is None else values * product[:, None]
        return total

    def crossed(self, weights: np.ndarray) -> np.ndarray:
        """Return ``Z_j'WQ`` of each level, (q, p, J, B), for weights of shape (n, B)."""
        q, J = self.levels
        return (self._crosses @ weights).reshape(q, self.rows.p, J, -1)

    def inner(self, weights: np.ndarray) -> np.ndarray:
        """Return ``Q'WQ``, (p, p, B), for weights of shape (n, B)."""
        p = self.rows.p
        first, second = np.tril_indices(p)
        made = np.empty((p, p, weights.shape[1]))
        made[first, second] = made[second, first] = self._squares @ weights
        return made

    @cached_property
    def _squares(self) -> np.ndarray:
        """Products of two fixed columns, (p (p + 1) / 2, n)."""
        first, second = np.tril_indices(self.rows.p)
        return np.ascontiguousarray((self.Q[:, first] * self.Q[:, second]).T)

    @cached_property
    def _pairs(self) -> sp.csr_matrix:
        """Sums over levels of the products of two columns of Z, ((q + 1) q / 2 J, n)."""
        ones = np.ones(self.rows.n)
        columns = [ones if v is None else v for v in self.block.products.values()]
        return self._summing(columns)

    @cached_property
    def _crosses(self) -> sp.csr_matrix:
        """Sums over levels of the products of a column of Z and a fixed one, (q p J, n)."""
        return self._summing([z * x for z in self.block.columns for x in self.Q.T])

    def _summing(self, columns: list[np.ndarray]) -> sp.csr_matrix:
        """Return the matrix that sums weighted columns, each (n,), over levels: (columns J, n)."""
        n, J = self.rows.n, self.levels[1]
        if not columns:
            return sp.csr_matrix((0, n))
        places = np.concatenate([k * J + self.block.codes for k in range(len(columns))])
        index = np.tile(np.arange(n), len(columns))
        entries = np.concatenate(columns), (places, index)
        return sp.csr_matrix(entries, shape=(len(columns) * J, n))
