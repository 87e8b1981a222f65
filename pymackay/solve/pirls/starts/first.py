"""`starting_point` and `Start`: where the search of a generalised model begins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.roots import root_of
from pymackay.family.family import Expansion
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.mode import Given, find_mode
from pymackay.solve.pirls.rows import Rows

_ROUNDS = 8
_HALVINGS = 10  # of a step that raises the deviance
_ENOUGH = 1e-3  # relative change of the deviance that ends the first iterations
_NOISE, _LARGEST = 3.0, 1.0  # sd to start from: noise levels of an effect, and at most
_LEAST = 0.05  # sd of a start, by the first: zero has no slope to leave by
_NEAR = 1e-5  # Newton decrement by 1 + |u|² of modes that are only needed for a start
_RIDGE = 1e-8  # of the mean weight, where a model without random effects has no unique optimum


@dataclass(frozen=True, eq=False)
class Start:
    """Where a search begins.

    Attributes
    ----------
    psi : numpy.ndarray, shape (P,)
    effects : numpy.ndarray of shape (N,), or None
        Random effects b near the mode there; None where no mode was searched.
    """

    psi: np.ndarray
    effects: np.ndarray | None = None


def starting_point(laplace: Laplace, elements: np.ndarray | None = None) -> np.ndarray:
    """Return ψ to start from, (P,): that of `start_of`."""
    return start_of(laplace, elements).psi


def start_of(laplace: Laplace, elements: np.ndarray | None = None) -> Start:
    """Return where to start.

    β is that of the model without random effects, a few rounds of iterated weighted least squares
    (Nelder & Wedderburn 1972, J. R. Stat. Soc. A 135). The factors begin at three times the noise
    of an effect, after which two rounds of MacKay's rule ``v = Σ u²/γ`` make them smaller. Factors
    of reduced rank begin in the principal axes of EM's next covariance matrix.

    Parameters
    ----------
    laplace : Laplace
    elements : numpy.ndarray, shape (k,), optional
        Of the factors, where the user gave them.
    """
    family = laplace.family
    if isinstance(family, NegativeBinomial) and family.theta is None:
        laplace = Laplace(laplace.rows, family.with_shape(_shape(laplace)), laplace.determinant)
        begun = start_of(laplace, elements)
        shape = np.log(laplace.family.shape)  # type: ignore[attr-defined]
        return replace(begun, psi=np.append(begun.psi, shape))
    beta, phi, weights = _without_random_effects(laplace)
    effects = None
    if elements is None:
        factors = moments = _first_factors(laplace, weights / phi)
        for _ in range(2):
            shaped = _shaped(laplace.rows, factors)
            updated = by_mackays_rule(laplace, beta, shaped, phi, effects)
            factors, moments, effects = updated.factors, updated.moments, updated.effects
        elements = laplace.rows.near(_with_axes(laplace.rows, factors, moments))
    extra = [np.log(phi)] if laplace.extra == "dispersion" else []
    return Start(np.concatenate([beta, elements, extra]), effects)


def _shape(laplace: Laplace) -> float:
    """Return a shape by moments of the response: variance ``μ + μ²/θ``."""
    y = laplace.rows.observed.y
    mean, variance = float(y.mean()), float(y.var())
    return float(np.clip(mean**2 / max(variance - mean, 0.1 * mean, 1e-8), 0.1, 100.0))


def _without_random_effects(laplace: Laplace) -> tuple[np.ndarray, float, np.ndarray]:
    """Return β, (p,), the dispersion, and expected weights, (n,), without random effects.

    Of a density that is not log-concave, the first step from the data may lead to means so large
    or small that the deviance is flat. Then the steps begin again at one mean for all rows.
    """
    with np.errstate(all="ignore"):
        return _lower_of_two(laplace)


def _lower_of_two(laplace: Laplace) -> tuple[np.ndarray, float, np.ndarray]:
    rows, family = laplace.rows, laplace.family
    first = family.predictor(family.start(rows.observed))
    beta, at = _weighted_steps(laplace, np.zeros(rows.p), first, np.inf)
    constant = _constant(laplace)
    if not family.is_log_concave and _legal(laplace, constant):
        eta = rows.basis.Q @ constant + rows.offset
        deviance = float(family.expand(rows.observed, eta).value.sum())
        if not float(at.value.sum()) <= deviance:
            beta, at = _weighted_steps(laplace, constant, eta, deviance)
    phi = 1.0
    if laplace.extra == "dispersion":
        phi = max(2.0 * float(at.value.sum()) / rows.n, 1e-10)
    return beta, phi, at.expected


def _weighted_steps(
    laplace: Laplace, beta: np.ndarray, eta: np.ndarray, before: float
) -> tuple[np.ndarray, Expansion]:
    """Take steps of iterated weighted least squares; return β, (p,), and the expansion there.

    Parameters
    ----------
    laplace : Laplace
    beta : numpy.ndarray, shape (p,)
    eta : numpy.ndarray, shape (n,)
        Linear predictor at which the first step is computed.
    before : float
        Half deviance that the first step may not exceed.
    """
    rows, family = laplace.rows, laplace.family
    observed, Q = rows.observed, rows.basis.Q
    at = family.expand(observed, eta)
    for step in range(_ROUNDS):
        working = eta - rows.offset - at.d1 / np.where(at.expected > 0.0, at.expected, 1.0)
        trial = _weighted_fit(Q, working, at.expected)
        length = 1.0
        while not _legal(laplace, beta + length * (trial - beta)) and length > 1e-6:
            length *= 0.5
        if not _legal(laplace, beta + length * (trial - beta)):
            trial, length = _constant(laplace), 1.0
            beta = trial
        for _ in range(_HALVINGS):
            after = beta + length * (trial - beta)
            eta = Q @ after + rows.offset
            at = family.expand(observed, eta)
            deviance = float(at.value.sum())
            if deviance <= before + _ENOUGH * (abs(before) + 0.1):
                break
            length *= 0.5
        beta = after
        if step and abs(before - deviance) < _ENOUGH * (abs(deviance) + 0.1):
            break
        before = deviance
    return beta, at


def _legal(laplace: Laplace, beta: np.ndarray) -> bool:
    rows = laplace.rows
    return laplace.family.is_legal(rows.basis.Q @ beta + rows.offset)


def _constant(laplace: Laplace) -> np.ndarray:
    """Return β that comes nearest to one mean for all rows, (p,)."""
    rows, family = laplace.rows, laplace.family
    mean = np.average(rows.observed.y, weights=rows.observed.weights)
    eta = family.predictor(np.full(rows.n, mean)) - rows.offset
    return np.asarray(rows.basis.Q.T @ eta)


def _weighted_fit(Q: np.ndarray, working: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``(Q'WQ)⁻¹Q'W`` working, (p,), with a trace of a ridge."""
    weighted = Q * weights[:, None]
    gram = weighted.T @ Q
    gram[np.arange(len(gram)), np.arange(len(gram))] += _RIDGE * weights.mean()
    right = weighted.T @ working
    try:
        return np.asarray(np.linalg.solve(gram, right))
    except np.linalg.LinAlgError:  # weights of 0 in too many rows
        return np.asarray(np.linalg.pinv(np.nan_to_num(gram)) @ np.nan_to_num(right))


def _first_factors(laplace: Laplace, weights: np.ndarray) -> list[np.ndarray]:
    """Return diagonal factors of each block, (q, q), at three times the noise of an effect."""
    factors = []
    for block in laplace.rows.blocks:
        information = np.einsum("aaj->aj", block.gram(weights)).mean(axis=1)
        noise = 1.0 / np.sqrt(np.maximum(information, 1e-300))
        factors.append(np.diag(np.minimum(_NOISE * noise, _LARGEST)))
    return factors


def _shaped(rows: Rows, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return the factors of each block, (q, q), of the terms' structures, near any factors.

    Those of reduced rank remain as they are: they still have to show which axes to keep.
    """
    return _with_axes(rows, rows.block_factors(rows.near(factors)), factors)


def _with_axes(rows: Rows, factors: list[np.ndarray], others: list[np.ndarray]) -> list[np.ndarray]:
    """Return factors of each block, (q, q), with others where a term has a reduced rank."""
    made = [factor.copy() for factor in factors]
    for block, factor, other in zip(rows.blocks, made, others, strict=True):
        for term, columns in rows.term_slices(block):
            if isinstance(rows.layouts[term].structure, ReducedRank):
                factor[columns, columns] = other[columns, columns]
    return made


@dataclass(frozen=True, eq=False)
class Updated:
    """What one round of MacKay's rule gives.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Diagonal, of each block, with ``v = Σ_j b_j² / γ``.
    moments : list of numpy.ndarray, each (q, q)
        Roots of ``(B'B + Σ_j C_j)/J``.
    effects : numpy.ndarray of shape (N,), or None
        The effects b before the round; None where they have no mode.
    """

    factors: list[np.ndarray]
    moments: list[np.ndarray]
    effects: np.ndarray | None


def by_mackays_rule(
    laplace: Laplace,
    beta: np.ndarray,
    factors: list[np.ndarray],
    phi: float,
    effects: np.ndarray | None = None,
) -> Updated:
    """Return factors of one round of MacKay's rule, after those of each block, (q, q).

    The mode is searched near effects b, (N,), if a density has but one mode, or from zero.
    """
    rows = laplace.rows
    fixed = rows.basis.Q @ beta + rows.offset
    given = Given(rows, laplace.family, fixed, factors, phi)
    begin = np.zeros(rows.n_effects)
    if effects is not None and laplace.family.is_log_concave:
        begin = given.unscaled(effects)
    try:
        mode = find_mode(given, begin, _NEAR)
    except np.linalg.LinAlgError:
        return Updated(factors, factors, None)
    covariances = mode.system.level_covariances()
    made, moments = [], []
    for u, factor, covariance in zip(rows.parts(mode.u), factors, covariances, strict=True):
        before = np.diag(factor) ** 2
        left = np.einsum("aaj->aj", covariance).sum(axis=1) / before
        gamma = np.maximum(u.shape[1] - left, 1e-3 * u.shape[1])
        variance = ((np.diag(factor)[:, None] * u) ** 2).sum(axis=1) / gamma
        made.append(np.diag(np.sqrt(np.maximum(variance, _LEAST**2 * before))))
        b = factor @ u
        moments.append(root_of((b @ b.T + covariance.sum(axis=2)) / u.shape[1]))
    return Updated(made, moments, given.scaled(mode.u))
