"""`glmer` and `evaluate_glmer`: generalised linear mixed models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.api.theta import theta_values
from pymackay.arguments import hinted
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.family.family import Family, Observations
from pymackay.family.named import family_of
from pymackay.model.columns.table import Table, is_source
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.model.design.general_response import GeneralModel
from pymackay.results import Fit
from pymackay.solve.pirls.assemble import parameters
from pymackay.solve.pirls.criteria.laplace import DETERMINANTS, DISPERSIONS, Laplace
from pymackay.solve.pirls.fit import GeneralControl, evaluate_general, fit_general
from pymackay.solve.pirls.large.fit import choose_general, with_probes
from pymackay.solve.pirls.rows import Rows

ArrayLike = Any

_MOST_NODES = 200  # of Gauss and Hermite: beyond, weights underflow


@hinted
def glmer(
    formula: str,
    data: pd.DataFrame | Any,
    family: Family | type[Family] | str,
    *,
    nagq: int | str = 1,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: ArrayLike | None = None,
    control: GeneralControl | None = None,
    solver: str = "auto",
    determinant: str | None = None,
    dispersion: str = "ml",
    known: Mapping[str, pd.DataFrame] | None = None,
) -> Fit:
    """Fit a generalised linear mixed model by maximum likelihood.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"cbind(incidence, size - incidence) ~ period + (1 | herd)"``. Terms
        may have a covariance structure, as ``ar1(0 + time | subject)``.
    data : pandas.DataFrame
        One row per observation.
    family : str or Family
        ``"binomial"``, ``"poisson"``, ``"Gamma"``, ``"inverse.gaussian"``,
        ``"negative binomial"`` or ``"gaussian"``, or an object with another link such as
        ``pymackay.Binomial("probit")``. The shape of ``pymackay.NegativeBinomial()`` is estimated,
        that of ``pymackay.NegativeBinomial(theta=1.5)`` is held.
    nagq : int or "exact"
        How the random effects are integrated out. 1 (default): Laplace's approximation. 2 or more:
        adaptive Gauss-Hermite quadrature with so many nodes; for models with one grouping factor,
        of two or three effects by the product rule. ``"exact"``: to rounding, for one scalar term.
        0: Laplace's approximation at the joint mode of fixed and random effects, which is faster
        and less exact; standard errors take theta as known. The log likelihoods of all of them
        are on one scale.
    weights : str or array-like of shape (rows of `data`,), optional
        Prior weights, a column's name or numbers; for a binomial response that is a proportion,
        the numbers of trials.
    offset : str or array-like of shape (rows of `data`,), optional
        A part of the linear predictor that is known and has no coefficient, such as the logarithm
        of an exposure. It is added to what ``offset(...)`` in the formula gives.
    subset, contrasts, known
        As in `lmer`.
    start : array-like of shape (m,), optional
        Theta to start from, in lme4's order; by default computed from the data.
    control : GeneralControl, optional
        Tolerances of the search.
    solver : {"auto", "exact", "iterative"}
        How the equations of the random effects are solved. ``"exact"``: with a dense matrix of the
        effects of all grouping factors but the largest. ``"iterative"``: by conjugate gradients
        and random probes, for two or more grouping factors with many levels; each variance has a
        Monte-Carlo error that is stated and kept below ``control.tolerance``. ``"auto"`` decides
        by the size, before anything large is allocated.
    determinant : {"expected", "observed"}, optional
        Weights in the determinant of Laplace's approximation: expected ones, as lme4 takes, or
        those of the observed second derivatives, as glmmTMB takes. They differ for links that are
        not canonical. By default observed where a dispersion is estimated by maximum likelihood,
        otherwise expected.
    dispersion : {"ml", "lme4"}
        For the families Gamma, inverse.gaussian and gaussian: ``"ml"`` estimates the dispersion
        with all other parameters by maximum likelihood. ``"lme4"`` minimises lme4's criterion
        instead, which is not a likelihood, for comparisons with lme4.

    Returns
    -------
    Fit
        Its `general` part holds family, dispersion, shape and linear predictor. `fitted` are
        means, `residuals` deviance residuals, `criterion` is −2 log likelihood with all constants.
        Variances in `varcorr` and elements of `theta` are on the scale of the linear predictor.

    Raises
    ------
    SeparationError
        If the likelihood has no maximum; the message names the columns and the direction.
    PymackayError
        If formula, data or arguments do not define a model; the message says what to do.

    Warns
    -----
    ConvergenceWarning
        If the optimum could not be certified.
    PymackayWarning
        If counts are not whole numbers.

    References
    ----------
    Breslow, Clayton 1993, J. Am. Stat. Assoc. 88, eq. 4: Laplace's approximation.
    Skaug, Fournier 2006, Comput. Stat. Data Anal. 51: its exact gradient.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymackay as pm
    >>> data = pd.DataFrame({
    ...     "died": [1, 4, 0, 2, 5, 3, 1, 0],
    ...     "lived": [9, 6, 10, 8, 5, 7, 9, 10],
    ...     "dose": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
    ...     "batch": ["a", "a", "b", "b", "c", "c", "d", "d"],
    ... })
    >>> fit = pm.glmer("cbind(died, lived) ~ dose + (1 | batch)", data, "binomial")
    >>> fit.beta.round(4).to_dict(), round(fit.criterion, 4)
    ({'(Intercept)': -1.7114, 'dose': 0.3384}, 29.4568)
    """
    family = family_of(family)
    laplace = laplace_of(
        formula,
        data,
        family,
        Arguments(weights, offset, subset, contrasts, known=known),
        determinant,
        dispersion,
    )
    check_choices(nagq, control)
    theta = None if start is None else theta_values(start, laplace.rows.model)
    choice = choose_general(laplace.rows, solver, nagq)
    if choice.iterative:
        laplace = with_probes(laplace, control or GeneralControl())
    messages = (choice.message,) if choice.message else ()
    return _certified(fit_general(laplace, nagq, start=theta, control=control, messages=messages))


@hinted
def evaluate_glmer(
    formula: str,
    data: pd.DataFrame,
    theta: ArrayLike,
    beta: ArrayLike,
    family: Family | type[Family] | str,
    *,
    nagq: int | str = 1,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
    determinant: str | None = None,
    dispersion: str = "ml",
    phi: float | None = None,
    known: Mapping[str, pd.DataFrame] | None = None,
) -> Fit:
    """Return the fit of a generalised model at given parameters, without optimisation.

    Parameters
    ----------
    formula, data, family, nagq, weights, offset, subset, contrasts, determinant, dispersion, known
        As in `glmer`. A negative binomial family must have its shape.
    theta : array-like of shape (m,), or pandas.Series named as ``fit.theta``
        Covariance parameters in lme4's order.
    beta : array-like of shape (p,)
        Fixed effects in the order of ``fit.beta``; with ``nagq=0``, where the search for the joint
        mode begins.
    phi : float, optional
        The dispersion of a family that has one, with ``dispersion="ml"``.

    Returns
    -------
    Fit
        Without standard errors, which are nan.

    Raises
    ------
    PymackayError
        As in `glmer`, and if a parameter has the wrong length or is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymackay as pm
    >>> data = pd.DataFrame({"y": [0, 1, 1, 1, 0, 1], "g": ["a", "a", "b", "b", "c", "c"]})
    >>> fit = pm.evaluate_glmer("y ~ 1 + (1 | g)", data, [0.0], [0.0], "binomial")
    >>> round(fit.criterion, 6)  # 12 log 2
    8.317766
    """
    family = family_of(family)
    laplace = laplace_of(
        formula,
        data,
        family,
        Arguments(weights, offset, subset, contrasts, known=known),
        determinant,
        dispersion,
    )
    check_choices(nagq, None)
    if laplace.extra == "shape":
        raise ArgumentError("family needs its shape: give pymackay.NegativeBinomial(theta=...).")
    extra = _log_dispersion(laplace, phi)
    model = laplace.rows.model
    values = np.asarray(beta, dtype=np.float64)
    if values.shape != (len(model.fixed),) or not np.isfinite(values).all():
        raise ArgumentError(
            f"beta must be {len(model.fixed)} finite numbers ({', '.join(model.fixed)}), but it "
            f"is {beta!r}."
        )
    psi = parameters(laplace, theta_values(theta, model), values, extra)
    return evaluate_general(laplace, nagq, psi)


def _log_dispersion(laplace: Laplace, phi: float | None) -> float | None:
    """Return log φ where the model has a dispersion of its own."""
    if laplace.extra != "dispersion":
        if phi is not None:
            raise ArgumentError(
                f"phi is {phi!r}, but there is no dispersion to give for the family "
                f"{laplace.family.name} with dispersion={laplace.dispersion!r}; leave it out."
            )
        return None
    if phi is None or not (np.isfinite(phi) and phi > 0.0):
        raise ArgumentError(
            f"phi must be a positive number, the dispersion of the family {laplace.family.name}, "
            f"but it is {phi!r}."
        )
    return float(np.log(phi))


def laplace_of(
    formula: str,
    data: Any,
    family: Family,
    arguments: Arguments,
    determinant: str | None,
    dispersion: str,
) -> Laplace:
    """Return the criterion of a model's rows."""
    determinant = criterion_choices(family, determinant, dispersion)
    if is_source(data):
        raise ArgumentError(
            "data of a generalised model must be a data frame: its rows are read in every step of "
            "the fit, so that partitions cannot be summed up once. Read them into one frame."
        )
    general = build_general(formula, Table(data), arguments, family.support, family.name)
    return Laplace(Rows.of(general.model, observations(general)), family, determinant, dispersion)


def criterion_choices(family: Family, determinant: str | None, dispersion: str) -> str:
    """Return the weights of the determinant, the default where none are given."""
    if dispersion not in DISPERSIONS:
        raise ArgumentError(f"dispersion must be 'ml' or 'lme4', but it is {dispersion!r}.")
    if determinant is None:
        by_ml = family.has_dispersion and dispersion == "ml"
        determinant = "observed" if by_ml else "expected"
    if determinant not in DETERMINANTS:
        raise ArgumentError(
            f"determinant must be 'expected' or 'observed', but it is {determinant!r}."
        )
    return determinant


def observations(general: GeneralModel) -> Observations:
    """Return the response of a generalised model as its family takes it."""
    response = general.response
    return Observations.of(response.y, response.weights, response.totals)


def check_choices(nagq: Any, control: Any) -> None:
    """Refuse values of arguments that `glmer` does not have."""
    number = isinstance(nagq, int | np.integer) and not isinstance(nagq, bool)
    if not (nagq == "exact" or (number and 0 <= nagq <= _MOST_NODES)):
        raise ArgumentError(
            f"nagq must be a whole number from 0 to {_MOST_NODES}, or 'exact', but it is {nagq!r}."
        )
    if control is not None and not isinstance(control, GeneralControl):
        raise ArgumentError(
            f"control must be a pymackay.solve.pirls.fit.GeneralControl, but it is a "
            f"{type(control).__name__}."
        )


def _certified(fit: Fit) -> Fit:
    if not fit.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} is not certified: {fit.convergence.message}. "
            f"Try another start, or a simpler random part.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return fit
