"""`further_starts`: where searches begin besides the first: there may be several minima."""

from __future__ import annotations

import numpy as np

from pymackay.solve.pirls.criteria.laplace import Laplace

FEW_ROWS = 150  # up to which the criterion is searched from further starts
_VERY_FEW_ROWS = 60  # up to which a log-concave density may still have several minima often
_NEARLY_ZERO = 0.02  # of the first factors: a start for minima with a variance of zero
_SPREAD, _EACH, _MOST = 4, 2, 16  # random starts, more for each element of a factor, and at most
_SIZES = (-1.3, 1.5)  # log10 of the sd of effects at random starts
_LARGE, _MOVED_FAR = (0.0, 2.5), 2  # the same, where fixed effects move far, and which starts do
_QUIET = (-3.0, 0.0)  # log of the dispersion there, by the first: effects may take up the residuals


def further_starts(laplace: Laplace, psi: np.ndarray) -> list[np.ndarray]:
    """Return more parameters to start from, each (P,), where the criterion may have several minima.

    Criteria of few rows have, and lme4's criterion of a family with a dispersion, whose factors are
    relative to sigma. A further minimum often has a variance of zero, a correlation of the other
    sign, or much larger variances: some starts have variances that are nearly zero, and others
    are spread over all sizes and correlations, the same in every call.

    Parameters
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
        Where the first search starts.
    """
    rows = laplace.rows
    lme4s = laplace.is_lme4s
    if rows.structured or not (lme4s or rows.n <= FEW_ROWS):
        return []
    first, extra = psi[rows.p : rows.p + rows.n_theta], psi[rows.p + rows.n_theta :]
    if lme4s:
        try:
            first = first / np.sqrt(laplace.at(psi).phi)
        except np.linalg.LinAlgError:
            return []
    unit = rows.in_elements([np.eye(block.q) for block in rows.blocks])
    tried = [4.0 * first, _NEARLY_ZERO * first, unit, *_without_a_term(laplace, first)]
    made = [np.concatenate([psi[: rows.p], each, extra]) for each in tried]
    rng = np.random.default_rng(0)
    for _ in range(
        min(_SPREAD + _EACH * rows.n_theta, _MOST) if is_hard(laplace) else _SPREAD // 2
    ):
        moved = extra + rng.uniform(*_QUIET) if laplace.extra == "dispersion" else extra
        made.append(np.concatenate([psi[: rows.p], _spread(laplace, rng), moved]))
    return made


def is_hard(laplace: Laplace) -> bool:
    """Say whether the criterion has several minima often."""
    few = laplace.rows.n <= _VERY_FEW_ROWS
    return laplace.is_lme4s or few or not laplace.family.is_log_concave


def spread_starts(laplace: Laplace, psi: np.ndarray, count: int) -> list[np.ndarray]:
    """Return parameters spread over all sizes, each (P,), the same in every call.

    Arguments are as of `further_starts`. Fixed effects are those of ψ, or moved by about one, or,
    with large factors, by about the largest of these: random effects that explain every row go with
    large fixed effects.
    """
    rows, rng = laplace.rows, np.random.default_rng(1)
    made = []
    for k in range(count):
        kind, extra = k % 3, psi[rows.p + rows.n_theta :]
        elements = _spread(laplace, rng, _LARGE if kind == _MOVED_FAR else _SIZES)
        size = (0.0, 1.0, np.abs(elements).max())[kind]
        beta = psi[: rows.p] + size * rng.normal(size=rows.p)
        moved = extra + rng.uniform(*_QUIET) if laplace.extra == "dispersion" else extra
        made.append(np.concatenate([beta, elements, moved]))
    return made


def _without_a_term(laplace: Laplace, first: np.ndarray) -> list[np.ndarray]:
    """Return the factors with those of one term nearly zero, each (k,)."""
    terms = laplace.rows.terms
    if len(terms) == 1:
        return []
    made = []
    for term in terms:
        elements = first.copy()
        elements[term.own] *= _NEARLY_ZERO
        made.append(elements)
    return made


def _spread(
    laplace: Laplace, rng: np.random.Generator, sizes: tuple[float, float] = _SIZES
) -> np.ndarray:
    """Return factors of random size and correlation, (k,); sizes are log10 of the sd of effects."""
    rows = laplace.rows
    elements = np.empty(rows.n_theta)
    for term in rows.terms:
        q = term.full.q
        axes = np.linalg.qr(rng.normal(size=(q, q)))[0]
        root = axes * 10.0 ** rng.uniform(*sizes, size=q)
        factor = np.linalg.qr(root.T)[1].T
        elements[term.own] = term.full.elements(factor * np.sign(np.diag(factor)))
    return elements
