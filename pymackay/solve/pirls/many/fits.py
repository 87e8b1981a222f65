"""`ManyGeneralFits`: one generalised model fitted to many responses, responses first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.parameters import parameter_labels, parameter_values
from pymackay.covariance.varcorr import VarCorr
from pymackay.family.family import Family
from pymackay.results import TermSummary


@dataclass(frozen=True, eq=False, repr=False)
class ManyGeneralFits:
    """Generalised linear mixed models with one design and B responses.

    Attributes
    ----------
    formula : str
    family : Family
    nagq : int or str
    n_obs : int
        Rows used.
    responses : pandas.Index, length B
        Names of the responses: columns of the table given, or numbers from 0.
    fixed : tuple of str, length p
    theta_names : tuple of str, length m
    terms : tuple of TermSummary
    beta, std_error : numpy.ndarray, each (B, p)
        Fixed effects, and their standard errors.
    theta : numpy.ndarray, shape (B, m)
        Covariance parameters in lme4's order.
    varcorr : mapping of str to numpy.ndarray, each (B, q, q)
        Term to the covariance matrices of its effects.
    sigma, dispersion, shape : numpy.ndarray, each (B,)
        As ``fit.sigma`` and in ``fit.general``; the shape is nan unless the family is negative
        binomial.
    criterion : numpy.ndarray, shape (B,)
        −2 log likelihoods, all constants included.
    evaluations : numpy.ndarray of int, shape (B,)
        Of the criterion, that each search took.
    converged, singular : numpy.ndarray of bool, each (B,)
        Whether the optimum is certified, and whether a covariance matrix is singular there.
    refused : mapping
        Name of a response to the reason why it has no fit, such as separation; its numbers are
        nan.
    dropped, messages : tuple of str
        As in `Fit`.
    """

    formula: str
    family: Family
    nagq: int | str
    n_obs: int
    responses: pd.Index
    fixed: tuple[str, ...]
    theta_names: tuple[str, ...]
    terms: tuple[TermSummary, ...]
    beta: np.ndarray
    std_error: np.ndarray
    theta: np.ndarray
    varcorr: Mapping[str, np.ndarray]
    sigma: np.ndarray
    dispersion: np.ndarray
    shape: np.ndarray
    criterion: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray
    singular: np.ndarray
    refused: Mapping[Any, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.criterion)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per response, one column per parameter.

        Returns
        -------
        pandas.DataFrame
            Standard deviations and correlations under R's names (``"sd_(Intercept)|herd"``), the
            fixed effects, ``"dispersion"`` of a family that has one, ``"shape"`` of a negative
            binomial, ``"criterion"``, ``"converged"``, ``"singular"``.
        """
        columns = []
        for term in self.terms:
            parts = VarCorr(term.effects, self.varcorr[term.name])
            columns += list(parameter_values(term, parts).T)
        names = [*parameter_labels(self.terms), *self.fixed]
        columns += list(self.beta.T)
        if self.family.has_dispersion:
            names, columns = [*names, "dispersion"], [*columns, self.dispersion]
        if np.isfinite(self.shape).any():
            names, columns = [*names, "shape"], [*columns, self.shape]
        numbers = np.column_stack([*columns, self.criterion])
        frame = pd.DataFrame(numbers, index=self.responses, columns=[*names, "criterion"])
        return frame.assign(converged=self.converged, singular=self.singular)

    def __repr__(self) -> str:
        return (
            f"{len(self)} generalised linear mixed models, family {self.family.name} "
            f"({self.family.link}): {self.formula}\n"
            f"rows: {self.n_obs}   certified: {np.count_nonzero(self.converged)}   "
            f"singular: {np.count_nonzero(self.singular)}   without a fit: {len(self.refused)}"
        )
