"""The bundled data sets, with R's levels and exact numbers; simulated crossed ratings."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from pymackay._resources import data_path
from pymackay.errors import ArgumentError


@dataclass(frozen=True)
class DataColumn:
    """One column of a data set.

    Attributes
    ----------
    name : str
    type : str
        Its type in R: ``"numeric"``, ``"integer"``, ``"factor"`` or ``"ordered"``.
    levels : tuple of str
        The factor's levels in R's order; empty for numbers.
    """

    name: str
    type: str
    levels: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype | pd.CategoricalDtype:
        """The corresponding pandas type."""
        if self.type in ("factor", "ordered"):
            return pd.CategoricalDtype(list(self.levels), ordered=self.type == "ordered")
        return np.dtype(np.int64 if self.type == "integer" else np.float64)


@dataclass(frozen=True)
class DataInfo:
    """Description of one data set.

    Attributes
    ----------
    name, description : str
    package, version : str
        The R package that it is from.
    licence : str
        The licence of that package, which also holds for the data.
    rows : int
    columns : tuple of DataColumn
    file : str
        Name of the file under ``data/``.
    sha256 : str
        Checksum of the uncompressed CSV text.
    """

    name: str
    description: str
    package: str
    version: str
    licence: str
    rows: int
    columns: tuple[DataColumn, ...]
    file: str
    sha256: str


def list_data() -> list[str]:
    """Return the names of the data sets.

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.list_data()[:4]
    ['sleepstudy', 'Dyestuff', 'Dyestuff2', 'Penicillin']
    """
    return list(_catalogue())


def data_info(name: str) -> DataInfo:
    """Return source, licence and columns of a data set.

    Parameters
    ----------
    name : str
        One of `list_data`.

    Raises
    ------
    ArgumentError
        If there is no data set of that name.

    Examples
    --------
    >>> data_info("Rail").columns[0].levels
    ('2', '5', '1', '6', '3', '4')
    """
    catalogue = _catalogue()
    if not isinstance(name, str) or name not in catalogue:
        raise ArgumentError(_unknown(name, list(catalogue)))
    return catalogue[name]


def load_data(name: str) -> pd.DataFrame:
    """Return a data set as a new data frame.

    Factors are `pandas.Categorical` with R's levels in R's order, ordered where R's are ordered;
    R's integers are int64, its doubles the same float64.

    Parameters
    ----------
    name : str
        One of `list_data`.

    Raises
    ------
    ArgumentError
        If there is no data set of that name; the message lists the names.

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.load_data("sleepstudy").head(2)
       Reaction  Days Subject
    0  249.5600   0.0     308
    1  258.7047   1.0     308
    """
    return _read(data_info(name)).copy()


@cache
def _catalogue() -> Mapping[str, DataInfo]:
    raw = json.loads(data_path("datasets.json").read_text(encoding="utf-8"))
    return {name: _info(name, entry) for name, entry in raw.items()}


def _info(name: str, entry: dict) -> DataInfo:
    columns = tuple(
        DataColumn(column["name"], column["type"], tuple(column.get("levels", ())))
        for column in entry.pop("columns")
    )
    return DataInfo(name=name, columns=columns, **entry)


@cache
def _read(info: DataInfo) -> pd.DataFrame:
    numeric = [column.name for column in info.columns if column.type == "numeric"]
    return pd.read_csv(
        data_path(info.file),
        dtype={column.name: column.dtype for column in info.columns if column.name not in numeric},
        # Python's float is exact; before version 3, pandas' default reader was off by an ulp
        converters=dict.fromkeys(numeric, float),
        keep_default_na=False,
        encoding="utf-8",
    )


def _unknown(name: object, known: list[str]) -> str:
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(str(name).casefold(), list(by_folded), n=3)
    hint = f" Did you mean {' or '.join(by_folded[key] for key in near)}?" if near else ""
    return f"name: there is no data set {name!r}.{hint} The data sets are {', '.join(known)}."


@dataclass(frozen=True)
class _Side:
    """One of the two factors: number of levels, distribution of rows, and sds of effects."""

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
    """Simulate ratings of `items` by `users`: crossed and unbalanced, optionally assortative.

    ``rating = intercept + slope x + user + x user_slope + item + x item_slope + noise``. The
    column x, standard normal, exists only if a slope varies.

    Parameters
    ----------
    n : int
        Number of rows.
    users, items : int
        Numbers of levels. Each level has at least one row.
    user_sd, item_sd, noise_sd : float
        Standard deviations of intercepts and of the residual.
    user_slope_sd, item_slope_sd : float
        Standard deviations of the slopes of x.
    correlation : float
        Correlation of intercept and slope within a level.
    intercept, slope : float
        Fixed effects.
    user_tail, item_tail : float
        The level of rank r is drawn in proportion to ``r ** -tail``; with 0, all equally often.
    assortativity : float
        Share of rows in which a user rates only items of the own neighbourhood; users and items
        are placed on a ring.
    neighbourhood : float
        Size of a neighbourhood as a share of the ring, weighted by the items' popularity.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``rating`` (float64), ``user`` and ``item`` (int32), and ``x`` if a slope varies.
        ``attrs["truth"]`` has the variances of the distributions, and ``attrs["realised"]`` those
        of the drawn effects, mean squares and products about zero by name
        (``"user.(Intercept)"``, ``"user.x"``, ``"user.x.(Intercept)"``, ``"Residual"``), to which
        estimates from many rows must be close.

    Raises
    ------
    ArgumentError
        If a size or a share is out of range.

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
    for side, levels in zip(sides, codes, strict=True):
        effects = _draw_effects(rng, side, correlation)
        realised |= _moments(side, effects.T @ effects / side.levels)
        truth |= _moments(side, _covariance(side, correlation))
        rating += effects[levels, 0]
        if x is not None:
            rating += effects[levels, 1] * x
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
    """Draw user and item of every row, two arrays of shape (n,).

    The first rows go through all users, and the last through all items, so that no level is empty.
    """
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
    """Return the interval of each place, shape (n,); the intervals end at `edges`, (levels,)."""
    intervals = np.searchsorted(edges, places).astype(np.int32)
    return np.minimum(intervals, np.int32(len(edges) - 1))


def _draw_effects(rng: np.random.Generator, side: _Side, correlation: float) -> np.ndarray:
    """Draw intercepts and slopes, shape (levels, 2)."""
    z = rng.standard_normal((side.levels, 2))
    slopes = correlation * z[:, 0] + math.sqrt(1.0 - correlation**2) * z[:, 1]
    return np.column_stack([side.sd * z[:, 0], side.slope_sd * slopes])


def _covariance(side: _Side, correlation: float) -> np.ndarray:
    between = correlation * side.sd * side.slope_sd
    return np.array([[side.sd**2, between], [between, side.slope_sd**2]])


def _moments(side: _Side, matrix: np.ndarray) -> dict[str, float]:
    """Return the elements of a side's covariance matrix, (2, 2), by name; slopes if they vary."""
    moments = {f"{side.name}.(Intercept)": float(matrix[0, 0])}
    if side.slope_sd > 0.0:
        moments[f"{side.name}.x.(Intercept)"] = float(matrix[1, 0])
        moments[f"{side.name}.x"] = float(matrix[1, 1])
    return moments


def _check(
    n: int,
    sides: tuple[_Side, _Side],
    noise_sd: float,
    correlation: float,
    assortativity: float,
    neighbourhood: float,
) -> None:
    """Raise an `ArgumentError` if an argument of `simulate_crossed` is out of range."""
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
    for name, value, right, expected in (
        ("noise_sd", noise_sd, noise_sd > 0.0, "positive"),
        ("correlation", correlation, abs(correlation) <= 1.0, "between -1 and 1"),
        ("assortativity", assortativity, 0.0 <= assortativity <= 1.0, "between 0 and 1"),
        ("neighbourhood", neighbourhood, 0.0 < neighbourhood <= 1.0, "above 0 and at most 1"),
    ):
        if not right:
            raise ArgumentError(f"{name} is {value}, but must be {expected}.")
