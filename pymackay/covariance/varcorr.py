"""`VarCorr`: a term's covariance as standard deviations and correlations, and how it prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
        The structure of their covariance: ``"diag"``, ``"cs"``, ``"ar1"``, ``"ou"``,
        ``"toep"``, ``"fa"``, ``"rr"``, ``"propto"``; empty where any covariance will do.
    hom : bool
        Whether the structure has one variance for all effects.
    times : tuple of float
        Of the effects, for a structure by time.
    known : tuple of float
        The lower triangle of a known matrix, row by row.
    rank : int
        Number of factors of `rr`, else 0.
    """

    name: str
    group: str
    effects: tuple[str, ...]
    structure: str = ""
    hom: bool = False
    times: tuple[float, ...] = ()
    known: tuple[float, ...] = field(default=(), repr=False)
    rank: int = 0

    @property
    def n_rho(self) -> int:
        """Number of correlations, or loadings, among the parameters of a term with a structure."""
        q = len(self.effects)
        if self.structure in ("toep", "fa"):
            return q - (self.structure == "toep")
        return int(q > 1 and self.structure not in ("diag", "propto", "rr"))

    @property
    def by_pairs(self) -> bool:
        """Whether a table shows the correlation of each pair of effects."""
        return self.structure in ("", "rr", "fa")


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


def printed_correlations(
    term: TermSummary | None, parts: VarCorr
) -> Iterator[tuple[int, tuple[float | str, ...]]]:
    """Yield the effects that a printed table shows, and what stands beside each standard deviation.

    These are the correlations with the effects before it. A term with another structure than `rr`
    and `fa` has its rho once, beside the first effect, as ``"0.883 (ar1)"``, `toep` one
    correlation for each distance;
    if it has one variance and a correlation only the first effect is shown, as in lme4 2.x.
    """
    q = len(parts.effects)
    if term is None or term.by_pairs:
        written = (f"({term.structure})",) if term is not None and term.structure else ()
        rows = ((i, tuple(parts.correlation[i, :i].tolist())) for i in range(q))
        yield from ((i, written if i == 0 else cells) for i, cells in rows)
        return
    correlated = term.n_rho or term.structure == "propto"
    for i in range(1 if term.hom and correlated else q):
        rho = [f"{value:.3f}" for value in parts.correlation[1 : 1 + term.n_rho, 0]]
        cell = " ".join([*rho, f"({term.structure})"])
        yield i, (cell,) if i == 0 and correlated else ()
