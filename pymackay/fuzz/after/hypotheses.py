"""Checks of tests and intervals: contrasts, F tests of terms, likelihood ratios, Wald limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

import pymackay as pm
from pymackay.fuzz.after.case import Case, Differences, same
from pymackay.fuzz.dense import dense_squares
from pymackay.fuzz.generate import FuzzModel
from pymackay.results import Fit
from pymackay.solve.search.limits import FEW_ROWS

_CANCELS = 10.0  # sums of squares lose digits in their difference, the numerator of F


def check_contrasts(case: Case) -> Differences:
    """Compare estimates, standard errors and F of random functions with ``L beta``."""
    p = len(case.fit.beta)
    if not p:
        return
    k = int(case.rng.integers(1, min(3, p) + 1))
    L = _functions(case, k)
    expected = L @ case.dense.beta
    variance = L @ case.dense.vcov @ L.T
    errors = np.sqrt(np.diag(variance))
    with_dropped = np.hstack([L, np.zeros((k, len(case.fit.dropped)))])
    estimable = _estimable(case, with_dropped)
    table = case.fit.contrast(L, ddf="normal", joint=False)
    estimates = np.where(estimable, expected, np.nan)
    yield from case.gap("contrast: Estimate", table["Estimate"], estimates, errors)
    se = np.where(estimable, errors, np.nan)
    yield from case.gap("contrast: Std. Error", table["Std. Error"], se, errors)
    if k > 1 and estimable.all() and np.linalg.matrix_rank(L) == k:
        wald = expected @ np.linalg.solve(variance, expected) / k
        joint = case.fit.contrast(L, ddf="normal")
        yield from case.gap("contrast: F value", joint["F value"], [wald], max(wald, 1.0))
        turned = case.rng.normal(size=(k, k)) @ L
        one, other = case.fit.contrast(L), case.fit.contrast(turned)
        for name in ("F value", "DenDF"):
            size = np.maximum(np.abs(one[name]), 1.0)
            yield from case.gap(f"contrast written otherwise: {name}", other[name], one[name], size)


def _functions(case: Case, k: int) -> np.ndarray:
    """Return k random functions, none of them zero, in units of standard errors, (k, p)."""
    L = case.rng.integers(-2, 3, size=(k, len(case.fit.beta))).astype(float)
    L[~L.any(axis=1), 0] = 1.0
    return L / np.sqrt(np.diag(case.dense.vcov))


def _estimable(case: Case, L: np.ndarray) -> np.ndarray:
    """Say which functions of all columns, kept and dropped, (k, p + d), the data determine."""
    if not case.fit.dropped:
        return np.ones(len(L), dtype=bool)
    blueprint = case.built.blueprint
    full = blueprint.fixed.matrix(case.built.columns, len(case.built.y)).values
    kept = blueprint.kept
    full = np.hstack([full[:, kept], np.delete(full, kept, axis=1)])
    scale = np.linalg.norm(full, axis=0)
    scale[scale == 0.0] = 1.0
    null = np.linalg.svd(full / scale)[2][len(kept) :].T
    unit = (L / scale) / np.linalg.norm(L / scale, axis=1)[:, None]
    return np.asarray(np.abs(unit @ null).max(axis=1, initial=0.0) < 1e-7)


def check_terms(case: Case) -> Differences:
    """Compare F of each term with first principles.

    Type I, as lmerTest has it: the part of ``X beta`` along the term's columns less what those
    before it span, in ordinary least squares, is zero. Types II and III, of a term that no other
    contains: the difference of sums of squares of generalised least squares without the term.
    """
    if case.fit.dropped:
        return
    assign, labels = case.built.blueprint.assign, case.built.blueprint.term_labels
    whole = np.arange(len(assign))
    least = _squares(case, whole)
    tables = {kind: case.fit.anova(type=kind, ddf="normal") for kind in (1, 2, 3)}
    for k, label in enumerate(labels, start=1):
        tested, before = whole[assign == k], whole[assign < k]
        sequential = _wald(case, _after(case.built.X, tested, before).T @ case.built.X)
        yield from _f_gap("I", label, tables[1], sequential, len(tested), case)
        if not any(_contains(other, label) for other in labels):
            marginal = _squares(case, np.setdiff1d(whole, tested)) - least
            for kind in (2, 3):
                name = "I" * kind
                yield from _f_gap(name, label, tables[kind], marginal, len(tested), case)


def _after(X: np.ndarray, tested: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return orthonormal columns, (n, k), of what columns of X add to those before them."""
    scaled = X / np.linalg.norm(X, axis=0)
    Q = np.linalg.qr(scaled[:, np.append(before, tested)])[0]
    return Q[:, len(before) :]


def _wald(case: Case, L: np.ndarray) -> float:
    """Return ``(L beta)'(L V L')⁻¹(L beta) sigma²`` with V the covariance matrix of beta."""
    scale = np.sqrt(np.diag(case.dense.vcov))
    L = L * scale
    beta, V = case.dense.beta / scale, case.dense.vcov / np.outer(scale, scale)
    return float(L @ beta @ np.linalg.solve(L @ V @ L.T, L @ beta)) * case.dense.sigma**2


def _squares(case: Case, columns: np.ndarray) -> float:
    return dense_squares(case.built, case.fit.theta.to_numpy(), columns, dtype=case.dtype)


def _contains(other: str, label: str) -> bool:
    return set(label.split(":")) < set(other.split(":"))


def _f_gap(
    kind: str, label: str, table: pd.DataFrame, squares: float, k: int, case: Case
) -> Differences:
    expected = squares / (k * case.dense.sigma**2)
    ours = table.loc[label, ["NumDF", "F value"]].to_numpy(dtype=float)
    yield from case.gap(
        f"anova, type {kind}, {label}: NumDF, F value",
        ours,
        [k, expected],
        max(expected, 1.0) * _CANCELS,
    )


def check_likelihood_ratio(case: Case) -> Differences:
    """Compare the test against a smaller model with the criteria of both, fitted by ML.

    With more than `FEW_ROWS` rows the larger model may end in a local optimum, if the test says so.
    """
    data = case.model.data.loc[case.built.rows]
    arguments = {k: v for k, v in case.model.arguments.items() if k != "subset"}
    models = [replace(case.model, data=data, arguments=arguments, reml=False)]
    models.append(_smaller(models[0], case))
    fits = [_fit(model) for model in models]
    if not all(fit.convergence.converged for fit in fits):
        return
    if fits[0].problem.model.rows.tolist() != fits[1].problem.model.rows.tolist():
        return  # another column is missing in other rows
    if not _is_inside(fits[1], fits[0]):
        return
    table = fits[0].anova(fits[1])
    criteria = np.array([fits[1].criterion, fits[0].criterion])
    yield from case.gap("anova of two: deviance", table["deviance"], criteria)
    df = fits[0].df - fits[1].df
    is_higher = criteria[1] > criteria[0] + 1e-8 * (1.0 + abs(criteria[0]))
    if is_higher and (len(data) <= FEW_ROWS or not table.messages):
        yield f"the larger model has the larger criterion: {criteria[1]!r} > {criteria[0]!r}"
    chisq = np.nan if is_higher else max(0.0, criteria[0] - criteria[1])
    yield from case.gap("anova of two: Chisq, Df", table.iloc[1][["Chisq", "Df"]], [chisq, df])
    p = stats.chi2.sf(chisq, df) if df > 0 else np.nan
    yield from case.gap("anova of two: p", table["Pr(>Chisq)"].iloc[1], p)


def _smaller(model: FuzzModel, case: Case) -> FuzzModel:
    """Return the model without its last bar, or with less of its fixed part."""
    if len(model.random) > 1:
        return replace(model, random=model.random[:-1])
    return replace(model, fixed="1" if "Intercept" in "".join(case.fit.beta.index) else "0 + x")


def _fit(model: FuzzModel) -> Fit:
    return pm.lmer(model.formula, model.data, reml=model.reml, **model.arguments)


def _is_inside(small: Fit, large: Fit) -> bool:
    """Whether fixed columns and difference of offsets lie in the space of the other's columns."""
    models = large.problem.model, small.problem.model
    shift = [np.zeros(len(m.y)) if m.offset is None else m.offset for m in models]
    X = models[0].X
    columns = [X, models[1].X]
    if not np.array_equal(shift[0], shift[1]):
        columns.append((shift[0] - shift[1])[:, None])
    both = np.hstack(columns)
    return bool(np.linalg.matrix_rank(both / np.linalg.norm(both, axis=0)) == X.shape[1])


def check_wald(case: Case) -> Differences:
    """Compare Wald intervals with estimates and standard errors."""
    table = case.fit.confint("wald", level=0.9)
    errors = np.sqrt(np.diag(case.dense.vcov))
    reach = stats.norm.ppf(0.95) * errors
    names = list(case.fit.beta.index)
    yield from same("confint: names", list(table.index[len(table) - len(names) :]), names)
    ends = np.column_stack([case.dense.beta - reach, case.dense.beta + reach])
    ours = table.to_numpy()[len(table) - len(names) :]
    yield from case.gap("confint: Wald", ours, ends, errors[:, None])
