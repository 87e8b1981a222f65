"""The variance gap: what the predictions show of each variance, and what shrinkage hides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, PymackayError
from pymackay.results import Fit, TermSummary

__all__ = ["GAP_COLUMNS", "variance_gap"]

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


def variance_gap(fit: Fit) -> pd.DataFrame:
    """Split each estimated variance into what the predictions show and what they hide.

    By the law of total variance ``Var(b) = Var E(b|y) + E Var(b|y)``. At the optimum of the
    likelihood the split is exact with `condvar` as the second part, and at the optimum of the REML
    criterion with `pev`, so a residue of zero certifies that an optimum was reached.

    Parameters
    ----------
    fit : Fit
        Of any engine that offers `pev` (a REML fit) or `condvar` (an ML fit).

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
        If `fit` is not a `Fit`.
    PymackayError
        If the fit does not offer the error variances its criterion needs.

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
    if not isinstance(fit, Fit):
        raise ArgumentError(
            f"fit: expected a Fit (from pymackay.lmer or pymackay.lme4.lmer), "
            f"got {type(fit).__name__}."
        )
    errors = _error_variances(fit)
    rows = [row for part in _term_parts(fit, errors) for row in _effect_rows(part)]
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


@dataclass(frozen=True, eq=False)
class _TermPart:
    """One term's share of what a group holds.

    Attributes
    ----------
    variance : numpy.ndarray, shape (q,)
        Estimated variances.
    predictions : numpy.ndarray, shape (J, q)
    errors : numpy.ndarray, shape (J, q)
        Diagonals of the error covariances, level by level.
    """

    term: TermSummary
    variance: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray


def _error_variances(fit: Fit) -> Mapping[str, np.ndarray]:
    """Fetch pev under REML, condvar under ML: the ones that close the gap."""
    what, source = ("pev", fit.pev_source) if fit.reml else ("condvar", fit.condvar_source)
    if source is None:
        kind = "a REML" if fit.reml else "an ML"
        raise PymackayError(
            f"fit: the variance gap of {kind} fit needs {what}, which this fit, made by "
            f"{fit.engine}, does not offer. Ask pymackay for it at the same theta: "
            f"pymackay.evaluate(formula, data, fit.theta, reml={fit.reml})."
        )
    return fit.pev if fit.reml else fit.condvar


def _term_parts(fit: Fit, errors: Mapping[str, np.ndarray]) -> Iterator[_TermPart]:
    """Cut the columns of each group, where the terms of one group are joined, back into terms."""
    used: dict[str, int] = {}
    for term in fit.model.terms:
        start = used.get(term.group, 0)
        stop = used[term.group] = start + len(term.effects)
        diagonals = np.diagonal(np.asarray(errors[term.group]), axis1=1, axis2=2)
        yield _TermPart(
            term=term,
            variance=np.diag(fit.varcorr[term.name].to_numpy(dtype=np.float64)),
            predictions=fit.ranef[term.group].to_numpy(dtype=np.float64)[:, start:stop],
            errors=diagonals[:, start:stop],
        )


def _effect_rows(part: _TermPart) -> Iterator[dict[str, object]]:
    levels = len(part.predictions)
    shown = np.einsum("ji,ji->i", part.predictions, part.predictions) / levels
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
