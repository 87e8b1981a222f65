"""Parity cases of generalised models: criteria at given parameters, optima, standard errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from glmm_case_files import GlmmCase, glmm_case_names, load_glmm_case
from tolerances import tol

import pymackay as pm
from pymackay.family.family import Family
from pymackay.family.named import FAMILIES, family_of

_SEPARATED = {"separation"}


def _names(*, having: str = "") -> list[str]:
    """Return the cases that have an answer of this name."""
    cases = map(load_glmm_case, glmm_case_names())
    return [
        case.name
        for case in cases
        if case.name not in _SEPARATED
        and (not having or (case.expected[having] or {}).get("criterion") is not None)
    ]


def _family(case: GlmmCase, shape: float | None = None) -> Family:
    kind = FAMILIES[family_of(case.meta["family"]).name]
    if kind is not pm.NegativeBinomial:
        return kind(link=case.meta["link"])
    return pm.NegativeBinomial(case.meta["link"], theta=case.meta["nb_theta"] or shape)


def _fit(case: GlmmCase, **arguments: Any) -> pm.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pm.ConvergenceWarning)
        arguments = {"weights": case.meta["weights"], "nagq": case.meta["nAGQ"], **arguments}
        return pm.glmer(case.meta["formula"], case.data, _family(case), **arguments)


def _evaluated(case: GlmmCase, answer: dict[str, Any], **arguments: Any) -> pm.Fit:
    phi = {"phi": answer["phi"]} if "phi" in answer else {}
    arguments = {"nagq": case.meta["nAGQ"], **arguments}
    return pm.evaluate_glmer(
        case.meta["formula"], case.data, answer["theta"], answer["beta"],
        _family(case, answer.get("nb_theta")), weights=case.meta["weights"], **phi, **arguments,
    )  # fmt: skip


def _same_criterion(case: GlmmCase, ours: float, theirs: float, digits: str) -> None:
    assert abs(ours - theirs) <= tol(digits) * (1.0 + abs(theirs)), f"{ours - theirs:.3g}"


def _digits(case: GlmmCase) -> str:
    family = _family(case)
    exact = family.is_canonical and not family.has_dispersion
    return "refreshed criterion" if exact else "refreshed criterion, other links"


@pytest.mark.parametrize("name", _names())
def test_criterion_at_the_same_parameters(name: str) -> None:
    """The criterion that lme4, with its factor refreshed, has there too."""
    case = load_glmm_case(name)
    answer = case.expected["lme4_criterion_optimum"]
    fit = _evaluated(case, answer, dispersion="lme4")
    _same_criterion(case, fit.general.lme4_criterion, answer["criterion"], _digits(case))


@pytest.mark.parametrize("name", _names(having="true_laplace_optimum"))
def test_true_laplace_at_the_same_parameters(name: str) -> None:
    case = load_glmm_case(name)
    answer = case.expected["true_laplace_optimum"]
    fit = _evaluated(case, answer, determinant="observed")
    _same_criterion(case, fit.criterion, answer["criterion"], _digits(case))


@pytest.mark.parametrize("name", _names())
def test_optimum_of_lme4s_criterion(name: str) -> None:
    case = load_glmm_case(name)
    fit = _fit(case, dispersion="lme4")
    _judge(fit, case.expected["lme4_criterion_optimum"], fit.general.lme4_criterion)
    if case.meta["nAGQ"] == 1 and fit.general.family.is_canonical and not fit.general.dispersion_by:
        _judge_against_glmmtmb(fit, case)


def _judge_against_glmmtmb(fit: pm.Fit, case: GlmmCase) -> None:
    other = case.expected["glmmTMB"].get("criterion")
    if other is not None:
        assert fit.criterion <= other + tol("refreshed optimum") * (1.0 + abs(other))


@pytest.mark.parametrize("name", _names(having="true_laplace_optimum"))
def test_optimum_of_true_laplace(name: str) -> None:
    case = load_glmm_case(name)
    fit = _fit(case, determinant="observed")
    _judge(fit, case.expected["true_laplace_optimum"], fit.criterion)
    _judge_against_glmmtmb(fit, case)


@pytest.mark.parametrize("name", sorted(_SEPARATED & set(glmm_case_names())))
def test_separation_has_no_answer(name: str) -> None:
    case = load_glmm_case(name)
    with pytest.raises(pm.SeparationError, match="rises for ever"):
        _fit(case)


def _one_case_each(having: str) -> list[str]:
    """Return the cases with this answer, one for each model and data."""
    cases = [load_glmm_case(name) for name in _names(having=having)]
    chosen = {(c.meta["formula"], c.meta["link"], c.expected["data_sha256"]): c for c in cases}
    return sorted(case.name for case in chosen.values() if case.meta["family"] != "negbin")


@pytest.mark.parametrize("name", _one_case_each("likelihood_optimum"))
def test_likelihood_by_quadrature(name: str) -> None:
    """The likelihood itself: by brute force in the case; by the product rule for two effects."""
    case = load_glmm_case(name)
    answer = case.expected["likelihood_optimum"]
    nodes = "exact" if len(answer["theta"]) == 1 else 31
    there = _evaluated(case, answer, nagq=nodes)
    assert abs(there.criterion - answer["criterion"]) <= tol("likelihood") * (
        1.0 + abs(answer["criterion"])
    )
    fit = _fit(case, nagq=nodes)
    _judge(fit, answer, fit.criterion)


def _judge(fit: pm.Fit, answer: dict[str, Any], criterion: float) -> None:
    """Compare an optimum with a trusted one: never above it, and the same estimates."""
    size = 1.0 + abs(answer["criterion"])
    assert criterion <= answer["criterion"] + tol("refreshed optimum") * size
    errors = np.array(answer["std_error"]) if "std_error" in answer else fit.std_error.to_numpy()
    off = np.abs(fit.beta.to_numpy() - answer["beta"]) / errors
    assert off.max(initial=0.0) <= tol("glmm estimates"), off
    wide = np.abs(fit.std_error.to_numpy() / errors - 1.0)
    assert wide.max(initial=0.0) <= tol("glmm standard errors"), wide
    sizes = np.abs(answer["theta"]).max(initial=1e-2)
    theta = np.abs(np.abs(fit.theta.to_numpy()) - np.abs(answer["theta"])) / sizes
    assert theta.max(initial=0.0) <= tol("glmm estimates"), theta
