"""`IterativeControl`: how exact an iterative fit is to be, and what it may cost."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pymackay.errors import ArgumentError


@dataclass(frozen=True)
class IterativeControl:
    """When the iterative solver stops.

    Attributes
    ----------
    tolerance : float
        Monte-Carlo standard error that is aimed at, relative to each variance. Probes are added
        until it is reached, or `max_probes`.
    probes, max_probes : int
        Probe vectors to start with, and at most. Where there are as many as random effects that
        are not eliminated, unit vectors take their place and the traces are exact.
    criterion_probes : int
        Probe vectors for the log determinant in the criterion; 0 leaves the criterion out.
    seed : int
        Of the probe vectors: the same seed gives the same answer.
    max_iterations : int
        Newton steps at most.
    spent : float
        Newton decrement, in units of the criterion, under which the search ends.
    max_solver_iterations : int
        Conjugate gradient iterations at most, for each solve.
    checkpoint : path, optional
        A file that holds where the search is; beside it, in a file of this name and ``.sums``,
        what was summed of rows that come in partitions. A fit that was interrupted, started again
        with the same model and data, goes on from there; a fit that ends removes both.
    """

    tolerance: float = 1e-3
    probes: int = 8
    max_probes: int = 1024
    criterion_probes: int = 16
    seed: int = 0
    max_iterations: int = 50
    spent: float = 1e-8
    max_solver_iterations: int = 2000
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("tolerance", "spent"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value > 0.0):
                raise ArgumentError(f"{name} must be a positive number, but it is {value!r}.")
        least = {"probes": 2, "max_probes": 2, "criterion_probes": 0, "seed": 0}
        least |= {"max_iterations": 1, "max_solver_iterations": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise ArgumentError(
                    f"{name} must be a whole number of {smallest} or more, but it is {value!r}."
                )
        if self.probes > self.max_probes:
            raise ArgumentError(
                f"probes ({self.probes}) is above max_probes ({self.max_probes}); raise the latter."
            )
