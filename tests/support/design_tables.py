"""Tables for the tests of model matrices: every kind of column, and holes in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def main_table() -> pd.DataFrame:
    """96 rows with every kind of column, nothing missing."""
    rng = np.random.default_rng(20240611)
    n = 96
    group = np.repeat(["g10", "g2", "G1", "_g", "ä", "zz"], 16)
    table = pd.DataFrame(
        {
            "y": np.round(rng.normal(10.0, 3.0, n), 4),
            "x": np.round(rng.normal(0.0, 1.0, n), 3),
            "z": np.round(rng.uniform(0.5, 3.0, n), 3),
            "k": np.tile([1, 2, 3, 10], 24),
            "big": np.tile([100000, 5, 1200000, 70], 24),
            "num": np.tile([0.1, 100000.0, -2.5, 1 / 3], 24)[rng.permutation(n)],
            "g": group,
            "h": np.tile(["u", "v", "w"], 32),
            "f": pd.Categorical(
                np.tile(["lo", "mid", "hi"], 32)[rng.permutation(n)],
                categories=["mid", "lo", "unused", "hi"],
            ),
            "a": pd.Categorical(np.tile(["a1", "a2", "a3"], 32), categories=["a1", "a2", "a3"]),
            "b": pd.Categorical(np.repeat(["b1", "b2"], 48), categories=["b1", "b2"]),
            "o": pd.Categorical(
                np.tile(["none", "some", "more", "all"], 24)[rng.permutation(n)],
                categories=["none", "some", "more", "all"],
                ordered=True,
            ),
            "o2": pd.Categorical(
                np.tile(["no", "yes"], 48)[rng.permutation(n)],
                categories=["no", "yes"],
                ordered=True,
            ),
            "l": rng.uniform(size=n) < 0.4,
            "alltrue": np.ones(n, dtype=bool),
            "batch": np.repeat(np.arange(1, 9), 12),
            "cask": np.tile(np.repeat(["c1", "c2", "c3"], 4), 8),
            "w": np.round(rng.uniform(0.2, 2.0, n), 3),
            "my var": np.round(rng.normal(size=n), 3),
            "größe": np.round(rng.normal(170.0, 9.0, n), 1),
            "x.1": np.round(rng.normal(size=n), 3),
            "my_fac": np.tile(["p q", "r:s"], 48)[rng.permutation(n)],
            "my fac": np.tile(["m", "n", "o", "p"], 24)[rng.permutation(n)],
            "cell": pd.Categorical(np.tile(["e1", "e2"], 48)[rng.permutation(n)]),
        }
    )
    table["x_copy"] = 2.0 * table["x"] - 1.0
    # A cell of f:cell that no row has: its column is zero and must be dropped.
    table.loc[(table["f"] == "hi") & (table["cell"] == "e2"), "cell"] = "e1"
    return table


def missing_table() -> pd.DataFrame:
    """The main table with holes in every kind of column, and a level that only such rows have."""
    table = main_table()
    rng = np.random.default_rng(7)
    table["num"] = table["num"] + 0.0
    table["cask"] = table["cask"].astype(object)
    table["h"] = table["h"].astype(object)
    for i, name in enumerate(["y", "x", "z", "w", "h", "f", "o", "cask"]):
        table.loc[rng.choice(96, 3 + i, replace=False), name] = None
    table["l"] = table["l"].astype("boolean")
    table.loc[[3, 50], "l"] = pd.NA
    table["k"] = table["k"].astype("Int64")
    table.loc[[5, 60], "k"] = pd.NA
    table["lost"] = np.where(table["x"].isna(), "only here", np.tile(["q", "r"], 48))
    return table


def small_table() -> pd.DataFrame:
    """A few columns only, for the dot."""
    table = main_table()
    return table[["y", "x", "g", "z", "a"]].copy()


TABLES = {"main": main_table, "missing": missing_table, "small": small_table}


def grouped_table(**changes: Any) -> pd.DataFrame:
    """Return 12 rows in 3 groups, columns changed or added."""
    rng = np.random.default_rng(1)
    columns = {
        "y": rng.normal(size=12),
        "x": np.arange(12.0),
        "g": list("aaaabbbbcccc"),
        "f": ["p", "q", "r"] * 4,
        **changes,
    }
    return pd.DataFrame(columns)
