"""Many responses solved: together where there is one grouping factor, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import is_singular
from pymackay.model.sums.gram import Gram
from pymackay.solve.assemble import theta_from_factors
from pymackay.solve.exact.solver import Exact
from pymackay.solve.linalg.batch import product
from pymackay.solve.many.evaluation import criteria_many, evaluate_many
from pymackay.solve.many.kinds import Kinds, ResponseSums
from pymackay.solve.many.responses import Responses, gram_of
from pymackay.solve.many.valleys import ManyValleys
from pymackay.solve.search import limits
from pymackay.solve.search.landscape import Valleys
from pymackay.solve.search.limits import Control
from pymackay.solve.search.newton import OneResponse, find_optima
from pymackay.solve.search.optima import Optima
from pymackay.solve.search.ridge import ridge_at
from pymackay.solve.search.start import MomentEquations, inside, noise_level
from pymackay.solve.search.valleys.basins import follows_basins
from pymackay.solve.search.valleys.profile import Profile
from pymackay.solve.search.values import Factors, Values
from pymackay.solve.solver import Optimum

_CONTROL = Control()
_DIGITS = 1e-10  # of a criterion's size: what its rounding may be, a tenth of what is promised

Answers = dict[str, np.ndarray]  # the arrays of `ManyFits`, by their names


@dataclass(frozen=True, eq=False)
class _Together:
    """The landscape of many responses to one design with one grouping factor.

    Its answers are `evaluate_many`'s: beta, (B, p), and R with ``R R' = (X'V⁻¹X)⁻¹``, (B, p, p).
    """

    kinds: Kinds
    sums: ResponseSums

    @property
    def gram(self) -> Gram:
        return self.kinds.gram

    @property
    def without_effects(self) -> np.ndarray:
        return self.kinds.constant + 2.0 * self.kinds.nu * np.log(self.sums.scale)

    def __len__(self) -> int:
        return len(self.sums)

    def take(self, which: np.ndarray) -> _Together:
        return _Together(self.kinds, self.sums.take(which))

    def evaluate(self, factors: Factors) -> Values:
        return evaluate_many(self.kinds, self.sums, self._joined(factors))

    def criteria(self, factors: Factors) -> np.ndarray:
        return criteria_many(self.kinds, self.sums, self._joined(factors))

    def _joined(self, factors: Factors) -> np.ndarray:
        """Put the factors of all terms on one diagonal, (B, q, q)."""
        if len(factors) == 1:
            return factors[0]
        q = self.kinds.q
        joined = np.zeros((len(self), q, q))
        for place, factor in zip(self.kinds.terms, factors, strict=True):
            joined[:, place, place] = factor
        return joined

    def start(self) -> Factors:
        """Return the start of `moment_start` for each response, term by term (B, q, q)."""
        kinds = self.kinds
        equations = MomentEquations.of(
            kinds.A.transpose(2, 0, 1),
            kinds.X.transpose(2, 0, 1),
            kinds.nu,
            reml=kinds.reml,
            counts=kinds.counts,
        )
        shrinkage = equations.shrinkage.transpose(1, 2, 0)[..., None]
        half = product(shrinkage, self.sums.cc)
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

    def profile(self) -> Valleys:
        """Return what looks for other valleys of each criterion."""
        return ManyValleys(self) if follows_basins(self.gram) else self.scan()

    @property
    def cells(self) -> int:
        """Elements that one response adds to a batch of small matrices."""
        return self.kinds.cells

    def scan(self) -> Profile:
        """Return what evaluates each criterion at many factors at once."""
        kinds, sums = self.kinds, self.sums
        return Profile(
            kinds.gram,
            kinds.reml,
            kinds.counts,
            kinds.A.transpose(2, 0, 1),
            kinds.X.transpose(2, 0, 1),
            sums.c.transpose(1, 0, 2),
            sums.cc.transpose(2, 0, 1, 3),
            sums.along,
            sums.squares,
            self.without_effects,
        )


class ManySolver:
    """Fits any number of responses to one design.

    Parameters
    ----------
    gram : Gram
        Of the design; its response is not used.
    reml : bool
    start : list of numpy.ndarray, each (q, q), optional
        Relative factors to start from, term by term; by default those of `_Together.start`.
    """

    def __init__(self, gram: Gram, reml: bool, start: Sequence[np.ndarray] | None = None) -> None:
        self.gram, self.reml, self.start = gram, reml, start
        together = len(gram.blocks) == 1 and not gram.structured
        self.kinds = Kinds(gram, reml) if together else None
        self.ridge = ""  # variances that some response does not determine, where one was seen
        self._from_basis = gram.basis.from_basis(np.eye(gram.p))

    @property
    def cells(self) -> int:
        """Elements that one response adds to a batch of small matrices."""
        if self.kinds is None:
            return sum(block.size for block in self.gram.blocks)
        return self.kinds.cells

    def solve(self, responses: Responses) -> Answers:
        """Fit some responses.

        Those that the batch does not certify, or knows to too few digits, get the answer of `lmer`:
        its kernel squares nothing, so that nearly equal effects cost it fewer digits.
        """
        if self.kinds is None:
            return self._one_by_one(responses, np.arange(len(responses)))
        landscape = _Together(self.kinds, self.kinds.sums(responses))
        optima = find_optima(landscape, _CONTROL, self.start)
        answers = self._together(responses, optima)
        self.ridge = self.ridge or self._ridge(responses, optima)
        accurate = optima.points.rounding < _DIGITS * np.abs(optima.points.criterion)
        doubtful = np.flatnonzero(~(optima.certified & accurate))
        if len(doubtful):
            for name, values in self._one_by_one(responses, doubtful).items():
                answers[name][doubtful] = values
        return answers

    def _together(self, responses: Responses, optima: Optima) -> Answers:
        points = optima.points
        beta, root = points.answers
        return {
            **self._fixed(responses.scale, responses.beta, points.sigma2, beta, root),
            "theta": theta_from_factors(self.gram, points.factors),
            "criterion": points.criterion,
            "converged": optima.certified,
            "singular": points.singular,
        }

    def _one_by_one(self, responses: Responses, which: np.ndarray) -> Answers:
        """Fit responses by the solver that serves single models."""
        optima = [self._single(responses, int(k)) for k in which]
        seen = (message for optimum in optima for message in optimum.messages)
        self.ridge = self.ridge or next(seen, "")
        at = [optimum.evaluation for optimum in optima]
        sigma2, beta = np.array([e.sigma2 for e in at]), np.array([e.beta for e in at])
        root = np.array([np.linalg.cholesky(e.precision_inverse) for e in at])
        scale, fixed = responses.scale[which], responses.beta[which]
        return {
            **self._fixed(scale, fixed, sigma2, beta, root),
            "theta": np.array([theta_from_factors(self.gram, o.factors) for o in optima]),
            "criterion": np.array([e.criterion for e in at]),
            "converged": np.array([o.convergence.converged for o in optima]),
            "singular": np.array([is_singular(o.factors, self.gram.layouts) for o in optima]),
        }

    def _ridge(self, responses: Responses, optima: Optima) -> str:
        """Look for a flat ridge at the flattest optimum, inside the cone where there is one."""
        flatness = np.where(optima.sure, optima.certificates.relative, np.inf)
        which = int(np.argmin(flatness))
        curved = optima.sure[which] and flatness[which] > limits.RIDGE_CURVATURE
        if curved or not optima.certified[which]:
            return ""
        solver = Exact(gram_of(self.gram, responses, which), self.reml)
        return ridge_at(OneResponse(solver), [factor[which] for factor in optima.points.factors])

    def _single(self, responses: Responses, which: int) -> Optimum:
        solver = Exact(gram_of(self.gram, responses, which), self.reml)
        return solver.find_optimum(None if self.start is None else list(self.start))

    def _fixed(
        self,
        scale: np.ndarray,
        least_squares: np.ndarray,
        sigma2: np.ndarray,
        beta: np.ndarray,
        root: np.ndarray,
    ) -> Answers:
        """Return residual sd and fixed effects in the user's units.

        Parameters
        ----------
        scale, sigma2 : numpy.ndarray, each (B,)
            Lengths of the least-squares residuals; residual variances for a length of one.
        least_squares, beta : numpy.ndarray, each (B, p)
            Coefficients of least squares, user's units; what is added, in the basis computed in.
        root : numpy.ndarray, shape (B, p, p)
            R with ``R R' = (X'V⁻¹X)⁻¹``, in that basis.
        """
        sigma = np.sqrt(sigma2) * scale
        errors = np.linalg.norm(self._from_basis @ root, axis=2)
        return {
            "beta": least_squares + (beta @ self._from_basis.T) * scale[:, None],
            "std_error": sigma[:, None] * errors,
            "sigma": sigma,
        }
