"""`build_model`: a formula and a table become the arrays of a linear mixed model.

The fixed part leaves out columns that depend on others; random terms stand in lme4's order, under
its names. `Blueprint` is what a model remembers so that new data get the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError, PymackayError
from pymackay.formula.bars import Bar
from pymackay.formula.expression import Name
from pymackay.formula.specification import Specification, specification_of, specify
from pymackay.formula.terms import Terms
from pymackay.model.bases.scaling import independent_columns
from pymackay.model.columns.column import Column, Contrasts, Factor, Numeric
from pymackay.model.columns.number_text import advice_on_number_text
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments, fixed_contrasts
from pymackay.model.design.frame import Frame, make_frame
from pymackay.model.design.parts import FixedPart, RandomPart
from pymackay.model.design.side import (
    Blueprint,
    SideBlueprint,
    effect_columns,
    group_rows,
    make_side,
)
from pymackay.model.design.size import MANY_EFFECTS, check_covariance
from pymackay.model.design.structure import structure_of
from pymackay.model.design.traps import traps
from pymackay.model.model import GroupingFactor, Model, arrange_terms

if TYPE_CHECKING:  # it loads SciPy, which building does not need
    from pymackay.model.sums.sparse_gram import SparseGram


@dataclass(frozen=True, eq=False)
class Built:
    """A model, and the cross-products of its rows where the rows themselves were not kept.

    Attributes
    ----------
    model : Model
        If the rows were not kept, its arrays have no rows.
    n : int
        Number of rows.
    gram : SparseGram or None
        Cross-products, if the rows were not kept.
    """

    model: Model
    n: int
    gram: SparseGram | None = None

    @property
    def sums(self) -> SparseGram:
        """The cross-products of rows that were not kept."""
        if self.gram is None:
            raise PymackayError("the rows were kept, and not summed up.")
        return self.gram


def build_model(
    formula: str,
    data: pd.DataFrame | Mapping[str, Any],
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    known: Mapping[str, Any] | None = None,
) -> Model:
    """Build the model that a formula describes, as R's lme4 would.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"y ~ x + (x | g)"``. Functions come from a closed list.
    data : pandas.DataFrame or mapping of str to array-like
        Not changed. Strings and booleans are factors, ordered categories are ordered factors.
    weights : str or array-like, shape (rows of data,), optional
        Prior weights, all positive: a column's name, an R expression, or numbers.
    offset : str or array-like, shape (rows of data,), optional
        Known part of the response, added to ``offset(...)`` terms.
    subset : str or array-like of bool, shape (rows of data,), optional
        Rows to use: an R expression such as ``"x > 3 & g != 'a'"``, or booleans.
    contrasts : mapping of str to str or array-like, optional
        For factors of the fixed part: ``"contr.treatment"``, ``"contr.sum"``,
        ``"contr.helmert"``, ``"contr.poly"``, ``"contr.SAS"``, or a matrix with one row for each
        level. As in lme4 they do not touch the left side of a bar.
    known : mapping of str to pandas.DataFrame, optional
        The matrices that ``propto(0 + f | g, A)`` names, with levels in index and columns.

    Returns
    -------
    Model

    Raises
    ------
    FormulaError
        If the formula does not parse or asks for what the language does not have.
    DataError
        If the data cannot carry the model.
    ArgumentError
        If another argument is wrong.

    Examples
    --------
    >>> import pandas as pd
    >>> from pymackay.model.design.build import build_model
    >>> data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]})
    >>> model = build_model("y ~ 1 + (1 | g)", data)
    >>> model.fixed, model.terms[0].effects, model.factors["g"].levels
    (('(Intercept)',), ('(Intercept)',), ('a', 'b'))
    """
    table = Table(data)
    arguments = Arguments(weights, offset, subset, contrasts, known=known)
    return build_rows(formula, table, arguments).model


def build_rows(formula: str, table: Table, arguments: Arguments) -> Built:
    """Build the model of a table's rows; see `build_model`."""
    specification = specify_columns(formula, table, arguments.double_bar, arguments.residual)
    frame = make_frame(specification, table, arguments)
    y = _response(specification, frame)
    return Built(build_parts(specification, table, arguments, frame, y), frame.n)


def specify_columns(
    formula: str, table: Table, double_bar: str = "split", residual: str = ""
) -> Specification:
    """Read a formula whose ``.`` stands for the columns of a table."""
    if not isinstance(formula, str):
        specify(formula, ())  # says what is wrong
    return specification_of(formula, tuple(table.names), double_bar, residual)


def build_parts(
    specification: Specification,
    table: Table,
    arguments: Arguments,
    frame: Frame,
    y: np.ndarray,
    *,
    has_residual: bool = True,
) -> Model:
    """Build the fixed and the random part on a frame's rows, and put the model together.

    Parameters
    ----------
    specification : Specification
    table : Table
    arguments : Arguments
    frame : Frame
    y : numpy.ndarray, shape (n,)
        The response as numbers.
    has_residual : bool
        Whether a residual variance is estimated, which needs rows to spare.

    Raises
    ------
    DataError, ArgumentError
    """
    fixed = build_fixed_part(
        specification.fixed, frame, arguments.contrasts, table.names, has_residual=has_residual
    )
    random = _build_random_part(specification.bars, frame, has_residual)
    model = make_model(specification, arguments, frame, fixed, random, y)
    advice = advice_on_text((bar.effects for bar in specification.bars), frame.columns)
    return replace(
        model,
        messages=tuple(dict.fromkeys((*model.messages, *advice))),
        given={"data": table.data, **_arguments_of_r(arguments)},
    )


def _arguments_of_r(arguments: Arguments) -> dict[str, Any]:
    """Return the arguments that R's lmer has too, by name, and known matrices where there are."""
    ours = {"double_bar", "residual"} if arguments.known else {"double_bar", "residual", "known"}
    return {name: value for name, value in vars(arguments).items() if name not in ours}


def advice_on_text(sides: Iterable[Terms], columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return messages about text columns that have coefficients but seem to hold numbers."""
    variables = [s.variables[i] for s in sides for term in s.terms for i in term.variables]
    names = dict.fromkeys(v.name for v in variables if isinstance(v.node, Name))
    texts = {name: columns[name] for name in names}
    messages = [
        advice_on_number_text(name, column.levels)
        for name, column in texts.items()
        if isinstance(column, Factor) and column.kind == "text"
    ]
    return tuple(message for message in messages if message is not None)


def make_model(
    specification: Specification,
    arguments: Arguments,
    frame: Frame,
    fixed: FixedPart,
    random: RandomPart,
    y: np.ndarray,
) -> Model:
    """Put a model together; where the rows are not kept, its arrays have no rows."""
    bars = specification.bars
    places, terms = arrange_terms(
        [(bar.group_name, bar.text) for bar in bars],
        random.columns,
        random.factors,
        random.n,
        random.has_residual,
        [
            None if bar.structure is None else structure_of(bar, names, arguments.known)
            for bar, (names, _) in zip(bars, random.columns, strict=True)
        ],
    )
    factors = {term.group: random.factors[term.group] for term in terms}
    by_expression = isinstance(arguments.offset, str)
    doubtful = "||" in specification.formula or arguments.contrasts
    remarks = traps(specification, arguments, frame.columns) if doubtful else ()
    return Model(
        formula=specification.formula,
        response=specification.response.name,
        y=y,
        X=fixed.X,
        fixed=fixed.names,
        terms=terms,
        factors=factors,
        rows=frame.rows,
        weights=frame.weights,
        offset=frame.offset,
        dropped=fixed.dropped,
        contrasts=fixed.contrasts,
        messages=(*specification.messages, *frame.messages, *fixed.messages, *remarks),
        blueprint=Blueprint(
            specification=specification,
            memory=frame.memory,
            fixed=fixed.side,
            kept=fixed.kept,
            assign=np.array(fixed.side.assign, dtype=np.intp)[fixed.kept],
            bars=tuple(bars[i] for i in places),
            random=tuple(random.sides[i] for i in places),
            levels={name: factor.levels for name, factor in factors.items()},
            offset=arguments.offset if by_expression else None,
            offset_was_array=arguments.offset is not None and not by_expression,
        ),
        columns=frame.columns,
    )


def _response(specification: Specification, frame: Frame) -> np.ndarray:
    """Return the response, a fresh array of float64."""
    name = specification.response.name
    column = frame.columns[name]
    if isinstance(column, Factor) and column.kind != "logical":
        kind = column.kind if column.kind not in ("factor", "ordered") else "categories"
        advice = advice_on_number_text(name, column.levels) if column.kind == "text" else None
        raise DataError(
            f"the response '{name}' holds {kind}, but a linear mixed model needs numbers; "
            + (advice or "convert the column, or put another on the left of '~'")
        )
    if isinstance(column, Numeric) and column.values.ndim != 1:
        raise DataError(
            f"the response '{name}' has several columns, but a linear mixed model has one response"
            + ("; for successes and failures use glmer" if name.startswith("cbind(") else "")
        )
    values = column.floats if isinstance(column, Numeric) else column.codes
    return np.array(values, dtype=np.float64)


def build_fixed_part(
    terms: Terms, frame: Frame, contrasts: Any, known: list[str], *, has_residual: bool = True
) -> FixedPart:
    """Build the fixed part.

    Parameters
    ----------
    terms : Terms
    frame : Frame
    contrasts : mapping or None
        The user's argument.
    known : list of str
        Columns of the data.
    has_residual : bool
        Whether a residual variance is estimated.

    Raises
    ------
    ArgumentError
        If `contrasts` is wrong.
    DataError
        If a factor has one level, or no row is left for the residual.
    """
    asked: dict[str, Any] = {}
    notes: list[str] = []
    if contrasts is not None:
        asked, notes = fixed_contrasts(contrasts, terms, frame.columns, known)
    side, full = make_side(terms, frame.columns, asked, frame.n)
    kept = independent_columns(full.values)
    values = full.values if len(kept) == len(full.names) else full.values[:, kept]
    labels = contrast_labels(terms, frame.columns, side.contrasts)
    advice = advice_on_text([terms], frame.columns)
    rows = frame.n if has_residual else None
    return describe_fixed_part(
        side, full.names, kept, values, rows, labels, (*notes, *advice), advice
    )


def describe_fixed_part(
    side: SideBlueprint,
    names: tuple[str, ...],
    kept: np.ndarray,
    values: np.ndarray,
    n: int | None,
    contrasts: dict[str, str],
    notes: Sequence[str],
    advice: Sequence[str] = (),
) -> FixedPart:
    """Put a fixed part together: which of its columns, `names`, are `kept`, and their `values`.

    Raises
    ------
    DataError
        If no row of the `n` is left for the residual; `n` is None if it has no variance.
    """
    if n is not None:
        _check_size(len(kept), n, advice)
    inside = set(kept.tolist())
    dropped = tuple(name for j, name in enumerate(names) if j not in inside)
    return FixedPart(
        X=np.asfortranarray(values) if dropped else values,
        names=tuple(names[j] for j in kept),
        dropped=dropped,
        kept=kept,
        side=side,
        contrasts=contrasts,
        messages=(*notes, *_rank_message(dropped)),
    )


def _rank_message(dropped: tuple[str, ...]) -> tuple[str, ...]:
    if not dropped:
        return ()
    what = "column / coefficient" if len(dropped) == 1 else "columns / coefficients"
    return (
        f"fixed-effect model matrix is rank deficient so dropping {len(dropped)} {what}: "
        f"{', '.join(dropped)}",
    )


def _check_size(p: int, n: int, advice: Sequence[str]) -> None:
    """Refuse `p` columns of full rank for `n` rows that are no more; `advice` ends the message."""
    if p >= n:
        raise DataError(
            f"the fixed part has {p} columns for {n} rows, so that nothing is left for the "
            f"residual; " + ("; ".join(advice) or "take terms out of the formula")
        )


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


def _build_random_part(bars: Sequence[Bar], frame: Frame, has_residual: bool) -> RandomPart:
    factors: dict[str, GroupingFactor] = {}
    for bar in bars:
        if bar.group_name not in factors:
            factor = group_rows(bar.group, frame.columns, bar.group_name)
            codes = np.array(factor.codes, dtype=np.int32)
            factors[bar.group_name] = GroupingFactor(bar.group_name, factor.levels, codes)
    made = [make_side(bar.effects, effect_columns(bar, frame.columns), {}, frame.n) for bar in bars]
    for bar, (_, matrix) in zip(bars, made, strict=True):
        if len(matrix.names) > MANY_EFFECTS and bar.structure is None:
            check_covariance(bar.text, len(matrix.names), len(factors[bar.group_name].levels))
    columns = [(matrix.names, matrix.values) for _, matrix in made]
    return RandomPart(factors, [side for side, _ in made], columns, frame.n, has_residual)
