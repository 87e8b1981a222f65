"""`GeneralQuestion`: a generalised model, data and arguments for ``glmer`` of lme4."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pymackay.errors import ArgumentError
from pymackay.family.family import Family
from pymackay.family.general import General
from pymackay.family.named import family_of
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.reference.question import Question, for_r

_MOST_NODES = 25  # of lme4


@dataclass(frozen=True, eq=False)
class GeneralQuestion(Question):
    """A generalised model, its data, and the arguments of ``glmer``.

    Attributes
    ----------
    family : Family or str
        A negative binomial one without a shape stands for ``glmer.nb``, which estimates it.
    nagq : int
        R's ``nAGQ``, from 0 to 25.
    beta : array of shape (p,) or None
        Where to evaluate the model, with `theta`; None means at its optimum.
    shape : float or None
        Shape of a negative binomial family to evaluate at, if the family has none.
    """

    family: Family | str = "binomial"
    nagq: int = 1
    beta: Any = None
    shape: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reml", False)
        super().__post_init__()
        object.__setattr__(self, "family", family_of(self.family))
        whole = isinstance(self.nagq, int) and not isinstance(self.nagq, bool)
        if not whole or not 0 <= self.nagq <= _MOST_NODES:
            raise ArgumentError(
                f"nagq: lme4 takes whole numbers from 0 to {_MOST_NODES}, not {self.nagq!r}."
            )
        if self._name == "gaussian" and self._family.link == "identity":
            raise ArgumentError(
                "family: a gaussian model with the identity link is a linear one; use "
                "pymackay.lme4.lmer."
            )
        if self._shape is None and self._name == "negative binomial" and self._family.link != "log":
            raise ArgumentError(
                "family: lme4 estimates the shape with the log link only; give theta, as in "
                f"NegativeBinomial({self._family.link!r}, theta=1.5)."
            )

    @property
    def is_general(self) -> bool:
        """Whether it is a question to ``glmer``."""
        return True

    def call(self, how: Any) -> tuple[Any, ...]:
        """Return the R function that answers the question, and its arguments.

        Parameters
        ----------
        how : str or array-like
            ``"default"`` or ``"tight"``; anything else means at `theta` and `beta`.
        """
        if not isinstance(how, str):
            how = {"theta": for_r("theta", self.theta), "beta": for_r("beta", self.beta)}
            how["shape"] = self.shape
        return "ask_general", *self._call, how

    def object_call(self, fit: Any, suffix: str, rows: Any) -> tuple[Any, ...]:
        """Return the R function that makes a merMod at a fit's parameters, and its arguments."""
        at = {"theta": for_r("theta", fit.theta), "beta": for_r("beta", fit.beta)}
        shape = fit.general.shape if fit.general.shape_estimated else None
        return "general_mermod_at", *self._call, {**at, "shape": shape}, suffix, rows

    @property
    def _call(self) -> tuple[Any, ...]:
        family = {"name": self._name, "link": self._family.link, "shape": self._shape}
        return self.formula, self.table, self.arguments, family, self.nagq

    @cached_property
    def asked(self) -> dict[str, Any]:
        """Formula and arguments as JSON data; long arrays are replaced by their checksums."""
        asked = {**super().asked, "family": self._name, "link": self._family.link}
        asked["nagq"] = self.nagq
        if self._shape is not None:
            asked["family_shape"] = self._shape
        if self.beta is not None:
            values = for_r("beta", self.beta)["values"]
            asked["beta"] = [float(f"{value:.12g}") for value in values]
        if self.shape is not None:
            asked["shape"] = float(f"{self.shape:.12g}")
        return asked

    @property
    def _family(self) -> Family:
        return family_of(self.family)

    @property
    def _name(self) -> str:
        return self._family.name

    @property
    def _shape(self) -> float | None:
        """The shape that the family fixes."""
        return self._family.theta if isinstance(self._family, NegativeBinomial) else None


def general_question(**arguments: Any) -> GeneralQuestion:
    """Return the question of an entry of a list of models, whose family is told by name.

    A ``link`` and, for the negative binomial family, a ``shape`` that it fixes may stand beside it.
    """
    family = type(family_of(arguments.pop("family")))
    options = {"link": arguments.pop("link")} if "link" in arguments else {}
    if "family_shape" in arguments:
        options["theta"] = arguments.pop("family_shape")
    return GeneralQuestion(family=family(**options), reml=False, **arguments)


def general_question_of(
    general: General, formula: str, data: Any, **arguments: Any
) -> GeneralQuestion:
    """Return the question that asks lme4 for a fit with the family and nodes of another one."""
    family = general.family
    if isinstance(family, NegativeBinomial) and general.shape_estimated:
        family = NegativeBinomial(family.link)
    if not isinstance(general.nagq, int):
        raise ArgumentError(
            f"nagq: lme4 has no counterpart of nagq={general.nagq!r}; fit with a number of nodes "
            f"up to {_MOST_NODES} to compare with it."
        )
    return GeneralQuestion(formula, data, False, family=family, nagq=general.nagq, **arguments)
