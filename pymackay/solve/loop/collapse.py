"""When and why MacKay's literal loop drives the variance of a direction to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pymackay.errors import CollapseError
from pymackay.model.model import Model, level_products
from pymackay.solve.descent.coordinates import WeightedArrays, weight_arrays

#: Smallest signal ratio with which a direction survives V ← cov(B̂): t ← (t / (1 + t))² s has a
#: positive fixed point only from s = 4 on, where t* = 1.
SURVIVAL = 4.0

_SAME = 1e-8  # relative difference of equal cross-products; relative size of a dependent column


def signal_ratios(model: Model) -> np.ndarray | None:
    """Return the signal ratio s of each direction of a balanced model with one random term.

    In the basis where the sampling covariance σ²(ZⱼᵀZⱼ)⁻¹ of the per-level least-squares effects
    is the identity, these are the eigenvalues of the effects' sample covariance: s − 1 is the
    signal-to-noise ratio. σ² is the residual variance within levels.

    Parameters
    ----------
    model : Model

    Returns
    -------
    numpy.ndarray of shape (q,), ascending, or None
        None where s is not defined: several terms, levels with different ZⱼᵀZⱼ, levels with too
        few rows for least-squares effects, or no residual within levels.
    """
    if len(model.terms) != 1:
        return None
    arrays = weight_arrays(model)
    gram = arrays.grams[0].mean(axis=0)
    if np.abs(arrays.grams[0] - gram).max() > _SAME * np.abs(gram).max():
        return None
    if np.linalg.eigvalsh(_correlation(gram))[0] < _SAME:
        return None
    codes = model.factors[model.terms[0].group].codes
    noise_var = _within_variance(arrays, codes)
    if noise_var is None:
        return None
    residual = arrays.target - arrays.fixed @ (arrays.fixed.T @ arrays.target)
    effects = _level_effects(arrays, codes, residual)
    whitening = np.linalg.cholesky(gram / noise_var)
    return np.linalg.eigvalsh(whitening.T @ np.atleast_2d(np.cov(effects.T)) @ whitening)


def reliabilities(model: Model, term: int, cov: np.ndarray, noise_var: float) -> np.ndarray:
    """Return t of each direction of one term: its variance over its average sampling variance.

    Parameters
    ----------
    model : Model
    term : int
        Position in ``model.terms``.
    cov : numpy.ndarray, shape (q, q)
        Covariance of the term's effects, absolute scale.
    noise_var : float

    Returns
    -------
    numpy.ndarray of shape (q,), ascending
        Eigenvalues of V ZⱼᵀZⱼ/σ², with ZⱼᵀZⱼ averaged over levels; without units.
    """
    gram = weight_arrays(model).grams[term].mean(axis=0) / noise_var
    unit = np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    root = unit[:, None] * vectors * np.sqrt(np.clip(values, 0.0, None))
    return np.linalg.eigvalsh(root.T @ cov @ root)


def explain_collapse(
    model: Model, term: int, iteration: int, correlations: Sequence[float], reliability: float
) -> CollapseError:
    """Return the error that reports the collapse of the literal loop and explains it.

    Parameters
    ----------
    model : Model
    term : int
        Position in ``model.terms`` of the term with the collapsed direction.
    iteration : int
        1-based iteration of the collapse.
    correlations : sequence of float
        Correlation after each iteration; empty for a term of one effect.
    reliability : float
        The direction's t, see `reliabilities`.
    """
    name = model.terms[term].name
    path = ", ".join(_short(r) for r in correlations)
    reached = f" The correlation went {path}." if len(correlations) else ""
    return CollapseError(
        f"MacKay's literal loop collapsed in iteration {iteration}: the covariance matrix of the "
        f"random effects of '{name}' is singular to working precision. The variance of one "
        f"direction has fallen to {reliability:.1g} of its sampling variance.{reached}\n"
        f"Why: a round of V <- cov(b) takes that ratio t to (t / (1 + t))^2 s, s - 1 being the "
        f"direction's signal-to-noise ratio, and this has a positive fixed point only from "
        f"s = {SURVIVAL:g} on. {_verdict_on(signal_ratios(model))}\n"
        f'Cure: use MacKay\'s own divisor, pymackay.mackay(..., update="gamma"), which ends at '
        f"REML; or forbid correlation, V = np.diag(np.diag(V)), which hides the direction.",
        term=name,
        iteration=iteration,
        correlation=correlations[-1] if len(correlations) else float("nan"),
    )


def _verdict_on(ratios: np.ndarray | None) -> str:
    if ratios is None:
        return "In this unbalanced model s has no single value; a weak direction has died."
    listed = ", ".join(f"{s:.3f}" for s in ratios)
    dying = ", ".join(f"{s:.3f}" for s in ratios if s < SURVIVAL)
    what = f"so the direction with s = {dying} dies" if dying else "so the start was too small"
    return f"Here s = ({listed}), {what}."


def _short(correlation: float) -> str:
    """Return a correlation as text, with enough decimals to differ from 1 and at least two."""
    short_of_one = max(1.0 - abs(correlation), 0.0)
    if short_of_one < 1e-12:
        return f"{round(correlation)}"
    return f"{correlation:.{max(2, math.ceil(-math.log10(short_of_one)))}f}"


def _correlation(gram: np.ndarray) -> np.ndarray:
    unit = np.sqrt(np.diag(gram))
    unit = np.where(unit > 0, unit, 1.0)
    return gram / np.outer(unit, unit)


def _level_effects(arrays: WeightedArrays, codes: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return each level's least-squares effects for `response`, shape (levels, q)."""
    grams = arrays.grams[0]
    products = level_products(codes, arrays.columns[0], response[:, None], len(grams))
    return np.linalg.solve(grams, products)[:, :, 0]


def _within_variance(arrays: WeightedArrays, codes: np.ndarray) -> float | None:
    """Return the residual variance of the regression on X and own effects of each level.

    `codes`, (n,), are the levels of the rows. None if no degrees of freedom or no residual is left.
    """

    def within(values: np.ndarray) -> np.ndarray:
        effects = _level_effects(arrays, codes, values)
        return values - np.einsum("nq,nq->n", arrays.columns[0], effects[codes])

    fixed = np.column_stack([within(column) for column in arrays.fixed.T] or [0 * arrays.target])
    basis, sizes, _ = np.linalg.svd(fixed, full_matrices=False)
    basis = basis[:, sizes > _SAME]
    residual = within(arrays.target)
    residual = residual - basis @ (basis.T @ residual)
    df = len(codes) - arrays.grams[0].shape[0] * arrays.grams[0].shape[1] - basis.shape[1]
    if df < 1 or np.linalg.norm(residual) <= _SAME * np.linalg.norm(arrays.target):
        return None
    return float(residual @ residual) / df
