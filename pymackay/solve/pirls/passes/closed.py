"""`NoSource`: what stands for the source of the rows when a fit is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymackay.errors import PymackayError


@dataclass(frozen=True, eq=False)
class NoSource:
    """What stands for the source when the fit is done: only the number of rows is known.

    Attributes
    ----------
    n : int
    """

    n: int

    def partitions(self, design: Any) -> Iterator[Any]:
        """Refuse to pass over the rows.

        Raises
        ------
        PymackayError
        """
        raise PymackayError(
            f"this needs the {self.n:,} rows that the model was fitted to, but they were read part "
            f"by part and not kept. Fit a data frame of the rows."
        )

    def closed(self) -> NoSource:
        """Return itself."""
        return self
