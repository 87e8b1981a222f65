"""`Reduction`: one random effect that may be left out of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.errors import PymackayError
from pymackay.formula.bars import Bar
from pymackay.formula.terms import Term
from pymackay.infer.problem import model_of
from pymackay.model.design.side import Blueprint
from pymackay.results import Fit


@dataclass(frozen=True)
class Reduction:
    """One effect of a random term, or all of it, that may be left out.

    Attributes
    ----------
    label : str
        As lmerTest's ``ranova`` calls it: ``"Days in (Days | Subject)"``, ``"(1 | Batch)"``.
    term : int
        Position of the random term in the model.
    columns : tuple of int
        Its columns that are left out.
    bar : str
        What stays of the term, as a formula writes it; empty where nothing does.
    """

    label: str
    term: int
    columns: tuple[int, ...]
    bar: str


def reductions(fit: Fit, what: str) -> list[Reduction]:
    """Return what may be left out of the random part, one effect at a time.

    Of a term with several effects, those are left out that no other effect of the term contains;
    the intercept stays until it is alone. A term with a covariance structure is left out as a
    whole.

    Raises
    ------
    PymackayError
        If the fit holds neither its rows nor its formula in parts.
    """
    model = model_of(fit, what)
    blueprint = model.blueprint
    if not isinstance(blueprint, Blueprint):
        raise PymackayError(
            f"{what} needs the formula in parts, which this fit does not hold. Fit the same "
            f"formula and data with pymackay.lmer."
        )
    smaller: list[Reduction] = []
    for place, (bar, side) in enumerate(zip(blueprint.bars, blueprint.random, strict=True)):
        if bar.structure is not None:
            every = tuple(range(len(model.terms[place].effects)))
            smaller.append(Reduction(bar.written, place, every, ""))
            continue
        assign, labels = np.asarray(side.assign), [bar.effects.label(t) for t in bar.effects.terms]
        if not labels:
            smaller.append(Reduction(f"({_left(bar)} | {bar.group_name})", place, (0,), ""))
        for k, term in enumerate(bar.effects.terms):
            if any(set(term.variables) < set(o.variables) for o in bar.effects.terms):
                continue
            kept = [label for j, label in enumerate(labels) if j != k]
            alone = not kept and not bar.effects.intercept
            columns = range(len(assign)) if alone else np.flatnonzero(assign == k + 1).tolist()
            label = f"{labels[k]} in ({_left(bar)} | {bar.group_name})"
            rest = "" if alone else f"({_written(bar, kept)} | {bar.group_name})"
            smaller.append(Reduction(label, place, tuple(columns), rest))
    return smaller


def _left(bar: Bar) -> str:
    """Return the left side of a bar, as lmerTest writes it: without the 1 of an intercept."""
    labels = [bar.effects.label(term) for term in bar.effects.terms]
    return _written(bar, labels).removeprefix("1 + ")


def _written(bar: Bar, labels: Sequence[str]) -> str:
    return " + ".join(["1" if bar.effects.intercept else "0", *labels])


def terms_contained(terms: Sequence[Term]) -> list[bool]:
    """Say which terms of the fixed part are parts of larger ones, as R's ``drop.scope``."""
    sets = [set(term.variables) for term in terms]
    return [any(factors < other for other in sets) for factors in sets]
