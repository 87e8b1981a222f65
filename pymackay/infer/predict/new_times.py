"""`NewTimes`: effects of a random term at times that a fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.process import Process
from pymackay.covariance.varcorr import TermSummary, VarCorr
from pymackay.errors import DataError
from pymackay.model.design.side import Blueprint
from pymackay.results import Fit

_WHOLE = 1e-9  # by how much a position of ar1 may differ from a whole number


@dataclass(frozen=True, eq=False)
class NewTimes:
    """What the effects of a term at its own times say of those at others.

    Attributes
    ----------
    process : Process or None
        None where the structure does not say what effects at other times are.
    start, unit : float
        Time of the first effect, and the time that is one in the process.
    reason : str
        Why there is no process.
    steps : bool
        Whether the process is defined at whole steps only, as ar1 is.
    """

    process: Process | None
    start: float = 0.0
    unit: float = 1.0
    reason: str = ""
    steps: bool = False

    def at(self, labels: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return weights of the known effects, (m, q), and shares of variance that stay unknown.

        Parameters
        ----------
        labels : sequence of str, length m
            Levels of the new data that the model does not have.
        name : str
            Their column.

        Raises
        ------
        DataError
            If the structure does not say what their effects are.
        """
        shown = ", ".join(labels[:6])
        if self.process is None:
            raise DataError(
                f"'{name}' has levels in newdata that the model was not fitted to: {shown}; "
                f"{self.reason}"
            )
        try:
            t = (np.array([float(label) for label in labels]) - self.start) / self.unit
        except ValueError:
            t = np.full(len(labels), np.nan)
        if not np.isfinite(t).all():
            raise DataError(
                f"'{name}' has levels in newdata that are no times: {shown}; new times are numbers"
            )
        if self.steps and (np.abs(t - np.round(t)) > _WHOLE).any():
            raise DataError(
                f"'{name}' has times in newdata between those of the model: {shown}; ar1() goes "
                f"by whole steps of {self.unit:g}; fit ou(0 + {name} | g), which goes by time"
            )
        t = np.round(t) if self.steps else t
        return self.process.weights(t), self.process.unpredicted(t)


def new_times(fit: Fit, blueprint: Blueprint | None) -> dict[int, NewTimes]:
    """Return, for each structured term by its position, what is known of other times."""
    if blueprint is None:
        return {}
    return {
        k: _of_term(term, VarCorr.of(fit.varcorr[term.name]), _labels(blueprint, k))
        for k, term in enumerate(fit.model.terms)
        if term.structure
    }


def _labels(blueprint: Blueprint, place: int) -> tuple[str, ...]:
    """Return the levels of the one factor of a term; empty if its effects are something else."""
    levels = blueprint.random[place].levels
    return next(iter(levels.values())) if len(levels) == 1 else ()


def _of_term(term: TermSummary, parts: VarCorr, labels: tuple[str, ...]) -> NewTimes:
    if term.structure not in ("ar1", "ou"):
        return NewTimes(None, reason=f"{term.structure}() says nothing about others")
    if not term.hom:
        return NewTimes(
            None,
            reason=f"the effects of {term.structure}(hom = FALSE) have a variance each, and "
            f"theirs is not known; fit {term.structure}() with hom = TRUE",
        )
    try:
        times = np.array([float(label) for label in labels])
    except ValueError:
        times = np.zeros(0)
    gaps = np.diff(times)
    if len(times) != len(term.effects) or len(times) < 2 or (gaps <= 0.0).any():
        return NewTimes(
            None, reason="effects at other times need levels that are ascending numbers"
        )
    unit = float(gaps.min())
    if term.structure == "ar1" and not np.allclose(gaps, unit, rtol=1e-9):
        return NewTimes(
            None, reason="ar1() counts columns, and its levels are not equally spaced; fit ou()"
        )
    i = int(np.argmin(gaps))
    rho = float(np.nan_to_num(parts.correlation[i + 1, i]))
    steps = term.structure == "ar1"
    known = np.arange(len(times), dtype=float) if steps else (times - times[0]) / unit
    return NewTimes(Process(known, rho), float(times[0]), unit, steps=steps)
