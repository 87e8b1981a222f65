"""The problem of a model with a residual structure as plain values and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.errors import ArgumentError, RecordingError
from pymackay.formula.residual import ResidualCall
from pymackay.incoming.parts import check_type
from pymackay.infer.keep.codec import Decoder, Encoder
from pymackay.infer.keep.model_file import decode_model, encode_model
from pymackay.model.design.residual import residual_rows
from pymackay.results import Fit
from pymackay.solve.marginal.criterion import Marginal
from pymackay.solve.marginal.fit import variance_sources
from pymackay.solve.marginal.problem import ResidualProblem


def encode_residual(problem: ResidualProblem, encoder: Encoder, *, rows: bool) -> dict[str, Any]:
    """Return what the problem is made from as JSON: the model and the estimates.

    Raises
    ------
    ArgumentError
        If the rows are not to be kept: no sums stand for them.
    """
    if not rows:
        raise ArgumentError(
            "rows=False is not available for models with a residual structure, whose rows no sums "
            "can replace; save the fit with rows=True."
        )
    return {
        "model": encode_model(problem.model, encoder),
        "psi": encoder.encode(problem.psi),
    }


def decode_residual(stored: dict[str, Any], values: dict[str, Any], decoder: Decoder) -> Fit:
    """Return the fit whose other fields are `values`, with its problem."""
    model, psi = decode_model(stored["model"], decoder), decoder.decode(stored["psi"])
    check_type(psi, np.ndarray, "the estimates")
    call = None if model.blueprint is None else model.blueprint.specification.residual
    if not isinstance(call, ResidualCall):
        raise RecordingError("the file's model has no residual structure")
    rows = residual_rows(call, model.columns, len(model.y))
    marginal = Marginal.of(model, rows, reml=values["reml"])
    if len(psi) != marginal.n_theta + rows.structure.n_par:
        raise RecordingError("the file's estimates are not as many as the model has parameters")
    problem = ResidualProblem(marginal, psi)
    return Fit(**values, **variance_sources(problem, values["sigma"]), problem=problem)
