"""What the tests of plots draw, and closed figures after each of them."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import pymackay as pm


@pytest.fixture(scope="package")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="package")
def fit(sleep: pd.DataFrame) -> pm.Fit:
    return pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")
