"""`combine`: the factor of the combinations of two factors' levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.errors import DataError
from pymackay.model.columns.column import DENSE, Factor, levels_in_use, renumber


def combine(
    first: Factor, second: Factor, name: str, *, separator: str = ":", first_slowest: bool = True
) -> Factor:
    """Cross two factors; only combinations in use become levels.

    Parameters
    ----------
    first, second : Factor
    name : str
        For error messages.
    separator : str
        Stands between the two levels.
    first_slowest : bool
        The order of levels: sorted by `first` (R's ``a:b``), or by `second` (``interaction``).

    Raises
    ------
    DataError
        If two combinations would have the same name.
    """
    slow, fast = (first, second) if first_slowest else (second, first)
    width = len(fast.levels)
    wide = len(slow.levels) * width > np.iinfo(np.int32).max
    pairs = slow.codes.astype(np.int64 if wide else np.int32) * width + fast.codes
    missing = (first.codes < 0) | (second.codes < 0)
    if missing.any():
        pairs[missing] = -1
    used = levels_in_use(pairs, len(slow.levels) * width)
    codes = _ranks(pairs, used, len(slow.levels) * width)
    a, b = (used // width, used % width) if first_slowest else (used % width, used // width)
    levels = tuple(
        f"{first.levels[i]}{separator}{second.levels[j]}"
        for i, j in zip(a.tolist(), b.tolist(), strict=True)
    )
    _refuse_same_names(levels, name)
    return Factor(codes, levels)


def _ranks(codes: np.ndarray, used: np.ndarray, size: int) -> np.ndarray:
    """Number the codes in use from 0; -1 stays."""
    if size <= DENSE * len(codes) + 64:
        return renumber(codes, used, size)
    ranks = np.searchsorted(used, codes).astype(np.int32)
    return np.where(codes < 0, np.int32(-1), ranks)


def _refuse_same_names(levels: Sequence[str], name: str) -> None:
    if len(set(levels)) < len(levels):
        seen: set[str] = set()
        twice = next(level for level in levels if level in seen or seen.add(level))  # type: ignore[func-returns-value]
        raise DataError(
            f"two different levels of '{name}' would both be called '{twice}', because the "
            f"levels themselves contain the separator; rename them"
        )
