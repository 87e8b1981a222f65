"""Which contrasts each factor of a model has, from the argument, the factor or R's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymackay.errors import ArgumentError
from pymackay.formula.functions import near_names
from pymackay.formula.terms import Terms
from pymackay.model.bases.contrasts import Contrasts, default_contrasts, make_contrasts
from pymackay.model.columns.column import Column, Factor
from pymackay.model.design.matrix import refuse_too_many

__all__ = ["choose_contrasts", "contrast_labels", "fixed_contrasts"]


def choose_contrasts(
    terms: Terms, columns: Mapping[str, Column], wanted: Mapping[str, Any], n: int
) -> dict[str, Contrasts]:
    """Make the contrasts of the factors that enter some term.

    Parameters
    ----------
    terms : Terms
    columns : mapping of str to Column
        The frame.
    wanted : mapping of str to object
        Contrasts asked for, by R's name of the variable.
    n : int
        Number of rows.
    """
    chosen: dict[str, Contrasts] = {}
    for i in dict.fromkeys(i for term in terms.terms for i in term.variables):
        name = terms.variables[i].name
        column = columns[name]
        if isinstance(column, Factor):
            refuse_too_many(n, len(column.levels))
            chosen[name] = _contrasts_of(column, wanted.get(name), name)
    return chosen


def _contrasts_of(column: Factor, wanted: Any, name: str) -> Contrasts:
    if wanted is not None:
        return make_contrasts(wanted, column.levels, name)
    if column.contrasts is not None:
        return make_contrasts(column.contrasts, column.levels, name)
    return default_contrasts(column.levels, column.kind == "ordered", name)


def contrast_labels(
    terms: Terms, columns: Mapping[str, Column], chosen: Mapping[str, Contrasts]
) -> dict[str, str]:
    """Name the contrasts of every factor of the fixed part, those without a term included."""
    labels = {}
    for variable in terms.variables[1:]:
        column = columns[variable.name]
        if variable.name in chosen:
            labels[variable.name] = chosen[variable.name].label
        elif isinstance(column, Factor):
            labels[variable.name] = "contr.poly" if column.kind == "ordered" else "contr.treatment"
    return labels


def fixed_contrasts(
    given: Any, terms: Terms, columns: Mapping[str, Column], known: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Check the argument `contrasts`.

    Parameters
    ----------
    given : mapping of str to str or array-like, or None
    terms : Terms
        The fixed part, the only one that the argument is for (as in lme4).
    columns : mapping of str to Column
        The frame.
    known : list of str
        Columns of the data.

    Returns
    -------
    tuple
        Contrasts by R's name of the variable, and what to tell about those not used.

    Raises
    ------
    ArgumentError
        If it is no mapping, or names a column that does not exist or holds numbers.
    """
    if given is None:
        return {}, []
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"contrasts must be a dict such as {{'f': 'contr.sum'}}, not {type(given).__name__}"
        )
    variables = [variable.name for variable in terms.variables[1:]]
    used, messages = {}, []
    for name, wanted in given.items():
        if name in variables:
            if not isinstance(columns[name], Factor):
                raise ArgumentError(
                    f"contrasts are given for '{name}', which holds numbers; write factor({name}) "
                    f"in the formula and name the contrasts so, or make the column categorical"
                )
            used[name] = wanted
        elif name in known:
            messages.append(
                f"contrasts of '{name}' are ignored: it is no variable of the fixed part"
            )
        else:
            raise ArgumentError(
                f"contrasts are given for '{name}', which is neither a variable of the fixed part "
                f"nor a column of the data{near_names(str(name), [*variables, *known])}"
            )
    return used, messages
