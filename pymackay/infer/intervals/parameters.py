"""`list_parameters`: the parameters for which there are confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pymackay.covariance.parameters import parameter_labels, parameter_places, parameter_values
from pymackay.covariance.varcorr import VarCorr
from pymackay.errors import ArgumentError
from pymackay.results import Fit, TermSummary


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
        R's short name: ``".sig01"``, ``".sigma"``, a coefficient's name.
    label : str
        R's long name: ``"sd_Days|Subject"``, ``"cor_Days.(Intercept)|Subject"``, ``"sigma"``.
    kind : {"sd", "cor", "sigma", "residual", "beta"}
    term : int
        Position of its random term; -1 for the others.
    first, second : int
        Its effects in the term (the same twice for a standard deviation); of beta, the coefficient;
        of a residual structure, its place in ``fit.residual_covariance.par``.
    estimate : float
        nan for the correlation of an effect that does not vary.
    """

    name: str
    label: str
    kind: str
    term: int
    first: int
    second: int
    estimate: float


@dataclass(frozen=True, eq=False)
class Values:
    """Values of all parameters at one point of a profile, user's units.

    Attributes
    ----------
    covariances : list of numpy.ndarray, each (q, q)
        Of each term's effects.
    sigma : float
    beta : numpy.ndarray, shape (p,)
    residual : numpy.ndarray, shape (k,)
        Parameters of a residual structure.
    """

    covariances: list[np.ndarray]
    sigma: float
    beta: np.ndarray
    residual: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def by_name(
        self, parameters: Iterable[Parameter], terms: Iterable[TermSummary]
    ) -> dict[str, float]:
        """Return the values of parameters; nan for the correlation with no effect."""
        spread = {
            (k, i, j): value
            for k, (term, G) in enumerate(zip(terms, self.covariances, strict=True))
            for (i, j), value in zip(
                parameter_places(term),
                parameter_values(term, VarCorr(term.effects, G)).tolist(),
                strict=True,
            )
        }
        values = {}
        for p in parameters:
            if p.kind == "sigma":
                values[p.name] = self.sigma
            elif p.kind == "beta":
                values[p.name] = float(self.beta[p.first])
            elif p.kind == "residual":
                values[p.name] = float(self.residual[p.first])
            else:
                values[p.name] = spread[p.term, p.first, p.second]
        return values


def list_parameters(fit: Fit) -> list[Parameter]:
    """Return the parameters of a fit in the order of R's ``confint``.

    Term by term the lower triangle of standard deviations and correlations, column by column; of a
    term with a structure its standard deviations, then its correlation. Then sigma, the parameters
    of a residual structure, and the coefficients. For a fit by lme4 2 or later the standard
    deviations of a term stand before its correlations, as there; a short name then means another
    parameter.
    """
    places = (
        (t, i, j, value)
        for t, term in enumerate(fit.model.terms)
        for (i, j), value in zip(
            parameter_places(term),
            parameter_values(term, VarCorr.of(fit.varcorr[term.name])).tolist(),
            strict=True,
        )
    )
    labelled = list(zip(parameter_labels(fit.model.terms), places, strict=True))
    if _deviations_first(fit):
        labelled.sort(key=lambda one: (one[1][0], one[1][1] != one[1][2]))
    parameters = [
        Parameter(f".sig{k:02d}", label, "sd" if i == j else "cor", t, i, j, value)
        for k, (label, (t, i, j, value)) in enumerate(labelled, start=1)
    ]
    if fit.has_residual:
        parameters.append(Parameter(".sigma", "sigma", "sigma", -1, 0, 0, fit.sigma))
    if fit.residual_covariance is not None:
        for k, (name, value) in enumerate(fit.residual_covariance.par.items()):
            parameters.append(Parameter(str(name), str(name), "residual", -1, k, k, float(value)))
    for k, (name, value) in enumerate(fit.beta.items()):
        parameters.append(Parameter(str(name), str(name), "beta", -1, k, k, float(value)))
    return parameters


def _deviations_first(fit: Fit) -> bool:
    """Whether the fit is by lme4 2.0-1 or later, which lists the standard deviations first."""
    version = fit.engine.versions.get("lme4", "")
    major = version.partition(".")[0]
    return fit.engine.name == "lme4" and major.isdigit() and int(major) >= 2


def choose(parameters: list[Parameter], parm: object) -> list[Parameter]:
    """Return the parameters that `parm` names, in their own order.

    Parameters
    ----------
    parameters : list of Parameter
    parm : str, iterable of str, or None
        Short or long names; ``"theta_"`` for standard deviations, correlations and sigma,
        ``"beta_"`` for the coefficients; None for all.

    Raises
    ------
    ArgumentError
        If there is no parameter of such a name.
    """
    if parm is None:
        return parameters
    if isinstance(parm, str):
        chosen: set[object] = {parm}
    elif isinstance(parm, Iterable):
        chosen = set(parm)
    else:
        chosen = {parm}
    known = {"theta_", "beta_"} | {n for p in parameters for n in (p.name, p.label)}
    unknown = [repr(name) for name in chosen if name not in known]
    if unknown:
        names = ", ".join(
            p.name if p.name == p.label else f"{p.name} ({p.label})" for p in parameters
        )
        raise ArgumentError(
            f"parm: there is no parameter {', '.join(sorted(unknown))}; the fit has {names}. "
            f"'theta_' stands for all that are no coefficients, 'beta_' for the coefficients."
        )
    return [
        p
        for p in parameters
        if chosen & {p.name, p.label, "beta_" if p.kind == "beta" else "theta_"}
    ]
