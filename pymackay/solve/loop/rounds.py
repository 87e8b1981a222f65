"""`Round`: the quantities of one round of the loop, from the equations or from gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.covariance.varcorr import VarCorr
from pymackay.model.model import Model
from pymackay.solve.loop.terms import TermMoments as TermMoments  # the name that users import
from pymackay.solve.loop.terms import TermRound
from pymackay.solve.solver import Evaluation, Solver, effects_by_term

_ROUNDING = 1e-14  # of a correlation that is zero


@dataclass(frozen=True, eq=False)
class State:
    """The variances at one point of the loop, for a response of unit length.

    Attributes
    ----------
    roots : tuple of numpy.ndarray, each (q, q)
        Term by term Λ, not triangular in general: V = σ² ΛΛ' in the computed bases.
    noise_var : float
        σ² of the loop, which is not profiled.
    """

    roots: tuple[np.ndarray, ...]
    noise_var: float

    @property
    def factors(self) -> list[np.ndarray]:
        """The same relative factors as lower triangles, as solvers take them."""
        return [lower_factor(root) for root in self.roots]


@dataclass(frozen=True, eq=False)
class Learned:
    """Effects from gradient descent instead of the equations, for a response of unit length.

    Attributes
    ----------
    effects : tuple of numpy.ndarray, each (J, q)
        Term by term.
    sse : float
    error : float
        Bound on the distance to the solution of the equations, in prior standard deviations.
    """

    effects: tuple[np.ndarray, ...]
    sse: float
    error: float


@dataclass(frozen=True, eq=False)
class Round:
    """One round of the loop.

    Attributes
    ----------
    state : State
    terms : tuple of TermRound
    criterion : float
        At the state's own σ²: not less than the profiled one.
    next_noise_var : float
        SSE / (n − tr H), tr H the effective degrees of freedom of the fit.
    learned : Learned or None
    """

    state: State
    terms: tuple[TermRound, ...]
    criterion: float
    next_noise_var: float
    learned: Learned | None = None

    @property
    def gamma(self) -> list[float]:
        """Effective number of effects, term by term."""
        return [float(np.trace(term.information)) for term in self.terms]

    def rescaled(self, roots: Sequence[np.ndarray], noise_var: float) -> State:
        """Return the state at a new σ² of roots Λ that are relative to this round's σ²."""
        ratio = np.sqrt(self.state.noise_var / noise_var)
        return State(tuple(root * ratio for root in roots), float(noise_var))

    def trace_row(self) -> dict[str, float]:
        """Return the columns of the trace that describe this round.

        Term by term the variances, then the correlations; σ²; the effective numbers; and the
        criterion.
        """
        row: dict[str, float] = {}
        for term in self.terms:
            row |= _covariances(term)
        row["sigma_var"] = self.state.noise_var * self.terms[0].y_scale ** 2
        for term, gamma in zip(self.terms, self.gamma, strict=True):
            row[f"{term.name}.gamma"] = gamma
        return row | {"criterion": self.criterion}


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearRound(Round):
    """One round of a loop on a linear model.

    Attributes
    ----------
    evaluation : Evaluation
        At the state's relative factors, σ² profiled.
    """

    evaluation: Evaluation


def _covariances(term: TermRound) -> dict[str, float]:
    """Return variances, then correlations, by columns named ``Subject.Days.var`` and so on."""
    parts = VarCorr(term.labels, term.user_root @ term.user_root.T)
    row = {f"{term.name}.{e}.var": sd * sd for e, sd in zip(term.labels, parts.sd, strict=True)}
    for j, second in enumerate(term.labels):
        for i, first in enumerate(term.labels[:j]):
            value = parts.correlation[i, j]
            row[f"{term.name}.{first}.{second}.corr"] = 0.0 if abs(value) < _ROUNDING else value
    return {name: float(value) for name, value in row.items()}


def solve_round(
    model: Model, solver: Solver, state: State, learned: Learned | None = None
) -> LinearRound:
    """Return the round at `state`, with learned effects in place of the solved ones if given.

    The criterion at the loop's σ² is the profiled one plus ``ν (x − 1 − log x)``, where x is the
    profiled σ² over the loop's.
    """
    gram = solver.bases
    evaluation = solver.evaluate(state.factors)
    effects = effects_by_term(solver.bases, evaluation.b) if learned is None else learned.effects
    terms = tuple(
        TermRound(
            name=term.name,
            group=term.group,
            labels=term.effects,
            root=root,
            traces=traces,
            squares=squares / state.noise_var,
            learned=learned is not None,
            effects=b,
            transform=U,
            noise_var=state.noise_var,
            y_scale=gram.y_scale,
            structure=term.structure,
        )
        for term, root, traces, squares, b, U in zip(
            model.terms,
            state.roots,
            evaluation.traces,
            evaluation.squares,
            effects,
            gram.transforms,
            strict=True,
        )
    )
    df = gram.n - gram.p if solver.reml else gram.n
    hat = sum(float(np.trace(term.information)) for term in terms)
    sse = _sse(evaluation, state, df) if learned is None else learned.sse
    excess = evaluation.sigma2 / state.noise_var
    return LinearRound(
        state=state,
        evaluation=evaluation,
        terms=terms,
        criterion=evaluation.criterion + df * (excess - 1.0 - np.log(excess)),
        next_noise_var=sse / (df - hat),
        learned=learned,
    )


def _sse(evaluation: Evaluation, state: State, df: int) -> float:
    """Return the residual sum of squares: the penalised one without the penalty u'u."""
    penalty = sum(
        float(np.sum((root.T @ squares) * root.T))
        for root, squares in zip(state.roots, evaluation.squares, strict=True)
    )
    return evaluation.sigma2 * df - penalty
