"""`judge_general`: fits a generalised model by several engines; decides whether they disagree."""

from __future__ import annotations

from typing import Any

import numpy as np

import pymackay as pm
from pymackay.family.family import Family
from pymackay.family.named import FAMILIES
from pymackay.fuzz.dense_general import dense_adaptive, dense_laplace
from pymackay.fuzz.density import Density
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.outcome import Outcome
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.model.design.general_response import GeneralModel

_SAME = 1e-7  # of 1 + |C|: two criteria at the same parameters, the oracle's n x n
_LOWER = 1e-6  # difference of criteria that the search guarantees
_MODES = 1e-4  # conditional standard deviations
_STEPS = (1e-2, 0.3)  # standard errors
_EVERY = 3  # of the models are also asked of glmmTMB
_UNSURE = "ours says it is not certified"


def judge_general(model: FuzzModel, with_r: bool) -> Outcome:
    """Return the outcome of fitting a model, compared with the oracle, lme4 and glmmTMB.

    Parameters
    ----------
    model : FuzzModel
        With a family.
    with_r : bool
        False: the oracle alone judges.
    """
    family = family_of_model(model)
    built = _built(model, family)
    if isinstance(built, pm.PymackayError):
        return _refused(built, model, family, with_r)
    lme4s = family.has_dispersion
    fit = _answer(pm.glmer, model, family, **({"dispersion": "lme4"} if lme4s else {}))
    if isinstance(fit, pm.SeparationError):
        return _separated(fit, built, family)
    if isinstance(fit, pm.PymackayError):
        return _refused(fit, model, family, with_r)
    if not fit.convergence.converged:
        return _uncertified(fit, model, family, with_r)
    if not lme4s:
        objection = _against_oracle(fit, built, model.nagq)
        if objection:
            return objection
    if not with_r:
        return Outcome("as the oracle")
    theirs = _answer(pm.lme4.glmer, model, family, source="live")
    if isinstance(theirs, pm.PymackayError):
        return Outcome(f"lme4 refuses: {str(theirs)[:60]}")
    outcome = _against_lme4(fit, theirs, built, model)
    if not outcome.agrees or model.seed % _EVERY or model.nagq != 1:
        return outcome
    return _against_glmmtmb(model, family) or outcome


def family_of_model(model: FuzzModel) -> Family:
    """Return the family of a model, its shape fixed if it has one."""
    more = {} if model.shape is None else {"theta": model.shape}
    return FAMILIES[model.family](link=model.link, **more)


def _built(model: FuzzModel, family: Family) -> GeneralModel | pm.PymackayError:
    arguments = Arguments(**model.arguments)
    try:
        return build_general(model.formula, Table(model.data), arguments, family.support)
    except pm.PymackayError as error:
        return error


def _answer(engine: Any, model: FuzzModel, family: Family, **more: Any) -> Any:
    try:
        return engine(model.formula, model.data, family, nagq=model.nagq, **model.arguments, **more)
    except pm.PymackayError as error:
        return error


def _refused(error: pm.PymackayError, model: FuzzModel, family: Family, with_r: bool) -> Outcome:
    if not with_r:
        return Outcome("ours refuses, nobody else asked")
    theirs = _answer(pm.lme4.glmer, model, family, source="live")
    if isinstance(theirs, pm.PymackayError) or not np.isfinite(theirs.criterion):
        return Outcome("both refuse")
    return Outcome("ours refuses", str(error))


def _uncertified(fit: pm.Fit, model: FuzzModel, family: Family, with_r: bool) -> Outcome:
    """Return the outcome of a fit that says it is not certified: wrong if lme4's is lower."""
    theirs = _answer(pm.lme4.glmer, model, family, source="live") if with_r else None
    if isinstance(theirs, pm.Fit) and theirs.criterion < fit.criterion - _LOWER:
        below = f"lme4 is {fit.criterion - theirs.criterion:.3g} lower"
        return Outcome("not certified, theirs lower", f"{fit.convergence.message}; {below}")
    return Outcome(_UNSURE)


def _separated(error: pm.SeparationError, built: GeneralModel, family: Family) -> Outcome:
    """Check that the criterion falls for ever along the direction that the error names."""
    model = built.model
    direction = np.array([error.direction.get(name, 0.0) for name in model.fixed])
    theta = np.concatenate([_identity(len(term.effects)) for term in model.terms])
    step = direction / max(np.abs(model.X @ direction).max(), 1e-300)
    values = [
        dense_laplace(built, _density(family), theta, t * step).criterion for t in (0.0, 2.0, 4.0)
    ]
    if values[0] > values[1] > values[2]:
        return Outcome("separated")
    return Outcome("not separated", f"{error}\\nthe criterion is {values} along the direction")


def _identity(q: int) -> np.ndarray:
    """Return the elements of an identity factor, (q, q), column by column of its lower triangle."""
    return np.concatenate([[1.0] + [0.0] * (q - k - 1) for k in range(q)])


def _density(family: Family) -> Density:
    return Density(family.name, family.link, shape=getattr(family, "theta", None) or 1.0)


def _criterion(
    built: GeneralModel, family: Family, nagq: int, theta: np.ndarray, beta: np.ndarray
) -> float:
    """Return the oracle's criterion; nan where it has none."""
    with np.errstate(all="ignore"):
        try:
            if nagq > 1:
                return dense_adaptive(built, _density(family), theta, beta, nagq)
            return dense_laplace(built, _density(family), theta, beta).criterion
        except np.linalg.LinAlgError:
            return float("nan")


def _against_oracle(fit: pm.Fit, built: GeneralModel, nagq: int) -> Outcome | None:
    """Return the disagreement of a fit with the dense formulas, or None."""
    family = fit.general.family
    theta, beta = fit.theta.to_numpy(), fit.beta.to_numpy()
    here = _criterion(built, family, nagq, theta, beta)
    if not np.isfinite(here):
        return Outcome("the oracle loses digits")
    if abs(here - fit.criterion) > _SAME * (1.0 + abs(here)):
        both = f"ours {fit.criterion!r}, oracle {here!r} at the same point"
        return Outcome("not the oracle's criterion", both)
    dense = dense_laplace(built, _density(family), theta, beta)
    ours = np.concatenate([fit.ranef[t.group].to_numpy().ravel() for t in built.model.terms])
    if len(built.model.factors) == len(built.model.terms):
        sd = np.sqrt(np.maximum(np.diag(dense.condvar), 0.0))
        off = np.abs(ours - dense.b) - _MODES * sd - 1e-9
        if off.max() > 0.0:
            return Outcome("not the oracle's modes", f"{off.max():.3g} beyond the tolerance")
    if nagq == 0:
        return None
    lower = _lower_nearby(fit, built, nagq, here)
    return Outcome("lower nearby", lower) if lower else None


def _lower_nearby(fit: pm.Fit, built: GeneralModel, nagq: int, here: float) -> str:
    """Describe a point near the optimum where the oracle's criterion is lower; empty if none is."""
    theta, beta = fit.theta.to_numpy(), fit.beta.to_numpy()
    errors = np.where(np.isfinite(fit.std_error), fit.std_error, 0.0)
    point = np.concatenate([theta, beta])
    units = np.concatenate([np.maximum(np.abs(theta), 0.1), errors])
    names = [*fit.theta.index, *fit.beta.index]
    for k in range(len(point)):
        for step in _STEPS:
            for sign in (-1.0, 1.0):
                there = point.copy()
                there[k] += sign * step * units[k]
                m = len(theta)
                value = _criterion(built, fit.general.family, nagq, there[:m], there[m:])
                if value < here - _LOWER:
                    return f"{names[k]} = {float(there[k])!r}: {value!r} instead of {here!r}"
    return ""


def _against_lme4(fit: pm.Fit, theirs: pm.Fit, built: GeneralModel, model: FuzzModel) -> Outcome:
    """Return the outcome of a comparison with lme4's refreshed fit."""
    if not np.isfinite([theirs.criterion, *theirs.fitted, *theirs.std_error]).all():
        return Outcome("lme4 gives no number")
    comparison = pm.compare(fit, theirs)
    if comparison.ok:
        return Outcome(comparison.verdict)
    family = fit.general.family
    if family.has_dispersion:
        return Outcome(f"dispersion: {comparison.verdict}", str(comparison))
    there = _criterion(built, family, model.nagq, theirs.theta.to_numpy(), theirs.beta.to_numpy())
    if abs(there - theirs.criterion) > 1e-6 * (1.0 + abs(there)):
        return Outcome("lme4 loses digits")
    if comparison.verdict == "theirs lower" or comparison.differences:
        return Outcome(comparison.verdict, str(comparison))
    return Outcome("equal criteria, other numbers")


def _against_glmmtmb(model: FuzzModel, family: Family) -> Outcome | None:
    """Return the outcome if glmmTMB finds a lower value of the true Laplace criterion."""
    from pymackay.reference.general.glmmtmb import glmmtmb_criterion

    fit = _answer(pm.glmer, model, family, determinant="observed")
    theirs = glmmtmb_criterion(model.formula, model.data, family, **model.arguments)
    if theirs is None or isinstance(fit, pm.PymackayError):
        return None
    if theirs < fit.criterion - 1e-6 * (1.0 + abs(fit.criterion)):
        return Outcome("glmmTMB lower", f"ours {fit.criterion!r}, glmmTMB {theirs!r}")
    return None
