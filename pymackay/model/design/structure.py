"""The structure that a formula asks for a random term, with what the effects give to it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pymackay.covariance.structure import Structure
from pymackay.covariance.structures import make_structure
from pymackay.errors import DataError
from pymackay.formula.bars import Bar
from pymackay.model.design.known import known_triangle


def structure_of(bar: Bar, effects: tuple[str, ...], known: Any) -> Structure | None:
    """Return the structure of a random term's covariance; None where any covariance will do.

    Parameters
    ----------
    bar : Bar
    effects : tuple of str, length q
        R's names of the columns.
    known : mapping of str to pandas.DataFrame, or None
        Matrices that a formula may name.

    Raises
    ------
    DataError, ArgumentError
        If the effects lack the times or the known matrix that the structure needs.
    """
    asked = bar.structure
    if asked is None:
        return None
    times = _times(bar, effects) if asked.name == "ou" else ()
    triangle: tuple[float, ...] = ()
    if asked.known:
        triangle = known_triangle(known, asked.known, _levels_of(bar, effects))
    if asked.name == "fa" and len(effects) < 3:
        raise DataError(
            f"{bar.written} needs three effects or more, but there are {len(effects)}: the "
            f"loadings of two are not determined by their covariance matrix. Write ({bar.text}), "
            f"which is the same model where they correlate."
        )
    return make_structure(asked.name, asked.hom, times, triangle, asked.rank)


def _levels_of(bar: Bar, effects: tuple[str, ...]) -> list[str]:
    """Return the levels of effects that are those of one factor; empty where they are not."""
    label = _single_label(bar)
    if label is None or not all(name.startswith(label) and name != label for name in effects):
        raise DataError(
            f"{bar.written} needs effects that are the levels of one factor: write "
            f"propto(0 + f | g, {bar.structure.known if bar.structure else 'A'}); the effects here "
            f"are {', '.join(effects[:6])}"
        )
    return [name.removeprefix(label) for name in effects]


def _single_label(bar: Bar) -> str | None:
    """Return the label of the only variable of a term without an intercept, else None."""
    sides = bar.effects
    single = not sides.intercept and len(sides.terms) == 1 and len(sides.terms[0].variables) == 1
    return sides.label(sides.terms[0]) if single else None


def _times(bar: Bar, effects: tuple[str, ...]) -> tuple[float, ...]:
    """Return the times of effects that are the levels of one factor.

    Raises
    ------
    DataError
        If they are something else, or the levels are not numbers in ascending order.
    """
    label = _single_label(bar)
    try:
        times = tuple(float(name.removeprefix(label or "")) for name in effects)
    except ValueError:
        times = ()
    if label is None or not times or not all(a < b for a, b in pairwise(times)):
        raise DataError(
            f"ou({bar.text}) needs effects with times: write ou(0 + f | g) with a factor f whose "
            f"levels are numbers in ascending order, such as 0, 1.5, 4; the effects here are "
            f"{', '.join(effects[:6])}"
        )
    return times
