"""Responses drawn for refits: from the model, or by resampling its residuals and effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

from pymackay.errors import PymackayError
from pymackay.infer.predict.rows import effects_of_terms, own_rows
from pymackay.infer.predict.simulate import simulate
from pymackay.results import Fit

Draw = Callable[[int, np.random.Generator], np.ndarray]  # number of responses to (n, number)

_ROW_CELLS = 4_000_000  # rows × responses drawn at a time
_NULL = 1e-10  # share of the largest variance below which a direction does not vary


def drawn_portions(
    draws: Draw, n: int, count: int, draw: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield `count` drawn responses in portions that fit into memory."""
    size = max(1, _ROW_CELLS // n)
    for start in range(0, count, size):
        yield draws(min(size, count - start), draw)


def parametric_draws(fit: Fit, *, use_u: bool) -> Draw:
    """Return a function that draws responses from the model.

    `use_u` keeps the predicted random effects; otherwise new ones are drawn.
    """
    re_form = None if use_u else "~0"
    return lambda count, draw: simulate(fit, count, draw, re_form=re_form).to_numpy()


def residual_draws(fit: Fit, *, use_u: bool) -> Draw:
    """Return a function that draws responses by resampling residuals and predicted effects.

    Both are rescaled to the variances of the fit. `use_u` keeps the predicted effects.

    See `pymackay.bootstrap` for the formula.
    """
    model = fit.problem.model
    effects = effects_of_terms(fit)
    mean = fit.fitted.to_numpy() - own_rows(model).random_part(effects)
    noise = _rescaled_residuals(fit)
    sd = 1.0 if model.weights is None else 1.0 / np.sqrt(model.weights)[:, None]
    pools = {name: _rescaled_effects(fit, name, effects) for name in model.factors}
    if use_u:
        mean = fit.fitted.to_numpy()

    def draws(count: int, draw: np.random.Generator) -> np.ndarray:
        drawn = np.repeat(mean[:, None], count, axis=1)
        for name, pool in pools.items() if not use_u else ():
            chosen = pool[draw.integers(len(pool), size=(len(pool), count))]
            rows = chosen[model.factors[name].codes]
            columns = np.column_stack([t.columns for t in model.terms if t.group == name])
            drawn += np.einsum("nq,nbq->nb", columns, rows)
        drawn += noise[draw.integers(len(noise), size=drawn.shape)] * sd
        return drawn

    return draws


def _rescaled_residuals(fit: Fit) -> np.ndarray:
    """Return the residuals at unit weight, centred, with mean square sigma²."""
    residuals = fit.residuals.to_numpy()
    if fit.problem.model.weights is not None:
        residuals = residuals * np.sqrt(fit.problem.model.weights)
    residuals = residuals - residuals.mean()
    size = float(np.sqrt(np.mean(residuals**2)))
    if not size > 0.0:
        raise PymackayError(
            "the residuals of this fit are all zero, so that there is nothing to resample; use "
            "kind='parametric'."
        )
    return np.asarray(residuals * (fit.sigma / size))


def _rescaled_effects(fit: Fit, group: str, effects: list[np.ndarray]) -> np.ndarray:
    """Return the predicted effects of a factor, centred, with the covariance of the fit, (J, q).

    Carpenter, Goldstein & Rasbash (2003), section 3: U* = U (L_R L_S⁻¹)', with S = U'U / J and
    Cholesky factors L. A singular R is restricted to the directions that it spans.
    """
    terms = fit.problem.model.terms
    places = [k for k, term in enumerate(terms) if term.group == group]
    R = scipy.linalg.block_diag(*(fit.varcorr[terms[k].name].to_numpy() for k in places))
    U = np.column_stack([effects[k] for k in places])
    U = U - U.mean(axis=0)
    scale = np.sqrt(np.diag(R))
    scale = np.where(scale > 0.0, scale, 1.0)
    V = _range(R / np.outer(scale, scale))
    coordinates = (U / scale) @ V
    try:
        LR = np.linalg.cholesky(V.T @ (R / np.outer(scale, scale)) @ V)
        LS = np.linalg.cholesky(coordinates.T @ coordinates / len(U))
    except np.linalg.LinAlgError:
        raise PymackayError(
            f"the predicted effects of '{group}' ({len(U)} levels) do not vary in every direction "
            f"in which the model lets them vary, so that they cannot be rescaled to its variances; "
            f"use kind='parametric'."
        ) from None
    return np.asarray(coordinates @ np.linalg.solve(LS.T, LR.T) @ V.T * scale)


def _range(R: np.ndarray) -> np.ndarray:
    """Return a basis of the range of R, (q, r); the identity where R has full rank."""
    values, vectors = np.linalg.eigh(R)
    varies = values > _NULL * max(float(values[-1]), np.finfo(float).tiny)
    return np.eye(len(R)) if varies.all() else vectors[:, varies]
