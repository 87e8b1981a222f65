"""`predict`: means and linear predictors of a generalised model's rows, old or new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pymackay.errors import ArgumentError, PymackayError
from pymackay.family.predictive import NewObservations, predictive_quantiles
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.predict.rows import (
    Rows,
    effects_of_terms,
    left_out_variances,
    make_rows,
    own_rows,
    weights_of_rows,
)
from pymackay.model.bases.scaling import chunks
from pymackay.model.columns.table import Table
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
    interval : {None, "confidence", "prediction"}
        Limits for the mean: those of the linear predictor, transformed. Or for a new observation:
        quantiles of the family's distribution, mixed over the normal distribution of the linear
        predictor, to which effects that `re_form` leaves out add their variance.
    weights : str or array-like, optional
        For a prediction interval: the numbers of trials of new rows, of which the limits are
        shares, or prior weights of a gaussian family.

    Raises
    ------
    PymackayError
        As `pymackay.predict`, and if there is no prediction interval because the link has a bound.

    Notes
    -----
    The variance of a linear predictor is that of ``x'β̂ + z'b̂`` as a prediction of ``x'β + z'b``:
    the conditional covariance of b by Laplace's approximation, and that of β̂, which moves the
    modes too (Booth & Hobert 1998, J. Am. Stat. Assoc. 93, eq. 12). Theta is taken as known.
    """
    _check(type, interval, level, random_only)
    if weights is not None and interval != "prediction":
        raise ArgumentError("weights are for prediction intervals; leave them out")
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
    if interval == "prediction":
        variance = left_out_variances(fit, problem.model, newdata, re_form, rows, {})
        spread = np.sqrt(se**2 + variance)
        sizes = _sizes(fit, problem, newdata, weights)
        tail = 0.5 * (1.0 - level)
        table["lower"], table["upper"] = _limits(fit, eta, spread, sizes, tail)
    elif interval is not None:
        reach = float(ndtri(0.5 + 0.5 * level)) * se
        ends = [eta - reach, eta + reach]
        if type == "response":
            ends = list(np.sort([family.mean(end) for end in ends], axis=0))
        table["lower"], table["upper"] = ends
    return table


def _limits(
    fit: Fit, eta: np.ndarray, sd: np.ndarray, sizes: np.ndarray, tail: float
) -> list[np.ndarray]:
    """Return the limits of new observations, each (m,); nan where the predictor is missing."""
    general = general_part(fit, "predict")
    if general.family.is_bounded:
        raise PymackayError(
            f"predict(interval='prediction') needs a mean for every linear predictor, which the "
            f"link {general.family.link!r} does not have. Take quantiles of draws by fit.simulate, "
            f"or fit the model with the link 'log'."
        )
    known = np.isfinite(eta)
    new = NewObservations(general.family, eta[known], sd[known], general.dispersion, sizes[known])
    limits = []
    for share in (tail, 1.0 - tail):
        values = np.full(len(eta), np.nan)
        values[known] = predictive_quantiles(new, share)
        limits.append(values)
    return limits


def _sizes(fit: Fit, problem: GeneralProblem, newdata: Any, weights: Any) -> np.ndarray:
    """Return numbers of trials or prior weights of the rows, (m,)."""
    observed, family = problem.laplace.rows.observed, problem.laplace.family
    sizes = observed.totals if family.name == "binomial" else observed.weights
    if newdata is None:
        if weights is not None:
            raise ArgumentError("weights go with newdata; the model's own rows have their own")
        return sizes
    if weights is not None:
        return np.asarray(weights_of_rows(problem.model, newdata, weights), dtype=np.float64)
    if family.name in ("binomial", "gaussian") and (sizes != 1.0).any():
        what = "numbers of trials" if family.name == "binomial" else "prior weights"
        raise ArgumentError(
            f"a prediction interval depends on the {what} of the new rows; pass weights, a column "
            f"of newdata or one number for each row"
        )
    return np.ones(Table(newdata).n)


def _check(type: str, interval: Any, level: Any, random_only: bool) -> None:
    if type not in TYPES:
        raise ArgumentError(f"type must be 'response' or 'link', but it is {type!r}.")
    if random_only and type == "response":
        raise ArgumentError(
            "random_only leaves the fixed effects out, so that there is no mean; pass type='link'."
        )
    if interval not in (None, "confidence", "prediction"):
        raise ArgumentError(
            f"interval is {interval!r}, but must be None, 'confidence' or 'prediction'"
        )
    if interval == "prediction" and (type == "link" or random_only):
        raise ArgumentError(
            "a prediction interval is for a new observation, on the scale of the response; leave "
            "type='link' and random_only out, or ask for interval='confidence'"
        )
    if not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise ArgumentError(
            f"level is {level!r}, but a coverage lies between 0 and 1, such as 0.95"
        )


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
