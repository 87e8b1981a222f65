"""What is said of refits that have no estimates, and of those that are not certified."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from pymackay.errors import ConvergenceWarning, PymackayError, PymackayWarning


def failed_refits(failures: Mapping[int, str], nsim: int) -> str:
    """Return what is said of refits that have no estimates."""
    first = next(iter(failures.values()))
    return (
        f"{len(failures)} of {nsim} refits have no estimates and are left out, so that the others "
        f"are not a sample of all; the first: {first}"
    )


def warn_of_refits(failures: Mapping[int, str], converged: np.ndarray, stacklevel: int) -> None:
    """Warn of refits without estimates, and of those that are not certified.

    Parameters
    ----------
    failures : mapping of int to str
        The numbers of those without estimates, in order, and what their fits say.
    converged : numpy.ndarray of bool, shape (nsim,)
        Which refits are certified; none of those without estimates is.
    stacklevel : int
        Of the warnings, as seen from the caller.

    Raises
    ------
    PymackayError
        If no refit has estimates.
    """
    count = len(converged)
    if len(failures) == count:
        first = next(iter(failures.values()))
        raise PymackayError(
            f"none of the {count} refits has estimates; the first: {first} Take a simpler model."
        )
    if failures:
        warnings.warn(failed_refits(failures, count), PymackayWarning, stacklevel + 1)
    warn_of_uncertified(int(np.count_nonzero(~converged)) - len(failures), count, stacklevel + 1)


def warn_of_uncertified(uncertified: int, count: int, stacklevel: int) -> None:
    """Warn of refits that are not certified, where there are any; `stacklevel` of the caller."""
    if uncertified:
        warnings.warn(
            f"{uncertified} of {count} refits are not certified: their optimum may be elsewhere.",
            ConvergenceWarning,
            stacklevel + 1,
        )
