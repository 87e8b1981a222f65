"""`Nodes`: points and weights of a product rule of Gauss and Hermite, and half deviances there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from pymackay.family.family import Expansion, Observations
from pymackay.solve.pirls.mode import Given
from pymackay.solve.pirls.rows import RowBlock

_CELLS = 1_000_000  # rows times nodes that are expanded at a time


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes for the integral of a function times a standard normal density.

    Attributes
    ----------
    z : numpy.ndarray, shape (K, q)
    log_weights : numpy.ndarray, shape (K,)
        Of the function times ``exp(|z|²/2)``: the log of the rule's weight plus ``|z|²/2``.
    """

    z: np.ndarray
    log_weights: np.ndarray

    @classmethod
    def hermite(cls, points: int, q: int) -> Nodes:
        """Return the product rule of `points` on each of q axes."""
        x, w = hermegauss(points)
        log_w = np.log(w) - 0.5 * np.log(2.0 * np.pi)
        z = np.array(list(product(x, repeat=q)))
        total = np.array([sum(part) for part in product(log_w, repeat=q)])
        return cls(z, total + 0.5 * (z**2).sum(axis=1))


@dataclass(frozen=True, eq=False)
class AtNodes:
    """Half deviances at the nodes of every level of one grouping factor.

    Attributes
    ----------
    u : numpy.ndarray, shape (K, q, J)
        The nodes.
    penalised : numpy.ndarray, shape (K, J)
        ``h = Σ D/φ + |u|²/2`` of each level.
    d1 : numpy.ndarray, shape (K, n)
        D' of each row.
    eta : numpy.ndarray, shape (K, n)
    values : numpy.ndarray, shape (K, J)
        Σ D of each level.
    """

    u: np.ndarray
    penalised: np.ndarray
    d1: np.ndarray
    eta: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, given: Given, u: np.ndarray) -> AtNodes:
        """Expand at nodes u, (K, q, J).

        Where a mean is one that the family cannot have, h is infinite.
        """
        block, n = given.rows.blocks[0], given.rows.n
        step = max(1, _CELLS // n)
        parts = [_expanded(given, block, u[k : k + step]) for k in range(0, len(u), step)]
        values = np.concatenate([part[0] for part in parts])
        d1 = np.concatenate([part[1] for part in parts])
        eta = np.concatenate([part[2] for part in parts])
        penalised = values / given.phi + 0.5 * (u**2).sum(axis=1)
        return cls(u, penalised, d1, eta, values)


def _expanded(
    given: Given, block: RowBlock, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ΣD by level, (K, J), and D' and η by row, (K, n), at nodes u, (K, q, J)."""
    b = np.einsum("ab,kbj->kaj", given.factors[0], u)
    eta = given.fixed + sum(block.columns[a] * b[:, a][:, block.codes] for a in range(block.q))
    K, n = eta.shape
    at = _expand_all(given, eta.ravel(), K)
    value, d1 = at.value.reshape(K, n), at.d1.reshape(K, n)
    bad = ~np.isfinite(value) | ~np.isfinite(d1)
    value, d1 = np.where(bad, np.inf, value), np.where(bad, 0.0, d1)
    sums = np.stack([block.level_sum(row) for row in value])
    return sums, d1, eta


def _expand_all(given: Given, eta: np.ndarray, K: int) -> Expansion:
    """Expand at K linear predictors for every row, (K n,); not finite where one is illegal."""
    observed, family = given.rows.observed, given.family
    repeated = Observations(
        np.tile(observed.y, K), np.tile(observed.weights, K), np.tile(observed.totals, K)
    )
    with np.errstate(all="ignore"):
        at = family.expand(repeated, eta)
    if family.is_legal(eta):
        return at
    legal = np.array([family.is_legal(eta[k : k + 1]) for k in range(len(eta))])
    value = np.where(legal, at.value, np.inf)
    return Expansion(value, at.d1, at.d2, at.d3, at.expected, at.expected_d1)
