"""Wrong values for every key of a JSON: another type, another shape, nothing at all."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

MISSING = object()
_WRONG: dict[type, tuple[Any, ...]] = {
    dict: ([], "x", 3, None, MISSING),
    list: ({}, "x", 3, None, [[]], [None], ["x"], MISSING),
    str: (3, None, [], {}, True, MISSING),
    bool: ("x", 3, None, [], MISSING),
    int: ("x", None, [1], {}, True, 1.5, 10**30, MISSING),
    float: ("x", None, [1.0], {}, True, MISSING),
    type(None): ("x", 3, [1.0], {}, True, MISSING),
}


def mutations(content: Any, *, longest: int = 2) -> Iterator[tuple[str, Any]]:
    """Yield where something is wrong, and the content with it; of a list the first elements."""
    for path in _paths(content, longest):
        value = _at(content, path)
        wrong = [*_WRONG[type(value)]]
        if isinstance(value, list) and value:
            wrong += [value[1:], [*value, value[0]], [value]]
        for other in wrong:
            if other is MISSING and isinstance(path[-1], int):
                continue
            changed = copy.deepcopy(content)
            holder = _at(changed, path[:-1])
            if other is MISSING:
                del holder[path[-1]]
            else:
                holder[path[-1]] = other
            shown = "missing" if other is MISSING else repr(other)[:40]
            yield f"{'.'.join(map(str, path))}: {shown}", changed


def _paths(value: Any, longest: int, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:longest]
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, longest, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
