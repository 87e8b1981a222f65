"""`Transformation` of the response on the left of a formula, and `LinkScale`, with inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Family
from pymackay.formula.expression import Call, Number, deparse, strip_parentheses
from pymackay.infer.means.predictors import Predictors
from pymackay.results import Fit

_LOGARITHMS = {"log": 1.0, "log2": float(np.log(2.0)), "log10": float(np.log(10.0))}
_KNOWN = (*_LOGARITHMS, "log1p", "sqrt")


@dataclass(frozen=True)
class Transformation:
    """How the response of a model was transformed.

    Attributes
    ----------
    function : str
        ``"log"``, ``"log2"``, ``"log10"``, ``"log1p"`` or ``"sqrt"``.
    added : str
        The constant that was added to the response before, as it is written.
    """

    function: str
    added: str = ""

    @property
    def name(self) -> str:
        """What the scale is called: ``"log"``, or ``"log(mu + 1)"`` with a constant."""
        return f"{self.function}(mu + {self.added})" if self.added else self.function

    @property
    def has_ratios(self) -> bool:
        """Whether a difference on the model's scale is a ratio on the response's."""
        return self.function in _LOGARITHMS

    def inverse(self, eta: np.ndarray) -> np.ndarray:
        """Return the response of values on the model's scale."""
        return self.ratio(eta) - (float(self.added) if self.added else 0.0)

    def ratio(self, eta: np.ndarray) -> np.ndarray:
        """Return the inverse of the function itself: of a logarithm's differences, the ratios."""
        if self.function in _LOGARITHMS:
            return np.asarray(np.exp(_LOGARITHMS[self.function] * eta))
        return np.asarray(np.expm1(eta) if self.function == "log1p" else np.square(eta))

    estimate_name: ClassVar[str] = "response"
    ratio_name: ClassVar[str] = "ratio"

    def ratio_slope(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of `ratio`."""
        return self.slope(eta)

    def slope(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of `inverse`."""
        if self.function in _LOGARITHMS:
            return _LOGARITHMS[self.function] * self.ratio(eta)
        return np.asarray(np.exp(eta) if self.function == "log1p" else 2.0 * eta)


@dataclass(frozen=True)
class LinkScale:
    """The link of a generalised model, in the place of a transformation of its response.

    Attributes
    ----------
    family : Family
    """

    family: Family

    @property
    def name(self) -> str:
        """What the scale is called: the link's name."""
        return self.family.link

    @property
    def has_ratios(self) -> bool:
        """Whether the exponential of a difference is a ratio of means, or of odds."""
        return self.family.link in ("log", "logit")

    @property
    def estimate_name(self) -> str:
        """What R's emmeans calls a mean: ``"prob"``, ``"rate"`` or ``"response"``."""
        return {"binomial": "prob", "poisson": "rate"}.get(self.family.name, "response")

    @property
    def ratio_name(self) -> str:
        """What R's emmeans calls a ratio."""
        return "odds.ratio" if self.family.link == "logit" else "ratio"

    def inverse(self, eta: np.ndarray) -> np.ndarray:
        """Return the means of linear predictors."""
        return self.family.mean(eta)

    def slope(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of `inverse`."""
        return self.family.mean_slope(eta)

    def ratio(self, eta: np.ndarray) -> np.ndarray:
        """Return the ratios that differences of linear predictors are."""
        return np.asarray(np.exp(eta))

    def ratio_slope(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of `ratio`."""
        return np.asarray(np.exp(eta))


Scale = Transformation | LinkScale


def scale_of(fit: Fit, predictors: Predictors) -> Scale | None:
    """Return the scale of a fit's linear functions, or None where it is the response's.

    The link of a generalised model is one unless it is the identity.
    """
    if fit.general is None:
        return transformation_of(predictors)
    family: Family = fit.general.family
    return None if family.link == "identity" else LinkScale(family)


def transformation_of(predictors: Predictors) -> Transformation | None:
    """Return the transformation of a model's response, or None where there is none that we know."""
    node = strip_parentheses(predictors.blueprint.specification.response.node)
    if not isinstance(node, Call) or len(node.arguments) != 1 or node.function not in _KNOWN:
        return None
    inner = strip_parentheses(node.arguments[0])
    if isinstance(inner, Call) and inner.function == "+" and len(inner.arguments) == 2:
        added = strip_parentheses(inner.arguments[1])
        if isinstance(added, Number):
            return Transformation(node.function, deparse(added))
    return Transformation(node.function)
