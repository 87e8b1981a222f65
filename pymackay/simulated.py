"""`simulate_crossed`: ratings of items by users, with what makes real ones hard."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError

__all__ = ["simulate_crossed"]


@dataclass(frozen=True)
class _Side:
    """One of the two factors: its size, how its rows are spread, and the sd of its effects."""

    name: str
    levels: int
    tail: float
    sd: float
    slope_sd: float


def simulate_crossed(
    n: int,
    users: int,
    items: int,
    *,
    user_sd: float = 0.6,
    item_sd: float = 0.5,
    noise_sd: float = 0.9,
    user_slope_sd: float = 0.0,
    item_slope_sd: float = 0.0,
    correlation: float = -0.3,
    intercept: float = 3.5,
    slope: float = 0.2,
    user_tail: float = 0.7,
    item_tail: float = 1.0,
    assortativity: float = 0.0,
    neighbourhood: float = 0.02,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate ratings of `items` by `users`: crossed, unbalanced, perhaps assortative.

    ``rating = intercept + slope x + user + x user_slope + item + x item_slope + noise``. The
    column x, standard normal, is there when a slope varies.

    Parameters
    ----------
    n : int
        Rows.
    users, items : int
        Levels. Each has a row at least.
    user_sd, item_sd, noise_sd : float
        Standard deviations of intercepts and of the residual.
    user_slope_sd, item_slope_sd : float
        Standard deviations of the slopes of x.
    correlation : float
        Of intercept and slope within a level.
    intercept, slope : float
        Fixed effects.
    user_tail, item_tail : float
        The level of rank r is drawn in proportion to ``r ** -tail``; 0 spreads rows evenly.
    assortativity : float
        Share of rows in which a user rates in the neighbourhood only: users and items stand on a
        ring.
    neighbourhood : float
        Share of the ring, by the items' popularity, that a neighbourhood takes up.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``rating`` (float64), ``user`` and ``item`` (int32), perhaps ``x``. Its ``attrs["truth"]``
        has the variances asked for, and ``attrs["realised"]`` those of the effects that were
        drawn: mean squares and products about zero by name (``"user.(Intercept)"``, ``"user.x"``,
        ``"user.x.(Intercept)"``, ``"Residual"``), which an estimate from many rows must come
        near to.

    Raises
    ------
    ArgumentError
        If a size or a share is out of range; the message says what fits.

    Examples
    --------
    >>> import pymackay as pm
    >>> ratings = pm.datasets.simulate_crossed(1000, 100, 40, seed=1)
    >>> ratings.shape, ratings["user"].nunique(), ratings["item"].nunique()
    ((1000, 3), 100, 40)
    >>> sorted(ratings.attrs["realised"])
    ['Residual', 'item.(Intercept)', 'user.(Intercept)']
    """
    sides = (
        _Side("user", users, user_tail, user_sd, user_slope_sd),
        _Side("item", items, item_tail, item_sd, item_slope_sd),
    )
    _check(n, sides, noise_sd, correlation, assortativity, neighbourhood)
    rng = np.random.default_rng(seed)
    codes = _draw_codes(rng, n, sides, assortativity, neighbourhood)
    has_slope = user_slope_sd > 0.0 or item_slope_sd > 0.0
    x = rng.standard_normal(n) if has_slope else None
    noise = noise_sd * rng.standard_normal(n)
    realised = {"Residual": float(noise @ noise) / n}
    truth = {"Residual": noise_sd**2}
    rating = noise
    rating += intercept
    if x is not None:
        rating += slope * x
    for side, own in zip(sides, codes, strict=True):
        effects = _draw_effects(rng, side, correlation)
        realised |= _moments(side, effects.T @ effects / side.levels)
        truth |= _moments(side, _covariance(side, correlation))
        rating += effects[own, 0]
        if x is not None:
            rating += effects[own, 1] * x
    data = pd.DataFrame({"rating": rating, "user": codes[0], "item": codes[1]}, copy=False)
    if x is not None:
        data["x"] = x
    data.attrs = {"truth": truth, "realised": realised}
    return data


def _draw_codes(
    rng: np.random.Generator,
    n: int,
    sides: tuple[_Side, _Side],
    assortativity: float,
    neighbourhood: float,
) -> list[np.ndarray]:
    """Draw user and item of every row; the first rows see to it that every level has one."""
    shares = [rng.permutation(_popularity(side)) for side in sides]
    edges = [np.cumsum(share) for share in shares]
    user = _pick(edges[0], rng.random(n))
    user[: sides[0].levels] = rng.permutation(sides[0].levels)
    place = rng.random(n)
    if assortativity > 0.0:
        near = rng.random(n) < assortativity
        at_home = user[near] / sides[0].levels
        place[near] = (at_home + neighbourhood * (place[near] - 0.5)) % 1.0
    item = _pick(edges[1], place)
    item[n - sides[1].levels :] = rng.permutation(sides[1].levels)
    return [user, item]


def _popularity(side: _Side) -> np.ndarray:
    shares = np.arange(1.0, side.levels + 1.0) ** -side.tail
    return shares / shares.sum()


def _pick(edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return which of the intervals that end at `edges` each place lies in."""
    found = np.searchsorted(edges, places).astype(np.int32)
    return np.minimum(found, np.int32(len(edges) - 1))


def _draw_effects(rng: np.random.Generator, side: _Side, correlation: float) -> np.ndarray:
    """Draw intercepts and slopes, shape (levels, 2)."""
    z = rng.standard_normal((side.levels, 2))
    slopes = correlation * z[:, 0] + math.sqrt(1.0 - correlation**2) * z[:, 1]
    return np.column_stack([side.sd * z[:, 0], side.slope_sd * slopes])


def _covariance(side: _Side, correlation: float) -> np.ndarray:
    between = correlation * side.sd * side.slope_sd
    return np.array([[side.sd**2, between], [between, side.slope_sd**2]])


def _moments(side: _Side, matrix: np.ndarray) -> dict[str, float]:
    """Name the elements of a side's covariance matrix; slopes only where they vary."""
    found = {f"{side.name}.(Intercept)": float(matrix[0, 0])}
    if side.slope_sd > 0.0:
        found[f"{side.name}.x.(Intercept)"] = float(matrix[1, 0])
        found[f"{side.name}.x"] = float(matrix[1, 1])
    return found


def _check(
    n: int,
    sides: tuple[_Side, _Side],
    noise_sd: float,
    correlation: float,
    assortativity: float,
    neighbourhood: float,
) -> None:
    for side in sides:
        if side.levels < 2 or side.levels > n:
            raise ArgumentError(
                f"{side.name}s is {side.levels}, but must be at least 2 and at most n = {n}: every "
                f"level has a row."
            )
        if side.tail < 0.0:
            raise ArgumentError(f"{side.name}_tail is {side.tail}, but must be 0 or more.")
        if side.sd < 0.0 or side.slope_sd < 0.0:
            raise ArgumentError(f"standard deviations of {side.name}s must be 0 or more.")
    if not noise_sd > 0.0:
        raise ArgumentError(f"noise_sd is {noise_sd}, but must be positive.")
    if not -1.0 <= correlation <= 1.0:
        raise ArgumentError(f"correlation is {correlation}, but must be between -1 and 1.")
    if not 0.0 <= assortativity <= 1.0:
        raise ArgumentError(f"assortativity is {assortativity}, but must be between 0 and 1.")
    if not 0.0 < neighbourhood <= 1.0:
        raise ArgumentError(f"neighbourhood is {neighbourhood}, but must be above 0 and at most 1.")
