"""`GroupOrder`: the order of a grouping factor's levels when all partitions are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymackay.formula.expression import Call, Name, Node, all_names, variable_name
from pymackay.model.columns.column import Column, Factor

Categories = tuple[str, ...] | None


@dataclass(frozen=True)
class _Part:
    """One factor of an interaction: its categories where it has some, or whether it is numbers."""

    categories: Categories
    is_number: bool

    @property
    def pattern(self) -> str:
        """A regular expression for its labels, which may contain the separator."""
        if self.categories is None:
            return r"(.+)" if not self.is_number else r"([^:]+)"
        longest_first = sorted(self.categories, key=len, reverse=True)
        return f"({'|'.join(map(re.escape, longest_first))})"

    def rank(self, labels: set[str]) -> dict[str, int]:
        """Return the place of each label in R's order."""
        if self.categories is not None:
            ordered = [*self.categories, *sorted(labels - set(self.categories))]
        else:
            ordered = _sorted_numbers(labels) if self.is_number else sorted(labels)
        return {label: place for place, label in enumerate(ordered)}


@dataclass(frozen=True)
class GroupOrder:
    """How the levels of a grouping factor are put in order.

    Attributes
    ----------
    parts : tuple of _Part
        The factors of ``a:b``, from the left; one for a factor that is no interaction.
    """

    parts: tuple[_Part, ...]

    @classmethod
    def of(
        cls, group: Node, columns: Mapping[str, Column], categories: Mapping[str, tuple[str, ...]]
    ) -> GroupOrder:
        """Read the order off a bar's group and the columns of the first partition."""
        parts = []
        for node in _factors(group):
            column = columns.get(node.name if isinstance(node, Name) else variable_name(node))
            parts.append(_Part(_categories(node, column, categories), _is_number(column)))
        return cls(tuple(parts))

    @property
    def has_categories(self) -> bool:
        """Whether the factor is a column with categories."""
        return len(self.parts) == 1 and self.parts[0].categories is not None

    def rank(self, labels: Sequence[str]) -> dict[str, int]:
        """Return the place of each label in R's order: of ``a:b``, that of `a` counts most.

        Labels are sorted as text where one of them cannot be split into its parts.
        """
        if len(self.parts) == 1:
            return self.parts[0].rank(set(labels))
        split = re.compile(":".join(part.pattern for part in self.parts))
        matches = [split.fullmatch(label) for label in labels]
        pieces = [match.groups() for match in matches if match is not None]
        if len(pieces) < len(labels):
            return {label: place for place, label in enumerate(sorted(labels))}
        ranks = [
            part.rank(set(column))
            for part, column in zip(self.parts, zip(*pieces, strict=True), strict=True)
        ]
        keys = [[rank[p] for rank, p in zip(ranks, piece, strict=True)] for piece in pieces]
        order = sorted(range(len(labels)), key=keys.__getitem__)
        return {labels[i]: place for place, i in enumerate(order)}


def _categories(
    node: Node, column: Column | None, categories: Mapping[str, tuple[str, ...]]
) -> Categories:
    """Return a column's categories; of a factor such as ``ordered(f)`` those of `f`, if kept."""
    if isinstance(node, Name):
        return categories.get(node.name)
    for name in all_names(node):
        known = categories.get(name, ())
        if isinstance(column, Factor) and set(column.levels) <= set(known):
            places = [known.index(level) for level in column.levels]
            return known if places == sorted(places) else None
    return None


def _is_number(column: Column | None) -> bool:
    """Whether a column is numbers, or a factor of such."""
    if isinstance(column, Factor):
        return column.kind != "text" and rise_as_numbers(column.levels)
    return column is not None


def rise_as_numbers(levels: Sequence[str]) -> bool:
    """Say whether all levels are numbers in rising order."""
    try:
        numbers = [float(level) for level in levels]
    except ValueError:
        return False
    return numbers == sorted(numbers)


def _factors(group: Node) -> list[Node]:
    """Return the factors of an interaction, from the left."""
    if isinstance(group, Call) and group.function == "(":
        return _factors(group.arguments[0])
    if isinstance(group, Call) and group.function == ":" and not group.names:
        first, second = group.arguments
        return _factors(first) + _factors(second)
    return [group]


def _sorted_numbers(labels: set[str]) -> list[str]:
    """Sort labels as the numbers that they are; as text if one of them is none."""
    try:
        return sorted(labels, key=_number)
    except ValueError:
        return sorted(labels)


def _number(label: str) -> float | int:
    """Return the number that a label is; whole numbers as such, so that no digit is lost."""
    try:
        return int(label)
    except ValueError:
        return float(label)
