"""`judge_model`: fits a model by several engines and decides whether they disagree."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable

import numpy as np

import pymackay as pm
from pymackay.compare.distances import same_theta_rows
from pymackay.compare.rows import Row
from pymackay.fuzz.dense import dense_as_fit, dense_criterion
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.judge_general import judge_general
from pymackay.fuzz.outcome import Outcome, is_exact
from pymackay.model.model import Model

_LOWER = 1e-6  # difference of criteria that the optimiser guarantees
_STEPS = (1e-3, 1e-1)
_FEW, _SOME = (
    4,
    10,
)  # with over 4 parameters, only every tenth model is also judged by a tightened lme4
_ONE_DIGIT = 10.0
_FLAT = "equal criteria, other numbers"
_EXACT = "fits exactly, no optimum"
_UNSURE = "ours says it is not certified"
# lme4's errors for a badly scaled column of X, or at some theta of its search
_GIVES_UP = ("Downdated VtV is not positive definite",)


def judge_model(
    model: FuzzModel, *, ours: Callable[..., pm.Fit] | None = None, with_r: bool = True
) -> Outcome:
    """Fit a model by this package, by lme4 with default and tight settings, and by dense formulas.

    The engines agree if our numbers are the oracle's at our theta, no theta nearby has a lower
    criterion, and both comparisons with lme4 hold. If float64 is not accurate enough, the oracle
    decides in long double: it is no disagreement if lme4, or both engines alike, lose digits, or if
    the model fits exactly and has no optimum. A fit whose optimum is not certified is wrong only if
    lme4 finds a lower criterion.

    Parameters
    ----------
    model : FuzzModel
    ours : callable, optional
        The function that fits, with the arguments of `pymackay.lmer`, which is the default.
    with_r : bool
        False: the model is judged by the oracle alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if model.family:
                return judge_general(model, with_r)
            return _judge(model, ours or pm.lmer, with_r)
        except Exception as error:  # a crash is reported as a disagreement
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            return Outcome("crash", f"{type(error).__name__} at {place}: {error}")


def _judge(model: FuzzModel, ours: Callable[..., pm.Fit], with_r: bool) -> Outcome:
    """Return the outcome of fitting a model, compared with the oracle, then with lme4."""
    fit = _answer(ours, model)
    if isinstance(fit, pm.PymackayError):
        return _ours_refuses(fit, model, with_r)
    if is_exact(fit):
        return Outcome(_EXACT)
    objection = _against_oracle(fit, model, with_r) if fit.convergence.converged else None
    if objection:
        return objection
    if not with_r:
        return Outcome("as the oracle" if fit.convergence.converged else _UNSURE)
    theirs = _answer(pm.lme4.lmer, model, source="live")
    if isinstance(theirs, pm.PymackayError):
        return _lme4_refuses(theirs)
    outcome = _against_lme4(fit, theirs)
    if not outcome.agrees or (len(fit.theta) > _FEW and model.seed % _SOME):
        return outcome  # a tight search over many parameters takes a minute
    tight = _answer(pm.lme4.lmer, model, source="live", tight=True)
    if isinstance(tight, pm.PymackayError):
        return outcome
    tightened = _against_lme4(fit, tight)
    return outcome if tightened.agrees else tightened


def _ours_refuses(error: pm.PymackayError, model: FuzzModel, with_r: bool) -> Outcome:
    if not with_r:
        return Outcome("ours refuses, nobody else asked")
    theirs = _answer(pm.lme4.lmer, model, source="live")
    if isinstance(theirs, pm.PymackayError):
        return Outcome("both refuse")
    if not np.isfinite(theirs.criterion):
        return Outcome("ours refuses, lme4 gives no number")
    return Outcome("ours refuses", str(error))


def _lme4_refuses(error: pm.PymackayError) -> Outcome:
    """Return the outcome if only lme4 refuses, and the oracle confirms our numbers."""
    if any(words in str(error) for words in _GIVES_UP):
        return Outcome("lme4 gives up")
    if "are not numbers" in str(error):
        return Outcome("lme4 gives no number")
    return Outcome("lme4 refuses", str(error))


def _answer(
    engine: Callable[..., pm.Fit], model: FuzzModel, **more: object
) -> pm.Fit | pm.PymackayError:
    try:
        return engine(model.formula, model.data, reml=model.reml, **model.arguments, **more)
    except pm.PymackayError as error:
        return error


# ---- the oracle


def _against_oracle(fit: pm.Fit, model: FuzzModel, with_r: bool) -> Outcome | None:
    """Return the disagreement of a fit with the dense formulas, or None."""
    built = fit.problem.model
    wrong = _off_oracle(fit, built)
    if wrong and with_r and _lme4_is_no_better(fit, model, built, wrong):
        return Outcome("all lose digits")
    if wrong:
        return Outcome("not the oracle's numbers", _in_words(wrong))
    lower = _lower_nearby(fit, built)
    return Outcome("lower nearby", lower) if lower else None


def _lme4_is_no_better(fit: pm.Fit, model: FuzzModel, built: Model, wrong: list[Row]) -> bool:
    """Whether lme4's worst distance from the oracle at our theta is at least a tenth of ours."""
    theirs = _answer(pm.lme4.evaluate, model, theta=fit.theta)
    if isinstance(theirs, pm.PymackayError):
        return True
    oracle = dense_as_fit(built, fit.theta.to_numpy(), fit.reml, dtype=np.longdouble)
    rows = [row for row in same_theta_rows(theirs, oracle) if row.ok is not None]
    return max(map(_excess, rows)) > max(map(_excess, wrong)) / _ONE_DIGIT


def _excess(row: Row) -> float:
    return row.distance / row.tolerance


def _off_oracle(fit: pm.Fit, built: Model, *, strict: bool = False) -> list[Row]:
    """Return the numbers of a fit that differ from the oracle's at its theta.

    A difference in float64 is checked in long double, to exclude rounding error of the oracle;
    with `strict` only long double is used. If a matrix is singular even there, nothing differs.
    """
    for dtype in (np.longdouble,) if strict else (np.float64, np.longdouble):
        oracle = dense_as_fit(built, fit.theta.to_numpy(), fit.reml, dtype=dtype)
        known = bool(np.isfinite(oracle.criterion))
        wrong = [row for row in same_theta_rows(fit, oracle) if row.ok is False] if known else []
        if known and not wrong:
            return []
    return wrong


def _lower_nearby(fit: pm.Fit, built: Model) -> str:
    """Return a description of a lower criterion after a step in one element of theta, or ""."""
    theta = fit.theta.to_numpy()
    here = dense_criterion(built, theta, fit.reml)
    blur = 1e-9 * max(abs(here), float(fit.n_obs))
    for k, unit in enumerate(_units(built, theta)):
        for step in (sign * size * unit for size in _STEPS for sign in (1.0, -1.0)):
            there = theta.copy()
            there[k] += step
            if not _below(built, there, fit.reml, here - _LOWER - blur):
                continue
            exact = [
                dense_criterion(built, t, fit.reml, dtype=np.longdouble) for t in (theta, there)
            ]
            if exact[1] < exact[0] - _LOWER:
                return (
                    f"at theta = {theta.tolist()} the criterion is {exact[0]!r}, and "
                    f"{exact[1]!r} where {fit.theta.index[k]} is {float(there[k])!r}"
                )
    return ""


def _below(built: Model, theta: np.ndarray, reml: bool, bound: float) -> bool:
    return dense_criterion(built, theta, reml) < bound


def _units(built: Model, theta: np.ndarray) -> list[float]:
    """Return, for each element of theta, shape (m,), the size of a relevant change."""
    units: list[float] = []
    for term in built.terms:
        size = 1.0 / np.sqrt(np.mean(term.columns**2, axis=0))
        units += [size[row] for k in range(len(size)) for row in range(k, len(size))]
    finite = np.where(np.isfinite(units), units, 1.0)
    return list(np.maximum(finite, np.abs(theta)))


# ---- lme4


def _against_lme4(fit: pm.Fit, reference: pm.Fit) -> Outcome:
    """Return the outcome of a comparison with lme4; lost digits of lme4 are no disagreement."""
    if not np.isfinite([reference.criterion, *reference.fitted]).all():
        return Outcome("lme4 gives no number")
    if is_exact(reference):
        return Outcome(_EXACT)
    comparison = pm.compare(fit, reference)
    sure = fit.convergence.converged
    if comparison.ok:
        return Outcome(comparison.verdict if sure else _UNSURE)
    if comparison.same_theta != "agreed" and not _lower_by_the_oracle(comparison):
        lost = _who_loses_digits(comparison)
        return Outcome(lost) if lost else Outcome(comparison.verdict, str(comparison))
    if comparison.verdict == "theirs lower" and not _lower_by_the_oracle(comparison):
        return Outcome("lme4 loses digits" if sure else _UNSURE)
    if comparison.same_theta == "agreed" and comparison.verdict != "theirs lower":
        return Outcome(_FLAT)  # the oracle has confirmed our numbers, and lme4's agree at one theta
    return Outcome(comparison.verdict, str(comparison))


def _who_loses_digits(comparison: pm.Comparison) -> str:
    """Return who loses digits at lme4's theta; empty if lme4's numbers are the oracle's."""
    built = comparison.fit.problem.model
    if not _off_oracle(comparison.reference, built, strict=True):
        return ""
    try:
        ours = comparison.fit.evaluate(comparison.reference.theta)
    except pm.PymackayError:
        return "all lose digits"
    return "all lose digits" if _off_oracle(ours, built, strict=True) else "lme4 loses digits"


def _lower_by_the_oracle(comparison: pm.Comparison) -> bool:
    """Whether the criterion in long double is lower at lme4's theta, beyond rounding error."""
    built, reml = comparison.fit.problem.model, comparison.fit.reml
    (here, _), (there, blur) = (
        _exact_criterion(built, answer.theta.to_numpy(), reml)
        for answer in (comparison.fit, comparison.reference)
    )
    return there + blur < here - _LOWER


def _exact_criterion(built: Model, theta: np.ndarray, reml: bool) -> tuple[float, float]:
    """Return the criterion in long double, and its error, estimated from that of float64."""
    exact = dense_criterion(built, theta, reml, dtype=np.longdouble)
    lost = abs(dense_criterion(built, theta, reml) - exact)
    digits = np.finfo(np.longdouble).eps / np.finfo(np.float64).eps
    return exact, float(100.0 * digits * lost) if np.isfinite(lost) else np.inf


def _in_words(rows: list[Row]) -> str:
    return "\n".join(
        f"{row.label()}: ours {row.ours!r}, oracle {row.theirs!r}, {row.distance:.3g} {row.unit}"
        for row in rows
    )
