"""`Round`: what the mixed-model equations, or some learning, show at one state of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.model import Model
from pymackay.model.sums.gram import Bases
from pymackay.solve.solver import Evaluation, Solver

__all__ = ["Learned", "Round", "State", "TermMoments", "TermRound", "solve_round"]


@dataclass(frozen=True, eq=False)
class State:
    """Where the loop stands, response at unit length.

    Attributes
    ----------
    roots : tuple of numpy.ndarray, each (q, q)
        Term by term F, not triangular in general: V = σ² F F' in the computed bases.
    noise_var : float
        σ², the loop's own.
    """

    roots: tuple[np.ndarray, ...]
    noise_var: float

    @property
    def factors(self) -> list[np.ndarray]:
        """The same relative factors as lower triangles, as solvers take them."""
        return [lower_factor(root) for root in self.roots]


@dataclass(frozen=True, eq=False)
class Learned:
    """Effects that were learned instead of solved for, response at unit length.

    Attributes
    ----------
    effects : tuple of numpy.ndarray, each (J, q)
        Term by term.
    sse : float
    error : float
        Bound on the distance from the effects that solve the equations, in prior sds.
    """

    effects: tuple[np.ndarray, ...]
    sse: float
    error: float


@dataclass(frozen=True, eq=False)
class TermMoments:
    """What one round shows of one term, in the user's units: what a rule of one's own is given.

    Attributes
    ----------
    name, group : str
    effects : tuple of str, length q
    variance : numpy.ndarray, shape (q, q)
        V, the covariance matrix the round began with.
    predictions : numpy.ndarray, shape (J, q)
        B̂, the predicted effects.
    error_sum : numpy.ndarray, shape (q, q)
        Σ_j C_j: `pev` under REML, `condvar` under ML, summed over the levels.
    noise_var : float
        σ² of the round.
    """

    name: str
    group: str
    effects: tuple[str, ...]
    variance: np.ndarray
    predictions: np.ndarray
    error_sum: np.ndarray
    noise_var: float

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.predictions)

    @property
    def gamma(self) -> np.ndarray:
        """MacKay's effective number of each effect, J − Σ_j C_j,ii / V_ii, shape (q,)."""
        variance = np.diag(self.variance)
        hidden = np.divide(
            np.diag(self.error_sum),
            variance,
            out=np.full_like(variance, self.n_levels),
            where=variance > 0.0,
        )
        return self.n_levels - hidden


@dataclass(frozen=True, eq=False)
class TermRound:
    """What one round shows of one term, in the computed bases, response at unit length.

    Attributes
    ----------
    name, group : str
    labels : tuple of str, length q
        Names of the effects.
    root : numpy.ndarray, shape (q, q)
        F.
    traces : numpy.ndarray, shape (q, q)
        T.
    squares : numpy.ndarray, shape (q, q)
        S/σ², of the effects that solve the equations.
    learned : bool
        Whether `effects` were learned instead.
    effects : numpy.ndarray, shape (J, q)
        B̂.
    transform : numpy.ndarray, shape (q, q)
        Takes computed effects to the user's units.
    noise_var : float
        σ².
    y_scale : float
        Length of the response in the user's unit.
    """

    name: str
    group: str
    labels: tuple[str, ...]
    root: np.ndarray
    traces: np.ndarray
    squares: np.ndarray
    learned: bool
    effects: np.ndarray
    transform: np.ndarray
    noise_var: float
    y_scale: float

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.effects)

    @property
    def information(self) -> np.ndarray:
        """F'T F: eigenvalues are the effective numbers of the term's directions, sum γ."""
        return self.root.T @ self.traces @ self.root

    @property
    def shown(self) -> np.ndarray:
        """Û'Û/σ², with B̂ = Û F'."""
        if not self.learned:
            return self.root.T @ self.squares @ self.root
        standardised = self.effects @ np.linalg.pinv(self.root).T
        return standardised.T @ standardised / self.noise_var

    @property
    def user_root(self) -> np.ndarray:
        """Root of V in the user's units."""
        return np.sqrt(self.noise_var) * self.y_scale * (self.transform @ self.root)

    def moments(self) -> TermMoments:
        """Return the same in the user's units."""
        root = self.user_root
        return TermMoments(
            name=self.name,
            group=self.group,
            effects=self.labels,
            variance=root @ root.T,
            predictions=self.y_scale * (self.effects @ self.transform.T),
            error_sum=root @ (self.n_levels * np.eye(len(root)) - self.information) @ root.T,
            noise_var=self.noise_var * self.y_scale**2,
        )


@dataclass(frozen=True, eq=False)
class Round:
    """One round of the loop.

    Attributes
    ----------
    state : State
    evaluation : Evaluation
        At the state's relative factors, σ² profiled.
    terms : tuple of TermRound
    criterion : float
        At the state's own σ²: not less than the profiled one.
    next_noise_var : float
        SSE / (n − tr H), tr H the effective degrees of freedom of the fit.
    learned : Learned or None
    """

    state: State
    evaluation: Evaluation
    terms: tuple[TermRound, ...]
    criterion: float
    next_noise_var: float
    learned: Learned | None = None

    @property
    def gamma(self) -> list[float]:
        """Effective number of effects, term by term."""
        return [float(np.trace(term.information)) for term in self.terms]


def solve_round(
    model: Model, solver: Solver, state: State, learned: Learned | None = None
) -> Round:
    """Solve the mixed-model equations at `state`; learned effects replace the solved ones."""
    gram = solver.bases
    evaluation = solver.evaluate(state.factors)
    effects = term_effects(gram, evaluation) if learned is None else learned.effects
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
            transform=T,
            noise_var=state.noise_var,
            y_scale=gram.y_scale,
        )
        for term, root, traces, squares, b, T in zip(
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
    return Round(
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


def term_effects(gram: Bases, evaluation: Evaluation) -> Sequence[np.ndarray]:
    """Return the predicted effects of each term in the computed bases, (J, q)."""
    effects: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    for block, b in zip(gram.blocks, evaluation.b, strict=True):
        for term, columns in gram.block_slices(block):
            effects[term] = b[:, columns]
    return effects
