"""Checks of values read from a file, by type annotations, and of a fit's parts by each other."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import types
import typing
from collections import abc
from collections.abc import Mapping
from typing import Any

import numpy as np

from pymackay.covariance.structures import summary_layouts
from pymackay.errors import RecordingError
from pymackay.results import Fit


def content_sha256(content: Mapping[str, Any]) -> str:
    """Return the checksum of JSON content, except for the checksum itself.

    It does not depend on layout and the order of keys, but on every digit.
    """
    rest = {key: value for key, value in content.items() if key != "content_sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def json_types(value: Any) -> Any:
    """Return a value in JSON's types: arrays as lists, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): json_types(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_type(value: Any, kind: Any, what: str) -> None:
    """Check the type of a value and of its parts.

    Parameters
    ----------
    value : object
    kind : annotation
        A class (also a dataclass or typed dict), or a union, list, tuple or mapping of such. An int
        is accepted for a float; a bool is not a number.
    what : str
        What the value is, for the message.

    Raises
    ------
    RecordingError
        If the type is wrong.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or origin is abc.Callable:
        return
    if origin in (typing.Union, types.UnionType):
        if value is not None or type(None) not in arguments:
            _check_union(value, [kind for kind in arguments if kind is not type(None)], what)
    elif typing.is_typeddict(kind):
        _expect(isinstance(value, dict), value, "keys and values", what)
        _check_fields(kind, what, value.__contains__, value.__getitem__)
    elif origin is not None:
        _check_items(value, origin, arguments, what)
    elif kind in (float, int):
        right = isinstance(value, int) and abs(value) < 2**63 and not isinstance(value, bool)
        right = right or (kind is float and isinstance(value, float | np.floating))
        _expect(right, value, "a number" if kind is float else "a whole number", what)
    else:
        _expect(isinstance(value, kind), value, f"a {kind.__name__}", what)
        if dataclasses.is_dataclass(kind):
            _check_fields(kind, what, lambda name: True, lambda name: getattr(value, name))


def check_shapes(fit: Fit) -> None:
    """Check that the parts of a fit have shapes and names that agree.

    Raises
    ------
    RecordingError
        For the first part that does not agree with the others.
    """
    model, n = fit.model, len(fit.model.rows)
    q: dict[str, int] = {}
    p = list(fit.beta.index)
    for term in model.terms:
        q[term.group] = q.get(term.group, 0) + len(term.effects)
    layouts = summary_layouts(model.terms)
    pairs: dict[str, tuple[Any, Any]] = {
        "the names of the fixed effects": (p, list(model.fixed)),
        "the rows of vcov": (list(fit.vcov.index), p),
        "the columns of vcov": (list(fit.vcov.columns), p),
        "the number of thetas": (len(fit.theta), sum(len(u.rows) for u in layouts)),
        "the names in varcorr": (list(fit.varcorr), [term.name for term in model.terms]),
        "the groups of ranef": (sorted(fit.ranef), sorted(model.levels)),
        "the groups of the terms": (sorted(q), sorted(model.levels)),
        "the number of fitted values": (len(fit.fitted), n),
        "the number of residuals": (len(fit.residuals), n),
    }
    parts = [fit.beta, fit.theta, fit.vcov, fit.fitted, fit.residuals]
    parts += [*fit.varcorr.values(), *fit.ranef.values()]
    kinds = {np.asarray(part).dtype.kind for part in parts if part.size}
    pairs["the kind of its numbers"] = (kinds - {"f"}, set())
    pairs["the names of theta"] = ({type(name) for name in fit.theta.index} - {str}, set())
    for name in ("weights", "offset"):
        values = getattr(model, name)
        expected = (len(fit.fitted),)  # none where the rows were not kept
        pairs[f"the shape of the {name}"] = (None if values is None else values.shape, expected)
    for term, covariance in zip(model.terms, fit.varcorr.values(), strict=False):
        effects = list(term.effects)
        pairs[f"the rows of varcorr, {term.name}"] = (list(covariance.index), effects)
        pairs[f"the columns of varcorr, {term.name}"] = (list(covariance.columns), effects)
    for group in fit.ranef.keys() & model.levels.keys() & q.keys():
        table = fit.ranef[group]
        pairs[f"the levels of {group}"] = (list(table.index), list(model.levels[group]))
        pairs[f"the number of effects of {group}"] = (table.shape[1], q[group])
    for what, (came, expected) in pairs.items():
        if came is not None and came != expected:
            raise RecordingError(
                f"{what} should be {_short(expected)}, as its other parts have it, not "
                f"{_short(came)}"
            )


def _check_union(value: Any, kinds: list[Any], what: str) -> None:
    """Check that a value is of one of several types; raise the error of the last one."""
    for kind in kinds[:-1]:
        with contextlib.suppress(RecordingError):
            return check_type(value, kind, what)
    return check_type(value, kinds[-1], what)


def _check_fields(kind: Any, what: str, has: Any, get: Any) -> None:
    required = getattr(kind, "__required_keys__", ())
    for name, annotation in _annotations(kind).items():
        if has(name):
            check_type(get(name), annotation, f"{what}, {name}")
        elif name in required:
            raise RecordingError(f"{what}: {name} is missing")


def _check_items(value: Any, origin: Any, arguments: tuple[Any, ...], what: str) -> None:
    if issubclass(origin, abc.Mapping):
        _expect(isinstance(value, abc.Mapping), value, "keys and values", what)
        for key, item in value.items():
            check_type(key, arguments[0], f"a key of {what}")
            check_type(item, arguments[1], f"{what}, {key}")
        return
    _expect(isinstance(value, origin), value, f"a {origin.__name__}", what)
    if arguments == (float,) and set(map(type, value)) <= {float}:
        return  # long lists of numbers at once
    if origin is tuple and Ellipsis not in arguments:
        _expect(len(value) == len(arguments), value, f"{len(arguments)} values", what)
    else:
        arguments = arguments[:1] * len(value)
    for item, argument in zip(value, arguments, strict=True):
        check_type(item, argument, f"an element of {what}")


def _expect(right: bool, value: Any, expected: str, what: str) -> None:
    if not right:
        raise RecordingError(f"{what} should be {expected}, not {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@functools.cache
def _annotations(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    if not dataclasses.is_dataclass(kind):
        return hints
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
