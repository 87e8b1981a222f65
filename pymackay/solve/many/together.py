"""Many responses solved: together where there is one grouping factor, else one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.covariance.layout import is_singular
from pymackay.model.sums.gram import Gram
from pymackay.solve.assemble import theta_from_factors
from pymackay.solve.exact.solver import Exact
from pymackay.solve.linalg.batch import lower_factors
from pymackay.solve.many.kinds import Kinds
from pymackay.solve.many.responses import Responses, gram_of
from pymackay.solve.many.search import find_optima
from pymackay.solve.search.newton import find_optimum, optimise
from pymackay.solve.solver import Optimum

__all__ = ["Answers", "ManySolver"]

_ZERO = 1e-13  # as in `pymackay.solve.assemble`: below this share, an element is rounding

Answers = dict[str, np.ndarray]  # the arrays of `ManyFits`, by their names


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

    def __init__(self, gram: Gram, reml: bool, start: list[np.ndarray] | None = None) -> None:
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
        """Fit some responses."""
        if self.kinds is None:
            return self._one_by_one(responses, np.arange(len(responses)))
        found = self._together(responses, self.kinds)
        lost = np.flatnonzero(~found["converged"])
        if len(lost):
            _keep_better(found, self._one_by_one(responses, lost), lost)
        return found

    def _together(self, responses: Responses, kinds: Kinds) -> Answers:
        optima = find_optima(kinds, kinds.sums(responses), self._joined_start(kinds))
        points, scale = optima.points, responses.scale
        sigma = np.sqrt(points.sigma2) * scale
        root = self._from_basis @ points.root
        return {
            "beta": responses.beta + (points.beta @ self._from_basis.T) * scale[:, None],
            "std_error": sigma[:, None] * np.linalg.norm(root, axis=2),
            "theta": _user_theta(self.gram, kinds, points.factor),
            "sigma": sigma,
            "criterion": points.criterion,
            "converged": optima.certified,
            "singular": optima.singular,
        }

    def _joined_start(self, kinds: Kinds) -> np.ndarray | None:
        if self.start is None:
            return None
        joined = np.zeros((kinds.q, kinds.q))
        for place, factor in zip(kinds.terms, self.start, strict=True):
            joined[place, place] = factor
        return joined

    def _one_by_one(self, responses: Responses, which: np.ndarray) -> Answers:
        """Fit responses by the solver that serves single models."""
        rows = []
        for k in which:
            own = gram_of(self.gram, responses, int(k))
            rows.append(_row(own, self._search(own)))
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _search(self, gram: Gram) -> Optimum:
        solver = Exact(gram, self.reml)
        if self.start is not None:
            found = optimise(solver, self.start)
            if found.convergence.converged and not is_singular(found.factors):
                return found
        return find_optimum(solver)


def _keep_better(found: Answers, again: Answers, which: np.ndarray) -> None:
    """Take the second answers where they are certified, or lower."""
    better = again["converged"] | ~(again["criterion"] >= found["criterion"][which])
    for name, values in again.items():
        found[name][which[better]] = values[better]


def _user_theta(gram: Gram, kinds: Kinds, factors: np.ndarray) -> np.ndarray:
    """Turn relative factors of whitened columns, (B, q, q), into theta in the user's units."""
    parts = []
    for T, layout, place in zip(gram.transforms, gram.layouts, kinds.terms, strict=True):
        term = factors[:, place, place]
        user = lower_factors(T @ term)
        size = np.linalg.norm(np.abs(T) @ np.abs(term), axis=2)
        user[np.abs(user) < _ZERO * size[:, :, None]] = 0.0
        parts.append(user[:, layout.rows, layout.columns])
    return np.concatenate(parts, axis=1)


def _row(gram: Gram, optimum: Optimum) -> dict[str, Any]:
    """Return one response's answer in the user's units."""
    evaluation = optimum.evaluation
    sigma = float(np.sqrt(evaluation.sigma2)) * gram.y_scale
    root = gram.basis.from_basis(np.linalg.cholesky(evaluation.precision_inverse))
    return {
        "beta": gram.response.beta + gram.basis.from_basis(evaluation.beta) * gram.y_scale,
        "std_error": sigma * np.linalg.norm(root, axis=1),
        "theta": theta_from_factors(gram, optimum.factors),
        "sigma": sigma,
        "criterion": evaluation.criterion,
        "converged": optimum.convergence.converged,
        "singular": is_singular(optimum.factors),
    }
