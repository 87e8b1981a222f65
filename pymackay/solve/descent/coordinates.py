"""`Coordinates`: a model's effects in units in which the curvature of its loss is bounded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.arguments import covariance_matrix, positive_number
from pymackay.errors import ArgumentError
from pymackay.model.model import Model, RandomTerm, level_gram


@dataclass(frozen=True, eq=False)
class WeightedArrays:
    """A model's arrays with the prior weights multiplied in.

    Attributes
    ----------
    target : numpy.ndarray, shape (n,)
        √W (y − offset).
    fixed, triangle : numpy.ndarray, shapes (n, p) and (p, p)
        Orthonormal columns Q and triangle R of √W X = Q R.
    columns : list of numpy.ndarray, each (n, q)
        √W times each term's columns.
    grams : list of numpy.ndarray, each (levels, q, q)
        Cross-products of each term's weighted columns, level by level.
    """

    target: np.ndarray
    fixed: np.ndarray
    triangle: np.ndarray
    columns: list[np.ndarray]
    grams: list[np.ndarray]


def weight_arrays(model: Model) -> WeightedArrays:
    """Multiply a model's arrays by √W and orthonormalise its fixed columns."""
    root = np.ones(len(model.y)) if model.weights is None else np.sqrt(model.weights)
    target = root * (model.y if model.offset is None else model.y - model.offset)
    fixed, triangle = np.linalg.qr(root[:, None] * model.X)
    columns = [root[:, None] * term.columns for term in model.terms]
    factors = [model.factors[term.group] for term in model.terms]
    grams = [level_gram(f.codes, c, len(f.levels)) for c, f in zip(columns, factors, strict=True)]
    return WeightedArrays(target, fixed, triangle, columns, grams)


@dataclass(frozen=True, eq=False)
class _Root:
    """L with L Lᵀ = V, and its pseudo-inverse; null directions of V are zero in both."""

    root: np.ndarray
    inverse: np.ndarray


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Standardised coordinates: b = L u with L Lᵀ = V, and R β = σ `unit` v.

    In them every eigenvalue of half the loss's Hessian lies between `smallest` and `largest`,
    whatever the user's units and however near V is to singular.

    Attributes
    ----------
    sigma : float
        Residual standard deviation.
    unit : float
        Least-squares standard errors per unit of v.
    largest : float
        Upper bound on the eigenvalues of half the loss's Hessian.
    roots : tuple
        Per term, L and its pseudo-inverse.
    triangle : numpy.ndarray, shape (p, p)
        R of the weighted fixed design.
    smallest : float
        Lower bound on the eigenvalues of half the loss's Hessian: 1/2.
    """

    sigma: float
    unit: float
    largest: float
    roots: tuple[_Root, ...]
    triangle: np.ndarray
    smallest: ClassVar[float] = 0.5

    @property
    def factors(self) -> list[np.ndarray]:
        """Relative covariance factors L/σ, one per term, each (q, q)."""
        return [root.root / self.sigma for root in self.roots]

    def inward(self, beta: np.ndarray, effects: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return [v, u₁, u₂, …] for fixed effects (p,) and each term's effects (levels, q)."""
        v = self.triangle @ beta / (self.sigma * self.unit)
        return [v, *(b @ root.inverse.T for b, root in zip(effects, self.roots, strict=True))]

    def outward(self, point: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the fixed effects and each term's effects that `inward` maps to `point`."""
        beta = np.linalg.solve(self.triangle, self.sigma * self.unit * point[0])
        return beta, [u @ root.root.T for u, root in zip(point[1:], self.roots, strict=True)]


def choose_coordinates(
    arrays: WeightedArrays,
    terms: Sequence[RandomTerm],
    covariances: Mapping[str, np.ndarray],
    noise_var: float,
) -> Coordinates:
    """Return the coordinates for given variances, and the bounds that hold in them.

    Let d bound the random part's curvature (the sum over terms of the largest eigenvalue of
    Λᵀ Zⱼᵀ Zⱼ Λ over levels) and give the fixed part the curvature c = 1 + d. For a vector with
    fixed part v and random part u, the half Hessian's form is at least (√c|v| − √d|u|)² + |u|²
    and at most the same with a plus: two 2 × 2 forms of trace 2c and determinant c. So its
    eigenvalues lie between determinant/trace = 1/2 and the trace, 2c.

    Raises
    ------
    ArgumentError
        If a term has no covariance matrix, or one that is none, or `noise_var` is not positive.
    """
    roots = tuple(_covariance_root(covariances, term) for term in terms)
    sigma = math.sqrt(positive_number("noise_var", noise_var))
    random = sum(
        float(np.linalg.eigvalsh((root.root / sigma).T @ gram @ (root.root / sigma)).max())
        for root, gram in zip(roots, arrays.grams, strict=True)
    )
    curvature = 1.0 + random
    return Coordinates(
        sigma=sigma,
        unit=math.sqrt(curvature),
        largest=2.0 * curvature,
        roots=roots,
        triangle=arrays.triangle,
    )


def _covariance_root(covariances: Mapping[str, np.ndarray], term: RandomTerm) -> _Root:
    """Return the root of one term's V, accurate for each effect in its own units."""
    if term.name not in covariances:
        raise ArgumentError(
            f"covariances has no matrix for the term '{term.name}' (it has "
            f"{sorted(covariances)}); give one of shape {(len(term.effects),) * 2}."
        )
    name = f"covariances['{term.name}']"
    cov = covariance_matrix(name, covariances[term.name], term.effects)
    sd = np.sqrt(np.diag(cov))
    unit = np.where(sd > 0, sd, 1.0)
    values, vectors = np.linalg.eigh(cov / np.outer(unit, unit))
    roots = np.sqrt(np.clip(values, 0.0, None))
    inverse_roots = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
    return _Root(sd[:, None] * vectors * roots, inverse_roots[:, None] * vectors.T / unit)
