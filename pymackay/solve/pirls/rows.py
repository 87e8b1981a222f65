"""`Rows`: the rows of a generalised model, and the sums over them at given weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import block_diag

from pymackay.covariance.layout import TermLayout, layouts_of, split_theta, term_slices
from pymackay.family.family import Observations
from pymackay.model.bases.scaling import Basis, fixed_basis, term_basis
from pymackay.model.model import Model
from pymackay.solve.linalg.total import total
from pymackay.solve.pirls.coupling import Coupling, Meeting, Pairs, meetings_of
from pymackay.solve.pirls.parameters import TermParameters

_MANY = 10_000  # rows whose sums by level are quicker than products with a sparse matrix


@dataclass(frozen=True, eq=False)
class RowBlock:
    """All random effects of one grouping factor, by row.

    Attributes
    ----------
    name : str
        The grouping factor.
    n_levels : int
        J.
    terms : tuple of int
        Positions in the model of the terms on this factor.
    codes : numpy.ndarray of int, shape (n,)
        Level of each row.
    columns : numpy.ndarray, shape (q, n)
        Whitened columns of Z.
    """

    name: str
    n_levels: int
    terms: tuple[int, ...]
    codes: np.ndarray
    columns: np.ndarray

    @cached_property
    def q(self) -> int:
        """Effects per level."""
        return len(self.columns)

    @property
    def size(self) -> int:
        """Number of effects, levels × q."""
        return self.q * self.n_levels

    @cached_property
    def products(self) -> dict[tuple[int, int], np.ndarray | None]:
        """Products of two columns, (n,), for a ≥ b; None where all are one."""
        made: dict[tuple[int, int], np.ndarray | None] = {}
        for a in range(self.q):
            for b in range(a + 1):
                product = self.columns[a] * self.columns[b]
                made[a, b] = None if (product == 1.0).all() else product
        return made

    def gather(self, b: np.ndarray) -> np.ndarray:
        """Return ``z_i'b_j(i)``, (n,), for effects b, (q, J)."""
        total = self.weighed(0, b[0][self.codes])
        for a in range(1, self.q):
            total = total + self.weighed(a, b[a][self.codes])
        return total

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return ``Z'v``, (q, J), for v of shape (n,)."""
        if self.q == 1:
            return self.level_sum(self.weighed(0, values))[None]
        return np.stack([self.level_sum(self.weighed(a, values)) for a in range(self.q)])

    def level_sum(self, values: np.ndarray) -> np.ndarray:
        """Sum values, (n,), over the rows of each level: (J,)."""
        return np.bincount(self.codes, values, self.n_levels)

    def gram(self, weights: np.ndarray) -> np.ndarray:
        """Return ``Z_j'WZ_j`` of each level, (q, q, J), for weights of shape (n,)."""
        made = np.empty((self.q, self.q, self.n_levels))
        for (a, b), product in self.products.items():
            made[a, b] = self.level_sum(weights if product is None else weights * product)
            made[b, a] = made[a, b]
        return made

    def quadratic(self, matrices: np.ndarray) -> np.ndarray:
        """Return ``z_i'M_j(i)z_i``, (n,), for symmetric M of shape (q, q, J)."""
        total: Any = 0.0
        for (a, b), product in self.products.items():
            values = (matrices[a, b] if a == b else 2.0 * matrices[a, b])[self.codes]
            total = total + (values if product is None else values * product)
        return np.asarray(total)

    def weighed(self, a: int, values: np.ndarray) -> np.ndarray:
        """Multiply values, (n,), by column a."""
        return values if self.constant[a] else values * self.columns[a]

    @cached_property
    def constant(self) -> tuple[bool, ...]:
        """Which columns are one in all rows."""
        return tuple(bool((column == 1.0).all()) for column in self.columns)


@dataclass(frozen=True, eq=False)
class Sums:
    """Cross-products of Z's columns at some weights.

    Attributes
    ----------
    A : numpy.ndarray, shape (q, q, J)
        Of the leading block, level by level.
    C : Coupling or None
        Leading block by the others; None where there are no others.
    rest : numpy.ndarray, shape (m, m)
        Of the other blocks.
    """

    A: np.ndarray
    C: Coupling | None
    rest: np.ndarray


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a generalised model, in the bases that it is computed in.

    Attributes
    ----------
    model : Model
    observed : Observations
    offset : numpy.ndarray, shape (n,)
    basis : Basis
        X = Q R; Q is orthonormal.
    blocks : tuple of RowBlock
        One per grouping factor; the leading block first.
    layouts : tuple of TermLayout
        Where each term's parameters stand in theta.
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, T: effects in the user's units are T times those computed.
    probing : Probing or None
        Of designs that are too large for dense matrices: how their equations are solved
        (`pymackay.solve.pirls.large.system`).
    source : RowSource or None
        Of rows that are read again in every pass and not kept
        (`pymackay.solve.pirls.passes.source`); the arrays above then have no rows.
    """

    model: Model
    observed: Observations
    offset: np.ndarray
    basis: Basis
    blocks: tuple[RowBlock, ...]
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]
    probing: Any = None
    source: Any = None

    @classmethod
    def of(cls, model: Model, observed: Observations) -> Rows:
        """Return the rows of a model with its response."""
        transforms = tuple(term_basis(term.columns, term.structure) for term in model.terms)
        blocks = []
        for name, factor in model.factors.items():
            terms = tuple(i for i, term in enumerate(model.terms) if term.group == name)
            whitened = [model.terms[i].columns @ transforms[i] for i in terms]
            columns = np.ascontiguousarray(np.column_stack(whitened).T)
            codes = factor.codes.astype(np.intp)
            blocks.append(RowBlock(name, len(factor.levels), terms, codes, columns))
        blocks.sort(key=lambda block: -block.size)
        offset = np.zeros(len(model.y)) if model.offset is None else model.offset
        basis, layouts = fixed_basis(model.X), layouts_of(model.terms)
        return cls(model, observed, offset, basis, tuple(blocks), layouts, transforms)

    def with_response(self, observed: Observations) -> Rows:
        """Return the same design with another response; what is known of the design is kept."""
        return self._with(observed=observed)

    def closed(self) -> Rows:
        """Return the same design, which no longer knows where its rows come from."""
        return self._with(source=self.source.closed())

    def with_rows(
        self,
        observed: Observations,
        offset: np.ndarray,
        basis: Basis,
        blocks: tuple[RowBlock, ...],
    ) -> Rows:
        """Return the same design with rows, whose levels are among its own."""
        made = replace(
            self, observed=observed, offset=offset, basis=basis, blocks=blocks, source=None
        )
        return self._informed(made, ("terms", "places", "spans", "n_effects", "lead"))

    def with_probing(self, probing: Any) -> Rows:
        """Return the same rows with other probes."""
        return self._with(probing=probing)

    def _with(self, **changes: Any) -> Rows:
        known = ("pairs", "meetings", "transposed", "terms", "places", "spans", "n_effects", "lead")
        return self._informed(replace(self, **changes), known)

    def _informed(self, made: Rows, known: tuple[str, ...]) -> Rows:
        """Return other rows with what is known of these."""
        made.__dict__.update({name: self.__dict__[name] for name in known if name in self.__dict__})
        return made

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.observed.y) if self.source is None else int(self.source.n)

    @property
    def p(self) -> int:
        """Number of fixed columns."""
        return self.basis.Q.shape[1]

    @cached_property
    def n_theta(self) -> int:
        """Number of covariance parameters: elements of the factors, or those of structures."""
        return self.layouts[-1].stop

    @cached_property
    def terms(self) -> tuple[TermParameters, ...]:
        """The parameters of each term."""
        full = split_theta([layout.q for layout in self.layouts])
        return tuple(TermParameters(*pair) for pair in zip(self.layouts, full, strict=True))

    @cached_property
    def structured(self) -> bool:
        """Whether a term's covariance has a structure."""
        return any(layout.structure is not None for layout in self.layouts)

    @cached_property
    def n_effects(self) -> int:
        """Number of random effects."""
        return sum(block.size for block in self.blocks)

    @cached_property
    def spans(self) -> list[slice]:
        """Where each block stands among the random effects."""
        ends = accumulate((block.size for block in self.blocks), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    @cached_property
    def lead(self) -> int:
        """Number of effects of the leading block."""
        return self.blocks[0].size

    def term_slices(self, block: RowBlock) -> list[tuple[int, slice]]:
        """Return (term, its effects within the block) for the terms of a block."""
        return term_slices(self.layouts, block.terms)

    def term_factors(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Return Λ of each term, (q, q), lower triangular, from the parameters, (k,)."""
        return [term.factor(parameters) for term in self.terms]

    def block_factors(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Return Λ of each block, (q, q), from the parameters, (k,)."""
        made, factors = [], self.term_factors(parameters)
        for block in self.blocks:
            factor = np.zeros((block.q, block.q))
            for term, columns in self.term_slices(block):
                factor[columns, columns] = factors[term]
            made.append(factor)
        return made

    def in_elements(self, blocks: list[np.ndarray]) -> np.ndarray:
        """Return the terms' elements, (elements,), of one (q, q) matrix per block."""
        values = np.empty(self.terms[-1].full.stop)
        for block, matrix in zip(self.blocks, blocks, strict=True):
            for term, columns in self.term_slices(block):
                full = self.terms[term].full
                values[full.start : full.stop] = full.elements(matrix[columns, columns])
        return values

    def near(self, blocks: list[np.ndarray]) -> np.ndarray:
        """Return parameters, (k,), to start from near one factor, (q, q), per block."""
        values = np.empty(self.n_theta)
        for block, matrix in zip(self.blocks, blocks, strict=True):
            for term, columns in self.term_slices(block):
                own = self.terms[term]
                values[own.own] = own.near(matrix[columns, columns])
        return values

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """Return the derivatives of the terms' elements by the parameters, (elements, k)."""
        return np.asarray(block_diag(*(term.jacobian(parameters) for term in self.terms)))

    def slopes(self, parameters: np.ndarray, blocks: list[np.ndarray]) -> np.ndarray:
        """Return derivatives by the parameters, (k,), of those by each block's Λ, (q, q)."""
        values = self.in_elements(blocks)
        return self.jacobian(parameters).T @ values if self.structured else values

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Block, row and column within the block's factor, of each element in theta's order."""
        made: list[tuple[int, int, int]] = [(0, 0, 0)] * self.terms[-1].full.stop
        for k, block in enumerate(self.blocks):
            for term, columns in self.term_slices(block):
                full = self.terms[term].full
                for i, (a, b) in enumerate(zip(full.rows, full.columns, strict=True)):
                    made[full.start + i] = (k, int(a) + columns.start, int(b) + columns.start)
        return made

    def parts(self, vector: np.ndarray) -> list[np.ndarray]:
        """Cut effects, (N, ...), into blocks, (q, J, ...)."""
        shape = vector.shape[1:]
        if len(self.blocks) == 1:
            return [vector.reshape(self.blocks[0].q, self.blocks[0].n_levels, *shape)]
        return [
            vector[span].reshape(block.q, block.n_levels, *shape)
            for span, block in zip(self.spans, self.blocks, strict=True)
        ]

    def predictor(self, b: np.ndarray) -> np.ndarray:
        """Return ``Zb``, (n,), for effects b, (N,)."""
        parts = self.parts(b)
        total = self.blocks[0].gather(parts[0])
        for block, part in zip(self.blocks[1:], parts[1:], strict=True):
            total = total + block.gather(part)
        return total

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return ``Z'v``, (N,), for v of shape (n,)."""
        if len(self.blocks) == 1:
            return self.blocks[0].spread(values).ravel()
        return np.concatenate([block.spread(values).ravel() for block in self.blocks])

    def spread_columns(self, values: np.ndarray) -> np.ndarray:
        """Return ``Z'V``, (N, k), for V of shape (n, k)."""
        if self.n > _MANY:  # the matrix would take longer to be made than these sums
            return np.stack([self.spread(column) for column in values.T], axis=1)
        return np.asarray(self.transposed @ values)

    @cached_property
    def transposed(self) -> sp.csc_matrix:
        """Z', shape (N, n)."""
        pairs = [(block, a) for block in self.blocks for a in range(block.q)]
        starts = accumulate((block.n_levels for block, _ in pairs), initial=0)
        places = [start + block.codes for start, (block, _) in zip(starts, pairs, strict=False)]
        index = np.stack(places, axis=1).ravel()
        data = np.stack([block.columns[a] for block, a in pairs], axis=1).ravel()
        ends = np.arange(0, len(index) + 1, len(pairs))
        return sp.csr_matrix((data, index, ends), (self.n, self.n_effects)).T

    def products(self, weights: np.ndarray) -> Any:
        """Return the cross-products of Z at weights of shape (n,), which are sums over the rows."""
        lead = self.blocks[0].gram(weights)
        if len(self.blocks) == 1:
            return (lead,)
        leading, among = self.meetings
        products = (
            lead,
            (
                tuple(meeting.values(weights) for meeting in leading),
                tuple(block.gram(weights) for block in self.blocks[1:]),
                tuple(meeting.values(weights) for _, _, meeting in among),
            ),
        )
        if self.probing is None:
            return products
        return products, int(np.count_nonzero(~(weights >= 0.0)))

    def sums(self, products: Any) -> Sums:
        """Return the cross-products of Z as the equations take them."""
        if len(self.blocks) == 1:
            return Sums(products[0], None, np.zeros((0, 0)))
        lead, pairs = products
        return Sums(lead, self.pairs.coupling(pairs), self.pairs.rest(pairs))

    def partitions(self) -> Iterator[Rows]:
        """Yield the rows part by part: all at once where they are kept."""
        if self.source is None:
            yield self
        else:
            yield from self.source.partitions(self)

    def total(self, of: Callable[[Rows], Any]) -> Any:
        """Return the sum over all partitions of what `of` computes from the rows of one."""
        return total(of(rows) for rows in self.partitions())

    @cached_property
    def meetings(self) -> tuple[tuple[Meeting, ...], tuple[tuple[int, int, Meeting], ...]]:
        """Which levels meet in a row: of the leading block with others, and of two others."""
        return meetings_of(self.blocks)

    @cached_property
    def pairs(self) -> Pairs:
        """Where the products of different blocks have entries."""
        return Pairs.of(self.blocks, *self.meetings)
