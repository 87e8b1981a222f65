"""`Outcome`: the result of fitting one random model by several engines."""

from __future__ import annotations

from dataclasses import dataclass


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
