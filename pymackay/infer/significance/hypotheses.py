"""The hypotheses of type I, II and III: one matrix L per term of the fixed part.

They are lmerTest's (Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13)), rows and
scaling included, because Satterthwaite's F test of several rows depends on the rows chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymackay.errors import PymackayError
from pymackay.formula.terms import CONTRASTS, DUMMIES, Term, Terms
from pymackay.infer.estimable import Aliases
from pymackay.model.bases.scaling import fixed_basis, independent_columns
from pymackay.model.columns.column import Column, Factor, Numeric
from pymackay.model.columns.contrasts import make_contrasts
from pymackay.model.design.side import Blueprint, ModelMatrix, make_matrix
from pymackay.model.model import Model

_ZERO = 1e-8  # of a row's largest element: what is left of a row that depends on others
_ROUNDING = 1e-11  # of the size that an element has by the units of its columns


def hypotheses(model: Model, kind: int) -> dict[str, np.ndarray]:
    """Return the matrix L, shape (k, p), of every term: the hypothesis is ``L beta = 0``.

    Parameters
    ----------
    model : Model
    kind : {1, 2, 3}
        Sequential; each term after those that do not contain it; or marginal, with the levels of
        the other factors weighing equally.

    Raises
    ------
    PymackayError
        If the model does not remember its formula or its variables.
    """
    blueprint = model.blueprint
    if not len(model.y):
        raise PymackayError(
            "fit: the tests of terms need the rows that the model was fitted to, but they were "
            "summed up and not kept. Fit a smaller model to the same data and pass both to anova, "
            "test coefficients with contrast, or fit a data frame of the rows."
        )
    if not isinstance(blueprint, Blueprint) or not model.columns:
        raise PymackayError(
            "fit: the tests of terms need the formula in parts and the data behind the columns, "
            "which this fit does not hold. Fit the same formula and data with pymackay.lmer."
        )
    terms = _Terms(blueprint, model.columns)
    if model.X.shape[1] <= 1 or len(terms.labels) <= 1 or kind == 1:
        return _sequential(model, terms, blueprint)
    if kind == 2:
        return _type_two(model, terms, blueprint)
    return _type_three(model, terms, blueprint)


def untestable(
    model: Model, kind: int, tests: Mapping[str, np.ndarray], aliases: Aliases
) -> np.ndarray:
    """Say which hypotheses of `hypotheses` the data do not determine, shape (terms, d).

    A term is tested against the model without it and those that contain it. Where a dropped column
    of another term depends on its columns, what is left depends on which column was dropped.
    Sequential tests compare models that do not depend on it.

    Parameters
    ----------
    model : Model
    kind : {1, 2, 3}
    tests : mapping of str to numpy.ndarray, each (k, p)
        As `hypotheses` returns them.
    aliases : Aliases
        Of `model`.
    """
    blueprint = model.blueprint
    terms = _Terms(blueprint, model.columns)
    dropped = np.array(blueprint.fixed.assign)[aliases.dropped]
    flags = np.zeros((len(tests), len(dropped)), dtype=bool)
    if kind != 1:
        for k, (label, L) in enumerate(tests.items()):
            inside = [terms.labels.index(t) + 1 for t in (label, *terms.containing(label))]
            flags[k] = aliases.undetermined(L).any(axis=0) & ~np.isin(dropped, inside)
    return flags


class _Terms:
    """The terms of the fixed part: their labels, and which contains which."""

    def __init__(self, blueprint: Blueprint, columns: Mapping[str, Column]) -> None:
        self.terms: Terms = blueprint.fixed.terms
        self.labels = blueprint.term_labels
        self.columns = columns

    def containing(self, label: str) -> list[str]:
        """Return the terms that contain a term: its variables and further factors.

        A variable counts where its contrasts enter, and a matrix such as ``poly(x, 2)`` counts as
        a factor, as in lmerTest.
        """
        variables = self._variables(label)
        return [other for other in self.labels if self._inside(variables, self._variables(other))]

    def _variables(self, label: str) -> frozenset[int]:
        term = self.terms.terms[self.labels.index(label)]
        coded = zip(term.variables, term.coding, strict=True)
        return frozenset(i for i, coding in coded if coding == CONTRASTS)

    def _inside(self, first: frozenset[int], second: frozenset[int]) -> bool:
        return first < second and self._numeric(first) == self._numeric(second)

    def _numeric(self, variables: frozenset[int]) -> frozenset[int]:
        return frozenset(i for i in variables if self._is_numeric(i))

    def _is_numeric(self, variable: int) -> bool:
        column = self.columns.get(self.terms.variables[variable].name)
        return isinstance(column, Numeric) and column.values.ndim == 1


def _rows_of(labels: tuple[str, ...], assign: np.ndarray, label: str) -> np.ndarray:
    return np.flatnonzero(assign == labels.index(label) + 1)


def _unit_upper(X: np.ndarray) -> np.ndarray:
    """Return L' of X'X = L D L': row i tests column i after those on its left."""
    R = fixed_basis(X).R
    R = np.where(np.abs(R) < _ROUNDING * np.linalg.norm(X, axis=0), 0.0, R)
    return np.asarray(R / np.diag(R)[:, None])


def _sequential(model: Model, terms: _Terms, blueprint: Blueprint) -> dict[str, np.ndarray]:
    upper = _unit_upper(model.X) if model.X.shape[1] else np.zeros((0, 0))
    return {label: upper[_rows_of(terms.labels, blueprint.assign, label)] for label in terms.labels}


def _type_two(model: Model, terms: _Terms, blueprint: Blueprint) -> dict[str, np.ndarray]:
    """Put a term and those that contain it last; a term that nothing contains is marginal."""
    tests, p = {}, model.X.shape[1]
    for label in terms.labels:
        places = _rows_of(terms.labels, blueprint.assign, label)
        containing = terms.containing(label)
        if not containing:
            tests[label] = np.eye(p)[places]
            continue
        last = np.concatenate(
            [places, *(_rows_of(terms.labels, blueprint.assign, other) for other in containing)]
        )
        order = np.concatenate([np.setdiff1d(np.arange(p), last), last])
        L = np.empty((len(places), p))
        start = p - len(last)
        L[:, order] = _unit_upper(model.X[:, order])[start : start + len(places)]
        tests[label] = L
    return tests


def _type_three(model: Model, terms: _Terms, blueprint: Blueprint) -> dict[str, np.ndarray]:
    """Take the estimable functions of the overparametrised model, orthogonalised upwards.

    They are made for treatment contrasts; coefficients of other contrasts are mapped to them.
    """
    X, names, assign = _treatment_design(model, terms, blueprint)
    L, sizes, rows = _estimable(X, terms)
    kept = [rows.index(name) for name in names]
    by_order = sorted(terms.labels, key=lambda label: -_order(terms, label))
    for label in by_order:
        containing = terms.containing(label)
        if containing:
            places = _rows_of(terms.labels, assign, label)
            others = np.concatenate(
                [_rows_of(terms.labels, assign, other) for other in containing]
            ).astype(int)
            fitted = L[:, others] @ np.linalg.lstsq(L[:, others], L[:, places], rcond=1e-10)[0]
            L[:, places] = _rounded(L[:, places] - fitted, sizes[:, places])
    back = np.eye(len(names)) if X is model.X else _coefficients(model.X, X)[0]
    tests = {}
    for label in terms.labels:
        rows_of_term = L[kept][:, _rows_of(terms.labels, assign, label)].T
        tests[label] = rows_of_term[np.abs(rows_of_term).sum(axis=1) > _ZERO] @ back
    return tests


def _order(terms: _Terms, label: str) -> int:
    """Return the number of variables of a term."""
    return len(terms.terms.terms[terms.labels.index(label)].variables)


def _treatment_design(
    model: Model, terms: _Terms, blueprint: Blueprint
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return the design with treatment contrasts, of full rank, with names and terms."""
    labels = {contrasts.label for contrasts in blueprint.fixed.contrasts.values()}
    if labels <= {"contr.treatment"}:
        return model.X, list(model.fixed), blueprint.assign
    coding = {
        name: make_contrasts("contr.treatment", levels, name)
        for name, levels in blueprint.fixed.levels.items()
    }
    design = make_matrix(terms.terms, terms.columns, coding, len(model.y))
    kept = independent_columns(design.values)
    return design.values[:, kept], [design.names[j] for j in kept], design.assign[kept]


def _estimable(X: np.ndarray, terms: _Terms) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the overparametrised columns' coefficients in X's, (columns, p), and their names.

    The second array, of the same shape, has the sizes against which their rounding is judged.
    """
    parts, rows = [], []
    if terms.terms.intercept:
        parts.append(np.ones((len(X), 1)))
        rows.append("(Intercept)")
    for term in terms.terms.terms:
        full = _all_dummies(terms, term, len(X))
        parts.append(full.values)
        rows += list(full.names)
    coefficients, sizes = _coefficients(np.hstack(parts), X)
    return coefficients.T, sizes.T, rows


def _all_dummies(terms: _Terms, term: Term, n: int) -> ModelMatrix:
    """Return a term by itself, one column for each level of each factor."""
    coding = tuple(
        DUMMIES if isinstance(terms.columns[terms.terms.variables[i].name], Factor) else CONTRASTS
        for i in term.variables
    )
    alone = Terms(terms.terms.variables, (Term(term.variables, coding),), intercept=False)
    return make_matrix(alone, terms.columns, {}, n)


def _coefficients(columns: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients, (p, k), of columns, (n, k), in those of X, (n, p), and their sizes.

    A coefficient counts by what it moves: the norm of its column of X.
    """
    basis = fixed_basis(X)
    values = basis.from_basis(basis.Q.T @ columns)
    norms = np.linalg.norm(X, axis=0)
    sizes = np.linalg.norm(columns, axis=0) / norms[:, None]
    return _rounded(values, sizes), sizes


def _rounded(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Set to zero what is zero but for rounding."""
    return np.where(np.abs(values) < _ROUNDING * sizes, 0.0, values)
