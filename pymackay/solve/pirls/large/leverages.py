"""`RandomPart`: what random probes contribute to the variances of the rows' linear predictors.

With ``r_i = Λ₂'(z₂ − C'F z₁)`` of row i it is ``Σ (r_i'x)(r_i'y)`` over columns x, y of which
``S⁻¹ − S₀⁻¹`` is ``Σ x y'`` on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.solve.pirls.rows import RowBlock, Rows

_CHUNK = 16_384  # rows whose products with all columns are held at a time
_FEW = 2048  # the same where the cache should hold them


@dataclass(frozen=True, eq=False)
class RandomPart:
    """Each block's part of ``r_i'x`` and of ``r_i'y``.

    Attributes
    ----------
    left, right : list of numpy.ndarray, each (q, J, K)
        Of the columns x, and of y.
    """

    left: list[np.ndarray]
    right: list[np.ndarray]

    def by_level(self) -> list[np.ndarray]:
        """Return ``Σ x_j y_j'`` of each level's part, block by block, (q, q, J)."""
        made = []
        for x, y in zip(self.left, self.right, strict=True):
            each = np.einsum("ajk,bjk->abj", x, y)
            made.append(0.5 * (each + each.transpose(1, 0, 2)))
        return made

    def between_blocks(self, rows: Rows) -> np.ndarray:
        """Return what products of different blocks' parts contribute for each row, (n,)."""
        made = np.zeros(rows.n)
        sides = list(zip(rows.blocks, self._wide, strict=True))
        for start in range(0, rows.n, _FEW):
            cut = slice(start, min(start + _FEW, rows.n))
            for i, (block, (wide, _)) in enumerate(sides):
                for other, (_, turned) in sides[i + 1 :]:
                    pairs = _of_rows(block, wide, cut), _of_rows(other, turned, cut)
                    made[cut] += np.einsum("ik,ik->i", *pairs)
        return made

    @cached_property
    def _wide(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Parts by x and y side by side, and the other way round, by block, each (q, J, 2K).

        A row's product of the one array of a block with the other array of another block is the sum
        of both products of these blocks.
        """
        return [
            (np.concatenate([x, y], axis=2), np.concatenate([y, x], axis=2))
            for x, y in zip(self.left, self.right, strict=True)
        ]

    def sums(self, rows: Rows, values: np.ndarray) -> np.ndarray:
        """Return the sums over the rows of values, (n, P), times each column's part: (P, K)."""
        made = np.zeros((values.shape[1], self.left[0].shape[2]))
        for cut, left, right in self._by_chunks(rows):
            made += values[cut].T @ (left * right)
        return made

    def _by_chunks(self, rows: Rows) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield some of the rows, and ``r_i'x`` and ``r_i'y`` of these, each (rows, K)."""
        for start in range(0, rows.n, _CHUNK):
            cut = slice(start, min(start + _CHUNK, rows.n))
            left, right = (_of_blocks(rows.blocks, side, cut) for side in (self.left, self.right))
            yield cut, left, right


def _of_rows(block: RowBlock, part: np.ndarray, cut: slice) -> np.ndarray:
    """Return ``z_i'x_j(i)`` of some rows, (rows, N), for x of shape (q, J, N)."""
    codes, made = block.codes[cut], np.zeros(0)
    for a in range(block.q):
        each = np.take(part[a], codes, axis=0, mode="clip")
        if not block.constant[a]:
            each *= block.columns[a, cut, None]
        made = made + each if a else each
    return made


def _of_blocks(blocks: tuple[RowBlock, ...], parts: list[np.ndarray], cut: slice) -> np.ndarray:
    """Return the sum of `_of_rows` over the blocks, (rows, N)."""
    made = _of_rows(blocks[0], parts[0], cut)
    for block, part in zip(blocks[1:], parts[1:], strict=True):
        made += _of_rows(block, part, cut)
    return made
