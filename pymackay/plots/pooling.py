"""`shrinkage`: from each level's own least-squares effects to the predicted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pymackay.errors import ArgumentError, PymackayError
from pymackay.model.model import level_gram, level_products
from pymackay.plots.canvas import (
    BLUE,
    GREY,
    VERMILION,
    axes_for,
    check_fit,
    choose_effect,
    choose_group,
    coefficient_label,
    key_above,
    label_rows,
)
from pymackay.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 200  # levels, from which on they are points without names
_NO_RANK = 1e-10  # of a correlation matrix: a level that cannot tell its effects apart


@dataclass(frozen=True, eq=False)
class _Pooling:
    """Both estimates of the chosen effects, fixed part included.

    Attributes
    ----------
    group : str
    names : tuple of str
        Of the c effects.
    levels : tuple of str
    own, pooled : numpy.ndarray, shape (J, c)
        No pooling and partial pooling; `own` is nan where a level cannot tell its effects apart.
    population : numpy.ndarray, shape (c,)
        The fixed part, 0 for an effect that has none.
    """

    group: str
    names: tuple[str, ...]
    levels: tuple[str, ...]
    own: np.ndarray
    pooled: np.ndarray
    population: np.ndarray


def shrinkage(
    fit: Fit,
    group: str | None = None,
    effects: str | Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how far each level's estimates are pulled towards the population.

    "No pooling" are a level's own least-squares effects, from what the fixed part and the other
    grouping factors leave of its response; "partial pooling" are the predictions. Both have the
    fixed part added. Two effects are drawn as a plane, one as a row for each level, or as points
    from 200 levels on.

    Parameters
    ----------
    fit : Fit
        One of pymackay's: the picture needs the model's arrays.
    group : str, optional
        Grouping factor; the first by default.
    effects : str or sequence of one or two str, optional
        By default the group's first two, or its only one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If an argument names what the fit does not have.
    PymackayError
        If matplotlib is missing, the fit does not hold its model, or no level can tell the
        effects apart.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> pm.plots.shrinkage(fit).get_ylabel()
    'Days by Subject'
    """
    check_fit(fit)
    group = choose_group(fit, group)
    pooling = _pooling(fit, group, _chosen(fit, group, effects))
    if len(pooling.names) == 2:
        return _draw_plane(axes_for(ax, 4.5), pooling)
    if len(pooling.levels) > _MANY:
        return _draw_points(axes_for(ax, 4.5), pooling)
    return _draw_rows(axes_for(ax, 1.0 + 0.19 * max(len(pooling.levels), 8)), pooling)


def no_pooling(fit: Fit, group: str) -> np.ndarray:
    """Return each level's own least-squares effects.

    Parameters
    ----------
    fit : Fit
        One that holds its model.
    group : str
        Grouping factor.

    Returns
    -------
    numpy.ndarray, shape (levels, q)
        Of all terms of the group, joined as in ``fit.ranef``, the user's units, without the fixed
        part; nan in a level that cannot tell its effects apart.
    """
    # only for fits of pymackay, for which TensorFlow is loaded already
    from pymackay.infer.predict.rows import effects_of_terms
    from pymackay.infer.problem import problem_of

    model = problem_of(fit, "shrinkage").model
    if not len(model.y):
        raise PymackayError(
            "shrinkage needs the rows of the data, but they came in partitions and were not kept. "
            "Fit the model to a sample of the groups, as one table, to draw it."
        )
    left = model.y - model.X @ fit.beta.to_numpy()
    if model.offset is not None:
        left = left - model.offset
    for term, effects in zip(model.terms, effects_of_terms(fit), strict=True):
        if term.group != group:
            codes = model.factors[term.group].codes
            left = left - np.einsum("nq,nq->n", term.columns, effects[codes])
    columns = np.column_stack([t.columns for t in model.terms if t.group == group])
    return _least_squares(columns, left, model.weights, model.factors[group])


def _least_squares(
    columns: np.ndarray, response: np.ndarray, weights: np.ndarray | None, factor: Any
) -> np.ndarray:
    """Regress the response on the columns, level by level."""
    root = np.ones(len(response)) if weights is None else np.sqrt(weights)
    scale = np.sqrt(np.mean(columns**2, axis=0))
    scale = np.where(scale > 0.0, scale, 1.0)
    Z, r = columns / scale * root[:, None], response * root
    levels, q = len(factor.levels), columns.shape[1]
    grams = level_gram(factor.codes, Z, levels)
    moments = level_products(factor.codes, Z, r[:, None], levels)
    unit = np.sqrt(np.einsum("jii->ji", grams))
    unit = np.where(unit > 0.0, unit, 1.0)
    apart = np.linalg.eigvalsh(grams / (unit[:, :, None] * unit[:, None, :]))[:, 0] > _NO_RANK
    found = np.full((levels, q), np.nan)
    found[apart] = np.linalg.solve(grams[apart], moments[apart])[:, :, 0] / scale
    return found


def _chosen(fit: Fit, group: str, effects: str | Sequence[str] | None) -> list[int]:
    if effects is None:
        return list(range(min(2, fit.ranef[group].shape[1])))
    names = [effects] if isinstance(effects, str) else list(effects)
    if not 1 <= len(names) <= 2:
        raise ArgumentError(f"effects: expected one or two, got {len(names)}.")
    return [choose_effect(fit, group, name) for name in names]


def _pooling(fit: Fit, group: str, chosen: list[int]) -> _Pooling:
    table = fit.ranef[group]
    names = tuple(str(table.columns[k]) for k in chosen)
    population = np.array([float(fit.beta.get(name, 0.0)) for name in names])
    own = no_pooling(fit, group)[:, chosen] + population
    if np.isnan(own).all():
        raise PymackayError(
            f"shrinkage: no level of {group} has data enough for least-squares effects of its own, "
            f"so there is nothing to compare the predictions with."
        )
    return _Pooling(
        group=group,
        names=names,
        levels=tuple(map(str, table.index)),
        own=own,
        pooled=table.to_numpy(dtype=np.float64)[:, chosen] + population,
        population=population,
    )


def _draw_plane(ax: Axes, pooling: _Pooling) -> Axes:
    own, pooled = pooling.own, pooling.pooled
    many = len(own) > _MANY
    size, thin = (3.0, 0.4) if many else (5.0, 0.9)
    ways = np.stack([own, pooled, np.full_like(own, np.nan)], axis=1).reshape(-1, 2)
    ax.plot(*ways.T, color=GREY, linewidth=thin, zorder=1, rasterized=many)
    _mark_both(ax, own, pooled, size, rasterized=many)
    ax.plot(
        *pooling.population, marker="D", color=ax.xaxis.label.get_color(),
        markeredgecolor=ax.get_facecolor(), markersize=8,
        linestyle="none", zorder=4, label="population",
    )  # fmt: skip
    ax.set_xlabel(coefficient_label(pooling.names[0], pooling.group))
    ax.set_ylabel(coefficient_label(pooling.names[1], pooling.group))
    key_above(ax)
    return ax


def _draw_rows(ax: Axes, pooling: _Pooling) -> Axes:
    order = np.argsort(pooling.pooled[:, 0], kind="stable")
    own, pooled = pooling.own[order, 0], pooling.pooled[order, 0]
    rows = np.arange(len(order))
    ax.axvline(pooling.population[0], color=GREY, linewidth=0.8, zorder=0)
    ax.hlines(rows, own, pooled, color=GREY, linewidth=1.2, zorder=1)
    _mark_both(ax, np.column_stack([own, rows]), np.column_stack([pooled, rows]), 5.0)
    label_rows(ax, [pooling.levels[k] for k in order], pooling.group)
    ax.set_xlabel(coefficient_label(pooling.names[0], pooling.group))
    key_above(ax)
    return ax


def _draw_points(ax: Axes, pooling: _Pooling) -> Axes:
    ax.plot(
        pooling.own[:, 0], pooling.pooled[:, 0], "o", color=BLUE, markersize=2.5, alpha=0.5,
        rasterized=True, label="a level",
    )  # fmt: skip
    middle = (pooling.population[0], pooling.population[0])
    ax.axline(middle, slope=1.0, color=VERMILION, linewidth=1.2, label="no shrinkage")
    ax.axhline(
        pooling.population[0], color=GREY, linewidth=1.2, linestyle="--", label="complete pooling"
    )
    what = coefficient_label(pooling.names[0], pooling.group)
    ax.set_xlabel(f"{what}: no pooling")
    ax.set_ylabel(f"{what}: partial pooling")
    key_above(ax)
    return ax


def _mark_both(
    ax: Axes, own: np.ndarray, pooled: np.ndarray, size: float, rasterized: bool = False
) -> None:
    ax.plot(
        *own.T, "o", markerfacecolor="none", markeredgecolor=VERMILION, markersize=size,
        rasterized=rasterized, label="no pooling", zorder=2,
    )  # fmt: skip
    ax.plot(
        *pooled.T, "o", color=BLUE, markersize=size, rasterized=rasterized,
        label="partial pooling", zorder=3,
    )  # fmt: skip
