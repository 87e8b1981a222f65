"""The trace of MacKay's loop: one row a round, and a progress bar where a loop takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping

import pandas as pd

from pymackay.covariance.varcorr import VarCorr
from pymackay.solve.loop.rounds import Round, TermRound

__all__ = ["Ticker", "trace_row", "trace_table"]

_WIDTH = 30
_LONG = 2.0  # seconds after which a bar appears by itself
_ROUNDING = 1e-14  # a correlation that is zero
_PAUSE = 0.1  # seconds between two drawings


def trace_row(iteration: int, shown: Round, distance: float, step: str) -> dict[str, object]:
    """Return one row of the trace: the state that a round's step led to."""
    y_var = shown.terms[0].y_scale ** 2
    row: dict[str, object] = {"iteration": iteration}
    for term in shown.terms:
        row |= _covariances(term)
    row["sigma_var"] = shown.state.noise_var * y_var
    for term, gamma in zip(shown.terms, shown.gamma, strict=True):
        row[f"{term.name}.gamma"] = gamma
    return row | {"criterion": shown.criterion, "distance": distance, "step": step}


def _covariances(term: TermRound) -> dict[str, float]:
    """Return variances, then correlations, columns named ``Subject.Days.var`` and so on."""
    parts = VarCorr(term.labels, term.user_root @ term.user_root.T)
    columns = {f"{term.name}.{e}.var": sd * sd for e, sd in zip(term.labels, parts.sd, strict=True)}
    for j, second in enumerate(term.labels):
        for i, first in enumerate(term.labels[:j]):
            value = parts.correlation[i, j]
            columns[f"{term.name}.{first}.{second}.corr"] = 0.0 if abs(value) < _ROUNDING else value
    return {name: float(value) for name, value in columns.items()}


def trace_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return the trace, one row per iteration."""
    return pd.DataFrame(list(rows))


class Ticker:
    """A progress bar on stderr.

    Parameters
    ----------
    total : int
        Rounds at most.
    show : bool or None
        None: on a terminal, once the loop has taken two seconds.
    """

    def __init__(self, total: int, show: bool | None) -> None:
        self.total = total
        self._wait = 0.0 if show else _LONG
        self._show = sys.stderr.isatty() if show is None else show
        self._begin = self._last = time.monotonic()
        self._drawn = False

    def tick(self, iteration: int, distance: float) -> None:
        """Draw the bar, if it is due."""
        now = time.monotonic()
        due = now - self._begin >= self._wait and (not self._drawn or now - self._last >= _PAUSE)
        if self._show and due:
            self._draw(iteration, distance)
            self._last = now

    def finish(self, iteration: int, distance: float) -> None:
        """Draw the bar a last time and end its line, if it has been drawn."""
        if self._show and (self._drawn or self._wait == 0.0):
            self._draw(iteration, distance)
            sys.stderr.write("\n")

    def _draw(self, iteration: int, distance: float) -> None:
        done = "#" * round(_WIDTH * iteration / self.total)
        sys.stderr.write(
            f"\rMacKay's loop [{done:<{_WIDTH}}] {iteration}/{self.total}  distance {distance:.1e} "
        )
        sys.stderr.flush()
        self._drawn = True
