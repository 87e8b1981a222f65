"""`general_gap`: the variance gap of a generalised model, as an exact identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import columns_in_group
from pymackay.errors import PymackayError
from pymackay.family.general import PQL
from pymackay.infer.gap.variance_gap import GAP_COLUMNS, TermPart, effect_rows
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.results import Fit
from pymackay.solve.pirls.problem import GeneralProblem, in_units


def general_gap(fit: Fit, data: pd.DataFrame | None = None, **given: Any) -> pd.DataFrame:
    """Return `pymackay.variance_gap` of a fit of a generalised model.

    Where Laplace's criterion is lowest, ``V = Σ_j [b̂b̂' − ½ (ρb̂' + b̂ρ') + condvar] / J`` with the
    modes b̂ and ``ρ = Λr``: r is twice the distance from the mode to the posterior mean, to second
    order (Tierney & Kadane 1986). The derivative of the criterion by the variances is zero exactly
    where the two sides are equal. At the fixed point of penalised quasi-likelihood the same holds
    with ρ = 0.

    Raises
    ------
    PymackayError
        If the fit does not hold its model, or was made with another criterion.
    """
    what = "the variance gap"
    problem = general_problem(fit, what, rows=False)
    general = general_part(fit, what)
    if general.estimated_by != PQL and general.nagq != 1:
        raise PymackayError(
            f"variance_gap is an identity of Laplace's approximation, but this fit was made with "
            f"nagq={general.nagq!r}; fit the model with nagq=1."
        )
    if general.dispersion_by == "lme4":
        raise PymackayError(
            "variance_gap splits the variances of a likelihood, but this fit was made with "
            "dispersion='lme4'; fit the model with dispersion='ml'."
        )
    rows: list[dict[str, object]] = []
    shown = _shown(problem, quasi=general.estimated_by == PQL)
    columns = columns_in_group(fit.model.terms)
    for k, (term, place) in enumerate(zip(fit.model.terms, columns, strict=True)):
        errors = np.diagonal(fit.condvar[term.group], axis1=1, axis2=2)[:, place]
        variance = np.diag(fit.varcorr[term.name].to_numpy(dtype=np.float64))
        rows += effect_rows(TermPart(term, variance, shown[k], errors))
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def _shown(problem: GeneralProblem, *, quasi: bool) -> list[np.ndarray]:
    """Return the mean of ``b̂ (b̂ − ρ)`` of each term's effects, (q,); ρ is 0 for modes alone."""
    point = problem.point
    moved = np.zeros_like(point.mode.u) if quasi else point.movement.r
    modes = in_units(point, point.given.scaled(point.mode.u))
    shifts = in_units(point, point.given.scaled(moved))
    pairs = zip(modes, shifts, strict=True)
    return [np.einsum("ji,ji->i", b, b - rho) / len(b) for b, rho in pairs]
