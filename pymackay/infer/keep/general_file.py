"""The problem of a generalised model as plain values and back."""

from __future__ import annotations

from typing import Any

from pymackay.errors import ArgumentError
from pymackay.family.general import General
from pymackay.incoming.parts import check_type
from pymackay.infer.keep.codec import Decoder, Encoder
from pymackay.infer.keep.model_file import decode_model, encode_model
from pymackay.results import Fit
from pymackay.solve.assemble import without_rows
from pymackay.solve.pirls.assemble import variance_sources
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.large.system import Probing
from pymackay.solve.pirls.passes.kept import (
    decode_design,
    decode_point,
    encode_design,
    encode_point,
)
from pymackay.solve.pirls.problem import GeneralProblem
from pymackay.solve.pirls.rows import Rows


def encode_general(problem: GeneralProblem, encoder: Encoder, *, rows: bool) -> dict[str, Any]:
    """Return what the problem is made from as JSON: the model, the criterion, the estimates.

    Raises
    ------
    ArgumentError
        If the rows are not to be kept: a generalised model has no sums to stand for them.
    """
    if not rows:
        raise ArgumentError(
            "rows=False is there for linear models only, whose sums stand for the rows; save the "
            "fit of a generalised model with rows=True."
        )
    laplace = problem.laplace
    kept, probing = laplace.rows.source is None, laplace.rows.probing
    recipe = {
        "family": laplace.family,
        "determinant": laplace.determinant,
        "dispersion": laplace.dispersion,
        "nagq": problem.nagq,
        "psi": problem.psi,
        "observed": laplace.rows.observed if kept else None,
    }
    if probing is not None:
        recipe["probes"] = (probing.signs.shape[1], probing.seed)
    if not kept:
        recipe["design"] = encode_design(laplace.rows)
        recipe["point"] = encode_point(problem.point)
    return {"model": encode_model(problem.model, encoder), "criterion": encoder.encode(recipe)}


def decode_general(stored: dict[str, Any], values: dict[str, Any], decoder: Decoder) -> Fit:
    """Return the fit whose other fields are `values`, with its problem."""
    check_type(values["general"], General, "the generalised part")
    recipe = decoder.decode(stored["criterion"])
    model, design = decode_model(stored["model"], decoder), recipe.get("design")
    rows = Rows.of(model, recipe["observed"]) if design is None else decode_design(model, design)
    if "probes" in recipe:  # of the iterative solver
        rows = rows.with_probing(Probing.of(rows, *recipe["probes"]))
    laplace = Laplace(rows, recipe["family"], recipe["determinant"], recipe["dispersion"])
    problem = GeneralProblem(laplace, recipe["psi"], recipe["nagq"])
    if design is not None:
        point = decode_point(laplace, recipe["psi"], recipe["point"])
        problem = GeneralProblem.at(point, recipe["nagq"])
    sources = variance_sources(problem, values["sigma"], values["vcov"].to_numpy())
    if "condvar" in values["not_offered"]:  # of the iterative solver
        sources = {}
    fit = Fit(**values, **sources, problem=problem)
    return fit if design is None else without_rows(fit, design["n"])
