"""Many responses solved: together where there is one grouping factor, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.sums.gram import Gram
from pymackay.solve.assemble import theta_from_factors
from pymackay.solve.exact.make import make_solver
from pymackay.solve.linalg.batch import product
from pymackay.solve.many.evaluation import evaluate_many
from pymackay.solve.many.kinds import Kinds, ResponseSums
from pymackay.solve.many.responses import Responses, gram_of
from pymackay.solve.search.newton import Control, OneResponse, Optima, find_optima
from pymackay.solve.search.points import Factors, Values
from pymackay.solve.search.start import MomentEquations, inside, noise_level

__all__ = ["Answers", "ManySolver"]

_ZERO = 1e-13  # as in `pymackay.solve.assemble`: below this share, an element is rounding

_CONTROL = Control()

Answers = dict[str, np.ndarray]  # the arrays of `ManyFits`, by their names


@dataclass(frozen=True, eq=False)
class Together:
    """The landscape of many responses to one design with one grouping factor.

    Attributes
    ----------
    kinds : Kinds
    sums : ResponseSums
    """

    kinds: Kinds
    sums: ResponseSums

    @property
    def gram(self) -> Gram:
        """The design's cross-products."""
        return self.kinds.gram

    @property
    def without_effects(self) -> np.ndarray:
        """Each response's criterion where no random effect varies, shape (B,)."""
        return self.kinds.constant + 2.0 * self.kinds.nu * np.log(self.sums.scale)

    def __len__(self) -> int:
        return len(self.sums)

    def take(self, which: np.ndarray) -> Together:
        """Return the landscape of some responses."""
        return Together(self.kinds, self.sums.take(which))

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate each response at its own factors."""
        if len(factors) == 1:
            return evaluate_many(self.kinds, self.sums, factors[0])
        q = self.kinds.q
        joined = np.zeros((len(self), q, q))
        for place, factor in zip(self.kinds.terms, factors, strict=True):
            joined[:, place, place] = factor
        return evaluate_many(self.kinds, self.sums, joined)

    def start(self) -> Factors:
        """Return what `moment_start` says of each response."""
        kinds = self.kinds
        equations = MomentEquations.of(
            kinds.A.transpose(2, 0, 1),
            kinds.X.transpose(2, 0, 1),
            kinds.nu,
            reml=kinds.reml,
            counts=kinds.counts,
        )
        shrinkage = equations.shrinkage.transpose(1, 2, 0)[..., None]
        half = product(shrinkage, self.sums.M)
        second = product(half, shrinkage).sum(axis=2).transpose(2, 0, 1)
        explained = half.trace().sum(axis=0) + equations.ridge * second.trace(axis1=1, axis2=2)
        covariance = equations.covariance(second)
        sigma2 = equations.variance(1.0 - explained, covariance)
        G = covariance / sigma2[:, None, None] - equations.noise
        G = 0.5 * (G + G.swapaxes(1, 2))
        return tuple(
            inside(G[:, place, place], noise_level(self.gram, k))
            for k, place in enumerate(kinds.terms)
        )


class ManySolver:
    """Fits any number of responses to one design.

    Parameters
    ----------
    gram : Gram
        Of the design; its response is not used.
    reml : bool
    start : list of numpy.ndarray, each (q, q), optional
        Relative factors to start from, term by term; by default each response's moments tell.
    """

    def __init__(self, gram: Gram, reml: bool, start: Sequence[np.ndarray] | None = None) -> None:
        self.gram, self.reml, self.start = gram, reml, start
        self.kinds = Kinds(gram, reml) if len(gram.blocks) == 1 else None
        self._from_basis = gram.basis.from_basis(np.eye(gram.p))

    @property
    def cells(self) -> int:
        """Elements that one response adds to a batch of small matrices."""
        if self.kinds is None:
            return sum(block.size for block in self.gram.blocks)
        q, p, K = self.kinds.X.shape
        return q * max(p, q) * K

    def solve(self, responses: Responses) -> Answers:
        """Fit some responses; those that the batch does not certify get the answer of `lmer`."""
        if self.kinds is None:
            return self._one_by_one(responses, np.arange(len(responses)))
        answers = self._together(responses, self.kinds)
        doubtful = np.flatnonzero(~answers["converged"])
        if len(doubtful):
            for name, values in self._one_by_one(responses, doubtful).items():
                answers[name][doubtful] = values
        return answers

    def _together(self, responses: Responses, kinds: Kinds) -> Answers:
        optima = find_optima(Together(kinds, kinds.sums(responses)), _CONTROL, self.start)
        points, scale = optima.points, responses.scale
        beta, root = points.answers
        sigma = np.sqrt(points.sigma2) * scale
        return {
            "beta": responses.beta + (beta @ self._from_basis.T) * scale[:, None],
            "std_error": sigma[:, None] * np.linalg.norm(self._from_basis @ root, axis=2),
            "theta": _user_theta(self.gram, points.factors),
            "sigma": sigma,
            "criterion": points.criterion,
            "converged": optima.certified,
            "singular": points.singular,
        }

    def _one_by_one(self, responses: Responses, which: np.ndarray) -> Answers:
        """Fit responses by the solver that serves single models."""
        rows = []
        for k in which:
            own = gram_of(self.gram, responses, int(k))
            landscape = OneResponse(make_solver(own, reml=self.reml))
            rows.append(_row(own, find_optima(landscape, start=self.start)))
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _user_theta(gram: Gram, factors: Factors) -> np.ndarray:
    """Turn relative factors of whitened columns, each (B, q, q), into theta in the user's units."""
    parts = []
    for T, layout, factor in zip(gram.transforms, gram.layouts, factors, strict=True):
        user = lower_factor(T @ factor)
        size = np.linalg.norm(np.abs(T) @ np.abs(factor), axis=2)
        user[np.abs(user) < _ZERO * size[:, :, None]] = 0.0
        parts.append(layout.elements(user))
    return np.concatenate(parts, axis=1)


def _row(gram: Gram, optima: Optima) -> dict[str, Any]:
    """Return one response's answer in the user's units."""
    points = optima.points
    evaluation = points.answers[0][0]
    sigma = float(np.sqrt(evaluation.sigma2)) * gram.y_scale
    root = gram.basis.from_basis(np.linalg.cholesky(evaluation.precision_inverse))
    return {
        "beta": gram.response.beta + gram.basis.from_basis(evaluation.beta) * gram.y_scale,
        "std_error": sigma * np.linalg.norm(root, axis=1),
        "theta": theta_from_factors(gram, [factor[0] for factor in points.factors]),
        "sigma": sigma,
        "criterion": evaluation.criterion,
        "converged": optima.certified[0],
        "singular": points.singular[0],
    }
