"""`joint_tests`: F tests of the effects in a reference grid, term by term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg

from pymackay.infer.estimable import Aliases
from pymackay.infer.means.averages import combined, marginal_averages
from pymackay.infer.means.emmeans import basis_of, functions
from pymackay.infer.means.grid import ReferenceGrid, cell_codes
from pymackay.infer.means.means import Means
from pymackay.infer.means.predictors import Predictors, check_names, read_at, read_names
from pymackay.infer.significance.contrast import f_columns
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit

_RANK = 1e-8  # of the largest singular value: smaller ones are rounding
_COLUMNS = {"df1": "NumDF", "df2": "DenDF", "F.ratio": "F value", "p.value": "Pr(>F)"}


def joint_tests(
    fit: Fit,
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    ddf: str = "Satterthwaite",
    data: Any = None,
) -> HeadedTable:
    """Test each term's effects: all contrasts of its marginal means, or of its interactions.

    Covariates are taken at their mean ± 1, as in R's ``joint_tests``. With equal weights and no
    empty cells these are the type III tests of factors.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    by : str or sequence of str, optional
        Variables within each combination of which the others are tested.
    at, weights, ddf, data
        As in `emmeans`.

    Returns
    -------
    HeadedTable
        By term: the `by` variables, ``df1``, ``df2``, ``F.ratio``, ``p.value``. Where the data do
        not determine all contrasts of a term, ``df1`` counts those that they do; a term without
        any is left out.

    Raises
    ------
    ArgumentError
        As in `emmeans`.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", pm.load_data("cake"))
    >>> pm.joint_tests(fit)[["df1", "df2"]].round(2)
                        df1    df2
    recipe                2   42.0
    temperature           5  210.0
    recipe:temperature   10  210.0
    """
    predictors = Predictors.of(fit, "joint_tests", data)
    families = read_names("by", by)
    check_names("by", families, predictors.names)
    given = read_at(at, predictors.names)
    grid = ReferenceGrid.of(predictors, given, reduce=_around_mean)
    basis = basis_of(fit, predictors, ddf, {})
    rows: list[dict[str, Any]] = []
    index: list[str] = []
    reduced = False
    for term in _terms(predictors, grid, families):
        for values, L, possible in _functions_of(grid, term, families, weights):
            kept = _estimable_rows(L, basis.aliases)
            if not len(kept):
                continue
            reduced |= len(kept) < possible
            test = f_columns(basis.effects, kept)
            made = {name: test[source][0] for name, source in _COLUMNS.items()}
            rows.append({**values, **made, "df1": len(kept)})
            index.append(":".join(term))
    messages = list(basis.effects.messages)
    if reduced:
        messages.append("df1 is smaller where the data do not determine all contrasts of a term.")
    table = pd.DataFrame(rows, index=index, columns=[*families, *_COLUMNS])
    return HeadedTable(
        table, heading=f"Joint tests{basis.effects.heading}", messages=tuple(messages)
    )


def joint_tests_of(means: Means) -> HeadedTable:
    """Test the terms on the grid of `emmeans`; see `joint_tests`.

    Parameters
    ----------
    means : Means
        Of `emmeans` or `emtrends`; its `by`, `at`, `weights` and `ddf` are used.
    """
    asked = means.basis.asked
    return joint_tests(
        asked["fit"], **{name: asked[name] for name in ("by", "at", "weights", "ddf", "data")}
    )


def _around_mean(values: np.ndarray) -> list[float]:
    return [float(values.mean()) - 1.0, float(values.mean()) + 1.0]


def _terms(
    predictors: Predictors, grid: ReferenceGrid, families: tuple[str, ...]
) -> list[tuple[str, ...]]:
    """Return the sets of variables to test, without the families and in the formula's order."""
    sets: dict[tuple[str, ...], None] = {}
    for term in predictors.terms:
        names = tuple(
            n for n in grid.values if n in term and n not in families and len(grid.values[n]) > 1
        )
        if names:
            sets[names] = None
    return sorted(sets, key=len)


def _functions_of(
    grid: ReferenceGrid, term: tuple[str, ...], families: tuple[str, ...], weights: str
) -> list[tuple[dict[str, Any], np.ndarray, int]]:
    """Return by family: its values, the contrasts of a term, (contrasts, columns), their number."""
    names = (*grid.with_parents(term), *families)
    names = tuple(dict.fromkeys(names))
    labels, W = marginal_averages(grid, names, weights)
    means = functions(W, grid.X)
    made = []
    codes = cell_codes(labels, grid.values, list(families))
    for family in pd.unique(codes):
        rows = np.flatnonzero(codes == family)
        C = _interactions(labels.iloc[rows], grid, names, families)
        values = {name: labels[name].iloc[rows[0]] for name in families}
        made.append((values, combined(C, means[rows]), len(C)))
    return made


def _interactions(
    labels: pd.DataFrame, grid: ReferenceGrid, names: tuple[str, ...], families: tuple[str, ...]
) -> np.ndarray:
    """Return an orthonormal basis of the interaction contrasts of cells, (contrasts, cells).

    They sum to zero over the levels of each factor, given the others; over a factor that another
    is nested in no sum is taken, because it has one level for each level of that.
    """
    inside = [name for name in names if name not in families]
    outer = {parent for name in inside for parent in grid.nesting.get(name, ())}
    conditions = [np.zeros((0, len(labels)))]
    for name in inside:
        if name in outer:
            continue
        rest = [other for other in inside if other != name]
        groups = np.unique(cell_codes(labels, grid.values, rest), return_inverse=True)[1]
        conditions.append(np.eye(groups.max() + 1)[:, groups])
    return np.asarray(scipy.linalg.null_space(np.concatenate(conditions)).T)


def _estimable_rows(L: np.ndarray, aliases: Aliases | None) -> np.ndarray:
    """Return a basis of the combinations of rows that the data determine, in the kept columns."""
    if aliases is None:
        return _independent(L)
    kept, dropped = L[:, aliases.kept], L[:, aliases.dropped]
    departure = dropped - kept @ aliases.A
    departure[:, ~aliases.undetermined(kept, dropped).any(axis=0)] = 0.0
    combinations = scipy.linalg.null_space(departure.T, rcond=_RANK).T
    return _independent(combined(combinations, kept))


def _independent(L: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span those of L; rows of nan are left out."""
    L = L[~np.isnan(L).any(axis=1)]
    if not len(L) or not np.abs(L).max() > 1e-10:
        return L[:0]
    return np.asarray(scipy.linalg.orth(L.T, rcond=_RANK).T)
