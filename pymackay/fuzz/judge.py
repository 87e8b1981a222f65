"""`judge_model`: does a model get two answers? Ours, live lme4's twice, and the dense oracle's."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import pymackay as pm
from pymackay.compare.distances import same_theta_rows
from pymackay.compare.rows import Row
from pymackay.fuzz.dense import dense_as_fit, dense_criterion
from pymackay.fuzz.generate import FuzzModel
from pymackay.model.model import Model

_LOWER = 1e-6  # of the criterion: what the optimiser certifies
_STEPS = (1e-3, 1e-1)
_FEW, _SOME = 4, 10  # with more parameters, every tenth model is judged by a tightened lme4 too
_NOTHING = 1e-4  # residual sd, of the response's: eight digits of a sum of squares cancel
_ONE_DIGIT = 10.0
_FLAT = "equal criteria, other numbers"
_EXACT = "fits exactly, no optimum"
_UNSURE = "ours says it is not certified"
# lme4 stops with these where a column of X is badly scaled, or at a theta of its search
_GIVES_UP = ("Downdated VtV is not positive definite",)


@dataclass(frozen=True)
class Outcome:
    """What came of fitting one model by several engines.

    Attributes
    ----------
    verdict : str
        `pymackay.compare`'s word, or what else was found, in a few words that can be counted.
    report : str
        What disagrees; empty where nothing does.
    """

    verdict: str
    report: str = ""

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against our answer."""
        return not self.report


def judge_model(
    model: FuzzModel, *, ours: Callable[..., pm.Fit] | None = None, with_r: bool = True
) -> Outcome:
    """Fit a model by this package, by lme4 as it comes and tightened, and by the dense formulas.

    Our numbers must be the oracle's at our theta, no theta nearby may have a lower criterion, and
    both comparisons with lme4 must hold. Where float64 is not enough, the oracle decides in long
    double: digits that lme4 loses, or that both lose alike, are no disagreement; nor is a model
    that fits exactly, for which there is no optimum. A fit that says
    that it is not certified is wrong only where lme4 found something lower.

    Parameters
    ----------
    model : FuzzModel
    ours : callable, optional
        What fits, called as `pymackay.lmer` is, which it is unless given.
    with_r : bool
        False: judged by the oracle alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _judge(model, ours or pm.lmer, with_r)
        except Exception as error:  # a crash is a finding, not the end of the run
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            return Outcome("crash", f"{type(error).__name__} at {place}: {error}")


def _judge(model: FuzzModel, ours: Callable[..., pm.Fit], with_r: bool) -> Outcome:
    fit = _answer(ours, model)
    if isinstance(fit, pm.PymackayError):
        return _ours_refuses(fit, model, with_r)
    if _exact(fit):
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
        return outcome  # a search that hard takes a minute over many parameters
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
    """Return what comes of it if lme4 alone does not fit, and the oracle confirms our numbers."""
    if any(words in str(error) for words in _GIVES_UP):
        return Outcome("lme4 gives up")
    return Outcome("lme4 refuses", str(error))


def _answer(
    engine: Callable[..., pm.Fit], model: FuzzModel, **more: object
) -> pm.Fit | pm.PymackayError:
    try:
        return engine(model.formula, model.data, reml=model.reml, **model.arguments, **more)
    except pm.PymackayError as error:
        return error


def _exact(fit: pm.Fit) -> bool:
    """Whether hardly anything is left over: the criterion then falls without end, for everyone."""
    y = fit.fitted + fit.residuals
    return bool(fit.sigma <= _NOTHING * np.std(y))


# ---- the oracle


def _against_oracle(fit: pm.Fit, model: FuzzModel, with_r: bool) -> Outcome | None:
    """Return what the dense formulas have to say against a fit."""
    built = fit.problem.model
    wrong = _off_oracle(fit, built)
    if wrong and with_r and _lme4_is_no_better(fit, model, built, wrong):
        return Outcome("all lose digits")
    if wrong:
        return Outcome("not the oracle's numbers", _in_words(wrong))
    lower = _lower_nearby(fit, built)
    return Outcome("lower nearby", lower) if lower else None


def _lme4_is_no_better(fit: pm.Fit, model: FuzzModel, built: Model, wrong: list[Row]) -> bool:
    """Whether lme4 at our theta is as far from the oracle as we are, but for a digit, at worst."""
    theirs = _answer(pm.lme4.evaluate, model, theta=fit.theta)
    if isinstance(theirs, pm.PymackayError):
        return True
    oracle = dense_as_fit(built, fit.theta.to_numpy(), fit.reml, dtype=np.longdouble)
    rows = [row for row in same_theta_rows(theirs, oracle) if row.ok is not None]
    return max(map(_excess, rows)) > max(map(_excess, wrong)) / _ONE_DIGIT


def _excess(row: Row) -> float:
    return row.distance / row.tolerance


def _off_oracle(fit: pm.Fit, built: Model, *, strict: bool = False) -> list[Row]:
    """Return the numbers of a fit that are not the oracle's at its theta.

    The oracle's own rounding is ruled out, by long double, before anyone is blamed, or from the
    outset (`strict`), where two answers are told apart. Where a matrix is singular in that too, it
    has nothing to say.
    """
    for dtype in (np.longdouble,) if strict else (np.float64, np.longdouble):
        oracle = dense_as_fit(built, fit.theta.to_numpy(), fit.reml, dtype=dtype)
        known = bool(np.isfinite(oracle.criterion))
        wrong = [row for row in same_theta_rows(fit, oracle) if row.ok is False] if known else []
        if known and not wrong:
            return []
    return wrong


def _lower_nearby(fit: pm.Fit, built: Model) -> str:
    """Look along every element of theta, in both directions, for a lower criterion."""
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
    """Return, for each element of theta, the size of a change that matters."""
    units: list[float] = []
    for term in built.terms:
        size = 1.0 / np.sqrt(np.mean(term.columns**2, axis=0))
        units += [size[row] for k in range(len(size)) for row in range(k, len(size))]
    finite = np.where(np.isfinite(units), units, 1.0)
    return list(np.maximum(finite, np.abs(theta)))


# ---- lme4


def _against_lme4(fit: pm.Fit, reference: pm.Fit) -> Outcome:
    if not np.isfinite([reference.criterion, *reference.fitted]).all():
        return Outcome("lme4 gives no number")
    if _exact(reference):
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
        return Outcome(_FLAT)  # the oracle has confirmed our numbers, and lme4's at one theta
    return Outcome(comparison.verdict, str(comparison))


def _who_loses_digits(comparison: pm.Comparison) -> str:
    """Say whose numbers at lme4's theta are not the oracle's; nothing if it is ours alone."""
    built = comparison.fit.problem.model
    if not _off_oracle(comparison.reference, built, strict=True):
        return ""
    try:
        ours = comparison.fit.evaluate(comparison.reference.theta)
    except pm.PymackayError:
        return "all lose digits"
    return "all lose digits" if _off_oracle(ours, built, strict=True) else "lme4 loses digits"


def _lower_by_the_oracle(comparison: pm.Comparison) -> bool:
    """Whether the criterion is lower at lme4's theta in long double, beyond what that may lose."""
    built, reml = comparison.fit.problem.model, comparison.fit.reml
    (here, _), (there, blur) = (
        _exact_criterion(built, answer.theta.to_numpy(), reml)
        for answer in (comparison.fit, comparison.reference)
    )
    return there + blur < here - _LOWER


def _exact_criterion(built: Model, theta: np.ndarray, reml: bool) -> tuple[float, float]:
    """Return the criterion in long double, and its error, which what float64 loses tells."""
    exact = dense_criterion(built, theta, reml, dtype=np.longdouble)
    lost = abs(dense_criterion(built, theta, reml) - exact)
    digits = np.finfo(np.longdouble).eps / np.finfo(np.float64).eps
    return exact, float(100.0 * digits * lost) if np.isfinite(lost) else np.inf


def _in_words(rows: list[Row]) -> str:
    return "\n".join(
        f"{row.label()}: ours {row.ours!r}, oracle {row.theirs!r}, {row.distance:.3g} {row.unit}"
        for row in rows
    )
