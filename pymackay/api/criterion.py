"""`laplace_of`: the criterion of a generalised model whose rows are in a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.family.family import Family, Observations
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.model.design.general_response import GeneralModel
from pymackay.solve.pirls.criteria.laplace import DETERMINANTS, DISPERSIONS, Laplace
from pymackay.solve.pirls.fit import GeneralControl
from pymackay.solve.pirls.rows import Rows

_MOST_NODES = 200  # of Gauss and Hermite: beyond, weights underflow


def laplace_of(
    formula: str,
    data: Any,
    family: Family,
    arguments: Arguments,
    determinant: str | None,
    dispersion: str,
) -> Laplace:
    """Return the criterion of a model's rows."""
    determinant = criterion_choices(family, determinant, dispersion)
    general = build_general(formula, Table(data), arguments, family.support, family.name)
    return Laplace(Rows.of(general.model, observations(general)), family, determinant, dispersion)


def criterion_choices(family: Family, determinant: str | None, dispersion: str) -> str:
    """Return the weights of the determinant, the default where none are given."""
    if dispersion not in DISPERSIONS:
        raise ArgumentError(f"dispersion must be 'ml' or 'lme4', but it is {dispersion!r}.")
    if determinant is None:
        by_ml = family.has_dispersion and dispersion == "ml"
        determinant = "observed" if by_ml else "expected"
    if determinant not in DETERMINANTS:
        raise ArgumentError(
            f"determinant must be 'expected' or 'observed', but it is {determinant!r}."
        )
    return determinant


def observations(general: GeneralModel) -> Observations:
    """Return the response of a generalised model as its family takes it."""
    response = general.response
    return Observations.of(response.y, response.weights, response.totals)


def check_choices(nagq: Any, control: Any) -> None:
    """Refuse values of arguments that `glmer` does not have."""
    number = isinstance(nagq, int | np.integer) and not isinstance(nagq, bool)
    if not (nagq == "exact" or (number and 0 <= nagq <= _MOST_NODES)):
        raise ArgumentError(
            f"nagq must be a whole number from 0 to {_MOST_NODES}, or 'exact', but it is {nagq!r}."
        )
    if control is not None and not isinstance(control, GeneralControl):
        raise ArgumentError(
            f"control must be a pymackay.solve.pirls.fit.GeneralControl, but it is a "
            f"{type(control).__name__}."
        )
