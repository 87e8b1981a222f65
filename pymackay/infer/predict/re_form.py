"""`chosen_effects`: the random effects that the argument `re_form` selects, as lme4's re.form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError, FormulaError, PymackayError
from pymackay.formula.bars import Bar
from pymackay.formula.specification import specify
from pymackay.formula.terms import DUMMIES, Terms
from pymackay.model.design.side import SideBlueprint
from pymackay.model.model import Model

_INTERCEPT = "(Intercept)"
_CURE = (
    "give None for all random effects, '~0' or False for none, or a formula of random terms such "
    "as '~ (1 | g)'"
)


def chosen_effects(model: Model, re_form: Any) -> tuple[np.ndarray, ...]:
    """Say which effects of each random term `re_form` asks for.

    Parameters
    ----------
    model : Model
    re_form : None, False, NA or str
        None: all. False, nan, ``pandas.NA``, ``"NA"`` or ``"~0"``: none. A one-sided formula: the
        effects it names; they must be among the model's.

    Returns
    -------
    tuple of numpy.ndarray of bool, each (q,)
        One mask for each term of the model.

    Raises
    ------
    ArgumentError
        If `re_form` is none of these, or names what the model does not have.
    PymackayError
        If the model was made without a formula, and `re_form` is one.
    """
    if re_form is None:
        return tuple(np.ones(len(term.effects), dtype=bool) for term in model.terms)
    chosen = tuple(np.zeros(len(term.effects), dtype=bool) for term in model.terms)
    if _is_none_of_them(re_form):
        return chosen
    if model.blueprint is None:
        raise PymackayError(
            "this fit does not know the formula behind its random terms, so re_form must be None "
            "or '~0'; fit a data frame with pymackay.lmer"
        )
    for bar in _read_bars(re_form):
        places = [k for k, term in enumerate(model.terms) if term.group == bar.group_name]
        if not places:
            groups = ", ".join(repr(name) for name in model.factors)
            raise ArgumentError(
                f"re_form {re_form!r} asks for effects of '{bar.group_name}', but the model's "
                f"grouping factors are {groups}; {_CURE}"
            )
        _choose(chosen, model, places, bar, re_form)
    return chosen


def _is_none_of_them(re_form: Any) -> bool:
    if isinstance(re_form, str):
        return re_form.replace(" ", "") in ("~0", "NA")
    if isinstance(re_form, bool | np.bool_):
        return not re_form
    if isinstance(re_form, float | np.floating):
        return math.isnan(re_form)
    return type(re_form).__name__ == "NAType"


def _read_bars(re_form: Any) -> tuple[Bar, ...]:
    if not isinstance(re_form, str):
        raise ArgumentError(f"re_form is {re_form!r}; {_CURE}")
    text = re_form.strip()
    if not text.startswith("~"):
        raise ArgumentError(f"re_form {re_form!r} is no one-sided formula; {_CURE}")
    try:
        specification = specify(f"y {text}", ())
    except FormulaError as error:
        raise ArgumentError(f"re_form {re_form!r} cannot be read: {error}\n{_CURE}") from error
    if specification.fixed.terms:
        raise ArgumentError(
            f"re_form {re_form!r} has fixed terms, but it chooses among the random ones; {_CURE}"
        )
    return specification.bars


def _choose(
    chosen: tuple[np.ndarray, ...], model: Model, places: list[int], bar: Bar, re_form: str
) -> None:
    """Mark the effects of one bar of `re_form` in the terms of its grouping factor."""
    blueprint = model.blueprint
    for label, coding in _labels(bar.effects, _factor_names(blueprint.random, places)).items():
        is_matched = False
        for k in places:
            codings = _labels(blueprint.bars[k].effects, set(blueprint.random[k].levels))
            if label not in codings:
                continue
            if codings[label] != coding:
                raise ArgumentError(
                    f"re_form {re_form!r} codes the factor in '{label}' otherwise than the model's "
                    f"term ({blueprint.bars[k].text}); name that term as it stands in the model"
                )
            chosen[k][_columns(blueprint.random[k], blueprint.bars[k].effects, label)] = True
            is_matched = True
        if not is_matched:
            effects = [effect for k in places for effect in model.terms[k].effects]
            raise ArgumentError(
                f"re_form {re_form!r} asks for '{label}' within '{bar.group_name}', but the model "
                f"has only {', '.join(effects)} there; {_CURE}"
            )


def _factor_names(sides: tuple[SideBlueprint, ...], places: Iterable[int]) -> set[str]:
    return {name for k in places for name in sides[k].levels}


def _labels(terms: Terms, factors: set[str]) -> dict[str, tuple[int, ...]]:
    """Return the labels of one side with the coding of the factors in each."""
    codings: dict[str, tuple[int, ...]] = {_INTERCEPT: ()} if terms.intercept else {}
    needs_dummies = (
        not terms.intercept
    )  # without an intercept, the first factor is coded by dummies
    for term in terms.terms:
        codes = []
        for place, code in zip(term.variables, term.coding, strict=True):
            if terms.variables[place].name in factors:
                codes.append(DUMMIES if needs_dummies else code)
                needs_dummies = False
        codings[terms.label(term)] = tuple(codes)
    return codings


def _columns(side: SideBlueprint, terms: Terms, label: str) -> np.ndarray:
    """Return which columns of a term belong to a label."""
    labels = (_INTERCEPT, *(terms.label(term) for term in terms.terms))
    return np.asarray(side.assign) == labels.index(label)
