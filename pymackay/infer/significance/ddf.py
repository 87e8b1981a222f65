"""`fixed_effects`: the fixed effects with the precision and degrees of freedom of a method."""

from __future__ import annotations

from dataclasses import dataclass

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError
from pymackay.infer.refit import REML_MESSAGE, refit_by
from pymackay.infer.significance.kenward_roger import kenward_roger
from pymackay.infer.significance.precision import NormalPrecision, Precision
from pymackay.infer.significance.satterthwaite import satterthwaite
from pymackay.results import Fit
from pymackay.solve.assemble import Problem

_QUICK = 5e8  # multiplications of the derivatives that take about half a second
_METHODS = ("Satterthwaite", "Kenward-Roger", "normal", "none")


@dataclass(frozen=True, eq=False)
class FixedEffects:
    """A fit's fixed effects with the precision that a method gives them.

    Attributes
    ----------
    fit : Fit
        The fit that was passed, or its refit by REML where the method needs it.
    method : str
        ``"Satterthwaite"``, ``"Kenward-Roger"``, ``"normal"`` or ``"none"``.
    precision : Precision
    messages : tuple of str
    """

    fit: Fit
    method: str
    precision: Precision
    messages: tuple[str, ...]

    @property
    def is_general(self) -> bool:
        """Whether the model is a generalised one, whose tests are normal and chi-square tests."""
        return self.fit.general is not None

    @property
    def heading(self) -> str:
        """The words that name the method in the heading of a table."""
        if self.is_general:
            return ", asymptotic"
        return {
            "Satterthwaite": " with Satterthwaite's method",
            "Kenward-Roger": " with Kenward-Roger's method",
            "normal": ", covariance parameters taken as known",
            "none": "",
        }[self.method]


def fixed_effects(fit: Fit, ddf: str) -> FixedEffects:
    """Return the fixed effects of `fit` with the precision that `ddf` gives them.

    Those of a generalised model have the covariance matrix of all estimates and no degrees of
    freedom, whether ``"Satterthwaite"``, which is the default of many functions, or ``"normal"`` is
    asked for.

    Raises
    ------
    ArgumentError
        If there is no such method.
    PymackayError
        If the fit does not hold the model's arrays that the method needs.
    """
    method = _method(ddf)
    if fit.general is not None:
        if method == "Kenward-Roger":
            raise ArgumentError(
                f"ddf is {ddf!r}, but generalised models have no degrees of freedom; leave it out: "
                f"their tests are asymptotic."
            )
        method = "normal" if method == "Satterthwaite" else method
    if method in ("normal", "none"):
        return FixedEffects(fit, method, NormalPrecision(fit.vcov.to_numpy()), ())
    if method == "Satterthwaite":
        precision = satterthwaite(fit)
        return FixedEffects(fit, method, precision, precision.messages)
    messages = () if fit.reml else (REML_MESSAGE,)
    fit = fit if fit.reml else refit_by(fit, reml=True)
    return FixedEffects(fit, method, kenward_roger(fit), messages)


def quick_ddf(fit: Fit) -> str | None:
    """Return ``"Satterthwaite"`` where it takes less than about a second, else None.

    The derivatives of the precision of beta multiply, for each of m parameters, the eliminated
    effects by the square of the dense size S (other effects and coefficients), and S³.
    """
    if fit.residual_covariance is not None and fit.convergence.converged:
        return "Satterthwaite"
    problem = fit.problem
    if not (isinstance(problem, Problem) and fit.convergence.converged):
        return None
    bases = problem.solver.bases
    dense = float(bases.n_others + bases.p + 1)
    eliminated = float(sum(len(levels) for levels in fit.model.levels.values()))
    return "Satterthwaite" if bases.n_theta * (eliminated + dense) * dense**2 < _QUICK else None


def _method(ddf: object) -> str:
    by_text = {method.lower(): method for method in _METHODS}
    return one_of("ddf", by_text.get(str(ddf).lower(), ddf), _METHODS)
