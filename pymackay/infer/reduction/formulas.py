"""Formulas of smaller models, and their fits to the same rows."""

from __future__ import annotations

from typing import Any

from pymackay.errors import DataError, PymackayError
from pymackay.formula.specification import specify
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import model_of
from pymackay.infer.reduction.smaller import Reduction
from pymackay.model.design.build import build_model
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.choose import fit_model


def formula_without(
    model: Model, *, term: str | None = None, reduction: Reduction | None = None
) -> str:
    """Write a model's formula without a term of the fixed part, or a random effect.

    Parameters
    ----------
    model : Model
        With its formula in parts.
    term : str, optional
        R's label of a term of the fixed part.
    reduction : Reduction, optional
    """
    blueprint = model.blueprint
    terms, specification = blueprint.fixed.terms, blueprint.specification
    labels = [label for label in blueprint.term_labels if label != term]
    labels += [offset.label for offset in specification.offsets]
    if not terms.intercept:
        labels.insert(0, "0")
    bars = [bar.written for bar in blueprint.bars]
    if reduction is not None:
        bars[reduction.term : reduction.term + 1] = [reduction.bar] if reduction.bar else []
    right = [*(labels or ["1"]), *bars]
    return f"{specification.response.label} ~ {' + '.join(right)}"


@by_kind("pymackay.infer.general.reduction:fit_formula")
def fit_formula(fit: Fit, formula: str, what: str) -> Fit:
    """Fit another formula to the rows, weights and contrasts of a fit.

    Raises
    ------
    PymackayError
        If the fit does not hold its data.
    DataError
        If the other formula would use other rows.
    """
    former = model_of(fit, what)
    given = given_for(former, formula, what)
    model = build_model(formula, given.pop("data"), **given)
    refuse_other_rows(model, former, formula, what)
    return fit_model(model, reml=fit.reml)


def given_for(former: Model, formula: str, what: str) -> dict[str, Any]:
    """Return the data and arguments of a model, for a fit of another formula.

    Raises
    ------
    PymackayError
        If the model does not hold its data.
    """
    given = dict(former.given)
    if given.get("data") is None:
        raise PymackayError(
            f"{what} fits smaller formulas to the data, which this fit does not hold any more. Fit "
            f"the formula to them with pymackay.lmer or pymackay.glmer."
        )
    given["contrasts"] = _still_used(given.get("contrasts"), formula)
    return given


def refuse_other_rows(model: Model, former: Model, formula: str, what: str) -> None:
    """Refuse a smaller model that would use other rows.

    Raises
    ------
    DataError
    """
    if not model.rows.equals(former.rows):
        raise DataError(
            f"{what}: {formula!r} would use {len(model.rows)} rows, but the fit has "
            f"{len(former.rows)}, because variables that were left out have missing values. Drop "
            f"these rows before fitting."
        )


def _still_used(contrasts: Any, formula: str) -> Any:
    """Leave out contrasts of factors that the fixed part of a formula does not have any more."""
    if not contrasts:
        return contrasts
    fixed = specify(formula, ()).fixed
    used = {fixed.variables[i].name for term in fixed.terms for i in term.variables}
    return {name: value for name, value in contrasts.items() if name in used}
