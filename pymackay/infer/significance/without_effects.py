"""`optimum_without`: the optimum of a model without some of its random effects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.choose import fit_model
from pymackay.solve.solver import criterion_value


@dataclass(frozen=True)
class Without:
    """The optimum of a smaller model.

    Attributes
    ----------
    criterion : float
    n_theta : int
        Number of its covariance parameters.
    """

    criterion: float
    n_theta: int


def model_without(model: Model, term: int, columns: Sequence[int]) -> Model | None:
    """Return a model without some columns of a random term; None if no random effect is left."""
    left = model.terms[term]
    kept = [k for k in range(len(left.effects)) if k not in columns]
    terms = list(model.terms)
    if kept:
        effects = tuple(left.effects[k] for k in kept)
        terms[term] = dataclasses.replace(left, effects=effects, columns=left.columns[:, kept])
    else:
        del terms[term]
    if not terms:
        return None
    factors = {other.group: model.factors[other.group] for other in terms}
    return dataclasses.replace(model, terms=tuple(terms), factors=factors)


def optimum_without(model: Model, term: int, columns: Sequence[int], *, reml: bool) -> Without:
    """Return the optimum of a model without some columns of a random term."""
    smaller = model_without(model, term, columns)
    if smaller is not None:
        fit = fit_model(smaller, reml=reml)
        return Without(fit.criterion, len(fit.par))
    gram = cross_products(model)  # V = I; the response has unit length in these bases
    value = criterion_value(gram, reml=reml, logdet_v=0.0, logdet_x=0.0, r2=float(gram.D[-1, -1]))
    return Without(value, 0)
