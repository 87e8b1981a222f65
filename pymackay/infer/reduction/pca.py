"""`random_effects_pca`: the principal directions of each group's random effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.linalg

from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit
from pymackay.infer.reduction.formulas import formula_without
from pymackay.infer.reduction.smaller import reductions
from pymackay.infer.significance.without_effects import optimum_without
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.model import Model
from pymackay.results import Fit

_EMPTY = 1e-4  # of the largest standard deviation, in standardised effects: nothing is left
_SAME = 1e-5  # of a criterion: what two searches may differ by


@dataclass(frozen=True, eq=False, repr=False)
class RandomEffectsPca:
    """Principal directions of the random effects.

    Attributes
    ----------
    tables : mapping of str to HeadedTable
        By grouping factor, one row for each direction: ``sd``, the standard deviation along it
        relative to sigma, as lme4's ``rePCA``; ``proportion`` and ``cumulative`` of the variance;
        and the direction, one column for each effect.
    empty : mapping of str to tuple of str
        By grouping factor, the directions without variance, in words.
    advice : tuple of str
        What a singular fit could be replaced by.
    """

    tables: Mapping[str, HeadedTable]
    empty: Mapping[str, tuple[str, ...]]
    advice: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join([*(repr(table) for table in self.tables.values()), *self.advice])

    def __getitem__(self, group: str) -> HeadedTable:
        return self.tables[group]


@any_kind
def random_effects_pca(fit: Fit) -> RandomEffectsPca:
    """Return the principal directions of each group's random effects, as lme4's ``rePCA``.

    A singular fit has directions without variance: they are named, and so is a simpler formula
    with the same criterion, if leaving out an effect gives one.

    Parameters
    ----------
    fit : Fit
        Of any engine; the simpler formula is looked for where the fit holds its model.

    Returns
    -------
    RandomEffectsPca

    References
    ----------
    Bates, Kliegl, Vasishth, Baayen 2015, Parsimonious mixed models, arXiv:1506.04967.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.random_effects_pca()["Subject"].round(4)
             sd  proportion  cumulative  (Intercept)    Days
    PC1  0.9669      0.9461      0.9461       0.9999  0.0166
    PC2  0.2309      0.0539      1.0000      -0.0166  0.9999
    """
    check_fit(fit, "random_effects_pca")
    tables, empty = {}, {}
    for group in fit.model.levels:
        covariance, effects = _covariance(fit, group)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        largest = vectors[np.abs(vectors).argmax(axis=0), range(len(values))]
        vectors = vectors * np.sign(largest)
        total = values.sum() if values.sum() > 0.0 else 1.0
        table = pd.DataFrame(
            {"sd": np.sqrt(values), "proportion": values / total,
             "cumulative": np.cumsum(values) / total},
            index=[f"PC{k + 1}" for k in range(len(values))],
        )  # fmt: skip
        directions = pd.DataFrame(vectors.T, index=table.index, columns=effects)
        relative = ", relative to sigma" if fit.has_residual else ""
        heading = f"Random effects of {group}, principal directions{relative}"
        tables[group] = HeadedTable(pd.concat([table, directions], axis=1), heading=heading)
        empty[group] = _empty_directions(covariance, effects)
    return RandomEffectsPca(tables, empty, _advice(fit, empty))


def _covariance(fit: Fit, group: str) -> tuple[np.ndarray, list[str]]:
    """Return the covariance of a group's effects relative to sigma², (q, q), and their names."""
    terms = [term for term in fit.model.terms if term.group == group]
    blocks = [fit.varcorr[term.name].to_numpy() / fit.sigma**2 for term in terms]
    names = [(name, term.name) for term in terms for name in term.effects]
    count = Counter(name for name, _ in names)
    written = [name if count[name] == 1 else f"{name} | {term}" for name, term in names]
    return scipy.linalg.block_diag(*blocks), written


def _empty_directions(covariance: np.ndarray, effects: list[str]) -> tuple[str, ...]:
    """Describe directions without variance, of effects scaled to unit variance."""
    sd = np.sqrt(np.diag(covariance))
    none = [name for name, size in zip(effects, sd, strict=True) if size <= _EMPTY * sd.max()]
    alive = np.flatnonzero(sd > _EMPTY * sd.max())
    if not len(alive):
        return tuple(effects)
    correlation = covariance[np.ix_(alive, alive)] / np.outer(sd[alive], sd[alive])
    values, vectors = np.linalg.eigh(correlation)
    for k in np.flatnonzero(values <= _EMPTY**2 * values.max()):
        weights = vectors[:, k] / sd[alive]
        weights = weights / weights[np.abs(vectors[:, k]).argmax()]
        parts = [
            f"{weight:+.3g} {effects[i]}"
            for weight, i, size in zip(weights, alive, vectors[:, k], strict=True)
            if abs(size) > _EMPTY
        ]
        none.append(" ".join(parts).removeprefix("+"))
    return tuple(none)


def _advice(fit: Fit, empty: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    advice = [
        f"No variance of {group} in the direction {direction}."
        for group, directions in empty.items()
        for direction in directions
    ]
    model = getattr(fit.problem, "model", None)
    if not advice or not isinstance(model, Model) or not len(model.y):
        return tuple(advice)
    best = None
    for reduction in reductions(fit, "random_effects_pca"):
        if not reduction.bar and len(model.terms) == 1:
            continue
        without = optimum_without(fit, reduction.term, reduction.columns)
        if best is None or without.criterion < best[0]:
            best = (without.criterion, formula_without(model, reduction=reduction))
    if best is None:
        return (*advice, "It is the only random effect: a linear model may do.")
    gap = best[0] - fit.criterion
    if gap <= _SAME * max(1.0, 1e-4 * abs(fit.criterion)):
        return (*advice, f"The simpler formula {best[1]} has the same criterion.")
    return (
        *advice,
        f"No formula with one effect less has the same criterion; the nearest, {best[1]}, is "
        f"{gap:.4g} above it.",
    )
