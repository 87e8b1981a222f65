"""What the loop asks of a generalised model: `ModeEquations`, and `MeanEquations`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.results import Convergence
from pymackay.solve.loop.equations import Certify
from pymackay.solve.loop.general.held import HeldFactors
from pymackay.solve.loop.general.rounds import GeneralRound, mean_terms, mode_terms
from pymackay.solve.loop.rounds import State
from pymackay.solve.pirls.criteria.joint import JointCriterion
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.optimum import GeneralOptimum, find_optimum
from pymackay.solve.pirls.search import Stopping, minimise

_SPENT = 1e-10  # decrement in β and dispersion from which plain Newton steps converge
_CERTIFIED = 1e-8  # Newton decrement: 1e-4 standard errors
_AT_ONCE = Stopping(spent=np.inf)  # the search ends where it starts


class ModeEquations:
    """Joint modes of fixed and random effects, the weights held there: MacKay 1992, and PQL.

    Parameters
    ----------
    laplace : Laplace
        With expected weights in the determinant: those of iterated weighted least squares.
    psi : numpy.ndarray, shape (P,)
        Where the search for the first joint mode begins.

    References
    ----------
    MacKay, D. J. C. (1992). The evidence framework applied to classification networks. Neural
    Computation 4(5).
    Schall, R. (1991). Estimation in generalized linear models with random effects. Biometrika 78.
    Breslow, N. E., Clayton, D. G. (1993). Approximate inference in generalized linear mixed models.
    J. Am. Stat. Assoc. 88.
    """

    certify: Certify | None = None  # no criterion is lowest at a fixed point

    def __init__(self, laplace: Laplace, psi: np.ndarray) -> None:
        self.laplace, self.n_rows = laplace, laplace.rows.n
        self.begin: np.ndarray | None = None
        self.beta = psi[: laplace.rows.p]
        self.levels = noise_levels(laplace, psi)

    def solve(self, state: State) -> GeneralRound:
        """See `pymackay.solve.loop.equations.Equations`."""
        rows = self.laplace.rows
        psi = factor_elements(self.laplace, state)
        if self.laplace.extra == "dispersion":
            psi = np.append(psi, np.log(state.noise_var))
        try:
            joint = JointCriterion(self.laplace, self.beta).at(psi, self.begin)
        except np.linalg.LinAlgError as error:
            raise no_mode(error) from error
        self.begin = joint.start
        point = joint.center
        terms = mode_terms(point, state)
        gamma = sum(float(np.trace(term.information)) for term in terms)
        noise = 1.0
        if self.laplace.extra == "dispersion":
            noise = _pearson(point) / (rows.n - gamma)
        return GeneralRound(
            state=state,
            terms=terms,
            criterion=point.criterion,
            next_noise_var=noise,
            point=point,
        )


class MeanEquations:
    """Laplace's criterion at a state's variances, β and dispersion or shape where it is lowest.

    Parameters
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
        Where the search for the first β and dispersion or shape begins.
    """

    def __init__(self, laplace: Laplace, psi: np.ndarray) -> None:
        self.laplace, self.n_rows = laplace, laplace.rows.n
        rows = laplace.rows
        self.free = np.delete(psi, np.s_[rows.p : rows.p + rows.n_theta])
        self.levels = noise_levels(laplace, psi)

    def solve(self, state: State) -> GeneralRound:
        """See `pymackay.solve.loop.equations.Equations`."""
        held = HeldFactors(self.laplace, factor_elements(self.laplace, state))
        try:
            settled = held.at(self.free)
            if held.size:
                settled = held.settled(minimise(held, self.free, Stopping(_SPENT)).point.psi)
        except np.linalg.LinAlgError as error:
            raise no_mode(error) from error
        self.free, point = settled.psi, settled.center
        return GeneralRound(
            state=state,
            terms=mean_terms(point, state),
            criterion=point.criterion,
            next_noise_var=1.0,
            point=point,
        )

    def optimum(self, point: Point) -> GeneralOptimum:
        """Return the optimum next to a point, by Newton steps with exact second derivatives."""
        rows, family = self.laplace.rows, self.laplace.family
        return find_optimum(
            self.laplace, rows, [point.psi], _AT_ONCE, rows.p, bounded=family.is_bounded
        )

    def certify(self, state: State) -> tuple[Convergence, State | None]:
        """Return the certificate of the exact second derivatives at a state."""
        point = self.solve(state).point
        optimum = self.optimum(point)
        gradient = point.gradient
        decrement = 0.25 * float(gradient @ optimum.covariance @ gradient)
        certified = bool(optimum.convergence.converged and decrement < _CERTIFIED)
        made = replace(optimum.convergence, converged=certified, decrement=decrement)
        return made, None


def factor_elements(laplace: Laplace, state: State) -> np.ndarray:
    """Return the covariance parameters of a state's factors on the absolute scale, (k,)."""
    sd = np.sqrt(state.noise_var)
    pairs = zip(laplace.rows.terms, state.factors, strict=True)
    return np.concatenate([term.of_factor(sd * factor) for term, factor in pairs])


def noise_levels(laplace: Laplace, psi: np.ndarray) -> list[float]:
    """Return, term by term, the variance of one level's effect as the weights determine it.

    At the expected weights where all random effects are zero, at dispersion one.
    """
    rows, given = laplace.rows, laplace.given(psi)
    weight = float(given.family.expand(rows.observed, given.fixed).expected.sum())
    factors = [rows.model.factors[term.group] for term in rows.model.terms]
    return [len(factor.levels) / weight for factor in factors]


def _pearson(point: Point) -> float:
    """Return Pearson's statistic ``Σ w (y − μ)² / V(μ)``."""
    observed, family = point.laplace.rows.observed, point.given.family
    mu = family.mean(point.mode.eta)
    return float((observed.weights * (observed.y - mu) ** 2 / family.variance(mu)).sum())


def no_mode(error: Exception) -> ConvergenceError:
    """Return the error of a loop whose effects have no mode."""
    return ConvergenceError(
        f"MacKay's loop cannot continue: {error}. Give a start with smaller variances, use a link "
        f"without bounds such as 'log' or 'logit', or fit the model with pymackay.glmer."
    )
