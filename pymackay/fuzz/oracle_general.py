"""`GeneralOracle`: holds a fit of a generalised model against the dense formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.fuzz.dense_general import (
    DenseGeneral,
    dense_adaptive,
    dense_at_predictor,
    dense_laplace,
)
from pymackay.fuzz.density import Density
from pymackay.fuzz.outcome import Outcome
from pymackay.model.design.general_response import GeneralModel
from pymackay.results import Fit

_SAME = 1e-7  # of 1 + |C|: two criteria at the same parameters, the oracle's n x n
_POISSON = 1e7  # shape of a negative binomial beyond which SciPy loses the digits of its density
_LOWER = 1e-6  # difference of criteria that the search guarantees
_MODES = 1e-4  # conditional standard deviations
_STEPS = (1e-2, 0.3)  # standard errors


@dataclass(frozen=True, eq=False)
class GeneralOracle:
    """The dense formulas of one model.

    Attributes
    ----------
    built : GeneralModel
    density : Density
    determinant : str
    nagq : int
    several : bool
        Whether the random effects may have several modes at the same parameters.
    lme4s : bool
        Whether the criterion is lme4's of a family with a dispersion: the deviance over the sum of
        the weights in the density, one in the mode and in the determinant, and 2 more.
    """

    built: GeneralModel
    density: Density
    determinant: str = "expected"
    nagq: int = 1
    several: bool = False
    lme4s: bool = False

    @classmethod
    def of(cls, fit: Fit, built: GeneralModel) -> GeneralOracle:
        """Return the oracle of a fit's criterion."""
        general = fit.general
        assert general is not None and isinstance(general.nagq, int)  # as the fuzzer asks
        family = general.family
        shape = general.shape if np.isfinite(general.shape) else 1.0
        poisson = family.name == "negative binomial" and shape > _POISSON
        name = "poisson" if poisson else family.name
        lme4s = general.dispersion_by == "lme4"
        density = Density(name, family.link, 1.0 if lme4s else general.dispersion, shape)
        several = not family.is_log_concave
        return cls(built, density, general.determinant, general.nagq, several, lme4s)

    def laplace(
        self, theta: np.ndarray, beta: np.ndarray, eta: np.ndarray | None = None
    ) -> DenseGeneral:
        """Return the approximation at parameters; `eta`, (n,), is near the mode that is meant."""
        return dense_laplace(self.built, self.density, theta, beta, self.determinant, eta)

    def criterion(
        self, theta: np.ndarray, beta: np.ndarray, eta: np.ndarray | None = None
    ) -> float:
        """Return −2 log likelihood at parameters; nan where float64 does not hold it."""
        with np.errstate(all="ignore"):
            try:
                if self.nagq > 1:
                    return dense_adaptive(self.built, self.density, theta, beta, self.nagq, eta)
                mode = self.laplace(theta, beta, eta)
            except np.linalg.LinAlgError:
                return float("nan")
            if not self.lme4s:
                return mode.criterion
            return self.at_predictor(theta, beta, mode.eta)[0]

    def at_predictor(
        self, theta: np.ndarray, beta: np.ndarray, eta: np.ndarray
    ) -> tuple[float, float]:
        """Return Laplace's criterion at η, (n,), that may be no mode, and how far it is from one.

        The distance is the norm of the derivative of half the penalised deviance by the effects.
        """
        at = dense_at_predictor(self.built, self.density, theta, beta, eta)
        value = -2.0 * float(self._in_criterion(eta).log(self.built.response, eta).sum())
        return value + at.squares + at.log_determinant + 2.0 * self.lme4s, at.residual

    def slope_by_beta(self, theta: np.ndarray, beta: np.ndarray, eta: np.ndarray) -> float:
        """Return the derivative of half the penalised deviance by beta, by its noise.

        It is zero at a joint mode. The random effects are at their mode near η, (n,).
        """
        mode, X = self.laplace(theta, beta, eta), self.built.model.X
        information = self.density.expected(self.built.response, mode.eta) @ X**2
        return float(np.abs(X.T @ mode.score / np.sqrt(information)).max(initial=0.0))

    def _in_criterion(self, eta: np.ndarray) -> Density:
        """Return the density of the criterion at η, (n,): of lme4's, its dispersion is computed."""
        if not self.lme4s:
            return self.density
        response = self.built.response
        gaussian = self.density.family == "gaussian"
        total = len(response.y) if gaussian else response.weights.sum()
        deviance = self.density.deviance(response, eta)
        return replace(self.density, dispersion=deviance / total)

    def objection(self, fit: Fit) -> Outcome | None:
        """Return the disagreement of a fit with the formulas, or None."""
        eta, theta, beta = _point(fit)
        here = self.criterion(theta, beta, eta)
        if not np.isfinite(here):
            return Outcome("the oracle loses digits")
        if abs(here - fit.criterion) > _SAME * (1.0 + abs(here)):
            both = f"ours {fit.criterion!r}, oracle {here!r} at the same point"
            return Outcome("not the oracle's criterion", both)
        wrong = self._other_modes(fit)
        if wrong or self.nagq == 0:
            return Outcome("not the oracle's modes", wrong) if wrong else None
        lower = self._lower_nearby(fit, here)
        return Outcome("lower nearby", lower) if lower else None

    def _other_modes(self, fit: Fit) -> str:
        """Describe random effects that differ from the oracle's; empty if none does."""
        model = self.built.model
        if len(model.factors) < len(model.terms):  # terms of one group are joined in the fit
            return ""
        eta, theta, beta = _point(fit)
        dense = self.laplace(theta, beta, eta)
        ours = np.concatenate([fit.ranef[term.group].to_numpy().ravel() for term in model.terms])
        sd = np.sqrt(np.maximum(np.diag(dense.condvar), 0.0))
        off = np.abs(ours - dense.b) - _MODES * sd - 1e-9
        return f"{off.max():.3g} beyond the tolerance" if off.max() > 0.0 else ""

    def _lower_nearby(self, fit: Fit, here: float) -> str:
        """Describe a point near an optimum where the criterion is lower; empty if none is."""
        eta, theta, beta = _point(fit)
        errors = np.where(np.isfinite(fit.std_error), fit.std_error, 0.0)
        point = np.concatenate([theta, beta])
        units = np.concatenate([np.maximum(np.abs(theta), 0.1), errors])
        names = [*fit.theta.index, *fit.beta.index]
        for k, (name, unit) in enumerate(zip(names, units, strict=True)):
            for move in (unit * step for step in (*_STEPS, *(-s for s in _STEPS))):
                there = point + move * (np.arange(len(point)) == k)
                value = self.criterion(there[: len(theta)], there[len(theta) :], eta)
                if value < here - _LOWER and self._is_meant(fit, there, value):
                    return f"{name} = {float(there[k])!r}: {value!r} instead of {here!r}"
        return self._lower_elsewhere(fit, here)

    def _is_meant(self, fit: Fit, there: np.ndarray, value: float) -> bool:
        """Whether a value at other parameters is that at the lowest mode, as far as ours finds it.

        The search for the mode begins at that of the fit, from which it may reach another one.
        """
        if not self.several:
            return True
        m = len(fit.theta)
        moved = fit.replace(theta=fit.theta * 0.0 + there[:m], beta=fit.beta * 0.0 + there[m:])
        lowest = fit._at_parameters_of(moved)
        return lowest.criterion <= value + _SAME * (1.0 + abs(value))

    def _lower_elsewhere(self, fit: Fit, here: float) -> str:
        """Describe another dispersion or shape with a lower criterion, if one is estimated."""
        general = fit.general
        assert general is not None
        if general.shape_estimated:
            name, value = "shape", self.density.shape
        elif general.dispersion_by == "ml":
            name, value = "dispersion", self.density.dispersion
        else:
            return ""
        eta, theta, beta = _point(fit)
        for moved in (factor * value for factor in (0.9, 0.99, 1.01, 1.1)):
            by_shape = replace(self.density, shape=moved)
            by_dispersion = replace(self.density, dispersion=moved)
            other = replace(self, density=by_shape if name == "shape" else by_dispersion)
            criterion = other.criterion(theta, beta, eta)
            if criterion < here - _LOWER and not self.several:
                return f"{name} = {moved!r}: {criterion!r} instead of {here!r}"
        return ""


def _point(fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the linear predictor, (n,), theta and beta of a fit."""
    assert fit.general is not None  # the fuzzer's fits are of generalised models
    eta = fit.general.linear_predictor.to_numpy()
    return eta, fit.theta.to_numpy(), fit.beta.to_numpy()
