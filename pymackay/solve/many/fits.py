"""`ManyFits`: one design fitted to many responses, as arrays with the responses first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.covariance.parameters import parameter_labels, parameter_values
from pymackay.covariance.structures import summary_layouts
from pymackay.covariance.varcorr import VarCorr
from pymackay.results import TermSummary


@dataclass(frozen=True, eq=False, repr=False)
class ManyFits:
    """Linear mixed models with one design and B responses.

    Attributes
    ----------
    formula : str
    reml : bool
    n_obs : int
        Rows used.
    responses : pandas.Index, length B
        Names of the responses: columns of the table given, or numbers from 0.
    fixed : tuple of str, length p
    theta_names : tuple of str, length m
    terms : tuple of TermSummary
    beta : numpy.ndarray, shape (B, p)
        Fixed effects.
    std_error : numpy.ndarray, shape (B, p)
        Their standard errors.
    theta : numpy.ndarray, shape (B, m)
        Relative covariance parameters in lme4's order.
    sigma : numpy.ndarray, shape (B,)
        Residual standard deviations.
    criterion : numpy.ndarray, shape (B,)
        REML criteria or −2 log likelihoods, all constants included.
    converged, singular : numpy.ndarray of bool, each (B,)
        Whether the optimum is certified, and whether a covariance matrix is singular there.
    dropped, messages : tuple of str
        As in `Fit`.
    """

    formula: str
    reml: bool
    n_obs: int
    responses: pd.Index
    fixed: tuple[str, ...]
    theta_names: tuple[str, ...]
    terms: tuple[TermSummary, ...]
    beta: np.ndarray
    std_error: np.ndarray
    theta: np.ndarray
    sigma: np.ndarray
    criterion: np.ndarray
    converged: np.ndarray
    singular: np.ndarray
    dropped: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sigma)

    @property
    def varcorr(self) -> dict[str, np.ndarray]:
        """Term to the covariance matrices of its effects, (B, q, q), absolute scale."""
        covariances = {}
        layouts = summary_layouts(self.terms)
        for term, layout in zip(self.terms, layouts, strict=True):
            factor = layout.factor(self.theta) * self.sigma[:, None, None]
            covariances[term.name] = factor @ factor.transpose(0, 2, 1)
        return covariances

    def to_frame(self) -> pd.DataFrame:
        """Return one row per response, one column per parameter.

        Returns
        -------
        pandas.DataFrame
            Standard deviations and correlations under R's names (``"sd_(Intercept)|Subject"``,
            ``"cor_Days.(Intercept)|Subject"``; a correlation is nan where an effect does not
            vary), ``"sigma"``, the fixed effects, ``"criterion"``, ``"converged"``, ``"singular"``.
        """
        covariances = self.varcorr
        columns = [
            parameter_values(term, VarCorr(term.effects, covariances[term.name]))
            for term in self.terms
        ]
        numbers = np.column_stack([*columns, self.sigma, self.beta, self.criterion])
        names = [*parameter_labels(self.terms), "sigma", *self.fixed, "criterion"]
        frame = pd.DataFrame(numbers, index=self.responses, columns=names)
        return frame.assign(converged=self.converged, singular=self.singular)

    def __repr__(self) -> str:
        kind = "REML" if self.reml else "ML"
        return (
            f"{len(self)} linear mixed models fit by {kind}: {self.formula}\n"
            f"rows: {self.n_obs}   certified: {np.count_nonzero(self.converged)}   "
            f"singular: {np.count_nonzero(self.singular)}"
        )
