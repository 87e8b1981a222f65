"""`check`: numbers and sentences about how well a model fits its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.infer.checks.smooth import Smooth, smooth
from pymackay.infer.kinds import SAME, by_kind
from pymackay.infer.predict.rows import effects_of_terms
from pymackay.infer.problem import model_of
from pymackay.late import LateMethod
from pymackay.model.model import GroupingFactor, Model
from pymackay.results import Fit

_DOUBT = 0.01  # p-values below it are called evidence
_FEW = 20  # levels under which nothing is said of a distribution
_SCALED = "residual / σ"
_HEAVY = 1.0  # Cook's distance that moves beta by about its standard error


@dataclass(frozen=True, eq=False, repr=False)
class Check:
    """How well a model fits its data.

    Attributes
    ----------
    sentences : mapping of str to str
        By check (``"mean"``, ``"variance"``, ``"normal residuals"``, ``"normal effects"``,
        ``"influence"``), one sentence.
    p_values : pandas.Series
        Of the tests behind them; nan where there is none.
    residuals : numpy.ndarray, shape (n,)
        √weight · residual / sigma, whitened where the residuals have a covariance structure; of a
        generalised model normal quantiles of the ranks among 250 responses that it simulates with
        its predicted random effects (Dunn & Smyth 1996).
    fitted : numpy.ndarray, shape (n,)
        Of a generalised model the linear predictor.
    effects : mapping of str to numpy.ndarray, each (levels,)
        Predicted random effects over the standard deviation that predictions should have.
    influence : mapping of str to pandas.Series
        Grouping factor to the approximate Cook's distance of its levels, largest first.
    mean_curve, variance_curve : Smooth or None
        Of the residuals, and of the roots of their sizes, over the fitted values.
    label : str
        What the residuals are called in pictures.
    """

    sentences: Mapping[str, str]
    p_values: pd.Series
    residuals: np.ndarray
    fitted: np.ndarray
    effects: Mapping[str, np.ndarray]
    influence: Mapping[str, pd.Series]
    mean_curve: Smooth | None = field(default=None)
    variance_curve: Smooth | None = field(default=None)
    label: str = _SCALED

    plot = LateMethod("pymackay.plots.check", "check")

    def __repr__(self) -> str:
        width = max(map(len, self.sentences))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in self.sentences.items())


def check(fit: Fit) -> Check:
    """Check the mean, the variance, the distributions and the influence of groups.

    Parameters
    ----------
    fit : Fit
        Made by this package, with its rows. A million rows take seconds.

    Returns
    -------
    Check
        Prints one sentence for each check; ``.plot()`` draws the panel.

    Raises
    ------
    PymackayError
        If the fit does not hold its rows.

    Notes
    -----
    With `residual=` the residuals are whitened by the inverse factor of their covariance, so that
    they are independent if the structure is right; each is what its row adds to the earlier rows of
    its group.

    *Mean*: an F test of a spline of the residuals over the fitted values against a straight line.
    *Variance*: the same of the root of their sizes against a constant. *Normal*: D'Agostino and
    Pearson's test of skewness and kurtosis; with many rows it finds departures that do not matter,
    so that their sizes are said too. *Influence*: to first order, leaving group j out moves beta by
    ``vcov s_j``, with ``s_j = X_j'W_j e_j / sigma²`` and e the conditional residuals;
    ``s_j' vcov s_j / p`` approximates Cook's distance. `influence` gives exact ones by refits.

    References
    ----------
    D'Agostino, Pearson 1973, Biometrika 60.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> list(pm.check(fit).sentences)
    ['mean', 'variance', 'normal residuals', 'normal effects', 'influence']
    """
    model = model_of(fit, "check", residual=True)
    rows = checked_rows(fit)
    residuals, fitted = rows.residuals, rows.fitted
    mean, variance = smooth(fitted, residuals), smooth(fitted, np.sqrt(np.abs(residuals)))
    effects = _standardised_effects(fit, model)
    cooks = _approximate_cooks(fit, model, rows.scores)
    p = {
        "mean": np.nan if mean is None else mean.p_curve,
        "variance": np.nan if variance is None else variance.p_any,
        "normal residuals": _normal_p(residuals),
        "normal effects": min((_normal_p(b) for b in effects.values()), default=np.nan),
        "influence": np.nan,
    }
    sentences = {
        "mean": _trend("Residuals follow", "a curve", "no curve", p["mean"]),
        "variance": _trend("Their size follows", "the fitted values", "no trend", p["variance"]),
        "normal residuals": _shape("Residuals", residuals, p["normal residuals"]),
        "normal effects": _effects_sentence(effects, bool(model.terms)),
        "influence": _influence_sentence(cooks),
    }
    return Check(
        sentences=sentences,
        p_values=pd.Series(p, name="p.value"),
        residuals=residuals,
        fitted=fitted,
        effects=effects,
        influence=cooks,
        mean_curve=mean,
        variance_curve=variance,
        label=rows.label,
    )


@dataclass(frozen=True, eq=False)
class CheckedRows:
    """What is checked of the rows, each of shape (n,).

    Attributes
    ----------
    residuals : numpy.ndarray
        Standard normal if the model is right.
    fitted : numpy.ndarray
    scores : numpy.ndarray
        Derivatives of the log likelihood by the linear predictor.
    label : str
        What the residuals are called in pictures.
    """

    residuals: np.ndarray
    fitted: np.ndarray
    scores: np.ndarray
    label: str = _SCALED


@by_kind(
    "pymackay.infer.general.checked:checked_rows",
    residual="pymackay.infer.residual.checked:checked_rows",
)
def checked_rows(fit: Fit) -> CheckedRows:
    """Return residuals, fitted values and scores of the rows."""
    model = model_of(fit, "check")
    weights = np.ones(1) if model.weights is None else model.weights
    standardised = np.sqrt(weights) * fit.residuals.to_numpy() / fit.sigma
    scores = weights * fit.residuals.to_numpy() / fit.sigma**2
    return CheckedRows(standardised, fit.fitted.to_numpy(), scores)


def _standardised_effects(fit: Fit, model: Model) -> dict[str, np.ndarray]:
    """Return b̂ / √(V − C): predictions vary less than effects, by their error variance C."""
    made, starts = {}, dict.fromkeys(model.factors, 0)
    for term, b in zip(model.terms, effects_of_terms(fit), strict=True):
        start = starts[term.group]
        starts[term.group] += len(term.effects)
        C = np.diagonal(fit.pev[term.group], axis1=1, axis2=2)[:, start : starts[term.group]]
        V = np.diag(fit.varcorr[term.name].to_numpy())
        for k, effect in enumerate(term.effects):
            spread = V[k] - C[:, k]
            if V[k] > 0.0 and (spread > 1e-6 * V[k]).all():
                made[f"{effect} by {term.name}"] = b[:, k] / np.sqrt(spread)
    return made


def _approximate_cooks(fit: Fit, model: Model, scores: np.ndarray) -> dict[str, pd.Series]:
    if not model.fixed:
        return {}
    score = model.X * scores[:, None]
    vcov, made = fit.vcov.to_numpy(), {}
    for name, factor in groups_of(fit, model).items():
        size = len(factor.levels)
        s = np.column_stack([np.bincount(factor.codes, column, size) for column in score.T])
        cooks = np.einsum("ja,ab,jb->j", s, vcov, s) / max(len(vcov), 1)
        series = pd.Series(cooks, index=pd.Index(factor.levels, name=name), name="cooks_distance")
        made[name] = series.sort_values(ascending=False, kind="stable")
    return made


@by_kind(SAME, residual="pymackay.infer.residual.refit:groups_of")
def groups_of(fit: Fit, model: Model) -> Mapping[str, GroupingFactor]:
    """Return the grouping factors whose levels may be influential, by name."""
    return model.factors


def _normal_p(values: np.ndarray) -> float:
    if len(values) < _FEW or not np.ptp(values) > 0.0:
        return float("nan")
    return float(stats.normaltest(values).pvalue)


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _trend(what: str, some: str, none: str, p: float) -> str:
    if np.isnan(p):
        return "There are too few rows, or fitted values, to say."
    if p < _DOUBT:
        return f"{what} {some} ({_p_text(p)})."
    return f"{what} {none} that the data show ({_p_text(p)})."


def _shape(what: str, values: np.ndarray, p: float) -> str:
    """Say how a distribution departs from the normal one."""
    if np.isnan(p):
        return f"{what}: too few to say, {len(values)}."
    skew, kurtosis = float(stats.skew(values)), float(stats.kurtosis(values))
    sizes = f"skewness {skew:.2f}, excess kurtosis {kurtosis:.2f}, {_p_text(p)}"
    if p >= _DOUBT:
        return f"{what} look normal ({sizes})."
    if abs(skew) > abs(kurtosis):
        return f"{what} are skewed ({sizes})."
    tails = "heavier" if kurtosis > 0.0 else "lighter"
    return f"{what} have {tails} tails than the normal distribution ({sizes})."


def _effects_sentence(effects: Mapping[str, np.ndarray], has_terms: bool) -> str:
    if not has_terms:
        return "There are no random effects."
    said = [
        _shape(f"Effects {name}", values, _normal_p(values)) for name, values in effects.items()
    ]
    return " ".join(said) or "No random effect varies enough to say."


def _influence_sentence(cooks: Mapping[str, pd.Series]) -> str:
    said = [] if cooks else ["There are no groups, or no fixed effects that one could move."]
    for name, series in cooks.items():
        largest = float(series.iloc[0])
        heavy = int((series > _HEAVY).sum())
        text = f"{name} {series.index[0]} moves the fixed effects most"
        text += f" (Cook's distance about {largest:.2g}"
        said.append(text + (f"; {heavy} above {_HEAVY:g})." if heavy else ")."))
    return " ".join(said)
