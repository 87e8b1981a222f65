"""`General`: what a fit of a generalised linear mixed model has besides that of a linear one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pymackay.family.family import Family, Observations

PQL = "pql"


@dataclass(frozen=True, eq=False)
class General:
    """The part of a fit that only generalised models have.

    Attributes
    ----------
    family : Family
        Distribution and link; a negative binomial one with the shape of the fit.
    nagq : int or str
        Nodes of the adaptive quadrature: 1 for Laplace's approximation, 0 for the joint mode of
        beta and effects, ``"exact"`` for quadrature to rounding.
    determinant : {"expected", "observed"}
        Weights in the determinant of Laplace's approximation.
    dispersion : float
        φ, by which the family's variance function is multiplied; 1 where it has none.
    dispersion_by : {"ml", "lme4", ""}
        Estimated by maximum likelihood, or as lme4 does; empty where the family has none.
    shape : float
        Of a negative binomial family; nan for others.
    shape_estimated : bool
    linear_predictor : pandas.Series, shape (n,)
        Given the random effects, offset included.
    deviance : float
        Twice the sum of the half deviances at the modes of the random effects, φ = 1.
    lme4_criterion : float
        −2 log likelihood on lme4's scale (1.1-31): deviances without constants if `nagq` is two or
        more, lme4's own criterion if the family has a dispersion; nan where it was not computed.
    observed : Observations or None
        Response, prior weights and totals; None where the rows were not kept.
    estimated_by : {"", "pql"}
        How the parameters were estimated: at the minimum of the criterion, or by penalised
        quasi-likelihood (MacKay's loop with modes), which minimises no criterion.
    """

    family: Family
    nagq: int | str
    determinant: str
    dispersion: float
    dispersion_by: str
    shape: float
    shape_estimated: bool
    linear_predictor: pd.Series
    deviance: float
    lme4_criterion: float = float("nan")
    observed: Observations | None = None
    estimated_by: str = ""

    @property
    def df(self) -> int:
        """Number of estimated parameters besides beta and theta."""
        return int(self.family.has_dispersion) + int(self.shape_estimated)

    @property
    def method(self) -> str:
        """How the parameters were estimated, in words."""
        if self.estimated_by == PQL:
            return "penalised quasi-likelihood (MacKay's loop, weights held at the modes)"
        if self.nagq == "exact":
            return "maximum likelihood (quadrature to rounding)"
        if self.nagq == 1:
            return "maximum likelihood (Laplace approximation)"
        if self.nagq == 0:
            return "maximum likelihood (joint mode of fixed and random effects, nAGQ = 0)"
        return f"maximum likelihood (adaptive Gauss-Hermite quadrature, nAGQ = {self.nagq})"

    @property
    def family_text(self) -> str:
        """Family and link as R prints them."""
        shape = "" if self.shape != self.shape else f"({self.shape:.4f})"
        return f"{self.family.name}{shape}  ( {self.family.link} )"
