"""`predict`: means and linear predictors of a generalised model's rows, old or new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.predict.rows import Rows, effects_of_terms, make_rows, own_rows
from pymackay.model.bases.scaling import chunks
from pymackay.results import Fit
from pymackay.solve.pirls.problem import GeneralProblem

TYPES = ("response", "link")
_CELLS = 2_000_000  # of a dense intermediate: rows are taken in chunks of this size


def predict(
    fit: Fit,
    newdata: Any = None,
    *,
    type: str = "response",
    re_form: Any = None,
    allow_new_levels: bool = False,
    se_fit: bool = False,
    interval: str | None = None,
    level: float = 0.95,
    random_only: bool = False,
    offset: Any = None,
    weights: Any = None,
) -> pd.Series | pd.DataFrame:
    """Predict rows of a generalised model; see `pymackay.predict` for what is not said here.

    Parameters
    ----------
    type : {"response", "link"}
        The mean (default), or the linear predictor.
    se_fit : bool
        Whether to add standard errors, on the scale asked for: of the mean by the delta method.
    interval : {None, "confidence"}
        Limits for the mean; those of the linear predictor, transformed.

    Raises
    ------
    PymackayError
        As `pymackay.predict`, and if a prediction interval is asked for.

    Notes
    -----
    The variance of a linear predictor is that of ``x'β̂ + z'b̂`` as a prediction of ``x'β + z'b``:
    the conditional covariance of b by Laplace's approximation, and that of β̂, which moves the
    modes too (Booth & Hobert 1998, J. Am. Stat. Assoc. 93, eq. 12). Theta is taken as known.
    """
    _check(type, interval, level, random_only, weights)
    problem = general_problem(fit, "predict")
    family = general_part(fit, "predict").family
    if newdata is None:
        if offset is not None:
            raise ArgumentError("offset goes with newdata; the model's own rows have their own")
        rows = own_rows(problem.model, re_form)
    else:
        rows = make_rows(
            problem.model,
            newdata,
            re_form,
            allow_new_levels=bool(allow_new_levels),
            offset=offset,
            fixed=not random_only,
        )
    missing = rows.incomplete()
    eta = _predictor(fit, rows, random_only)
    eta[missing] = np.nan
    mean = eta if type == "link" else family.mean(eta)
    if not se_fit and interval is None:
        return pd.Series(mean, index=rows.index, name="fit")
    whole = rows.filled(missing)
    se = np.sqrt(_variances(fit, problem, whole.without_fixed() if random_only else whole))
    se[missing] = np.nan
    table = pd.DataFrame({"fit": mean}, index=rows.index)
    if se_fit:
        table["se"] = se if type == "link" else se * np.abs(family.mean_slope(eta))
    if interval is not None:
        reach = float(ndtri(0.5 + 0.5 * level)) * se
        ends = [eta - reach, eta + reach]
        if type == "response":
            ends = list(np.sort([family.mean(end) for end in ends], axis=0))
        table["lower"], table["upper"] = ends
    return table


def _check(type: str, interval: Any, level: Any, random_only: bool, weights: Any) -> None:
    if type not in TYPES:
        raise ArgumentError(f"type must be 'response' or 'link', but it is {type!r}.")
    if random_only and type == "response":
        raise ArgumentError(
            "random_only leaves the fixed effects out, so that there is no mean; pass type='link'."
        )
    if interval == "prediction":
        raise PymackayError(
            "predict(interval='prediction') is not there for generalised linear mixed models. Take "
            "quantiles of draws by fit.simulate, or interval='confidence'."
        )
    if interval not in (None, "confidence"):
        raise ArgumentError(f"interval is {interval!r}, but must be None or 'confidence'")
    if not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise ArgumentError(
            f"level is {level!r}, but a coverage lies between 0 and 1, such as 0.95"
        )
    if weights is not None:
        raise ArgumentError("weights are for prediction intervals of linear models; leave them out")


def _predictor(fit: Fit, rows: Rows, random_only: bool) -> np.ndarray:
    """Return ``x'β + z'b + offset`` of each row, (m,)."""
    eta = np.zeros(len(rows.X))
    if not random_only:
        eta += rows.X @ fit.beta.to_numpy()
        if rows.offset is not None:
            eta += rows.offset
    effects = effects_of_terms(fit)
    for term, columns, codes in rows.parts():
        known = np.where(codes[:, None] >= 0, effects[term][codes], 0.0)
        eta += np.einsum("nq,nq->n", columns, known)
    return eta


def _variances(fit: Fit, problem: GeneralProblem, rows: Rows) -> np.ndarray:
    """Return the variance of the error of each row's linear predictor, (m,).

    With a = Λ'z in the bases computed in: ``a'H⁻¹a + (x + M'a)'V(x + M'a)``, M the derivative of
    the modes by β and V the covariance of β̂; ``z'Gz`` is added for levels that are new.
    """
    own = problem.laplace.rows
    moves = problem.point.curvature.mode_slopes[:, : own.p]
    moves = moves @ own.basis.R  # by β in the user's units
    vcov = fit.vcov.to_numpy()
    made = np.empty(len(rows.X))
    for cut in chunks(len(made), max(1, _CELLS // own.n_effects)):
        a = _columns(problem, rows, cut)
        solved = problem.point.determinant.solve(a)
        whole = rows.X[cut] + a.T @ moves
        made[cut] = np.einsum("Nm,Nm->m", a, solved)
        made[cut] += np.einsum("na,ab,nb->n", whole, vcov, whole)
    for term, columns, codes in rows.parts():
        new = codes < 0
        V = fit.varcorr[fit.model.terms[term].name].to_numpy()
        made[new] += np.einsum("na,ab,nb->n", columns[new], V, columns[new])
    return made


def _columns(problem: GeneralProblem, rows: Rows, cut: slice) -> np.ndarray:
    """Return a = Λ'z of some rows, (N, m), whitened columns; nothing for levels that are new."""
    own = problem.laplace.rows
    z = np.zeros((own.n_effects, len(rows.X[cut])))
    used = {term: (columns[cut], codes[cut]) for term, columns, codes in rows.parts()}
    for span, block in zip(own.spans, own.blocks, strict=True):
        for term, place in own.term_slices(block):
            if term not in used:
                continue
            columns, codes = used[term]
            known = np.flatnonzero(codes >= 0)
            whitened = columns[known] @ own.transforms[term]
            for a in range(place.stop - place.start):
                at = span.start + (place.start + a) * block.n_levels + codes[known]
                z[at, known] = whitened[:, a]
    return problem.point.given.scaled_back(z)
