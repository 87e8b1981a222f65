"""`shrinkage`: plot of each level's least-squares effects and predicted effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.kinds import by_kind
from pymackay.model.model import level_gram, level_products
from pymackay.plots.canvas import (
    BLUE,
    GREY,
    VERMILION,
    axes_for,
    choose_effect,
    choose_group,
    coefficient_label,
    key_above,
    label_rows,
    picture,
)
from pymackay.plots.names import distinct
from pymackay.results import Fit, check_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 200  # more levels are drawn as points without names
_LABELLED = 5  # levels with labels in a plane
_NO_RANK = 1e-10  # smallest eigenvalue of a level's correlation matrix that determines its effects


@dataclass(frozen=True, eq=False)
class _Pooling:
    """Both estimates of the chosen effects, including the fixed part.

    Attributes
    ----------
    group : str
    names : tuple of str
        Names of the c effects.
    levels : tuple of str
    separate, pooled : numpy.ndarray, shape (J, c)
        No pooling and partial pooling; `separate` is nan for a level whose rows do not determine
        its effects.
    population : numpy.ndarray, shape (c,)
        The fixed part, 0 for an effect that has none.
    """

    group: str
    names: tuple[str, ...]
    levels: tuple[str, ...]
    separate: np.ndarray
    pooled: np.ndarray
    population: np.ndarray


@by_kind(cure="Draw fit.ranef with pymackay.plots.caterpillar.")
@picture
def shrinkage(
    fit: Fit,
    group: str | None = None,
    effects: str | Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how far each level's estimates are shrunk towards the population.

    "No pooling" are the least-squares effects of one level's rows, from the response minus the
    fixed part and the effects of other grouping factors; "partial pooling" are the predictions.
    The fixed part is added to both. Two effects are drawn in a plane, where the five levels that
    shrinkage moves most are labelled; one effect is drawn as a row for each level, or as points if
    there are more than 200 levels.

    Parameters
    ----------
    fit : Fit
        A fit by pymackay, because the plot needs the model's arrays.
    group : str, optional
        Grouping factor; the first by default.
    effects : str or sequence of one or two str, optional
        By default the group's first two effects, or its only one.

    Raises
    ------
    ArgumentError
        If the fit does not have this group or effect.
    PymackayError
        If matplotlib is missing, the fit does not contain its model, or no level's rows determine
        the effects.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> pm.plots.shrinkage(fit).get_ylabel()
    'Days by Subject'
    """
    check_fit(fit, "shrinkage")
    group = choose_group(fit, group)
    pooling = _pooling(fit, group, _chosen(fit, group, effects))
    if len(pooling.names) == 2:
        return _draw_plane(axes_for(ax, 4.5, fit), pooling)
    if len(pooling.levels) > _MANY:
        return _draw_points(axes_for(ax, 4.5, fit), pooling)
    return _draw_rows(axes_for(ax, 1.0 + 0.19 * max(len(pooling.levels), 8), fit), pooling)


def no_pooling(fit: Fit, group: str) -> np.ndarray:
    """Return each level's own least-squares effects.

    Parameters
    ----------
    fit : Fit
        A fit that contains its model.
    group : str
        Grouping factor.

    Returns
    -------
    numpy.ndarray, shape (levels, q)
        Effects of all terms of the group, joined as in ``fit.ranef``, in the user's units, without
        the fixed part; nan for a level whose rows do not determine them.
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
    remainder = model.y - model.X @ fit.beta.to_numpy()
    if model.offset is not None:
        remainder = remainder - model.offset
    for term, effects in zip(model.terms, effects_of_terms(fit), strict=True):
        if term.group != group:
            codes = model.factors[term.group].codes
            remainder = remainder - np.einsum("nq,nq->n", term.columns, effects[codes])
    columns = np.column_stack([t.columns for t in model.terms if t.group == group])
    return _least_squares(columns, remainder, model.weights, model.factors[group])


def _least_squares(
    columns: np.ndarray, response: np.ndarray, weights: np.ndarray | None, factor: Any
) -> np.ndarray:
    """Return the least-squares effects of each level, shape (J, q): (Z'WZ)⁻¹ Z'Wr by level.

    `columns` are Z, shape (n, q); `response` is r and `weights` is W, shape (n,). A level whose
    columns are collinear has nan.
    """
    root = np.ones(len(response)) if weights is None else np.sqrt(weights)
    scale = np.sqrt(np.mean(columns**2, axis=0))
    scale = np.where(scale > 0.0, scale, 1.0)
    Z, r = columns / scale * root[:, None], response * root
    levels, q = len(factor.levels), columns.shape[1]
    grams = level_gram(factor.codes, Z, levels)
    moments = level_products(factor.codes, Z, r[:, None], levels)
    unit = np.sqrt(np.einsum("jii->ji", grams))
    unit = np.where(unit > 0.0, unit, 1.0)
    determined = np.linalg.eigvalsh(grams / (unit[:, :, None] * unit[:, None, :]))[:, 0] > _NO_RANK
    effects = np.full((levels, q), np.nan)
    solutions = np.linalg.solve(grams[determined], moments[determined])
    effects[determined] = solutions[:, :, 0] / scale
    return effects


def _chosen(fit: Fit, group: str, effects: str | Sequence[str] | None) -> list[int]:
    if effects is None:
        return list(range(min(2, fit.ranef[group].shape[1])))
    names = [effects] if isinstance(effects, str) else list(effects)
    if not 1 <= len(names) <= 2:
        raise ArgumentError(f"effects: expected one or two, got {len(names)}.")
    return [choose_effect(fit, group, name) for name in names]


def _pooling(fit: Fit, group: str, chosen: list[int]) -> _Pooling:
    """Return both estimates of the effects at the positions `chosen`, plus the fixed part."""
    table = fit.ranef[group]
    names = tuple(str(table.columns[k]) for k in chosen)
    population = np.array([float(fit.beta.get(name, 0.0)) for name in names])
    separate = no_pooling(fit, group)[:, chosen] + population
    if np.isnan(separate).all():
        raise PymackayError(
            f"shrinkage: no level of {group} has enough rows for least-squares effects, "
            f"so there is nothing to compare the predictions with."
        )
    return _Pooling(
        group=group,
        names=names,
        levels=tuple(map(str, table.index)),
        separate=separate,
        pooled=table.to_numpy(dtype=np.float64)[:, chosen] + population,
        population=population,
    )


def _draw_plane(ax: Axes, pooling: _Pooling) -> Axes:
    """Draw two effects: a line for each level from no pooling to partial pooling."""
    separate, pooled = pooling.separate, pooling.pooled
    many = len(separate) > _MANY
    size, thin = (3.0, 0.4) if many else (5.0, 0.9)
    ways = np.stack([separate, pooled, np.full_like(separate, np.nan)], axis=1).reshape(-1, 2)
    ax.plot(*ways.T, color=GREY, linewidth=thin, zorder=1, rasterized=many)
    _mark_both(ax, separate, pooled, size, rasterized=many)
    ax.plot(
        *pooling.population, marker="D", color=ax.xaxis.label.get_color(),
        markeredgecolor=ax.get_facecolor(), markersize=8,
        linestyle="none", zorder=4, label="population",
    )  # fmt: skip
    _label_extremes(ax, pooling)
    ax.set_xlabel(coefficient_label(pooling.names[0], pooling.group))
    ax.set_ylabel(coefficient_label(pooling.names[1], pooling.group))
    key_above(ax)
    return ax


def _label_extremes(ax: Axes, pooling: _Pooling) -> None:
    """Label the levels that shrinkage moves most, in units of the spread of the estimates."""
    moved = pooling.separate - pooling.pooled
    far = np.linalg.norm(moved / np.nanstd(pooling.separate, axis=0), axis=1)
    known = np.flatnonzero(np.isfinite(far))
    chosen = known[np.argsort(-far[known], kind="stable")][:_LABELLED]
    for k, name in zip(chosen, distinct([pooling.levels[k] for k in chosen], 16), strict=True):
        right = moved[k, 0] >= 0.0
        ax.annotate(
            name, pooling.separate[k], (5 if right else -5, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize="small", annotation_clip=True,
        )  # fmt: skip


def _draw_rows(ax: Axes, pooling: _Pooling) -> Axes:
    order = np.argsort(pooling.pooled[:, 0], kind="stable")
    separate, pooled = pooling.separate[order, 0], pooling.pooled[order, 0]
    rows = np.arange(len(order))
    ax.axvline(pooling.population[0], color=GREY, linewidth=0.8, zorder=0)
    ax.hlines(rows, separate, pooled, color=GREY, linewidth=1.2, zorder=1)
    _mark_both(ax, np.column_stack([separate, rows]), np.column_stack([pooled, rows]), 5.0)
    label_rows(ax, [pooling.levels[k] for k in order], pooling.group)
    ax.set_xlabel(coefficient_label(pooling.names[0], pooling.group))
    key_above(ax)
    return ax


def _draw_points(ax: Axes, pooling: _Pooling) -> Axes:
    """Draw partial pooling against no pooling of one effect, one point for each level."""
    ax.plot(
        pooling.separate[:, 0], pooling.pooled[:, 0], "o", color=BLUE, markersize=2.5, alpha=0.5,
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
    ax: Axes, separate: np.ndarray, pooled: np.ndarray, size: float, rasterized: bool = False
) -> None:
    ax.plot(
        *separate.T, "o", markerfacecolor="none", markeredgecolor=VERMILION, markersize=size,
        rasterized=rasterized, label="no pooling", zorder=2,
    )  # fmt: skip
    ax.plot(
        *pooled.T, "o", color=BLUE, markersize=size, rasterized=rasterized,
        label="partial pooling", zorder=3,
    )  # fmt: skip
