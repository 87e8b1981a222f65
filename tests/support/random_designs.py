"""Small random designs for property tests, and the comparison of two fits in statistical units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
from tolerances import tol

import pymackay as pm

__all__ = [
    "FORMULAS",
    "Design",
    "assert_same_fit",
    "designs",
    "one_factor_table",
    "random_table",
]

FORMULAS = {
    "scalar": "y ~ x + (1 | g)",
    "slope": "y ~ x + (x | g)",
    "double bar": "y ~ x + f + (x || g)",
    "nested": "y ~ x + (1 | g / k)",
    "crossed": "y ~ f + x + (1 | g) + (1 | h)",
    "crossed slope": "y ~ x + (x | g) + (1 | h)",
    "three factors": "y ~ f + x + (0 + x | g) + (1 | h) + (1 | g:k)",
}


@dataclass(frozen=True, eq=False)
class Design:
    """A table, a formula and the arguments of a fit.

    Attributes
    ----------
    formula : str
    data : pandas.DataFrame
        ``y``, ``x``, fixed factor ``f``, grouping factors ``g``, ``h`` and ``k`` (inside g),
        weights ``w`` and offset ``o``.
    arguments : dict
        ``reml``, and perhaps ``weights`` and ``offset``.
    recipe : tuple
        What `random_table` makes the table from: it stands for the table in a message.
    """

    formula: str
    data: pd.DataFrame = field(repr=False)
    arguments: dict[str, Any]
    recipe: tuple[Any, ...] = ()

    def fit(self, formula: str | None = None, **arguments: Any) -> pm.Fit:
        """Fit, with another formula or other arguments where they are given."""
        return pm.lmer(formula or self.formula, self.data, **{**self.arguments, **arguments})

    def at(self, theta: Any, **arguments: Any) -> pm.Fit:
        """Evaluate at `theta`."""
        return pm.evaluate(self.formula, self.data, theta, **{**self.arguments, **arguments})

    def with_data(self, **columns: Any) -> Design:
        """Return the design with some columns replaced."""
        return replace(self, data=self.data.assign(**columns))

    @property
    def complete(self) -> pd.DataFrame:
        """The rows without missing values."""
        return self.data.dropna()


@st.composite
def designs(
    draw: Callable[..., Any], formulas: tuple[str, ...] = tuple(FORMULAS), rows: int = 72
) -> Design:
    """Draw a design: unbalanced, effects from none to strong, some with missing values."""
    formula = FORMULAS[draw(st.sampled_from(formulas))]
    sd = {name: draw(st.sampled_from([0.0, 0.3, 1.0, 4.0])) for name in ("g", "x", "h", "k")}
    n = draw(st.integers(rows - 24, rows))
    recipe = (draw(st.integers(0, 10**6)), n, sd, draw(st.booleans()))
    arguments: dict[str, Any] = {"reml": draw(st.booleans())}
    if draw(st.booleans()):
        arguments["weights"] = "w"
    if draw(st.booleans()):
        arguments["offset"] = "o"
    return Design(formula, random_table(*recipe), arguments, recipe)


def random_table(seed: int, n: int, sd: Mapping[str, float], missing: bool) -> pd.DataFrame:
    """Simulate `n` rows: 7 levels of g, 5 of h, 21 of g:k; `sd` of their effects and of x in g."""
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 7, n), rng.integers(0, 5, n)
    k = rng.integers(0, 3, n)
    x = rng.normal(size=n)
    y = 1.0 + 0.5 * x + sd["g"] * rng.normal(size=7)[g] + sd["x"] * rng.normal(size=7)[g] * x
    y += sd["h"] * rng.normal(size=5)[h] + sd["k"] * rng.normal(size=(7, 3))[g, k]
    data = pd.DataFrame(
        {
            "y": _gridded(y + rng.normal(size=n)),
            "x": x,
            "f": [f"f{i}" for i in rng.integers(0, 3, n)],
            "g": [f"g{i}" for i in g],
            "h": [f"h{i}" for i in h],
            "k": [f"k{i}" for i in k],
            "w": rng.uniform(0.5, 2.0, n),
            "o": _gridded(rng.normal(size=n)),
        }
    )
    if missing:
        data.loc[rng.choice(n, 3, replace=False), "x"] = np.nan
        data.loc[rng.choice(n, 2, replace=False), "y"] = np.nan
    return data


def one_factor_table(
    seed: int, levels: int, rows: int, off_zero: float, sd: tuple[float, float, float]
) -> pd.DataFrame:
    """Simulate `levels` of g, of about `rows` rows each; covariates x and z, x about `off_zero`.

    `sd` are those of the intercepts, of the slopes of x as it is, and of x about its mean. With x
    far from zero, intercepts and slopes are nearly one column for a level: several optima. The
    responses y0, y1 and y2 have effects of all, a third and none of this size.
    """
    rng = np.random.default_rng(seed)
    g = np.sort(np.concatenate([np.arange(levels), rng.integers(0, levels, levels * (rows - 1))]))
    centred, z = rng.normal(size=(2, len(g)))
    x = off_zero + centred
    data = {"x": x, "z": z, "g": g.astype(str)}
    for k, share in enumerate((1.0, 0.3, 0.0)):
        b = share * rng.normal(size=(3, levels))[:, g] * np.array(sd)[:, None]
        mean = 1.0 + 0.5 * centred + b[0] + b[1] * x / max(1.0, off_zero) + b[2] * centred
        data[f"y{k}"] = mean + rng.normal(size=len(g))
    return pd.DataFrame(data)


def _gridded(values: np.ndarray) -> np.ndarray:
    """Round to 20 binary places, so that 1e7 can be added without rounding."""
    return np.round(values * 2.0**20) / 2.0**20


def assert_same_fit(
    first: pm.Fit,
    second: pm.Fit,
    *,
    response: float = 1.0,
    columns: Mapping[str, float] | None = None,
    moved: float = 0.0,
    criterion: float = 0.0,
    sigma: float = 1.0,
    levels: Callable[[str, str], str] = lambda group, level: level,
) -> None:
    """Check that `second` is `first` but for the changes that are said.

    Parameters
    ----------
    response : float
        The second response is the first times this, plus `moved`.
    columns : mapping of str to float
        Column of a design to what it was multiplied by.
    criterion : float
        The second criterion less the first.
    sigma : float
        What the residual sd changes by beyond `response`.
    levels : callable
        Grouping factor and level in the first to the level in the second.
    """
    scales = columns or {}
    scale = pd.Series({name: response / scales.get(name, 1.0) for name in first.beta.index})
    close = tol("invariance")
    assert abs(second.criterion - first.criterion - criterion) < tol("rounding of a criterion")
    expected = first.beta * scale
    if moved:
        expected["(Intercept)"] += moved
    error = first.std_error * scale
    assert list(second.beta.index) == list(first.beta.index)
    assert ((second.beta - expected) / error).abs().max() < close
    assert (second.std_error / error - 1.0).abs().max() < close
    assert abs(second.sigma / (first.sigma * response * sigma) - 1.0) < close
    _assert_same_spread(first, second, response, scales)
    _assert_same_effects(first, second, response, scales, levels)
    rows = (second.fitted - first.fitted * response - moved) / (first.sigma * response)
    assert rows.abs().max() < close  # aligned by row label


def _assert_same_spread(
    first: pm.Fit, second: pm.Fit, response: float, scales: Mapping[str, float]
) -> None:
    assert list(second.varcorr) == list(first.varcorr)
    for name, cov in first.varcorr.items():
        scale = np.array([response / scales.get(effect, 1.0) for effect in cov.columns])
        back = second.varcorr[name] / np.outer(scale, scale)
        size = np.sqrt(np.diag(cov) + first.sigma**2)
        off = (back - cov) / np.outer(size, size)
        assert off.abs().max(axis=None) < tol("invariance"), f"{name}: {off}"


def _assert_same_effects(
    first: pm.Fit,
    second: pm.Fit,
    response: float,
    scales: Mapping[str, float],
    levels: Callable[[str, str], str],
) -> None:
    for group, table in first.ranef.items():
        scale = np.array([response / scales.get(effect, 1.0) for effect in table.columns])
        expected = table.rename(index=lambda level, group=group: levels(group, level)) * scale
        assert sorted(second.ranef[group].index) == sorted(expected.index)
        off = (second.ranef[group].loc[expected.index] - expected) / (scale * first.sigma)
        assert off.abs().max(axis=None) < tol("invariance"), f"{group}: {off}"
