"""`Strata`: the information on each term, by stratum, where there are several grouping factors.

The contrasts between the levels of a factor fall into two strata: those that do not depend on the
other factors' effects (within), and those that do (between; all contrasts of the outer factor of a
nested pair). In a stratum of ν contrasts with sampling variance m, in units of the term's own
variance, the effective number at variance v is ν v / (v + m). The effective numbers of a fit,
computed at a few other variances, therefore determine ν and m. This is exact for nested and crossed
balanced designs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structures import summary_layouts
from pymackay.infer.gap.effect_roots import view_group
from pymackay.results import Fit

_LARGE = 1e2  # a multiple of a term's sd that stands for infinity
_LARGER = 1e5  # one that stands for infinity even beside _LARGE
_FEW = 1e-2  # share of the contrasts, or of γ, that counts as none
_ROUNDS = 20_000
_DONE = 1e-12  # change of a variance in one round


@dataclass(frozen=True, eq=False)
class Strata:
    """The two strata of one term, direction by direction; variances in units of the fit's own.

    Attributes
    ----------
    n_levels : int
    axes : numpy.ndarray, shape (r, r)
        The directions, as columns, in the standardised effects.
    contrasts : numpy.ndarray, shape (r,)
        Number of contrasts that are not confounded with the fixed effects.
    gamma : numpy.ndarray, shape (r,)
        Effective number at the fit.
    within, between : numpy.ndarray, shape (r,)
        Contrasts of each stratum.
    within_noise : numpy.ndarray, shape (r,)
        Sampling variance within: a multiple of σ².
    between_noise : numpy.ndarray, shape (r,)
        The part of the sampling variance of the between stratum that comes from σ².
    shared : numpy.ndarray, shape (terms, r)
        The part that comes from the variance of each other term.
    """

    n_levels: int
    axes: np.ndarray
    contrasts: np.ndarray
    gamma: np.ndarray
    within: np.ndarray
    between: np.ndarray
    within_noise: np.ndarray
    between_noise: np.ndarray
    shared: np.ndarray

    @property
    def s(self) -> np.ndarray:
        """Sample variance over sampling variance, both strata in one: ν / (ν − γ)."""
        return self.contrasts / (self.contrasts - self.gamma)


Numbers = Callable[[np.ndarray], list[np.ndarray]]


def find_strata(fit: Fit) -> list[Strata]:
    """Return the strata of every term of a REML fit; null directions are left out."""
    numbers = _effective_numbers(fit)
    count = len(fit.model.terms)
    alone = np.eye(count)
    here = numbers(np.ones(count))
    without = [numbers(1.0 - alone[k]) for k in range(count)]
    return [
        _strata_of(
            levels=len(fit.model.levels[term.group]),
            here=here[k],
            without=[without[other][k] if other != k else here[k] for other in range(count)],
            unlimited=numbers(1.0 + (_LARGE - 1.0) * alone[k])[k],
            rest_unlimited=numbers(_LARGER + (1.0 - _LARGER) * alone[k])[k],
            all_unlimited=numbers(_LARGER + (_LARGE - _LARGER) * alone[k])[k],
        )
        for k, term in enumerate(fit.model.terms)
    ]


def _effective_numbers(fit: Fit) -> Numbers:
    """Return a function from multipliers of the terms' sds, (terms,), to their effective numbers.

    These are matrices, (r, r), in the directions that vary in `fit`: J − Σ_j Var(û_j − u_j), with
    the effects u standardised at the multiplied variances.
    """
    views = {name: view_group(fit, name) for name in fit.model.levels}
    terms = {term.summary.name: term for view in views.values() for term in view.terms}
    sizes = [len(layout.rows) for layout in summary_layouts(fit.model.terms)]

    def numbers(multipliers: np.ndarray) -> list[np.ndarray]:
        theta = fit.theta.to_numpy() * np.repeat(multipliers, sizes)
        there = fit.evaluate(theta)
        effective, columns = [], dict.fromkeys(fit.model.levels, 0)
        for summary, multiplier in zip(fit.model.terms, multipliers, strict=True):
            start = columns[summary.group]
            stop = columns[summary.group] = start + len(summary.effects)
            errors = there.pev[summary.group][:, start:stop, start:stop]
            unit = multiplier * there.sigma / fit.sigma
            inverse = terms[summary.name].inverse / (unit if multiplier else 1.0)
            identity = np.eye(len(inverse))
            hidden = inverse @ errors.sum(axis=0) @ inverse.T
            effective.append(len(errors) * identity - hidden if multiplier else 0.0 * identity)
        return effective

    return numbers


def _strata_of(
    levels: int,
    here: np.ndarray,
    without: list[np.ndarray],
    unlimited: np.ndarray,
    rest_unlimited: np.ndarray,
    all_unlimited: np.ndarray,
) -> Strata:
    """Compute the strata of one term from its effective numbers, each (r, r).

    Parameters
    ----------
    levels : int
    here : numpy.ndarray
        At the fit.
    without : list of numpy.ndarray
        With the variance of each other term set to zero.
    unlimited, rest_unlimited, all_unlimited : numpy.ndarray
        With a very large variance of this term, of all other terms, and of both.
    """
    axes = np.linalg.eigh(here)[1]

    def along(matrix: np.ndarray) -> np.ndarray:
        return np.einsum("ai,ab,bi->i", axes, matrix, axes)

    contrasts, gamma = along(unlimited), along(here)
    gamma_within = along(rest_unlimited)
    within = np.where(gamma_within > _FEW * gamma, along(all_unlimited), 0.0)
    gamma_within = np.where(within > 0.0, gamma_within, 0.0)
    between = np.where(contrasts - within > _FEW * contrasts, contrasts - within, 0.0)
    noise = _noise(between, gamma - gamma_within)
    shared = np.array([noise - _noise(between, along(g) - gamma_within) for g in without])
    return Strata(
        n_levels=levels,
        axes=axes,
        contrasts=contrasts,
        gamma=gamma,
        within=within,
        between=between,
        within_noise=_noise(within, gamma_within),
        between_noise=noise - shared.sum(axis=0),
        shared=shared,
    )


def _noise(contrasts: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Solve ``γ = ν / (1 + m)`` for m, 0 where there are no contrasts."""
    present = (contrasts > 0.0) & (gamma > 0.0)
    return np.where(present, contrasts / np.where(present, gamma, 1.0) - 1.0, 0.0)


def run_strata(fit: Fit, strata: list[Strata], scale: Sequence[float]) -> list[np.ndarray]:
    """Run the literal loop on the strata, from the fit's own variances until nothing changes.

    Returns
    -------
    list of numpy.ndarray, each (r,)
        The variances of each term along its axes, in units of the fit's own.
    """
    variances, ratio = [np.ones_like(one.gamma) for one in strata], 1.0
    rest = fit.n_obs - len(fit.beta) - sum(float(one.within.sum()) for one in strata)
    for _ in range(_ROUNDS):
        means = np.array([v.mean() if v.size else 0.0 for v in variances])
        following, sse, df = [], rest, rest
        for one, v, factor in zip(strata, variances, scale, strict=True):
            inner, outer = _shrinkage(one, v, ratio, means)
            divisor = one.contrasts * (one.n_levels - 1)
            divisor = divisor / np.minimum(one.contrasts, one.n_levels - 1)
            squares = one.within * inner**2 * (1.0 + one.within_noise)
            full_noise = one.between_noise + one.shared.sum(axis=0)
            squares = squares + one.between * outer**2 * (1.0 + full_noise)
            following.append(factor * squares / divisor)
            excess = np.where(one.within > 0.0, 1.0 + 1.0 / np.maximum(one.within_noise, 1e-300), 0)
            sse += float(np.sum(one.within * excess * (1.0 - inner) ** 2))
            df += float(np.sum(one.within * (1.0 - inner)))
        pairs = zip(following, variances, strict=True)
        moves = [float(np.abs(a - b).max(initial=0.0)) for a, b in pairs]
        change = max(abs(sse / df - ratio), *moves)
        variances, ratio = following, sse / df
        if change < _DONE:
            break
    return variances


def _shrinkage(
    one: Strata, v: np.ndarray, ratio: float, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return v / (v + m) of both strata at the loop's variances."""
    inner = v + ratio * one.within_noise
    outer = v + ratio * one.between_noise + means @ one.shared
    return (
        np.divide(v, inner, out=np.zeros_like(v), where=inner > 0.0),
        np.divide(v, outer, out=np.zeros_like(v), where=outer > 0.0),
    )
