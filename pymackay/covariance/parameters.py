"""Standard deviations and correlations that are parameters: places, values and names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pymackay.covariance.kinds.factor_analytic import FactorAnalytic
from pymackay.covariance.levinson import partial_autocorrelations
from pymackay.covariance.varcorr import TermSummary, VarCorr, lower_triangle


def parameter_places(term: TermSummary) -> list[tuple[int, int]]:
    """Return (row, column) of the standard deviations and correlations that are parameters.

    Without a structure, and of `rr`, these are all of the lower triangle, in the order of the
    elements of a factor; of `rr` with one factor, whose effects have no other correlations than 1
    and −1, the standard deviations. With another one: the
    standard deviations, one if they are all the same, then the correlation of the first two
    effects, which is the structure's rho; of `toep` the correlation at each distance. Of `fa` the
    loading of effect i stands at (i + 1, 0).
    """
    q = len(term.effects)
    if term.structure == "rr" and term.rank == 1:
        return [(i, i) for i in range(q)]
    if term.structure in ("", "rr"):
        return lower_triangle(q)
    places = [(i, i) for i in range(1 if term.hom else q)]
    return places + [(k, 0) for k in range(1, 1 + term.n_rho)]


def parameter_values(term: TermSummary, parts: VarCorr) -> np.ndarray:
    """Return the values, (..., m), of the parameters of `parameter_places`.

    Those of `toep` are partial autocorrelations, of which the first is a correlation; that of
    `propto` is the standard deviation with which the square root of A is multiplied.
    """
    if term.structure == "fa":
        loadings = FactorAnalytic().rho_of(parts.covariance, parts.sd)
        return np.concatenate([parts.sd, loadings], axis=-1)
    rows, columns = np.array(parameter_places(term), dtype=np.intp).reshape(-1, 2).T
    values = parts.sdcor[..., rows, columns]
    if term.structure == "propto":
        return values / np.sqrt(term.known[0])
    if term.structure == "toep":
        first = len(rows) - term.n_rho
        values[..., first:] = partial_autocorrelations(values[..., first:])
    return values


def parameter_labels(terms: Iterable[TermSummary]) -> list[str]:
    """Name standard deviations and correlations as R's ``confint(oldNames = FALSE)`` does.

    Term by term in the order of `parameter_places`. R names a term by its group. A term that has an
    effect in common with an earlier one of its group would repeat a label: it is named by its own
    name instead.

    Examples
    --------
    >>> parameter_labels([TermSummary("g", "g", ("a", "b")), TermSummary("g.1", "g", ("b",))])
    ['sd_a|g', 'cor_b.a|g', 'sd_b|g', 'sd_b|g.1']
    """
    labels: list[str] = []
    seen: dict[str, set[str]] = {}
    for term in terms:
        before = seen.setdefault(term.group, set())
        where = term.group if before.isdisjoint(term.effects) else term.name
        before.update(term.effects)
        for i, j in parameter_places(term):
            if term.structure == "fa" and i != j:
                labels.append(f"loading_{term.effects[i - 1]}|{where}")
                continue
            row, column = term.effects[i], term.effects[j]
            between = f"{row}.{column}" if term.by_pairs else "rho"
            if term.structure == "toep":
                between = f"pacf{i}"
            sd = "*" if term.hom else row
            labels.append(f"sd_{sd}|{where}" if i == j else f"cor_{between}|{where}")
    return labels
