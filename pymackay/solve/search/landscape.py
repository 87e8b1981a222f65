"""`Landscape`: the criteria of many responses, as a search asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from pymackay.model.sums.gram import Bases
from pymackay.solve.search.values import Factors, Values


class Valleys(Protocol):
    """What evaluates each criterion at many factors at once (`pymackay.solve.search.valleys`)."""

    def starts(self, criteria: np.ndarray, best: Factors) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield where searches may reach less than `criteria`, and the responses' numbers."""
        ...

    def beside(
        self, criteria: np.ndarray, best: Factors, which: np.ndarray
    ) -> Iterator[tuple[Factors, np.ndarray]]:
        """Yield starts that differ in one term from the best factors of the responses `which`."""
        ...


class Landscape(Protocol):
    """The criteria of B responses to one design, as a search needs them."""

    @property
    def gram(self) -> Bases:
        """The design's cross-products; its response is not used."""
        ...

    @property
    def without_effects(self) -> np.ndarray:
        """Each response's criterion where no random effect varies, shape (B,)."""
        ...

    def __len__(self) -> int: ...

    def take(self, which: np.ndarray) -> Landscape:
        """Return the landscape of some responses."""
        ...

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate each response at its own factors."""
        ...

    def start(self) -> Factors:
        """Return the factors to start from, by the data: term by term (B, q, q)."""
        ...

    def profile(self) -> Valleys | None:
        """Return what looks for other valleys of each criterion; None without sums."""
        ...
