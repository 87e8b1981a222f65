"""Sizes that follow from the formula and the levels, checked before the long work begins."""

from __future__ import annotations

import warnings

from pymackay.errors import DataError, PymackayWarning
from pymackay.model.memory import free_memory

MAX_CELLS = 2**30
SMALL_CELLS = 2**22
"""Numbers of a design that need no check: 32 MiB."""

MANY_LEVELS = 1000
"""Levels of a factor from which the size of its contrasts is checked."""

MANY_EFFECTS = 40
"""Effects of a term from which the size of its covariance matrix is checked."""

_COPIES = 3  # of the design that are held at once: as it is built, its basis, and a workspace
_DEPENDENT_RATE = 7e7  # n p min(n, p) a second, where columns are dropped one after the other
_RATE = 2.5e10  # n p² a second, where they are independent
_LONG = 20.0  # seconds
_TOO_LONG = 3600.0
_MAX_PARAMETERS = 10_000
_MANY_PARAMETERS = 2_000
_CURE = "leave out interactions, or move a factor with many levels behind a bar, as in (1 | g)"


def check_contrasts(name: str, n: int, levels: int) -> None:
    """Refuse a factor whose contrasts, a square matrix, or columns for `n` rows are too large."""
    memory = 8.0 * (2.0 * levels**2 + n * levels)
    if n * levels > MAX_CELLS or _is_too_much(memory):
        raise DataError(
            f"the factor '{name}' has {levels} levels, so that the model matrix would have "
            f"{levels} columns for {n} rows, which take {_shown(memory)} of memory: too much; "
            f"{_CURE}"
        )


def check_design(n: int, p: int, is_fit: bool) -> None:
    """Refuse a design that memory does not hold, and warn of one that takes long.

    Parameters
    ----------
    n, p : int
        Rows and columns, before columns are dropped for rank.
    is_fit : bool
        Whether a model is to be fitted to it; otherwise its rows are new ones.

    Raises
    ------
    DataError
        If it has more than `MAX_CELLS` numbers, needs more memory than there is, or a fit would
        take an hour.

    Warns
    -----
    PymackayWarning
        If a fit takes long.
    """
    memory = 8.0 * n * p * (_COPIES if is_fit else 1)
    seconds = n * p * min(n, p) / (_DEPENDENT_RATE if p > n else _RATE) if is_fit else 0.0
    size = f"{p} columns for {n} rows, which take {_shown(memory)} of memory"
    if is_fit:
        size += f" and about {seconds:.2g} seconds"
    if n * p > MAX_CELLS or _is_too_much(memory) or seconds > _TOO_LONG:
        raise DataError(f"the model matrix would have {size}, which is too much; {_CURE}")
    if seconds > _LONG:
        warnings.warn(
            f"the model matrix has {size}; to be faster, {_CURE}", PymackayWarning, stacklevel=2
        )


def check_covariance(text: str, effects: int, levels: int) -> None:
    """Refuse a random term whose covariance matrix has too many parameters to be estimated.

    Parameters
    ----------
    text : str
        The term, for messages.
    effects, levels : int
        q and J: the term has q (q + 1) / 2 parameters and J blocks of q × q numbers.

    Raises
    ------
    DataError
        If it has more than ten thousand parameters, or its blocks need more memory than there is.

    Warns
    -----
    PymackayWarning
        If it has more than two thousand.
    """
    parameters = effects * (effects + 1) // 2
    memory = 8.0 * (parameters**2 + 2.0 * levels * effects**2)
    size = (
        f"the term ({text}) has {effects} effects for each of {levels} levels, and so {parameters} "
        f"variances and covariances, which take {_shown(memory)} of memory"
    )
    cure = "take effects out of it, or write '||', so that they do not correlate"
    if parameters > _MAX_PARAMETERS or _is_too_much(memory):
        raise DataError(f"{size}: too much to be estimated; {cure}")
    if parameters > _MANY_PARAMETERS:
        warnings.warn(f"{size} and much time; {cure}", PymackayWarning, stacklevel=2)


def _shown(memory: float) -> str:
    return f"{memory / 2**30:.3g} GiB" if memory >= 2**30 else f"{memory / 2**20:.3g} MiB"


def _is_too_much(memory: float) -> bool:
    """Whether this process can no longer take so many bytes; a few are not looked up."""
    return memory > 8.0 * SMALL_CELLS and memory > free_memory()
