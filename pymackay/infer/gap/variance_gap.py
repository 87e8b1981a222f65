"""The variance gap: what the predictions show of each variance, and what shrinkage hides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import columns_in_group
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.kinds import by_kind
from pymackay.results import Fit, TermSummary, check_fit

GAP_COLUMNS = (
    "term",
    "group",
    "effect",
    "levels",
    "variance",
    "prediction_variance",
    "error_variance",
    "total",
    "residue",
    "hidden_share",
    "gamma",
)

_SAME = 1e-7  # relative: criteria of one model at one theta


@by_kind("pymackay.infer.general.gap:general_gap", residual="same")
def variance_gap(
    fit: Fit,
    data: pd.DataFrame | None = None,
    *,
    weights: str | Any | None = None,
    offset: str | Any | None = None,
    subset: str | Any | None = None,
    contrasts: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Split each estimated variance into what the predictions show and what they hide.

    By the law of total variance ``Var(b) = Var E(b|y) + E Var(b|y)``. At the optimum of the
    likelihood the split is exact with `condvar` as the second part, and at the optimum of the REML
    criterion with `pev`, so a residue of zero certifies that an optimum was reached. A term with a
    covariance structure keeps this only for what the structure leaves free: if all its effects
    share a variance, their residues sum to zero, and one alone says nothing.

    For a fit of `glmer` with Laplace's approximation the split is exact too, with `condvar`, and
    with posterior means in the place of the modes b̂: ``prediction_variance`` is the mean of
    b̂ (b̂ − ρ), where b̂ − ρ/2 is the posterior mean to second order. For MacKay's loop with modes it
    is the mean square of the modes.

    Parameters
    ----------
    fit : Fit
        Of any engine; a fit of a generalised model must be pymackay's own. One that offers `pev`
        (a REML fit) or `condvar` (an ML fit) is all that is needed: every fit of pymackay, every
        live fit of lme4, and recorded ones of up to some thousand levels.
    data, weights, offset, subset, contrasts
        What the fit was made with; for a fit that does not offer its error variances. They are
        computed from the model at the fit's theta.

    Returns
    -------
    pandas.DataFrame
        One row per term and effect; variances are absolute, in the squared unit of the effect.

        - ``term``, ``group``, ``effect``: as in ``fit.varcorr``.
        - ``levels``: number J of levels of the grouping factor.
        - ``variance``: the estimate v.
        - ``prediction_variance``: mean square of the J predicted effects, about zero.
        - ``error_variance``: mean over the levels of pev (REML) or condvar (ML).
        - ``total``: ``prediction_variance + error_variance``.
        - ``residue``: ``variance - total``, what is left over.
        - ``hidden_share``: ``error_variance / variance``, the share that shrinkage hid; 1 where
          the variance is zero, its limit.
        - ``gamma``: MacKay's effective number of effects, ``levels * (1 - hidden_share)``; 0 where
          the variance is zero.

    Raises
    ------
    ArgumentError
        If `fit` is not a `Fit`, or was not made with `data`.
    PymackayError
        If the fit does not offer the error variances its criterion needs, and `data` are not given.

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4, section 4.
    Dempster, A. P., Laird, N. M., Rubin, D. B. (1977). Maximum likelihood from incomplete data via
    the EM algorithm. J. R. Statist. Soc. B 39.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> gap = pm.variance_gap(fit)
    >>> bool(abs(gap["residue"] / gap["variance"]).max() < 1e-6)
    True
    """
    if not check_fit(fit, "variance_gap").model.terms:
        raise PymackayError(
            "variance_gap splits the variances of random effects, but the model has none; its "
            "residuals are checked by pymackay.check and described by fit.residual_covariance."
        )
    if _source(fit) is not None:
        errors = _diagonals(fit.model.terms, fit.pev if fit.reml else fit.condvar)
    elif data is not None:
        options = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
        errors = _computed(fit, data, options)
    else:
        raise _no_error_variances(fit)
    rows = [row for part in _term_parts(fit, errors) for row in effect_rows(part)]
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


@dataclass(frozen=True, eq=False)
class TermPart:
    """What the variance gap of one term is computed from.

    Attributes
    ----------
    variance : numpy.ndarray, shape (q,)
        Estimated variances.
    shown : numpy.ndarray, shape (q,)
        Mean squares of the predictions.
    errors : numpy.ndarray, shape (J, q)
        Diagonals of the error covariances, level by level.
    """

    term: TermSummary
    variance: np.ndarray
    shown: np.ndarray
    errors: np.ndarray


def _source(fit: Fit) -> object:
    """Return the source of the error variances: pev under REML, condvar under ML."""
    return fit.pev_source if fit.reml else fit.condvar_source


def _no_error_variances(fit: Fit) -> PymackayError:
    kind, what = ("a REML", "pev") if fit.reml else ("an ML", "condvar")
    return PymackayError(
        f"fit: the variance gap of {kind} fit needs {what}, which this fit, made by "
        f"{fit.engine}, does not offer. Pass data=, and weights, offset, subset and contrasts if "
        f"the fit had them: {what} is then computed from the model at the fit's theta."
    )


def _computed(fit: Fit, data: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the error variances, term by term (J, q), from the model at the fit's theta."""
    # the solvers load TensorFlow, which other fits do not need here
    from pymackay.covariance.layout import theta_names
    from pymackay.model.design.build import build_model
    from pymackay.solve.assemble import evaluate_at
    from pymackay.solve.choose import make_problem

    model = build_model(fit.formula, data, **options)
    terms = {term.name: term.effects for term in model.terms}
    names = theta_names(model.terms)
    if {t.name: t.effects for t in fit.model.terms} != terms or set(fit.theta.index) != set(names):
        raise ArgumentError(f"data: give the terms {terms}, but the fit has {fit.model.terms}.")
    problem = make_problem(model, reml=fit.reml)
    in_order = list(fit.theta.index) == names  # two terms of a group may share a name
    at = evaluate_at(problem, (fit.theta if in_order else fit.theta[names]).to_numpy())
    off = abs(at.criterion - fit.criterion) / max(abs(fit.criterion), fit.n_obs)
    if at.n_obs != fit.n_obs or off > _SAME:
        raise ArgumentError(
            f"data: the fit was not made with these: {at.n_obs} rows are used, the fit had "
            f"{fit.n_obs}, and the criterion at its theta is {at.criterion:.10g} here and "
            f"{fit.criterion:.10g} there. Pass the data, weights, offset, subset and contrasts of "
            f"the fit."
        )
    unit = (fit.sigma / at.sigma) ** 2
    relative = _diagonals(at.model.terms, at.pev if fit.reml else at.condvar)
    return {name: unit * errors for name, errors in relative.items()}


def _diagonals(
    terms: Sequence[TermSummary], blocks: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the diagonals of the covariances of each term, (J, q), from those of its group."""
    return {
        term.name: np.diagonal(np.asarray(blocks[term.group]), axis1=1, axis2=2)[:, columns]
        for term, columns in zip(terms, columns_in_group(terms), strict=True)
    }


def _term_parts(fit: Fit, errors: Mapping[str, np.ndarray]) -> Iterator[TermPart]:
    terms = fit.model.terms
    for term, columns in zip(terms, columns_in_group(terms), strict=True):
        predictions = fit.ranef[term.group].to_numpy(dtype=np.float64)[:, columns]
        yield TermPart(
            term=term,
            variance=np.diag(fit.varcorr[term.name].to_numpy(dtype=np.float64)),
            shown=np.einsum("ji,ji->i", predictions, predictions) / len(predictions),
            errors=errors[term.name],
        )


def effect_rows(part: TermPart) -> Iterator[dict[str, object]]:
    """Yield the table's rows of one term."""
    levels, shown = len(part.errors), part.shown
    hidden = part.errors.mean(axis=0)
    for i, effect in enumerate(part.term.effects):
        variance = part.variance[i]
        share = hidden[i] / variance if variance > 0.0 else 1.0
        yield {
            "term": part.term.name,
            "group": part.term.group,
            "effect": effect,
            "levels": levels,
            "variance": variance,
            "prediction_variance": shown[i],
            "error_variance": hidden[i],
            "total": shown[i] + hidden[i],
            "residue": variance - (shown[i] + hidden[i]),
            "hidden_share": share,
            "gamma": levels * (1.0 - share),
        }
