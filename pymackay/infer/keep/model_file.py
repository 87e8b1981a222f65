"""Converts a model to plain values and back; the formula is stored as text and read again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pymackay.errors import DataError, RecordingError
from pymackay.formula.expression import Name
from pymackay.formula.specification import Specification, specify
from pymackay.formula.terms import Terms
from pymackay.incoming.parts import check_type
from pymackay.infer.keep.codec import Decoder, Encoder
from pymackay.model.design.side import Blueprint, SideBlueprint
from pymackay.model.model import Model

_MODEL = tuple(f.name for f in fields(Model) if f.name not in ("blueprint", "given"))
_SIDE = tuple(field.name for field in fields(SideBlueprint) if field.name != "terms")
_READ_AGAIN = ("specification", "fixed", "bars", "random")
_BLUEPRINT = tuple(field.name for field in fields(Blueprint) if field.name not in _READ_AGAIN)


def encode_model(model: Model, encoder: Encoder) -> dict[str, Any]:
    """Return a model as JSON.

    Raises
    ------
    DataError
        If the format does not support a part of it.
    """
    stored = {name: encoder.encode(getattr(model, name)) for name in _MODEL}
    if model.blueprint is not None:
        stored["blueprint"] = _encode_blueprint(model.blueprint, encoder)
    return stored


def decode_model(stored: dict[str, Any], decoder: Decoder) -> Model:
    """Return the model that was encoded."""
    blueprint = stored.get("blueprint")
    model = Model(
        **_decoded(_MODEL, stored, decoder),
        blueprint=None if blueprint is None else _decode_blueprint(blueprint, decoder),
    )
    check_type(model, Model, "the model")
    check_type(model.blueprint, Blueprint | None, "the blueprint")
    if model.blueprint is not None:
        _check_blueprint(model.blueprint, model)
    return model


def _check_blueprint(blueprint: Blueprint, model: Model) -> None:
    """Check the levels and the stored values of functions, which are used for new data."""
    if blueprint.levels != {name: factor.levels for name, factor in model.factors.items()}:
        raise RecordingError("the levels for new data are not those of the model")
    for name, value in blueprint.memory.items():
        if name.startswith("levels of "):
            check_type(value, tuple[tuple[str, ...], str], name)
        elif value is None or isinstance(value, str | list | dict):
            raise RecordingError(f"{name} should be numbers or a basis, not {value!r}")


def _encode_blueprint(blueprint: Blueprint, encoder: Encoder) -> dict[str, Any]:
    specification = blueprint.specification
    names = [v.name for v in specification.variables if isinstance(v.node, Name)]
    residual = "" if specification.residual is None else specification.residual.text
    again = specify(specification.formula, names, specification.double_bar, residual)
    if again != specification:
        raise DataError(
            f"the formula {specification.formula!r} cannot be saved, because its meaning "
            f"depends on the data; write the variables in place of '.'"
        )
    return {
        "formula": specification.formula,
        "names": names,
        **({"double_bar": "diag"} if specification.double_bar == "diag" else {}),
        **({"residual": residual} if residual else {}),
        "bars": [specification.bars.index(bar) for bar in blueprint.bars],
        "fixed": _encode_side(blueprint.fixed, encoder),
        "random": [_encode_side(side, encoder) for side in blueprint.random],
        **{name: encoder.encode(getattr(blueprint, name)) for name in _BLUEPRINT},
    }


def _encode_side(side: SideBlueprint, encoder: Encoder) -> dict[str, Any]:
    return {name: encoder.encode(getattr(side, name)) for name in _SIDE}


def _decode_blueprint(stored: dict[str, Any], decoder: Decoder) -> Blueprint:
    specification: Specification = specify(
        stored["formula"],
        stored["names"],
        stored.get("double_bar", "split"),
        stored.get("residual", ""),
    )
    bars = tuple(specification.bars[k] for k in stored["bars"])
    if len(bars) != len(stored["random"]):
        raise RecordingError("the file's random terms are incomplete")
    return Blueprint(
        specification=specification,
        fixed=_decode_side(specification.fixed, stored["fixed"], decoder),
        bars=bars,
        random=tuple(
            _decode_side(bar.effects, side, decoder)
            for bar, side in zip(bars, stored["random"], strict=True)
        ),
        **_decoded(_BLUEPRINT, stored, decoder),
    )


def _decode_side(terms: Terms, stored: dict[str, Any], decoder: Decoder) -> SideBlueprint:
    return SideBlueprint(terms=terms, **_decoded(_SIDE, stored, decoder))


def _decoded(names: tuple[str, ...], stored: dict[str, Any], decoder: Decoder) -> dict[str, Any]:
    """Return the stored fields; fields that files of earlier versions lack have defaults."""
    return {name: decoder.decode(stored[name]) for name in names if name in stored}
