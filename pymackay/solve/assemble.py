"""From a solver's answer to a `Fit`: back to the user's units and names."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pymackay._resources import __version__
from pymackay.covariance.layout import (
    TermLayout,
    is_singular,
    lower_factor,
    par_names,
    theta_names,
)
from pymackay.errors import ArgumentError
from pymackay.model.bases.scaling import chunks
from pymackay.model.model import Model
from pymackay.model.sums.gram import Bases
from pymackay.results import Convergence, Engine, Fit, GroupTables
from pymackay.solve.solver import Evaluation, Solver, effects_by_term

_FEW_LEVELS = 1000  # of a grouping factor, whose names are kept for the next fit
_ROUNDING = 1e-13  # of the sums that make an element up: below it, the element is zero


class Units(Protocol):
    """How the user's columns of Z are whitened, and where the terms stand in theta."""

    @property
    def layouts(self) -> tuple[TermLayout, ...]:
        """Where each term's parameters stand in theta."""
        ...

    @property
    def transforms(self) -> tuple[np.ndarray, ...]:
        """Term by term: effects in the user's units are these times those computed, (q, q)."""
        ...

    @property
    def n_theta(self) -> int:
        """Number of covariance parameters."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    """A model with its solver, and how to evaluate it elsewhere.

    Attributes
    ----------
    model : Model
    solver : Solver
    """

    model: Model
    solver: Solver


def factors_from_theta(bases: Units, theta: np.ndarray) -> list[np.ndarray]:
    """Turn `theta` in the user's units into relative factors of the whitened columns.

    Raises
    ------
    ArgumentError
        If `theta` has another length than the model has parameters, or is not finite.
    """
    theta = np.asarray(theta, dtype=np.float64)
    m = bases.layouts[-1].theta_stop
    if theta.shape != (m,):
        raise ArgumentError(
            f"theta has shape {theta.shape}, but the model has {m} covariance "
            f"parameters; give a vector of {m} numbers in the order of fit.theta."
        )
    if not np.isfinite(theta).all():
        raise ArgumentError(f"theta must be finite, but it is {theta.tolist()}.")
    pairs = zip(bases.transforms, bases.layouts, strict=True)
    return [lower_factor(np.linalg.solve(U, term_factor(layout, theta))) for U, layout in pairs]


def term_factor(layout: TermLayout, theta: np.ndarray) -> np.ndarray:
    """Return one term's factor, (q, q), at `theta`, user's units.

    Raises
    ------
    ArgumentError
        If the term has a structure, and the factor is not that of a matrix of this structure.
    """
    try:
        return layout.factor(theta)
    except ValueError:
        part = theta[layout.theta_start : layout.theta_stop].tolist()
        raise ArgumentError(
            f"theta: the elements {part} are not the factor of a covariance matrix of the "
            f"structure {layout.structure}. Give fit.theta of a fit with this structure, or the "
            f"parameters (fit.par) as start in lmer."
        ) from None


def user_factors(bases: Units, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return each term's relative factors, (..., q, q), in the user's units, free of rounding."""
    users = []
    for U, factor in zip(bases.transforms, factors, strict=True):
        user = lower_factor(U @ factor)
        rounding = np.linalg.norm(np.abs(U) @ np.abs(factor), axis=-1)
        user[np.abs(user) < _ROUNDING * rounding[..., None]] = 0.0
        users.append(user)
    return users


def theta_from_factors(bases: Bases, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Turn relative factors of the whitened columns, (..., q, q), into theta, user's units."""
    users = user_factors(bases, factors)
    parts = [u.elements(f) for u, f in zip(bases.layouts, users, strict=True)]
    return np.concatenate(parts, axis=-1)


def fit_problem(
    problem: Problem,
    *,
    start: np.ndarray | None = None,
    control: Any = None,
    start_only: bool = False,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Return the `Fit` at the optimum of a problem.

    Parameters
    ----------
    problem : Problem
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, in the user's units; by default the data tell.
    control, start_only
        As in `Solver.find_optimum`.
    messages : tuple of str
        What the fit should say besides.

    Raises
    ------
    ArgumentError
        If `start` or `control` cannot be used.
    """
    solver = problem.solver
    factors = None if start is None else factors_from_theta(solver.bases, start)
    optimum = solver.find_optimum(factors, control, start_only=start_only)
    fit = assemble(
        problem,
        optimum.factors,
        optimum.evaluation,
        optimum.convergence,
        messages=(*messages, *optimum.messages),
    )
    return fit.replace(not_offered=optimum.not_offered) if optimum.not_offered else fit


def assemble(
    problem: Problem,
    factors: list[np.ndarray],
    evaluation: Evaluation,
    convergence: Convergence,
    *,
    trace: pd.DataFrame | None = None,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Return the `Fit` of `problem` at these relative factors."""
    model, solver = problem.model, problem.solver
    bases, reml = solver.bases, solver.reml
    sigma = float(np.sqrt(evaluation.sigma2)) * bases.y_scale
    users = user_factors(bases, factors)
    beta, vcov = _fixed_effects(model, bases, evaluation, sigma)
    effects = _term_effects(bases, evaluation, users)
    fitted, residuals = _fitted(model, bases, evaluation, effects)
    sources = functools.partial(_error_variance, problem, factors, sigma)
    fit = Fit(
        formula=model.formula,
        reml=reml,
        beta=beta,
        vcov=vcov,
        sigma=sigma,
        theta=pd.Series(
            np.concatenate([u.elements(f) for u, f in zip(bases.layouts, users, strict=True)]),
            index=labels(tuple(theta_names(model.terms))),
            name="theta",
        ),
        free_par=free_parameters(model, bases, users),
        varcorr=varcorr_of(model, users, sigma),
        ranef=ranef_of(model, effects),
        criterion=evaluation.criterion,
        fitted=fitted,
        residuals=residuals,
        singular=is_singular(factors, bases.layouts),
        dropped=model.dropped,
        messages=model.messages + messages,
        convergence=convergence,
        engine=Engine("pymackay", versions()),
        model=model.summary(),
        trace=trace,
        condvar_source=functools.partial(sources, with_beta=False),
        pev_source=functools.partial(sources, with_beta=True),
        evaluate_source=functools.partial(evaluate_at, problem),
        problem=problem,
    )
    return fit if len(model.y) else without_rows(fit, bases.n)


def free_parameters(model: Model, bases: Units, users: list[np.ndarray]) -> pd.Series | None:
    """Return the parameters of a model with structures, user's units; None without: theta is it."""
    if all(layout.structure is None for layout in bases.layouts):
        return None
    values = [layout.par(f) for layout, f in zip(bases.layouts, users, strict=True)]
    return pd.Series(np.concatenate(values), index=pd.Index(par_names(model.terms)), name="par")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that a fit tells of."""
    return {"pymackay": __version__, "tensorflow": importlib.metadata.version("tensorflow")}


def evaluate_at(problem: Problem, theta: np.ndarray) -> Fit:
    """Return the `Fit` of `problem` at a given `theta`, without optimisation.

    Raises
    ------
    ArgumentError
        If `theta` cannot be used, or is so large that float64 has no digits left there.
    """
    factors = factors_from_theta(problem.solver.bases, theta)
    try:
        evaluation = problem.solver.evaluate(factors)
    except np.linalg.LinAlgError:
        raise _too_far(theta) from None
    usable = 0.0 < evaluation.sigma2 < np.inf and np.isfinite(evaluation.beta).all()
    if not usable or np.isinf(evaluation.criterion):  # nan: not asked for, of the iterative solver
        raise _too_far(theta)
    as_asked = Convergence(converged=True, message="evaluated at the theta given", evaluations=1)
    return assemble(problem, factors, evaluation, as_asked)


_BY_ROW = ("fitted", "residuals", "rows", "weights", "offset")


def without_rows(fit: Fit, n: int) -> Fit:
    """Return the fit of a model whose `n` rows were summed up and not kept."""
    reason = "the rows were summed up and not kept"
    rows = pd.RangeIndex(n)
    nothing = np.broadcast_to(np.float64("nan"), n)
    return fit.replace(
        fitted=pd.Series(nothing, index=rows, name="fitted", copy=False),
        residuals=pd.Series(nothing, index=rows, name="residuals", copy=False),
        model=replace(fit.model, rows=rows),
        not_offered={**fit.not_offered, **dict.fromkeys(_BY_ROW, reason)},
    )


def _too_far(theta: np.ndarray) -> ArgumentError:
    return ArgumentError(
        f"the criterion has no digits left at theta = {np.asarray(theta).tolist()}: the effects "
        f"are so large there that a matrix is singular in float64. Give a smaller theta."
    )


@functools.lru_cache(maxsize=256)
def _labels_once(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def labels(names: tuple[str, ...]) -> pd.Index:
    """Return an index of names; made once, because making it takes longer than what it labels."""
    return _labels_once(names).view()


def _fixed_effects(
    model: Model, bases: Bases, evaluation: Evaluation, sigma: float
) -> tuple[pd.Series, pd.DataFrame]:
    moved = bases.basis.from_basis(evaluation.beta) * bases.y_scale
    half = bases.basis.from_basis(evaluation.precision_inverse)
    vcov = sigma**2 * bases.basis.from_basis(half.T)
    index = labels(model.fixed)
    beta = pd.Series(bases.response.beta + moved, index=index, name="beta")
    return beta, pd.DataFrame(0.5 * (vcov + vcov.T), index=index, columns=index)


def living_transforms(bases: Bases, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return term by term U, (q, q), with zeros in the rows of effects that do not vary."""
    pairs = zip(bases.transforms, user_factors(bases, factors), strict=True)
    return [alive(user)[:, None] * U for U, user in pairs]


def alive(user: np.ndarray) -> np.ndarray:
    """Say which effects of a term vary at all, shape (q,)."""
    return np.asarray(user.any(axis=1))


def _term_effects(
    bases: Bases, evaluation: Evaluation, users: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the effects of each term in the user's units, (J, q); dead ones are exactly zero."""
    effects = zip(effects_by_term(bases, evaluation.b), bases.transforms, users, strict=True)
    return [(b @ U.T) * bases.y_scale * alive(user) for b, U, user in effects]


def _fitted(
    model: Model, bases: Bases, evaluation: Evaluation, effects: list[np.ndarray]
) -> tuple[pd.Series, pd.Series]:
    """Take the model's part off the least-squares residual: no digits of y's size are lost."""
    residuals = np.empty(len(model.y))
    for rows in chunks(len(residuals)):
        remainder = bases.response.residual[rows] - bases.basis.Q[rows] @ evaluation.beta
        if model.weights is not None:
            remainder /= np.sqrt(model.weights[rows])
        remainder *= bases.y_scale
        for term, b in zip(model.terms, effects, strict=True):
            row_effects = b[model.factors[term.group].codes[rows]]
            remainder -= np.einsum("nq,nq->n", term.columns[rows], row_effects)
        residuals[rows] = remainder
    return (
        pd.Series(model.y - residuals, index=model.rows, name="fitted", copy=False),
        pd.Series(residuals, index=model.rows, name="residuals", copy=False),
    )


def varcorr_of(model: Model, users: list[np.ndarray], sigma: float) -> dict[str, pd.DataFrame]:
    """Return the covariance matrix of each term's effects, by name, absolute scale."""
    by_term = GroupTables()
    for term, user in zip(model.terms, users, strict=True):
        index = labels(term.effects)
        by_term[term.name] = pd.DataFrame(sigma**2 * user @ user.T, index=index, columns=index)
    return by_term


def ranef_of(model: Model, effects: list[np.ndarray]) -> dict[str, pd.DataFrame]:
    """Return the effects of each grouping factor, terms joined, from those of each term, (J, q)."""
    tables = GroupTables()
    for name, factor in model.factors.items():
        terms = [i for i, term in enumerate(model.terms) if term.group == name]
        values = [effects[i] for i in terms]
        columns = labels(tuple(effect for i in terms for effect in model.terms[i].effects))
        few = len(factor.levels) <= _FEW_LEVELS
        index = labels(factor.levels) if few else pd.Index(factor.levels)
        joined = values[0] if len(values) == 1 else np.column_stack(values)
        tables[name] = pd.DataFrame(joined, index=index.rename(name), columns=columns)
    return tables


def _error_variance(
    problem: Problem, factors: list[np.ndarray], sigma: float, *, with_beta: bool
) -> dict[str, np.ndarray]:
    """Return Var(b̂ − b) of each grouping factor, (J, q, q): T times the solver's times T'."""
    bases = problem.solver.bases
    living = living_transforms(bases, factors)
    relative = problem.solver.error_variance(factors, with_beta=with_beta).values
    by_group = {}
    for block, variance in zip(bases.blocks, relative, strict=True):
        T = bases.joined(block, living)
        by_group[block.name] = sigma**2 * (T @ variance @ T.T)
    return {name: by_group[name] for name in problem.model.factors}
