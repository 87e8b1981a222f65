"""`VarCorr`: a term's covariance as standard deviations and correlations; names and order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TermSummary:
    """One random-effects term, as two engines must agree on it.

    Attributes
    ----------
    name : str
        Unique name, lme4's: ``"Subject"``, and ``"Subject.1"`` for the second term of a group.
    group : str
        The grouping factor: ``"Subject"``, ``"batch:cask"``.
    effects : tuple of str
        Names of the q effects: ``("(Intercept)", "Days")``.
    structure : str
        The structure of their covariance: ``"diag"``, ``"cs"``, ``"ar1"``; empty where any
        covariance will do.
    hom : bool
        Whether the structure has one variance for all effects.
    """

    name: str
    group: str
    effects: tuple[str, ...]
    structure: str = ""
    hom: bool = False


def lower_triangle(q: int) -> list[tuple[int, int]]:
    """Return (row, column) of a lower triangle's elements, column by column: theta's order."""
    return [(row, column) for column in range(q) for row in range(column, q)]


@dataclass(frozen=True, eq=False)
class VarCorr:
    """Standard deviations and correlations of one term's effects, of one fit or of many.

    Attributes
    ----------
    effects : tuple of str
        Names of the q effects.
    covariance : numpy.ndarray, shape (..., q, q)
        Their covariance matrix, absolute: (q, q) of one fit, (B, q, q) of B fits.
    """

    effects: tuple[str, ...]
    covariance: np.ndarray

    @classmethod
    def of(cls, table: Any) -> VarCorr:
        """Return that of a data frame such as `Fit.varcorr` holds, (q, q), named by its columns."""
        return cls(tuple(table.columns), table.to_numpy(dtype=np.float64))

    @cached_property
    def sd(self) -> np.ndarray:
        """Standard deviations, shape (..., q)."""
        variances = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return np.asarray(np.sqrt(np.maximum(variances, 0.0)))

    @cached_property
    def correlation(self) -> np.ndarray:
        """Correlations, shape (..., q, q); nan where one of the two effects does not vary."""
        scale = self.sd[..., :, None] * self.sd[..., None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(scale > 0.0, self.covariance / scale, np.nan)
        return np.clip(ratio, -1.0, 1.0)

    @cached_property
    def sdcor(self) -> np.ndarray:
        """Standard deviations on the diagonal, correlations beside it, shape (..., q, q)."""
        diagonal = np.eye(len(self.effects), dtype=bool)
        return np.where(diagonal, self.sd[..., :, None], self.correlation)


def parameter_labels(terms: Iterable[TermSummary]) -> list[str]:
    """Name standard deviations and correlations as R's ``confint(oldNames = FALSE)`` does.

    Term by term in the order of `lower_triangle`. R names a term by its group. A term that has an
    effect in common with an earlier one of its group would repeat a label: it is named by its own
    name instead.

    Examples
    --------
    >>> parameter_labels([TermSummary("g", "g", ("a", "b")), TermSummary("g.1", "g", ("b",))])
    ['sd_a|g', 'cor_b.a|g', 'sd_b|g', 'sd_b|g.1']
    """
    labels: list[str] = []
    seen: dict[str, set[str]] = {}
    for term in terms:
        before = seen.setdefault(term.group, set())
        where = term.group if before.isdisjoint(term.effects) else term.name
        before.update(term.effects)
        for i, j in lower_triangle(len(term.effects)):
            row, column = term.effects[i], term.effects[j]
            labels.append(f"sd_{row}|{where}" if i == j else f"cor_{row}.{column}|{where}")
    return labels
