"""Checks of the arguments of MacKay's loop: its settings and its starting point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import (
    covariance_matrix,
    flag,
    one_of,
    positive_by_name,
    positive_number,
    whole_number,
)
from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.layout import layouts_of, lower_factor, theta_names
from pymackay.covariance.roots import root_of
from pymackay.errors import ArgumentError
from pymackay.model.model import Model, RandomTerm
from pymackay.solve.assemble import Problem, factors_from_theta
from pymackay.solve.loop.rounds import State
from pymackay.solve.loop.rules.registry import find_rule, known_rules
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.run import Callback, Settings
from pymackay.solve.search.start import moment_start

_LITERAL_ROUNDS = 100  # the article's
_LIKELIHOOD_ROUNDS = 1000
_TOLERANCE = {"exact": 1e-9, "gradient": 1e-7}
_SAME = 1e-6  # of the largest element: how far a start may be from the structure asked for
_DEAD = 1e-12  # relative variance of a direction that counts as zero


def make_settings(
    model: Model,
    precision: float,
    *,
    update: object = "gamma",
    scale: object = 1.0,
    iterations: object = None,
    tolerance: object = None,
    inner: object = "exact",
    acceleration: object = None,
    on_collapse: object = "raise",
    callback: Callback | None = None,
    progress: bool | None = None,
) -> Settings:
    """Check the arguments of `pymackay.mackay`, and set defaults that depend on the rule.

    Parameters
    ----------
    model : Model
    precision : float
        The smallest change that the solver of a round can resolve.

    Raises
    ------
    ArgumentError
        If an argument has a wrong value, or two arguments exclude each other.
    """
    rule = find_rule(update)
    _refuse_structures(rule, model)
    inner = one_of("inner", inner, ("exact", "gradient"))
    on_collapse = one_of("on_collapse", on_collapse, ("raise", "return", "continue"))
    if callback is not None and not callable(callback):
        raise ArgumentError(f"callback is {callback!r}; it must be a function of a trace row.")
    rounds = _LIKELIHOOD_ROUNDS if rule.likelihood else _LITERAL_ROUNDS
    return Settings(
        rule=rule,
        iterations=rounds if iterations is None else whole_number("iterations", iterations),
        tolerance=_tolerance(rule, tolerance, max(_TOLERANCE[inner], precision)),
        scale=_scale(rule, scale, model),
        accelerate=_acceleration(rule, acceleration, inner),
        stop_dead=on_collapse != "continue",
        raises=on_collapse == "raise",
        callback=callback,
        progress=progress,
    )


def _refuse_structures(rule: Rule, model: Model) -> None:
    """Refuse a rule that has no meaning for a covariance structure of the model."""
    reduced = [term.name for term in model.terms if isinstance(term.structure, ReducedRank)]
    if reduced:
        raise ArgumentError(
            f"update is {rule.name!r}, but the term {reduced[0]!r} has a covariance matrix of "
            f"reduced rank, rr(), and no rule of MacKay's loop, nor EM, leaves the directions that "
            f"a singular matrix has at the start. Fit the model with pymackay.lmer, or write "
            f"fa(0 + f | g) or the term without a structure."
        )
    structures = [str(term.structure) for term in model.terms if term.structure is not None]
    if structures and rule.structured is None:
        able = _names(known for known in known_rules().values() if known.structured is not None)
        raise ArgumentError(
            f"update is {rule.name!r}, which sets a covariance matrix from the predicted effects, "
            f"element by element: this has no meaning for the parameters of the structure "
            f"{', '.join(structures)}, such as rho, which many elements share. Use update={able}, "
            f"or write the term without a structure."
        )


def _tolerance(rule: Rule, tolerance: object, default: float) -> float | None:
    if tolerance is not None:
        return positive_number("tolerance", tolerance)
    return default if rule.likelihood else None


def _scale(rule: Rule, scale: object, model: Model) -> tuple[float, ...]:
    factors = positive_by_name("scale", scale, [term.name for term in model.terms])
    if rule.empirical is None and any(factor != 1.0 for factor in factors):
        empirical = _names(rule for rule in known_rules().values() if rule.empirical)
        raise ArgumentError(
            f"scale is {scale!r}, which enlarges the empirical variances of update={empirical}; "
            f"{rule.name!r} has its own divisor. Leave scale out, or give a function as update."
        )
    return tuple(factors)


def _acceleration(rule: Rule, acceleration: object, inner: str) -> bool:
    possible = rule.likelihood and inner == "exact"
    if acceleration is None:
        return possible
    accelerate = flag("acceleration", acceleration)
    if accelerate and not possible:
        likelihood = _names(rule for rule in known_rules().values() if rule.likelihood)
        raise ArgumentError(
            f"acceleration=True needs update={likelihood} and inner='exact', where each step can "
            f"be checked against the criterion. Other loops take the steps of their rule only."
        )
    return accelerate


def _names(rules: Iterable[Rule]) -> str:
    return " or ".join(repr(rule.name) for rule in rules)


def starting_state(problem: Problem, start: object, noise_var: object) -> State:
    """Return the state given by `start` and `noise_var`; None is replaced by moments of the data.

    Parameters
    ----------
    problem : Problem
    start : mapping, array-like or None
        Term name to covariance matrix, absolute scale, user's units (a number will do for one
        effect); or the matrix itself where there is one term; or theta, a vector.
    noise_var : float or None
        σ², user's units.

    Raises
    ------
    ArgumentError
        If a term is missing, a matrix is no covariance matrix or is singular, or theta has the
        wrong length.
    """
    solver, model = problem.solver, problem.model
    y_var = solver.bases.y_scale**2
    noise = None if noise_var is None else positive_number("start_noise_var", noise_var) / y_var
    if start is None or not is_covariances(start, model):
        factors = (
            moment_start(solver.bases, reml=solver.reml)
            if start is None
            else theta_factors(model, solver.bases, start)
        )
        refuse_dead(model, factors)
        profiled = solver.evaluate(factors).sigma2
        ratio = np.sqrt(profiled / noise) if noise is not None and start is None else 1.0
        return State(tuple(ratio * f for f in factors), noise or profiled)
    if noise is None:
        noise = solver.evaluate(moment_start(solver.bases, reml=solver.reml)).sigma2
    factors = covariance_factors(model, solver.bases.transforms, start, noise * y_var)
    refuse_dead(model, factors)
    return State(tuple(factors), noise)


def is_covariances(start: object, model: Model) -> bool:
    """Say whether a start is a mapping to covariance matrices, or one of these, not theta."""
    if isinstance(start, Mapping):
        return True
    if isinstance(start, pd.Series | str):
        return False
    return np.ndim(start) == 2 or (np.ndim(start) == 0 and len(model.terms) == 1)  # type: ignore[arg-type]


def theta_factors(model: Model, bases: Any, start: object) -> list[np.ndarray]:
    """Return the whitened factors, each (q, q), of a start that is theta."""
    names = theta_names(model.terms)
    if isinstance(start, pd.Series) and sorted(start.index) == sorted(names):
        start = start[names]
    try:
        theta = np.asarray(start, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(_expected(model, start)) from error
    if theta.shape != (len(names),):
        raise ArgumentError(_expected(model, start))
    return factors_from_theta(bases, theta)


def covariance_factors(
    model: Model, transforms: Sequence[np.ndarray], start: object, noise_var: float
) -> list[np.ndarray]:
    """Return Λ, (q, q), of each term from the user's covariance matrices: ``σ² UΛΛ'U' = V``.

    Each U is a matrix of `transforms`, (q, q).
    """
    names = [term.name for term in model.terms]
    by_term: Mapping[str, Any] = start if isinstance(start, Mapping) else {names[0]: start}
    if set(by_term) != set(names) or (by_term is not start and len(names) > 1):
        raise ArgumentError(_expected(model, start))
    factors = []
    for term, U in zip(model.terms, transforms, strict=True):
        value = by_term[term.name]
        matrix = np.reshape(value, (1, 1)) if np.ndim(value) == 0 else value
        covariance = covariance_matrix(f"start[{term.name!r}]", matrix, term.effects)
        relative = np.linalg.solve(U, root_of(covariance)) / np.sqrt(noise_var)
        factors.append(_of_structure(lower_factor(relative), term))
    return factors


def _of_structure(factor: np.ndarray, term: RandomTerm) -> np.ndarray:
    """Return a factor, (q, q), unless its covariance does not have the term's structure."""
    if term.structure is None:
        return factor
    near = term.structure.factor(term.structure.par_of(factor), len(factor))
    if np.abs(near - factor).max() > _SAME * np.abs(factor).max():
        raise ArgumentError(
            f"start[{term.name!r}] is no covariance matrix of the structure {term.structure}; "
            f"give one that is, or leave start out."
        )
    return near


def refuse_dead(model: Model, factors: Sequence[np.ndarray]) -> None:
    """Refuse factors, each (q, q), to start from that are singular."""
    for term, factor in zip(model.terms, factors, strict=True):
        size = np.linalg.svd(factor, compute_uv=False)
        if not size[-1] ** 2 > _DEAD * size[0] ** 2 > 0.0:
            raise ArgumentError(
                f"start: the covariance matrix of the term {term.name!r} is singular, and no "
                f"update rule changes a variance of zero. Give a positive definite matrix."
            )


def _expected(model: Model, start: object) -> str:
    shapes = ", ".join(f"{t.name!r}: {len(t.effects)} x {len(t.effects)}" for t in model.terms)
    count = layouts_of(model.terms)[-1].theta_stop
    return (
        f"start is {start!r}; it must map each term to a covariance matrix ({shapes}), be that "
        f"matrix where there is one term, or be theta, a vector of {count} numbers."
    )
