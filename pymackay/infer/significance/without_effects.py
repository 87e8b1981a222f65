"""`optimum_without`: the optimum of a fit's model without some of its random effects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import model_of
from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.results import Fit
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


@by_kind("pymackay.infer.general.reduction:optimum_without")
def optimum_without(fit: Fit, term: int, columns: Sequence[int]) -> Without:
    """Return the optimum of a fit's model without some columns of a random term.

    Raises
    ------
    PymackayError
        If the fit does not hold its rows.
    """
    model, reml = model_of(fit, "a model without some random effects"), fit.reml
    smaller = model_without(model, term, columns)
    if smaller is not None:
        again = fit_model(smaller, reml=reml)
        return Without(again.criterion, len(again.par))
    gram = cross_products(model)  # V = I; the response has unit length in these bases
    value = criterion_value(gram, reml=reml, logdet_v=0.0, logdet_x=0.0, r2=float(gram.D[-1, -1]))
    return Without(value, 0)
