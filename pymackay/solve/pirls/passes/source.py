"""`RowSource`: the rows of a generalised model, read again in every pass and not kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import scipy.linalg

from pymackay.covariance.layout import layouts_of
from pymackay.errors import DataError
from pymackay.family.family import Observations
from pymackay.model.bases.scaling import Basis
from pymackay.model.model import Model
from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.pirls.coupling import Meeting
from pymackay.solve.pirls.passes.closed import NoSource
from pymackay.solve.pirls.rows import RowBlock, Rows

_SAMPLE = 20_000  # rows from which starting values are computed


class PartRows(Protocol):
    """The complete rows of a partition (`pymackay.model.stream.passes.PartRows`)."""

    @property
    def observed(self) -> Observations: ...  # noqa: D102

    @property
    def offset(self) -> np.ndarray: ...  # noqa: D102

    @property
    def X(self) -> np.ndarray: ...  # noqa: D102

    @property
    def columns(self) -> tuple[np.ndarray, ...]: ...  # noqa: D102

    @property
    def codes(self) -> dict[str, np.ndarray]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class RowSource:
    """Where the rows come from.

    Attributes
    ----------
    passes : iterable of PartRows
        Yields the partitions from the first one whenever it is asked.
    n : int
        Number of rows.
    """

    passes: Iterable[PartRows]
    n: int

    def partitions(self, design: Rows) -> Iterator[Rows]:
        """Yield the rows of each partition, in the bases of the design."""
        for part in self.passes:
            yield _in_bases(design, part)

    def closed(self) -> NoSource:
        """Return what stands for the source when the fit is done."""
        return NoSource(self.n)

    def sample(self, design: Rows, most: int = _SAMPLE) -> Rows:
        """Return rows spread evenly over the source, at most so many, in one pass: every k-th."""
        stride, passed, kept = 1, 0, list[tuple[np.ndarray, Rows]]()
        for rows in self.partitions(design):
            numbers = passed + np.arange(rows.n)
            passed += rows.n
            kept.append(_every(stride, numbers, rows))
            while sum(len(numbers) for numbers, _ in kept) > most:
                stride *= 2
                kept = [_every(stride, *pair) for pair in kept]
        return _joined(design, [rows for _, rows in kept])


def rows_of_source(model: Model, gram: SparseGram, passes: Iterable[PartRows]) -> Rows:
    """Return the design of a source's model, whose rows are read when they are needed.

    Bases and the pairs of levels that meet are taken from `gram`, the sums of the first pass.
    """
    source = RowSource(passes, gram.n)
    rows = design_of_source(model, gram.basis, gram.transforms, source)
    lead, others = rows.blocks[0], rows.blocks[1:]
    leading = tuple(_meeting(gram, lead, block) for block in others)
    among = tuple(
        (i, k, _meeting(gram, others[i], others[k]))
        for i in range(len(others))
        for k in range(i + 1, len(others))
    )
    rows.__dict__["meetings"] = leading, among
    return rows


def design_of_source(
    model: Model, basis: Basis, transforms: tuple[np.ndarray, ...], source: Any
) -> Rows:
    """Return the design of a model without rows; which levels meet is not known yet."""
    blocks = []
    for name, factor in model.factors.items():
        terms = tuple(i for i, term in enumerate(model.terms) if term.group == name)
        q = sum(len(model.terms[i].effects) for i in terms)
        empty = np.zeros(0, dtype=np.intp), np.zeros((q, 0))
        blocks.append(RowBlock(name, len(factor.levels), terms, *empty))
    blocks.sort(key=lambda block: -block.size)
    nothing = np.zeros(0)
    return Rows(
        model,
        Observations(nothing, nothing, nothing),
        nothing,
        basis,
        tuple(blocks),
        layouts_of(model.terms),
        transforms,
        source=source,
    )


def _meeting(gram: SparseGram, left: RowBlock, right: RowBlock) -> Meeting:
    """Return which levels of two blocks meet, sorted by the left ones, then the right ones."""
    places = {block.name: k for k, block in enumerate(gram.blocks)}
    k, m = places[left.name], places[right.name]
    pairs = gram.pairs[min(k, m), max(k, m)]
    rows, columns = pairs.in_rows(np.arange(pairs.n_rows)), np.asarray(pairs.indices)
    if k > m:
        rows, columns = columns, rows
    order = np.lexsort((columns, rows))
    nothing = np.zeros(0, dtype=np.intp)
    sides = rows[order].astype(np.intp), columns[order].astype(np.intp)
    return Meeting(left, right, nothing, *sides)


def _in_bases(design: Rows, part: PartRows) -> Rows:
    """Return a partition's rows in the bases of the design."""
    blocks = []
    for block in design.blocks:
        whitened = [part.columns[i] @ design.transforms[i] for i in block.terms]
        columns = np.ascontiguousarray(np.column_stack(whitened).T)
        blocks.append(replace(block, codes=part.codes[block.name], columns=columns))
    R = design.basis.R
    Q = scipy.linalg.solve_triangular(R, part.X.T, trans="T").T if len(R) else part.X
    return _part(design, part.observed, part.offset, Q, blocks)


def _part(
    design: Rows, observed: Observations, offset: np.ndarray, Q: np.ndarray, blocks: list[RowBlock]
) -> Rows:
    """Return rows of the design; what it knows without rows is kept."""
    made = design.with_rows(
        observed, offset, Basis(np.asfortranarray(Q), design.basis.R), tuple(blocks)
    )
    leading, among = design.meetings
    lead, others = blocks[0], blocks[1:]
    made.__dict__["meetings"] = (
        tuple(_met(m, lead, block) for m, block in zip(leading, others, strict=True)),
        tuple((i, k, _met(m, others[i], others[k])) for i, k, m in among),
    )
    return made


def _met(meeting: Meeting, left: RowBlock, right: RowBlock) -> Meeting:
    """Return a meeting with the rows of a partition.

    Raises
    ------
    DataError
        If levels meet that did not meet in the first pass.
    """
    keys = meeting.rows * right.n_levels + meeting.columns
    wanted = left.codes * right.n_levels + right.codes
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    if not np.array_equal(keys[index], wanted):
        raise DataError(
            f"levels of '{left.name}' and '{right.name}' meet in this pass over the source that "
            f"did not meet in the first one; a source must give the same rows each time that it "
            f"is read."
        )
    return replace(meeting, left=left, right=right, index=index)


def _every(stride: int, numbers: np.ndarray, rows: Rows) -> tuple[np.ndarray, Rows]:
    """Return the rows whose numbers, (n,), are multiples of the stride, with these."""
    which = numbers % stride == 0
    if which.all():
        return numbers, rows
    blocks = [replace(b, codes=b.codes[which], columns=b.columns[:, which]) for b in rows.blocks]
    basis = replace(rows.basis, Q=rows.basis.Q[which])
    return numbers[which], rows.with_rows(
        rows.observed.rows(which), rows.offset[which], basis, tuple(blocks)
    )


def _joined(design: Rows, parts: list[Rows]) -> Rows:
    """Return the rows of several parts as one."""
    observed = Observations(
        *(
            np.concatenate([getattr(part.observed, name) for part in parts])
            for name in ("y", "weights", "totals")
        )
    )
    blocks = [
        replace(
            block,
            codes=np.concatenate([part.blocks[k].codes for part in parts]),
            columns=np.concatenate([part.blocks[k].columns for part in parts], axis=1),
        )
        for k, block in enumerate(design.blocks)
    ]
    offset = np.concatenate([part.offset for part in parts])
    return _part(design, observed, offset, np.concatenate([p.basis.Q for p in parts]), blocks)


def sample_of(rows: Rows) -> Rows:
    """Return the rows themselves or, where they are not kept, a sample of them."""
    made: Rows = rows if rows.source is None else rows.source.sample(rows)
    return made
