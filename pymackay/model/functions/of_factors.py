"""Functions of the closed list that make, change or read factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.formula.expression import Call, Name, Node, String
from pymackay.model.columns.column import (
    LOGICAL_LEVELS,
    Contrasts,
    Factor,
    Numeric,
    as_factor,
    codes_among,
    drop_unused,
)
from pymackay.model.columns.contrasts import (
    MATRIX,
    contrast_kind,
    make_contrasts,
    treatment_contrasts,
)
from pymackay.model.columns.interaction import combine
from pymackay.model.functions.call import (
    Context,
    Function,
    Value,
    column_of_numbers,
    constant_integer,
    constant_numbers,
    flag,
    kind_of,
    label_of,
    numbers,
)


def _categories(context: Context, value: Value) -> Factor:
    if not isinstance(value, Numeric | Factor):
        raise context.error(f"{context.call.function}() needs a column, but gets {kind_of(value)}")
    return as_factor(value, context.call.function)


def _labels(context: Context, value: Value, name: str) -> list[str]:
    """Read constants as levels are written."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | float | bool) for v in values):
        raise context.error(
            f"the argument '{name}' of {context.call.function}() must be constants, such as "
            f"c('a', 'b')"
        )
    return [label_of(v) for v in values]


def _factor(
    context: Context,
    x: Value,
    levels: Value = None,
    labels: Value = None,
    exclude: Value = None,
    ordered: Value = None,
) -> Value:
    """``factor(x, levels =, labels =, ordered =)``."""
    factor = _categories(context, x)
    chosen = list(factor.levels) if levels is None else _labels(context, levels, "levels")
    if len(set(chosen)) < len(chosen):
        raise context.error("levels of factor() name a level twice")
    if exclude is not None:
        excluded = set(_labels(context, exclude, "exclude"))
        chosen = [level for level in chosen if level not in excluded]
    if labels is not None and levels is None:
        chosen = list(_positions_at_the_fit(context, chosen, chosen, "label"))
    shown = chosen if labels is None else _new_labels(context, labels, len(chosen))
    is_ordered = factor.kind == "ordered" if ordered is None else flag(context, ordered, "ordered")
    return _relabelled(factor, chosen, shown, "ordered" if is_ordered else "factor")


def _positions_at_the_fit(
    context: Context, levels: Sequence[str], used: Sequence[str], what: str
) -> tuple[str, ...]:
    """Return the levels of the model's data, each of whose positions stands for a `what`.

    `levels` are those of the rows at hand, `used` those that some row has.

    Raises
    ------
    FormulaError
        If new data have others, whose position the model's data did not fix.
    """
    known = context.remember(lambda: tuple(levels), "levels")
    in_model = set(known)
    unseen = [level for level in used if level not in in_model]
    if unseen:
        raise context.error(
            f"{context.call.function}() gets the levels {', '.join(unseen[:12])} in newdata, for "
            f"which the model's data have no {what}; they have {', '.join(known[:12])}"
        )
    return known


def _new_labels(context: Context, labels: Value, count: int) -> list[str]:
    shown = _labels(context, labels, "labels")
    if len(shown) == 1 and count != 1:
        return [f"{shown[0]}{i + 1}" for i in range(count)]
    if len(shown) != count:
        raise context.error(f"labels of factor() are {len(shown)}, but there are {count} levels")
    return shown


def _relabelled(factor: Factor, chosen: Sequence[str], shown: Sequence[str], kind: str) -> Factor:
    """Give levels new names; levels of the same name are joined, those not chosen are missing."""
    names = dict(zip(chosen, shown, strict=True))
    levels = tuple(dict.fromkeys(shown))
    return Factor(codes_among(factor.codes, map(names.get, factor.levels), levels), levels, kind)


def _ordered(context: Context, x: Value, levels: Value = None, labels: Value = None) -> Value:
    return _factor(context, x, levels, labels, ordered=True)


def _as_factor(context: Context, x: Value) -> Value:
    """``as.factor(x)``: a factor stays as it is, unused levels included."""
    if isinstance(x, Factor) and x.kind in ("factor", "ordered"):
        return x
    return _categories(context, x)


def _as_ordered(context: Context, x: Value) -> Value:
    if isinstance(x, Factor) and x.kind == "ordered":
        return x
    factor = _categories(context, x)
    return Factor(factor.codes, factor.levels, "ordered")


def _drop_levels(context: Context, x: Value) -> Value:
    return drop_unused(_categories(context, x))


def _relevel(context: Context, x: Value, ref: Value) -> Value:
    """``relevel(f, ref = "b")``: the reference comes first."""
    if isinstance(x, Factor) and x.kind == "ordered":
        raise context.error("relevel() would break the order of an ordered factor")
    if not isinstance(x, Factor) or x.kind == "logical":
        raise context.error(f"relevel() needs a factor, but gets {kind_of(x)}; write factor(...)")
    levels = list(x.levels)
    if isinstance(ref, str):
        if ref not in levels and not context.is_new:
            shown = ", ".join(levels[:12])
            raise context.error(f"ref '{ref}' of relevel() is not among the levels {shown}")
        first = ref
    else:
        place = constant_integer(context, ref, "ref", 1)
        if place > len(levels):
            raise context.error(f"ref of relevel() is {place}, but there are {len(levels)} levels")
        (first,) = context.remember(lambda: (levels[place - 1],))
    order = [first, *(level for level in levels if level != first)]
    return _relabelled(Factor(x.codes, x.levels), order, order, "factor")


def _cut(
    context: Context,
    x: Value,
    breaks: Value,
    labels: Value = None,
    include_lowest: Value = False,
    right: Value = True,
    dig_lab: Value = 3.0,
    ordered_result: Value = False,
) -> Value:
    """``cut(x, 3)``, ``cut(x, c(0, 1, 5))``."""
    values = column_of_numbers(context, x)
    edges = context.remember(lambda: _edges(context, values, breaks))
    closed_right, lowest = flag(context, right, "right"), flag(context, include_lowest, "include")
    codes = np.searchsorted(edges, values, side="left" if closed_right else "right") - 1
    if lowest:
        end, cell = (edges[0], 0) if closed_right else (edges[-1], len(edges) - 2)
        codes[values == end] = cell
    codes[~((codes >= 0) & (codes < len(edges) - 1))] = -1
    codes[np.isnan(values)] = -1
    if labels is False:
        return Numeric(np.where(codes < 0, np.nan, codes + 1.0), integer=True)
    if labels is None:
        digits = constant_integer(context, dig_lab, "dig.lab", 1)
        names = _interval_names(edges, digits, closed_right, lowest)
    else:
        names = _labels(context, labels, "labels")
    if len(names) != len(edges) - 1 or len(set(names)) < len(names):
        raise context.error(f"labels of cut() must be {len(edges) - 1} different names")
    kind = "ordered" if flag(context, ordered_result, "ordered_result") else "factor"
    return Factor(codes.astype(np.int32), tuple(names), kind)


def _edges(context: Context, values: np.ndarray, breaks: Value) -> np.ndarray:
    given = np.sort(constant_numbers(context, breaks, "breaks"))
    if len(given) > 1:
        if len(np.unique(given)) < len(given) or np.isnan(given).any():
            raise context.error("breaks of cut() must differ")
        return given
    count = constant_integer(context, breaks, "breaks", 2)
    known = values[np.isfinite(values)]
    if not len(known) or count > 10_000:
        raise context.error("cut() needs values to cut, and 10000 intervals at most")
    low, high = float(known.min()), float(known.max())
    width = high - low
    if width == 0.0:
        width = abs(low) or 1.0
        return np.linspace(low - width / 1000, high + width / 1000, count + 1)
    edges = np.linspace(low, high, count + 1)
    edges[[0, -1]] = low - width / 1000, high + width / 1000
    return edges


def _interval_names(edges: np.ndarray, digits: int, right: bool, lowest: bool) -> list[str]:
    """Write intervals with as few digits as tell them apart."""
    for precision in range(digits, max(12, digits) + 1):
        shown = [_shown_edge(edge, precision) for edge in edges.tolist()]
        if all(a != b for a, b in pairwise(shown)):
            break
    else:
        return [f"Range_{k + 1}" for k in range(len(edges) - 1)]
    opening, closing = ("(", "]") if right else ("[", ")")
    names = [f"{opening}{a},{b}{closing}" for a, b in pairwise(shown)]
    if lowest and right:
        names[0] = f"[{names[0][1:]}"
    elif lowest:
        names[-1] = f"{names[-1][:-1]}]"
    return names


def _shown_edge(edge: float, precision: int) -> str:
    return f"{edge:.{precision}g}" if np.isfinite(edge) else ("Inf" if edge > 0 else "-Inf")


def _interaction(
    context: Context, rest: Sequence[Value], sep: Value = ".", lex_order: Value = False
) -> Value:
    """``interaction(a, b)``: the first factor varies fastest."""
    if not rest:
        raise context.error("interaction() needs columns")
    separator = _labels(context, sep, "sep")[0]
    slowest = flag(context, lex_order, "lex.order")
    crossed = _categories(context, rest[0])
    for value in rest[1:]:
        crossed = combine(
            crossed,
            _categories(context, value),
            "interaction()",
            separator=separator,
            first_slowest=slowest,
        )
    return crossed


def _with_contrasts(
    context: Context, object: Value, contr: Node | None = None, base: Value = 1.0
) -> Value:
    """``C(f, sum)``: a factor that brings its contrasts along."""
    factor = _as_factor(context, object)
    if contr is None or not isinstance(factor, Factor):
        return factor
    factor = context.with_known_levels(factor)
    if not isinstance(contr, Name | String):
        raise context.error("the contrasts of C() are a name such as contr.sum")
    scheme = contr.name if isinstance(contr, Name) else contr.value
    try:
        kind = contrast_kind(scheme, "C()")
    except ArgumentError as error:
        raise context.error(str(error)) from error
    place = constant_integer(context, base, "base", 1)
    if "base" in context.call.names:
        if kind != "contr.treatment" or place > len(factor.levels):
            raise context.error("base of C() is the number of a level, for treatment contrasts")
        numbered = tuple(str(i + 1) for i in range(len(factor.levels)))
        contrasts = treatment_contrasts(numbered, place - 1)
    else:
        contrasts = _named_contrasts(scheme, kind, factor.levels, isinstance(contr, Name))
    return Factor(factor.codes, factor.levels, factor.kind, contrasts)


def _named_contrasts(scheme: str, kind: str, levels: Sequence[str], is_function: bool) -> Contrasts:
    """Make the contrasts of ``C(f, sum)``; R's functions themselves know no names of levels."""
    if not (is_function and scheme.startswith("contr.")):
        return make_contrasts(kind, levels, "C()")
    numbered = make_contrasts(kind, [str(i + 1) for i in range(len(levels))], "C()")
    return Contrasts(numbered.matrix, numbered.names, MATRIX)


def _as_number(context: Context, x: Value) -> Value:
    """``as.numeric(f)``: a factor's codes from 1; text is read as numbers."""
    if isinstance(x, Factor) and x.kind in ("factor", "ordered"):
        if not _states_levels(context.call.arguments[0]):
            _positions_at_the_fit(context, x.levels, drop_unused(x).levels, "number")
        return Numeric(np.where(x.codes < 0, np.nan, x.codes + 1.0), integer=True)
    if isinstance(x, Factor) and x.kind == "text":
        return Numeric(np.append(_parsed(context, x.levels), np.nan)[x.codes])
    values = numbers(context, x)
    return Numeric(np.asarray(values)) if isinstance(values, np.ndarray) else values


def _states_levels(node: Node) -> bool:
    """Say whether an expression is ``factor(x, levels = c(...))``: no row decides on its codes."""
    return (
        isinstance(node, Call)
        and node.function in ("factor", "ordered")
        and ("levels" in node.names or (len(node.names) > 1 and node.names[1] is None))
    )


def _parsed(context: Context, labels: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(label) for label in labels])
    except ValueError:
        wrong = next(label for label in labels if not _is_number(label))
        raise context.error(
            f"{context.call.function}() cannot read '{wrong}' as a number; clean the column first"
        ) from None


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _as_integer(context: Context, x: Value) -> Value:
    value = _as_number(context, x)
    if isinstance(value, Numeric):
        return Numeric(np.trunc(value.floats), integer=True)
    return float(np.trunc(numbers(context, value)))


def _as_logical(context: Context, x: Value) -> Value:
    if isinstance(x, Factor) and x.kind == "logical":
        return x
    values = column_of_numbers(context, x)
    codes = np.where(np.isnan(values), -1, values != 0.0).astype(np.int8)
    return Factor(codes, LOGICAL_LEVELS, "logical")


def _as_character(context: Context, x: Value) -> Value:
    factor = _categories(context, x)
    order = sorted(range(len(factor.levels)), key=factor.levels.__getitem__)
    levels = [factor.levels[i] for i in order]
    return _relabelled(factor, levels, levels, "text")


def text_column(context: Context, value: Value, n: int) -> np.ndarray:
    """Return the labels of a column, or of a constant n times, as objects; missing is None."""
    if isinstance(value, Numeric | Factor):
        factor = as_factor(value, context.call.function)
        return np.array([*factor.levels, None], dtype=object)[factor.codes]
    return np.full(n, _labels(context, value, "yes or no")[0], dtype=object)


def _plain(body: Any) -> Function:
    return Function(body, ("x",))


FACTOR_FUNCTIONS = {
    "C": Function(_with_contrasts, ("object", "contr", "base"), quoted=frozenset(["contr"])),
    "as.character": _plain(_as_character),
    "as.double": _plain(_as_number),
    "as.factor": _plain(_as_factor),
    "as.integer": _plain(_as_integer),
    "as.logical": _plain(_as_logical),
    "as.numeric": _plain(_as_number),
    "as.ordered": _plain(_as_ordered),
    "cut": Function(
        _cut,
        ("x", "breaks", "labels", "include.lowest", "right", "dig.lab", "ordered_result"),
        required=2,
    ),
    "droplevels": _plain(_drop_levels),
    "factor": Function(_factor, ("x", "levels", "labels", "exclude", "ordered")),
    "interaction": Function(_interaction, ("...", "sep", "lex.order")),
    "ordered": Function(_ordered, ("x", "levels", "labels")),
    "relevel": Function(_relevel, ("x", "ref"), required=2),
}
