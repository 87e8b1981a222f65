"""The fixed part of a model: its design with columns that depend on others left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymackay.errors import DataError
from pymackay.formula.terms import Terms
from pymackay.model.bases.rank import independent_columns
from pymackay.model.design.blueprint import SideBlueprint
from pymackay.model.design.coding import choose_contrasts, contrast_labels, fixed_contrasts
from pymackay.model.design.frame import Frame
from pymackay.model.design.matrix import make_design

__all__ = ["FixedPart", "build_fixed_part"]


@dataclass(frozen=True, eq=False)
class FixedPart:
    """The fixed design.

    Attributes
    ----------
    X : numpy.ndarray, shape (n, p)
        Of full column rank, column-major.
    names : tuple of str, length p
    dropped : tuple of str
        Columns left out.
    kept : numpy.ndarray of int, shape (p,)
        Positions in the full design of those kept.
    assign : numpy.ndarray of int, shape (p,)
        The term each column belongs to, from 1; 0 for the intercept.
    side : SideBlueprint
    contrasts : dict of str to str
        Factor to the name of its contrasts.
    messages : tuple of str
    """

    X: np.ndarray
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: np.ndarray
    assign: np.ndarray
    side: SideBlueprint
    contrasts: dict[str, str]
    messages: tuple[str, ...]


def build_fixed_part(terms: Terms, frame: Frame, contrasts: Any, known: list[str]) -> FixedPart:
    """Build the fixed part.

    Parameters
    ----------
    terms : Terms
    frame : Frame
    contrasts : mapping or None
        The user's argument.
    known : list of str
        Columns of the data.

    Raises
    ------
    ArgumentError
        If `contrasts` is wrong.
    DataError
        If a factor has one level, or no row is left for the residual.
    """
    wanted, notes = fixed_contrasts(contrasts, terms, frame.columns, known)
    side = make_side(terms, frame.columns, wanted, frame.n)
    full = make_design(terms, frame.columns, side.contrasts, frame.n)
    side = replace(side, assign=tuple(full.assign.tolist()))
    kept = independent_columns(full.values)
    _check_size(len(kept), frame.n)
    inside = set(kept.tolist())
    dropped = tuple(name for j, name in enumerate(full.names) if j not in inside)
    return FixedPart(
        X=np.asfortranarray(full.values[:, kept]) if dropped else full.values,
        names=tuple(full.names[j] for j in kept),
        dropped=dropped,
        kept=kept,
        assign=full.assign[kept],
        side=side,
        contrasts=contrast_labels(terms, frame.columns, side.contrasts),
        messages=(*notes, *_rank_message(dropped)),
    )


def make_side(
    terms: Terms, columns: Mapping[str, Any], wanted: Mapping[str, Any], n: int
) -> SideBlueprint:
    """Choose contrasts for one side of a formula and note the levels they belong to."""
    chosen = choose_contrasts(terms, columns, wanted, n)
    return SideBlueprint(terms, chosen, {name: columns[name].levels for name in chosen})


def _rank_message(dropped: tuple[str, ...]) -> tuple[str, ...]:
    if not dropped:
        return ()
    what = "column / coefficient" if len(dropped) == 1 else "columns / coefficients"
    return (
        f"fixed-effect model matrix is rank deficient so dropping {len(dropped)} {what}: "
        f"{', '.join(dropped)}",
    )


def _check_size(p: int, n: int) -> None:
    if p >= n:
        raise DataError(
            f"the fixed part has {p} columns for {n} rows, so that nothing is left for the "
            f"residual; take terms out of the formula"
        )
