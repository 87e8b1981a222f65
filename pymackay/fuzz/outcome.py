"""`Outcome`: the result of fitting one random model by several engines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import pymackay as pm

_EXACT_FIT = 1e-4  # residual sd / sd of the response: 8 digits of the sum of squares cancel


@dataclass(frozen=True)
class Outcome:
    """The result of fitting one model by several engines.

    Attributes
    ----------
    verdict : str
        The verdict of `pymackay.compare`, or another short text, for counting.
    report : str
        Description of the disagreement; empty if there is none.
    """

    verdict: str
    report: str = ""

    @property
    def agrees(self) -> bool:
        """Whether there is no disagreement."""
        return not self.report


def is_exact(fit: pm.Fit) -> bool:
    """Whether the residuals are practically zero, so that the criterion has no minimum."""
    y = fit.fitted + fit.residuals
    return bool(fit.sigma <= _EXACT_FIT * np.std(y))
