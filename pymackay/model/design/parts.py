"""`FixedPart` and `RandomPart`: the designs that a formula's two parts lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.model.design.side import SideBlueprint
from pymackay.model.model import GroupingFactor


@dataclass(frozen=True, eq=False)
class FixedPart:
    """The fixed design.

    Attributes
    ----------
    X : numpy.ndarray, shape (n, p)
        Of full column rank, column-major.
    names : tuple of str, length p
    dropped : tuple of str
        Names of the columns dropped because they depend on others.
    kept : numpy.ndarray of int, shape (p,)
        Positions in the full design of those kept.
    side : SideBlueprint
    contrasts : dict of str to str
        Factor to the name of its contrasts.
    messages : tuple of str
    """

    X: np.ndarray
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: np.ndarray
    side: SideBlueprint
    contrasts: dict[str, str]
    messages: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RandomPart:
    """Grouping factors, and the columns of random terms, bar by bar as the formula has them.

    Attributes
    ----------
    factors : dict of str to GroupingFactor
    sides : sequence of SideBlueprint
        How each bar's columns were made.
    columns : sequence of (tuple of str, numpy.ndarray)
        Their names and values.
    n : int
        Number of rows.
    has_residual : bool
        Whether a residual variance is estimated beside those of the terms.
    """

    factors: dict[str, GroupingFactor]
    sides: Sequence[SideBlueprint]
    columns: Sequence[tuple[tuple[str, ...], np.ndarray]]
    n: int
    has_residual: bool = True
