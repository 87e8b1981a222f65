"""The dense oracle of generalised models: n x n Laplace, and quadrature by brute force.

It works on the linear predictor, not on the random effects: η ~ N(m, K) with m = Xβ + offset and
K = ZΛΛ'Z' (n x n), its mode η = m + K a with a the score of the log density there. No penalised
least squares, no factor of the random effects' equations, no code of `pymackay.family`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp

from pymackay.fuzz.dense import random_design, relative_blocks, relative_covariance
from pymackay.fuzz.density import Density
from pymackay.model.design.general_response import GeneralModel, GeneralResponse

_RANK = 1e-12  # of the largest eigenvalue: what LAPACKs make of zero in some hundred rows
_ROUNDS = 200
_STILL, _NEAR = 1e-24, 1e-16  # squared step by 1 + |u|²: at the mode; good enough for its digits
_ROUNDING = 1e-10  # of 1 + |loss|: a fall that rounding hides
_DROP = 46.0  # e^-46 = 1e-20 of its largest value: where an integrand ends
_REACH = 60.0  # standard deviations that are searched for the integrand
_SCAN = {1: 1201, 2: 161}  # points of the search on each axis, by the number of effects
_POINTS = {1: 601, 2: 121}  # points of the trapezoid rule


@dataclass(frozen=True, eq=False)
class DenseGeneral:
    """The Laplace approximation of a generalised model at given parameters.

    Attributes
    ----------
    criterion : float
        −2 log likelihood by Laplace, all constants included.
    eta : numpy.ndarray, shape (n,)
        Linear predictor at the mode.
    score : numpy.ndarray, shape (n,)
        Derivative of the log density by it: a.
    b : numpy.ndarray, shape (q,)
        Random effects at the mode: term after term, level after level.
    condvar : numpy.ndarray, shape (q, q)
        Their covariance given the response and the parameters.
    """

    criterion: float
    eta: np.ndarray
    score: np.ndarray
    b: np.ndarray
    condvar: np.ndarray


def dense_laplace(
    general: GeneralModel,
    density: Density,
    theta: np.ndarray,
    beta: np.ndarray,
    determinant: str = "expected",
    start: np.ndarray | None = None,
) -> DenseGeneral:
    """Return the Laplace approximation at given parameters (Breslow and Clayton 1993, eq. 4).

    ``−2 Σ log f(y; η) + a'K a + log |I + K W|`` at the mode, with W the `determinant`'s weights:
    ``"expected"`` (lme4's) or ``"observed"``.

    Parameters
    ----------
    general : GeneralModel
    density : Density
    theta : array-like, shape (m,)
        In lme4's order.
    beta : array-like, shape (p,)
    determinant : {"expected", "observed"}
    start : numpy.ndarray, shape (n,), optional
        Linear predictor near a mode. Densities that are not log-concave may have several.
    """
    response = general.response
    Z, D = random_design(general.model), relative_covariance(general.model, theta)
    K = Z @ D @ Z.T
    m = _mean(general, beta)
    first = np.zeros(len(m)) if start is None else density.score(response, start)
    a = _mode(response, density, m, K, first)
    eta = m + K @ a
    W = _weights(response, density, eta, determinant)
    fit = -2.0 * density.log(response, eta).sum() + a @ K @ a
    DZ = D @ Z.T
    spread = D - DZ @ np.linalg.solve(np.eye(len(m)) + W[:, None] * K, W[:, None] * DZ.T)
    return DenseGeneral(
        criterion=float(fit + _log_determinant(K, W)),
        eta=eta,
        score=a,
        b=DZ @ a,
        condvar=(spread + spread.T) / 2.0,
    )


def _weights(
    response: GeneralResponse, density: Density, eta: np.ndarray, determinant: str
) -> np.ndarray:
    weigh = density.expected if determinant == "expected" else density.observed
    return weigh(response, eta)


def _log_determinant(K: np.ndarray, W: np.ndarray) -> float:
    """Return log |I + K W|; nan where it is not positive."""
    sign, value = np.linalg.slogdet(np.eye(len(W)) + K * W)
    return float(value) if sign > 0.0 else float("nan")


@dataclass(frozen=True)
class AtPredictor:
    """The parts of Laplace's approximation at a linear predictor that may be no mode.

    Attributes
    ----------
    squares : float
        |u|² of the smallest spherical effects u that make it.
    log_determinant : float
    residual : float
        Norm of the derivative of half the penalised deviance by u: zero at a mode.
    """

    squares: float
    log_determinant: float
    residual: float


def dense_at_predictor(
    general: GeneralModel, density: Density, theta: np.ndarray, beta: np.ndarray, eta: np.ndarray
) -> AtPredictor:
    """Return the parts of Laplace's approximation, by expected weights, at given η, (n,)."""
    Z, D = random_design(general.model), relative_covariance(general.model, theta)
    K, response = Z @ D @ Z.T, general.response
    root = _root(K)
    u = np.linalg.pinv(root, 0.5 * np.sqrt(_RANK)) @ (eta - _mean(general, beta))
    W = density.expected(response, eta)
    slope = u - root.T @ density.score(response, eta)
    return AtPredictor(float(u @ u), _log_determinant(K, W), float(np.linalg.norm(slope)))


def _mean(general: GeneralModel, beta: np.ndarray) -> np.ndarray:
    """Return Xβ + offset, shape (n,)."""
    offset = general.model.offset
    fixed = general.model.X @ np.asarray(beta, dtype=np.float64)
    return fixed if offset is None else fixed + offset


def _mode(
    response: GeneralResponse, density: Density, m: np.ndarray, K: np.ndarray, a: np.ndarray
) -> np.ndarray:
    """Return a, (n,), with ``a = score(m + K a)``, by damped Newton steps from `a`.

    Weights are observed where they make a step downhill, expected otherwise. A step that promises
    less than the rounding of the loss is taken whole.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the mode is not reached.
    """

    def loss(a: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            value = -2.0 * density.log(response, m + K @ a).sum() + a @ K @ a
        return float(value) if np.isfinite(value) else float("inf")

    value, root = loss(a), _root(K)
    for _ in range(_ROUNDS):
        eta = m + K @ a
        W = density.observed(response, eta)
        exact = _curves_up(root, W)
        if not exact:
            W = density.expected(response, eta)
        slope = density.score(response, eta) - a
        step = np.linalg.solve(np.eye(len(m)) + W[:, None] * K, slope)
        last = exact and abs(step @ K @ slope) < _ROUNDING * (1.0 + abs(value))
        size = 1.0
        while not last and size > 1e-6 and not loss(a + size * step) <= value + 1e-12 * abs(value):
            size /= 2.0
        a = a + size * step
        value = loss(a)
        length, whole = step @ K @ step, 1.0 + a @ K @ a
        if length <= _STILL * whole:
            return a
    if not length <= _NEAR * whole:
        raise np.linalg.LinAlgError("the oracle does not reach the mode")
    return a


def _root(K: np.ndarray) -> np.ndarray:
    """Return R, (n, n), of K's rank with ``K = RR'``: its other eigenvalues are rounding."""
    values, vectors = np.linalg.eigh(K)
    rounding = _RANK * np.abs(values).max(initial=0.0)
    return np.asarray(vectors * np.sqrt(np.where(values > rounding, values, 0.0)))


def _curves_up(root: np.ndarray, W: np.ndarray) -> bool:
    """Whether ``I + R'WR`` is positive definite: then a Newton step leads downhill."""
    try:
        np.linalg.cholesky(np.eye(len(W)) + root.T @ (W[:, None] * root))
    except np.linalg.LinAlgError:
        return False
    return True


def dense_quadrature(
    general: GeneralModel, density: Density, theta: np.ndarray, beta: np.ndarray
) -> float:
    """Return −2 log likelihood of a model with one term of one or two effects, by brute force.

    The trapezoid rule, which converges exponentially for integrands that vanish at both ends, on a
    grid between the points where each level's integrand has dropped by e^46.
    """
    total = 0.0
    for level in _levels(general, density, theta, beta):
        q = len(level.mode)
        box = _box(level)
        axes = [np.linspace(low, high, _POINTS[q]) for low, high in box]
        cell = np.log([axis[1] - axis[0] for axis in axes]).sum()
        total += logsumexp(level.log_integrand(_grid(axes))) + cell
    return -2.0 * total


def dense_adaptive(
    general: GeneralModel,
    density: Density,
    theta: np.ndarray,
    beta: np.ndarray,
    nodes: int,
    start: np.ndarray | None = None,
) -> float:
    """Return −2 log likelihood by adaptive Gauss-Hermite quadrature with expected weights.

    The product rule of `nodes` per effect, centred at each level's mode and scaled by the Cholesky
    factor of its expected information (Pinheiro and Bates 1995, section 2.4). Modes are searched
    from the linear predictor `start`, (n,).
    """
    z, w = hermegauss(nodes)
    total = 0.0
    for level in _levels(general, density, theta, beta, start):
        q = len(level.mode)
        logs = _grid([np.log(w) + z * z / 2.0] * q).sum(axis=0)
        total += logsumexp(level.log_integrand(_grid([z] * q)) + logs)
    return -2.0 * total


@dataclass(frozen=True, eq=False)
class _Level:
    """One level's part of the likelihood, over z with ``u = mode + scale z``.

    Attributes
    ----------
    response : GeneralResponse
        Of its rows.
    density : Density
    m : numpy.ndarray, shape (n_j,)
        Xβ + offset.
    columns : numpy.ndarray, shape (n_j, q)
        Its rows of ZΛ.
    mode : numpy.ndarray, shape (q,)
    scale : numpy.ndarray, shape (q, q)
        Transposed inverse Cholesky factor of the information at the mode.
    """

    response: GeneralResponse
    density: Density
    m: np.ndarray
    columns: np.ndarray
    mode: np.ndarray
    scale: np.ndarray

    def log_integrand(self, z: np.ndarray) -> np.ndarray:
        """Return the log of density times prior times |scale|, shape (k,), at z, shape (q, k)."""
        u = self.mode[:, None] + self.scale @ z
        prior = -0.5 * (u * u + np.log(2.0 * np.pi)).sum(axis=0)
        logs = self.density.log(self.response, self.m + (self.columns @ u).T)
        return logs.sum(axis=1) + prior + np.log(np.abs(np.diag(self.scale))).sum()


def _levels(
    general: GeneralModel,
    density: Density,
    theta: np.ndarray,
    beta: np.ndarray,
    start: np.ndarray | None = None,
) -> Iterator[_Level]:
    """Yield the levels of a model with one term."""
    (term,) = general.model.terms
    (block,) = relative_blocks(general.model, theta)
    factor = general.model.factors[term.group]
    at = dense_laplace(general, density, theta, beta, start=start)
    m, weights = _mean(general, beta), density.expected(general.response, at.eta)
    for j in range(len(factor.levels)):
        rows = factor.codes == j
        columns = term.columns[rows] @ block
        information = np.eye(len(block)) + columns.T @ (weights[rows][:, None] * columns)
        yield _Level(
            response=_some_rows(general.response, rows),
            density=density,
            m=m[rows],
            columns=columns,
            mode=columns.T @ at.score[rows],
            scale=np.linalg.inv(np.linalg.cholesky(information)).T,
        )


def _some_rows(response: GeneralResponse, rows: np.ndarray) -> GeneralResponse:
    totals = None if response.totals is None else response.totals[rows]
    return replace(response, y=response.y[rows], weights=response.weights[rows], totals=totals)


def _grid(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return all combinations of the axes' points, shape (q, number of points)."""
    return np.array(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1)


def _box(level: _Level) -> list[tuple[float, float]]:
    """Return, for each axis of z, the interval outside of which the integrand is negligible."""
    q = len(level.mode)
    axis = np.linspace(-_REACH, _REACH, _SCAN[q])
    with np.errstate(divide="ignore"):
        logs = level.log_integrand(_grid([axis] * q)).reshape((len(axis),) * q)
    inside = logs > logs.max() - _DROP
    box = []
    for k in range(q):
        places = np.flatnonzero(inside.any(axis=tuple(i for i in range(q) if i != k)))
        low, high = max(places[0] - 1, 0), min(places[-1] + 1, len(axis) - 1)
        box.append((float(axis[low]), float(axis[high])))
    return box
