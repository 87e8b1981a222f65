"""`Change`: the differences between a new recording and the one that it replaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pymackay.reference.recorded import Recording


@dataclass(frozen=True)
class Change:
    """The difference between the old and the new content of one file.

    Attributes
    ----------
    path : pathlib.Path
    kind : str
        ``"new"``, ``"changed"`` or ``"unchanged"``.
    lines : tuple of str
        A description of each change.
    data : str
        Checksum of the data of the new recording.
    """

    path: Path
    kind: str
    lines: tuple[str, ...]
    data: str


def changes(path: Path, old: Recording | None, new: Recording) -> Change:
    """Compare a recording with the one that it replaces (None for a new file)."""
    data = new.content["data"]["sha256"]
    if old is None:
        return Change(path, "new", (), data)
    lines = tuple(_lines(old.content, new.content))
    return Change(path, "changed" if lines else "unchanged", lines, data)


def _lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield a description of each difference between two contents."""
    yield from _data(old["data"], new["data"])
    if old["model"] != new["model"]:
        parts = [k for k in new["model"] if old["model"].get(k) != new["model"][k]]
        yield f"the model: {', '.join(parts)}"
    was, now = (content["made_by"]["versions"] for content in (old, new))
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name):
            yield f"{name}: {was.get(name, 'none')} -> {now.get(name, 'none')}"
    if old["made_by"]["scripts"] != new["made_by"]["scripts"]:
        yield "the R scripts that ask lme4"
    for how, answer in new["answers"].items():
        changed = list(_changed_quantities(old["answers"].get(how, {}), answer))
        if changed:
            yield f"{how} answer: {'; '.join(changed)}"


def _data(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["rows"] != new["rows"]:
        yield f"the data: {old['rows']} -> {new['rows']} rows"
    columns = dict.fromkeys([*old["columns"], *new["columns"]])
    changed = [c for c in columns if old["columns"].get(c) != new["columns"].get(c)]
    if changed:
        yield f"the data: column {', '.join(changed)}"


def _changed_quantities(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Describe the change of each quantity; a single number is shown before and after."""
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, float) and isinstance(after, float):
            yield f"{name} {before:.10g} -> {after:.10g}"
            continue
        a, b = (np.array(list(_numbers(value))) for value in (before, after))
        if a.shape != b.shape or not a.size or np.array_equal(a, b):
            yield name
            continue
        change = np.max(np.abs(a - b)) / max(np.max(np.abs(a)), np.finfo(np.float64).tiny)
        yield f"{name} by up to {change:.1e} of its largest"


def _numbers(value: Any) -> Iterator[float]:
    """Yield all numbers of nested lists and dicts, in order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
