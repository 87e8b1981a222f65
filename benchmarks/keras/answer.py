"""What a method returns: predictions, noise, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """What a method returns.

    Attributes
    ----------
    mean : numpy.ndarray, (n_test,)
        Predicted mean of each test row.
    noise : float
        Variance of the response about it.
    trainings : int
        How many networks were trained.
    details : dict
        What the method chose or estimated, for the results' file.
    cpu : float or None
        CPU seconds; None: those of this process.
    """

    mean: np.ndarray
    noise: float
    trainings: int
    details: dict[str, Any]
    cpu: float | None = None
