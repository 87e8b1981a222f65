"""The random part of a model: its terms and grouping factors, in lme4's order, by its names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pymackay.formula.bars import Bar
from pymackay.formula.expression import Name
from pymackay.formula.rtext import make_names, make_unique
from pymackay.model.columns.factors import as_factor
from pymackay.model.design.blueprint import SideBlueprint
from pymackay.model.design.fixed_part import make_side
from pymackay.model.design.frame import Frame
from pymackay.model.design.grouping import check_levels, make_grouping_factor
from pymackay.model.design.matrix import Design, make_design
from pymackay.model.model import GroupingFactor, RandomTerm

__all__ = ["RandomPart", "build_random_part", "lme4_order", "term_names"]


@dataclass(frozen=True, eq=False)
class RandomPart:
    """The random terms.

    Attributes
    ----------
    terms : tuple of RandomTerm
    factors : dict of str to GroupingFactor
        In the order of first appearance among `terms`.
    bars : tuple of Bar
        What each term was read from.
    sides : tuple of SideBlueprint
        How each term's columns were made.
    """

    terms: tuple[RandomTerm, ...]
    factors: dict[str, GroupingFactor]
    bars: tuple[Bar, ...]
    sides: tuple[SideBlueprint, ...]


def build_random_part(bars: Sequence[Bar], frame: Frame) -> RandomPart:
    """Build the random part.

    Raises
    ------
    DataError
        If a grouping factor has too few or too many levels for the rows.
    """
    factors: dict[str, GroupingFactor] = {}
    for bar in bars:
        if bar.group_name not in factors:
            factors[bar.group_name] = make_grouping_factor(bar, frame.columns)
    order = lme4_order([len(factors[bar.group_name].levels) for bar in bars])
    ordered = tuple(bars[i] for i in order)
    sides, terms = [], []
    for name, bar in zip(term_names(ordered), ordered, strict=True):
        side, design = _effects(bar, frame)
        check_levels(factors[bar.group_name], len(design.names), bar.text, frame.n)
        sides.append(side)
        terms.append(RandomTerm(name, bar.group_name, design.names, design.values))
    in_order = dict.fromkeys(bar.group_name for bar in ordered)
    return RandomPart(
        tuple(terms), {name: factors[name] for name in in_order}, ordered, tuple(sides)
    )


def _effects(bar: Bar, frame: Frame) -> tuple[SideBlueprint, Design]:
    """Make the columns of a random term; a column that also groups counts as a factor."""
    columns = dict(frame.columns)
    for variable in bar.effects.variables:
        if isinstance(variable.node, Name) and variable.name in bar.group_columns:
            columns[variable.name] = as_factor(columns[variable.name], variable.name)
    side = make_side(bar.effects, columns, {}, frame.n)
    design = make_design(bar.effects, columns, side.contrasts, frame.n)
    return replace(side, assign=tuple(design.assign.tolist())), design


def term_names(bars: Sequence[Bar]) -> list[str]:
    """Name terms as the variances of lme4: ``Subject``, ``Subject.1``."""
    groups = [bar.group_name for bar in bars]
    return groups if len(set(groups)) == len(groups) else make_unique(make_names(groups))


def lme4_order(levels: list[int]) -> list[int]:
    """Order terms by falling number of levels, as lme4: if it must sort, ties are turned round."""
    places = list(range(len(levels)))
    if all(a >= b for a, b in pairwise(levels)):
        return places
    return sorted(places, key=levels.__getitem__)[::-1]
