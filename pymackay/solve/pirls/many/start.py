"""`starting_points`: where the searches of many responses begin, and which are not separated.

As `pymackay.solve.pirls.start` does for one: a model without random effects, then MacKay's rule.
"""

from __future__ import annotations

import numpy as np

from pymackay.solve.pirls.many.point import ManyLaplace
from pymackay.solve.pirls.separation import limits_at_infinity

_ROUNDS, _HALVINGS = 10, 10
_ENOUGH = 1e-3  # relative change of the deviance that ends the first iterations
_NOISE, _LARGEST = 3.0, 1.0  # sd to start from: noise levels of an effect, and at most
_LEAST = 0.05  # sd of a start, by the first: zero has no slope to leave by
_RIDGE = 1e-8  # of the mean weight, where a model without random effects has no unique optimum
_NEAR = 1e-6  # Newton decrement of modes that are only needed for a start
_ZERO = 1e-8  # of the largest residual: a smaller one proves nothing


def starting_points(laplace: ManyLaplace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return parameters to start from, (B, P), effects, (q, J, B), and what is not separated, (B,).

    Rows that a direction of the fixed effects may move to one side only have residuals of one sign.
    If the residuals, made orthogonal to the fixed columns, keep these signs, they are weights that
    prove that there is no such direction (`pymackay.solve.pirls.separation`).
    """
    beta, phi, weights, residual = _without_random_effects(laplace)
    first = elements = _first_factors(laplace, weights / phi)
    u = np.zeros((*laplace.design.levels, len(laplace)))
    for _ in range(2):
        psi = _joined(laplace, beta, elements, phi)
        elements, u = _by_mackays_rule(laplace, psi, elements, u)
    lost = ~np.isfinite(elements).all(axis=0)
    elements[:, lost], u[:, :, lost] = first[:, lost], 0.0
    return _joined(laplace, beta, elements, phi), u, _keeps_signs(laplace, residual)


def _joined(
    laplace: ManyLaplace, beta: np.ndarray, elements: np.ndarray, phi: np.ndarray
) -> np.ndarray:
    """Return parameters, (B, P), from β, (p, B), elements, (k, B), and dispersions, (B,)."""
    extra = [np.log(phi)[None]] if laplace.samples.family.has_dispersion else []
    return np.ascontiguousarray(np.concatenate([beta, elements, *extra]).T)


@np.errstate(all="ignore")
def _without_random_effects(
    laplace: ManyLaplace,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return β, (p, B), dispersions, (B,), expected weights and −D', (n, B): no random effects.

    Iterated weighted least squares, with steps that are halved where the deviance rises.
    """
    samples, design = laplace.samples, laplace.design
    offset = design.rows.offset[:, None]
    eta = samples.family.predictor(samples.family.start(samples.flat)).reshape(samples.y.shape)
    beta, before = np.zeros((design.rows.p, len(laplace))), np.full(len(laplace), np.inf)
    at = samples.expand(eta)
    for step in range(_ROUNDS):
        working = eta - offset - at.d1 / np.where(at.expected > 0.0, at.expected, 1.0)
        toward = _weighted_fits(laplace, working, at.expected) - beta
        length = np.ones(len(laplace))
        most = before + _ENOUGH * (np.abs(before) + 0.1)
        for _ in range(_HALVINGS):
            eta = design.Q @ (beta + length * toward) + offset
            at = samples.expand(eta)
            deviance = at.value.sum(axis=0)
            risen = ~(deviance <= most)
            if not risen.any() or not step:
                break
            length[risen] *= 0.5
        beta = beta + length * toward
        if step and (np.abs(before - deviance) < _ENOUGH * (np.abs(deviance) + 0.1)).all():
            break
        before = deviance
    phi = np.ones(len(laplace))
    if samples.family.has_dispersion:
        phi = np.maximum(2.0 * deviance / design.rows.n, 1e-10)
    return beta, phi, at.expected, -at.d1


def _weighted_fits(laplace: ManyLaplace, working: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``(Q'WQ)⁻¹Q'W`` working, (p, B), with a trace of a ridge."""
    design, p = laplace.design, laplace.design.rows.p
    gram = design.inner(weights)
    gram[np.arange(p), np.arange(p)] += _RIDGE * weights.mean(axis=0)
    right = design.Q.T @ (weights * working)
    usable = np.isfinite(gram).all(axis=(0, 1)) & np.isfinite(right).all(axis=0)
    made = np.full(right.shape, np.nan)
    solved = np.linalg.solve(gram[:, :, usable].transpose(2, 0, 1), right[:, usable].T[:, :, None])
    made[:, usable] = solved[:, :, 0].T
    return made


def _first_factors(laplace: ManyLaplace, weights: np.ndarray) -> np.ndarray:
    """Return diagonal factors at three times the noise of an effect, as elements, (k, B)."""
    gram = laplace.design.gram(weights)
    made = np.zeros((len(laplace.places), len(laplace)))
    for i, (a, b) in enumerate(laplace.places):
        if a == b:
            noise = 1.0 / np.sqrt(np.maximum(gram[a, a].mean(axis=0), 1e-300))
            made[i] = np.minimum(_NOISE * noise, _LARGEST)
    return made


def _by_mackays_rule(
    laplace: ManyLaplace, psi: np.ndarray, elements: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return diagonal factors with ``v = Σ_j b_j² / γ``, as elements, (k, B), and modes for them.

    `psi` holds all parameters, (B, P), `u`, (q, J, B), is where the modes at these are searched
    from. Nan where no mode is found.
    """
    J = laplace.design.levels[1]
    at = laplace.at(psi, u, _NEAR)
    F, made, u = at.system.F, np.zeros_like(elements), at.mode.u.copy()
    for i, (a, b) in enumerate(laplace.places):
        if a == b:
            before = elements[i] ** 2
            gamma = np.maximum(J - F[a, a].sum(axis=0) / before, 1e-3 * J)
            variance = before * (u[a] ** 2).sum(axis=0) / gamma
            made[i] = np.sqrt(np.maximum(variance, _LEAST**2 * before))
            u[a] *= elements[i] / made[i]
    return np.where(np.isfinite(at.mode.value), made, np.nan), u


def _keeps_signs(laplace: ManyLaplace, residual: np.ndarray) -> np.ndarray:
    """Say which responses have a proof that nothing separates them, (B,); residuals are (n, B)."""
    design, samples = laplace.design, laplace.samples
    if not (design.rows.observed.weights > 0.0).all():
        return np.zeros(len(laplace), dtype=bool)
    limits = limits_at_infinity(samples.y, samples.family.support, samples.family.link)
    if limits is None:
        return np.ones(len(laplace), dtype=bool)
    exact = residual - design.Q @ (design.Q.T @ residual)
    kept = limits * exact > _ZERO * np.abs(residual).max(axis=0)
    return np.asarray((kept | (limits == 0.0)).all(axis=0))
