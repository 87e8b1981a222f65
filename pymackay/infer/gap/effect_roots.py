"""`GroupView`: a fit's random effects of one grouping factor, in units of their own variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from pymackay.results import Fit, TermSummary

_NULL = 1e-10  # eigenvalues of a correlation matrix below it count as zero


@dataclass(frozen=True, eq=False)
class TermView:
    """One term within its group.

    Attributes
    ----------
    summary : TermSummary
    live : slice
        Its columns among the group's live directions.
    root : numpy.ndarray, shape (q, r)
        R with R R' = V, restricted to the r directions in which V is not zero.
    inverse : numpy.ndarray, shape (r, q)
        Its pseudo-inverse: u = inverse b has covariance 1.
    null : numpy.ndarray, shape (q, q - r)
        Combinations of the effects that do not vary.
    """

    summary: TermSummary
    live: slice
    root: np.ndarray
    inverse: np.ndarray
    null: np.ndarray


@dataclass(frozen=True, eq=False)
class GroupView:
    """The terms of one grouping factor, standardised: b = R u, u of covariance 1.

    Attributes
    ----------
    name : str
    terms : tuple of TermView
    predictions : numpy.ndarray, shape (J, r)
        û.
    hidden : numpy.ndarray, shape (J, r, r)
        Conditional covariance of u, given beta.
    hidden_mean : numpy.ndarray, shape (r, r)
        Mean over the levels of the error covariance of û, beta's uncertainty included.
    """

    name: str
    terms: tuple[TermView, ...]
    predictions: np.ndarray
    hidden: np.ndarray
    hidden_mean: np.ndarray

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.predictions)


def view_group(fit: Fit, name: str) -> GroupView:
    """Return the view of the grouping factor `name`."""
    terms, start = [], 0
    for summary in fit.model.terms:
        if summary.group == name:
            terms.append(_view_term(fit, summary, start))
            start = terms[-1].live.stop
    inverse = block_diag(*(term.inverse for term in terms))
    return GroupView(
        name=name,
        terms=tuple(terms),
        predictions=fit.ranef[name].to_numpy() @ inverse.T,
        hidden=inverse @ fit.condvar[name] @ inverse.T,
        hidden_mean=inverse @ fit.pev[name].mean(axis=0) @ inverse.T,
    )


def _view_term(fit: Fit, summary: TermSummary, start: int) -> TermView:
    """Factor the covariance V of one term, (q, q), as RR'; its columns begin at `start`."""
    V = fit.varcorr[summary.name].to_numpy()
    sd = np.sqrt(np.diag(V))
    unit = np.where(sd > 0.0, sd, 1.0)
    values, vectors = np.linalg.eigh(V / np.outer(unit, unit))
    live = values > _NULL
    roots = np.sqrt(values[live])
    return TermView(
        summary=summary,
        live=slice(start, start + int(live.sum())),
        root=unit[:, None] * vectors[:, live] * roots,
        inverse=(vectors[:, live] / roots).T / unit,
        null=vectors[:, ~live] / unit[:, None],
    )


def combination(weights: np.ndarray, effects: tuple[str, ...]) -> str:
    """Write a combination of effects, largest coefficient 1: ``"(Intercept) - 0.25 Days"``."""
    largest = weights[np.abs(weights).argmax()]
    parts: list[str] = []
    for weight, effect in zip(weights / largest, effects, strict=True):
        if abs(weight) < 5e-4:
            continue
        size = "" if abs(abs(weight) - 1.0) < 5e-4 else f"{abs(weight):.3g} "
        sign = ("-" if weight < 0 else "") if not parts else ("- " if weight < 0 else "+ ")
        parts.append(f"{sign}{size}{effect}")
    return " ".join(parts)
