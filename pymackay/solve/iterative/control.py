"""`IterativeControl`: accuracy and limits of the iterative solver."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pymackay.arguments import positive_number, whole_number
from pymackay.errors import ArgumentError


@dataclass(frozen=True)
class IterativeControl:
    """Accuracy and limits of the iterative solver.

    Attributes
    ----------
    tolerance : float
        Largest Monte-Carlo standard error of a variance, relative to the variance. Probes are added
        until it is reached, up to `max_probes`.
    probes, max_probes : int
        Number of probe vectors at the start, and its limit. If it reaches the number of random
        effects that are not eliminated, unit vectors are used instead and the traces are exact.
    criterion_probes : int
        Number of probe vectors for the log determinant; with 0 the criterion is not computed.
    seed : int
        Seed of the probe vectors; the same seed gives the same result.
    max_iterations : int
        Largest number of Newton steps.
    spent : float
        Newton decrement, in units of the criterion, below which the search ends.
    max_solver_iterations : int
        Largest number of conjugate gradient iterations in one solve.
    checkpoint : path, optional
        File for the current point of the search. The sums of rows that come in partitions are
        saved in a second file, with ``.sums`` added to the name. An interrupted fit that is started
        again with the same model and data resumes from these files; a completed fit removes them.
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
            positive_number(name, getattr(self, name))
        least = {"probes": 2, "max_probes": 2, "criterion_probes": 0, "seed": 0}
        least |= {"max_iterations": 1, "max_solver_iterations": 1}
        for name, smallest in least.items():
            whole_number(name, getattr(self, name), smallest)
        if self.probes > self.max_probes:
            raise ArgumentError(
                f"probes ({self.probes}) is above max_probes ({self.max_probes}); raise the latter."
            )
