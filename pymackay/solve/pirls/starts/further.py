"""`further_starts`: where searches begin besides the first: there may be several minima."""

from __future__ import annotations

import numpy as np

from pymackay.solve.pirls.criteria.laplace import Laplace

FEW_ROWS = 150  # up to which the criterion is searched from further starts
_NEARLY_ZERO = 0.02  # of the first factors: a start for minima with a variance of zero
_CORRELATED = 0.9  # correlation of two effects of a level
_QUIET = 0.1  # of the first dispersion: a start for minima whose effects take up the residuals


def further_starts(laplace: Laplace, psi: np.ndarray) -> list[np.ndarray]:
    """Return more parameters to start from, each (P,), where the criterion may have several minima.

    Criteria of few rows have, and lme4's criterion of a family with a dispersion, whose factors are
    relative to sigma. A further minimum often has a variance of zero, a correlation of the other
    sign, or much larger variances.

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
    first = psi[rows.p : rows.p + rows.n_theta]
    if lme4s:
        try:
            first = first / np.sqrt(laplace.at(psi).phi)
        except np.linalg.LinAlgError:
            return []
    unit = rows.in_elements([np.eye(block.q) for block in rows.blocks])
    tried = [4.0 * first, 0.3 * unit, _NEARLY_ZERO * first, unit]
    if lme4s:
        tried.append(first)
    tried += _without_a_term(laplace, first)
    tried += [each for base in (first, 4.0 * first, unit) for each in _correlated(laplace, base)]
    made = [np.concatenate([psi[: rows.p], each, psi[rows.p + rows.n_theta :]]) for each in tried]
    if laplace.extra == "dispersion":
        quiet = np.concatenate([psi[: rows.p], unit, psi[-1:] + np.log(_QUIET)])
        made.append(quiet)
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


def _correlated(laplace: Laplace, first: np.ndarray) -> list[np.ndarray]:
    """Return the factors with correlated effects of a level, each (k,), of either sign."""
    made = []
    rows = laplace.rows
    factors = rows.term_factors(first)
    if not any(len(factor) > 1 for factor in factors):
        return []
    for sign in (1.0, -1.0):
        elements = first.copy()
        for term, factor in zip(rows.terms, factors, strict=True):
            q = len(factor)
            if q == 1:
                continue
            signs = np.ones(q)
            signs[1::2] = sign
            R = np.where(np.eye(q) > 0.0, 1.0, _CORRELATED * np.outer(signs, signs))
            sd = np.abs(np.diag(factor))
            elements[term.own] = term.full.elements(sd[:, None] * np.linalg.cholesky(R))
        made.append(elements)
    return made
