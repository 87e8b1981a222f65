"""`other_axes`: starts of terms with few factors, in other principal axes than the first start.

The criterion of `rr` and `fa` may have a minimum near each set of principal axes of the effects'
covariance matrix.
"""

from __future__ import annotations

import numpy as np

from pymackay.covariance.kinds.factor_analytic import FactorAnalytic
from pymackay.covariance.roots import root_of
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.parameters import TermParameters
from pymackay.solve.pirls.starts.first import by_mackays_rule

_LEAST = 1e-3  # of the largest: standard deviations from which axes are looked for
_OTHERS = 2  # axes besides the largest that are tried


def other_axes(laplace: Laplace, psi: np.ndarray) -> list[np.ndarray]:
    """Return more parameters to start from, each (P,); none without terms of few factors.

    Parameters
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
        Where the first search starts.
    """
    rows = laplace.rows
    places = [k for k, term in enumerate(rows.terms) if _few_factors(term)]
    if not places:
        return []
    own = slice(rows.p, rows.p + rows.n_theta)
    made = []
    for k, G in zip(places, _moments(laplace, psi, places), strict=False):
        term = rows.terms[k]
        for other in _along_others(G, term):
            elements = psi[own].copy()
            elements[term.own] = term.near(root_of(other))
            made.append(np.concatenate([psi[: rows.p], elements, psi[own.stop :]]))
    return made


def _few_factors(term: TermParameters) -> bool:
    structure, q = term.structure, term.layout.q
    if structure is None:
        return False
    return isinstance(structure, FactorAnalytic) or structure.rank_of(q) < q


def _moments(laplace: Laplace, psi: np.ndarray, places: list[int]) -> list[np.ndarray]:
    """Return EM's next covariance matrices of these terms, each (q, q), without structures.

    The effects are predicted as if those of these terms did not correlate; none where that fails.
    """
    rows, family = laplace.rows, laplace.family
    if isinstance(family, NegativeBinomial) and family.theta is None:
        shaped = family.with_shape(float(np.exp(psi[-1])))
        laplace = Laplace(rows, shaped, laplace.determinant)
    phi = float(np.exp(psi[-1])) if laplace.extra == "dispersion" else 1.0
    factors = rows.block_factors(psi[rows.p : rows.p + rows.n_theta])
    spans = {
        term: (block, columns)
        for block, one in enumerate(rows.blocks)
        for term, columns in rows.term_slices(one)
    }
    for k in places:
        block, columns = spans[k]
        sd = np.linalg.norm(factors[block][columns, columns], axis=1)
        factors[block][columns, columns] = np.diag(np.maximum(sd, _LEAST * sd.max()))
    roots = by_mackays_rule(laplace, psi[: rows.p], factors, phi).moments
    parts = [roots[block][columns] for block, columns in (spans[k] for k in places)]
    return [part @ part.T for part in parts]


def _along_others(G: np.ndarray, term: TermParameters) -> list[np.ndarray]:
    """Return covariance matrices, (q, q), with other principal axes of G than the largest."""
    q = len(G)
    values, vectors = np.linalg.eigh(G)
    parts = [values[k] * np.outer(vectors[:, k], vectors[:, k]) for k in range(q)[::-1]]
    assert term.structure is not None
    if isinstance(term.structure, FactorAnalytic):
        alone = np.eye(q, dtype=bool)
        return [np.where(alone, G, part) for part in parts[1 : 1 + _OTHERS]]
    d = term.structure.rank_of(q)
    kept, others = sum(parts[: d - 1], np.zeros((q, q))), parts[d : d + _OTHERS]
    made = [kept + part for part in others]
    return made if d == 1 else [*made, sum(parts[1 : d + 1], np.zeros((q, q)))]
