"""`judge_general`: fits a generalised model by several engines; decides whether they disagree."""

from __future__ import annotations

from typing import Any

import numpy as np

import pymackay as pm
from pymackay.family.family import Family
from pymackay.family.named import FAMILIES
from pymackay.fuzz.density import Density
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.oracle_general import GeneralOracle
from pymackay.fuzz.outcome import Outcome
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.model.design.general_response import GeneralModel

_LOWER = 1e-6  # of 1 + |C|: difference of criteria that a search guarantees
_SAME = 1e-9  # the same at the same parameters, as a comparison asks for
_DIGITS = 1e-8  # of 1 + |C|: the oracle's digits at given random effects
_NO_MODE, _LOST = 1e-6, 0.1  # norm of the slope of half the penalised deviance: no mode, far away
_NEARER = 1e-2  # of lme4's slope by beta: a joint mode that is found much better
_EVERY = 3  # of the models are also asked of glmmTMB
_UNSURE = "ours says it is not certified"


def judge_general(model: FuzzModel, with_r: bool) -> Outcome:
    """Return the outcome of fitting a model, compared with the oracle, lme4 and glmmTMB.

    If the family has a dispersion, half of the models are fitted by lme4's criterion and compared
    with lme4, the others by maximum likelihood and compared with oracle and glmmTMB.

    Parameters
    ----------
    model : FuzzModel
        With a family.
    with_r : bool
        False: the oracle alone judges.
    """
    family = family_of_model(model)
    lme4s = family.has_dispersion and with_r and model.seed % 2 == 0
    built = _built(model, family)
    if isinstance(built, pm.PymackayError):
        return _refused(built, model, family, with_r)
    fit = _answer(pm.glmer, model, family, **({"dispersion": "lme4"} if lme4s else {}))
    if isinstance(fit, pm.SeparationError):
        return _separated(fit, built, family)
    if isinstance(fit, pm.PymackayError):
        return _refused(fit, model, family, with_r)
    if not fit.convergence.converged:
        return _uncertified(fit, model, family, with_r)
    objection = GeneralOracle.of(fit, built).objection(fit)
    if objection or not with_r:
        return objection or Outcome("as the oracle")
    if family.has_dispersion and not lme4s:
        return _against_glmmtmb(model, family) or Outcome("as the oracle")
    theirs = _answer(pm.lme4.glmer, model, family, source="live")
    if isinstance(theirs, pm.PymackayError):
        return Outcome(f"lme4 refuses: {str(theirs)[:60]}")
    outcome = _against_lme4(fit, theirs, built)
    if not outcome.agrees or lme4s or model.seed % _EVERY or model.nagq != 1:
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
    """Return the outcome of a fit that says it is not certified: wrong if another is lower.

    lme4's criterion of a family with a dispersion may fall without end, and is not judged.
    """
    if not with_r or fit.general.dispersion_by == "lme4":
        return Outcome(_UNSURE)
    if fit.general.dispersion_by == "ml":
        return _against_glmmtmb(model, family) or Outcome(_UNSURE)
    theirs = _answer(pm.lme4.glmer, model, family, source="live")
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
    shape = getattr(family, "theta", None) or 1.0
    oracle = GeneralOracle(built, Density(family.name, family.link, shape=shape))
    values = [oracle.criterion(theta, t * step) for t in (0.0, 2.0, 4.0)]
    falls = values[0] > values[1] and not values[2] >= values[1]  # nan: float64 does not hold it
    if falls:
        return Outcome("separated")
    return Outcome("not separated", f"{error}\nthe criterion is {values} along the direction")


def _identity(q: int) -> np.ndarray:
    """Return the elements of an identity factor, (q, q), column by column of its lower triangle."""
    return np.concatenate([[1.0] + [0.0] * (q - k - 1) for k in range(q)])


def _against_lme4(fit: pm.Fit, theirs: pm.Fit, built: GeneralModel) -> Outcome:
    """Return the outcome of a comparison with lme4's refreshed fit."""
    if not np.isfinite([theirs.criterion, *theirs.fitted]).all():
        return Outcome("lme4 gives no number")
    comparison = pm.compare(fit, theirs)
    if comparison.ok:
        return Outcome(comparison.verdict)
    oracle = GeneralOracle.of(theirs, built)
    without_mode = _without_mode(fit, theirs, oracle) if comparison.differences else ""
    if without_mode:
        return Outcome(without_mode)
    if fit.general.dispersion_by:
        return Outcome(f"dispersion: {comparison.verdict}", str(comparison))
    eta = theirs.general.linear_predictor.to_numpy()
    there = oracle.criterion(theirs.theta.to_numpy(), theirs.beta.to_numpy(), eta)
    digits = _SAME if comparison.verdict == "different model" else _LOWER
    if abs(there - theirs.criterion) > digits * (1.0 + abs(there)):
        return Outcome("lme4 loses digits")
    if comparison.verdict == "different model" and _ends_early_jointly(fit, theirs, oracle):
        return Outcome("lme4 ends the joint mode early")
    if comparison.verdict == "theirs lower" or comparison.differences:
        return Outcome(comparison.verdict, str(comparison))
    return Outcome("equal criteria, other numbers")


def _without_mode(fit: pm.Fit, theirs: pm.Fit, oracle: GeneralOracle) -> str:
    """Return how lme4 misses the mode at its own parameters, where ours is right; or nothing.

    lme4 ends its iterations when the penalised deviance hardly changes. Where they do not converge
    to tight tolerances, its criterion is taken at the random effects that looser ones leave. The
    formula at these effects is then lme4's number, though they are no mode; or they are so far from
    one that lme4 has lost them.
    """
    general = theirs.general
    if general.nagq != 1 or theirs.evaluate_source is None:
        return ""
    theta, beta = theirs.theta.to_numpy(), theirs.beta.to_numpy()
    ours = fit._at_parameters_of(theirs)
    at_mode = oracle.criterion(theta, beta, ours.general.linear_predictor.to_numpy())
    if not _same_digits(at_mode, ours):
        return ""
    shape = [general.shape] if general.shape_estimated else []
    try:
        last = theirs.evaluate_source(np.concatenate([theta, beta, shape]))
    except pm.RError:  # R stops: its iterations do not converge where its own search ended
        return "lme4 reaches no mode"
    value, slope = oracle.at_predictor(theta, beta, last.general.linear_predictor.to_numpy())
    if slope > _NO_MODE and _same_digits(value, last) and _same_digits(value, theirs):
        return "lme4 ends its modes early"
    return "lme4 reaches no mode" if slope > _LOST else ""


def _same_digits(value: float, fit: pm.Fit) -> bool:
    return abs(value - fit.criterion) <= _DIGITS * (1.0 + abs(value))


def _ends_early_jointly(fit: pm.Fit, theirs: pm.Fit, oracle: GeneralOracle) -> bool:
    """Whether both criteria are right at lme4's theta, but lme4's beta is no joint mode (nAGQ = 0).

    Fixed and random effects are to minimise the penalised deviance together. lme4 ends its
    iterations when that hardly changes.
    """
    if fit.general.nagq != 0:
        return False
    ours, theta = fit._at_parameters_of(theirs), theirs.theta.to_numpy()
    eta = ours.general.linear_predictor.to_numpy()
    slopes = []
    for each in (ours, theirs):
        beta = each.beta.to_numpy()
        if not _same_digits(oracle.criterion(theta, beta, eta), each):
            return False
        slopes.append(oracle.slope_by_beta(theta, beta, eta))
    return slopes[0] < _NEARER * slopes[1]


def _against_glmmtmb(model: FuzzModel, family: Family) -> Outcome | None:
    """Return the outcome if glmmTMB finds a lower value of the true Laplace criterion."""
    from pymackay.reference.general.glmmtmb import glmmtmb_criterion

    fit = _answer(pm.glmer, model, family, determinant="observed")
    theirs = glmmtmb_criterion(model.formula, model.data, family, **model.arguments)
    if theirs is None or isinstance(fit, pm.PymackayError):
        return None
    if theirs < fit.criterion - _LOWER * (1.0 + abs(fit.criterion)):
        sure = "" if fit.convergence.converged else f", not certified: {fit.convergence.message}"
        return Outcome("glmmTMB lower", f"ours {fit.criterion!r}{sure}, glmmTMB {theirs!r}")
    return None
