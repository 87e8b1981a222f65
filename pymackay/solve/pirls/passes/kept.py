"""The optimum of rows that were not kept, as plain values for a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pymackay.model.bases.scaling import Basis
from pymackay.model.model import Model
from pymackay.solve.pirls.coupling import Meeting
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criteria.laplace import Laplace, Movement, Point, Slopes
from pymackay.solve.pirls.mode import Mode
from pymackay.solve.pirls.passes.closed import NoSource
from pymackay.solve.pirls.passes.source import design_of_source
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import system_of


def encode_design(rows: Rows) -> dict[str, Any]:
    """Return what a design without rows is made from besides its model."""
    leading, among = rows.meetings
    meetings = (*leading, *(meeting for _, _, meeting in among))
    return {
        "n": rows.n,
        "R": rows.basis.R,
        "transforms": tuple(rows.transforms),
        "meetings": tuple((each.rows, each.columns) for each in meetings),
    }


def decode_design(model: Model, values: Mapping[str, Any]) -> Rows:
    """Return the design that `encode_design` converted."""
    basis = Basis(np.zeros((0, len(values["R"]))), values["R"])
    rows = design_of_source(model, basis, values["transforms"], NoSource(values["n"]))
    lead, others = rows.blocks[0], rows.blocks[1:]
    nothing = np.zeros(0, dtype=np.intp)
    pairs = iter(values["meetings"])
    leading = tuple(Meeting(lead, block, nothing, *next(pairs)) for block in others)
    among = tuple(
        (i, k, Meeting(others[i], others[k], nothing, *next(pairs)))
        for i in range(len(others))
        for k in range(i + 1, len(others))
    )
    rows.__dict__["meetings"] = leading, among
    return rows


def encode_point(point: Point) -> dict[str, Any]:
    """Return what was computed at an optimum while the rows were read."""
    mode, sums, movement = point.mode, point.slopes, point.movement
    same = point.determinant is mode.system
    return {
        "mode": (mode.u, mode.value, mode.slopes, mode.rounds),
        "products": mode.products,
        "expected_products": None if same else point.expected_products,
        "curvature": (point.curvature.hessian, point.curvature.mode_slopes),
        "slopes": (sums.v, sums.fixed_v, sums.fixed, sums.leverage, sums.shape),
        "movement": (movement.r, movement.by_effects, movement.by_fixed),
        "factor_slopes": tuple(point.factor_slopes),
        "criterion": point.criterion,
        "phi": point.phi,
        "saturated": point.laplace.saturated,
    }


def decode_point(laplace: Laplace, psi: np.ndarray, values: Mapping[str, Any]) -> Point:
    """Return the optimum that `encode_point` converted, of a criterion without rows."""
    laplace.__dict__["saturated"] = values["saturated"]
    given = laplace.given(psi)
    u, value, slopes, rounds = values["mode"]
    system = system_of(laplace.rows, values["products"], given.factors)
    mode = Mode(u, value, slopes, system, rounds, None, values["products"])
    expected, determinant = values["expected_products"], system
    if expected is not None:
        determinant = system_of(laplace.rows, expected, given.factors)
    made = Point(laplace, psi, given, mode)
    made.__dict__.update(
        determinant=determinant,
        expected_products=expected,
        curvature=Curvature(*values["curvature"]),
        slopes=Slopes(*values["slopes"]),
        movement=Movement(*values["movement"]),
        factor_slopes=list(values["factor_slopes"]),
        criterion=values["criterion"],
        phi=values["phi"],
    )
    return made
