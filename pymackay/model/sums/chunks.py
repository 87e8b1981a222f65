"""`chunks`: rows some at a time, so that what is computed on the way to a column stays small."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["chunks"]

_ROWS = 1_048_576  # eight megabytes of numbers


def chunks(n: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices that together are the rows 0 to n, about a million rows each.

    Examples
    --------
    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = _ROWS if size is None else size
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
