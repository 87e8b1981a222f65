"""`total` and `moved`: sums of what rows contribute, arrays and numbers in tuples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def total(parts: Iterable[Any]) -> Any:
    """Return the sum of the parts; a single part is returned as it is.

    Parameters
    ----------
    parts : iterable
        Of numbers, of arrays of one shape, or of tuples of such, however deep; None for a
        partition on which a quantity has no value.

    Returns
    -------
    number, numpy.ndarray, tuple or None
        None as soon as a part is None: no further part is asked for.
    """
    made: Any = None
    for k, part in enumerate(parts):
        if part is None:
            return None
        made = _sum(made, part) if k else part
    return made


def moved(part: Any, by: Any, size: float) -> Any:
    """Return ``part + size * by``, each a number, an array, or a tuple of such, however deep."""
    if isinstance(part, tuple):
        return tuple(moved(a, b, size) for a, b in zip(part, by, strict=True))
    return part + size * by


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(_sum(*pair) for pair in zip(a, b, strict=True))
    return a + b
