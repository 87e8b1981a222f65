"""Names as labels: `shorten` cuts one, `distinct` cuts several so that they stay different."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 28  # characters in a label
_BEFORE = 2  # characters that are kept before the place where similar names begin to differ


def shorten(text: str, longest: int = LONGEST) -> str:
    """Shorten a long name in the middle, because similar names often differ at the end.

    A dollar sign, which would begin a formula in matplotlib, is escaped.
    """
    return _escaped(_cut(text, longest))


def distinct(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Shorten long names; different names get different labels.

    Names that would look the same when cut in the middle are cut so that the part in which they
    differ is shown; if that part is too long, they are numbered.

    Parameters
    ----------
    names : sequence of str
    longest : int
        Largest number of characters of a label, at least 8.

    Returns
    -------
    list of str

    Examples
    --------
    >>> distinct(["ward 17 of Saint Bartholomew", "ward 18 of Saint Bartholomew"], 12)
    ['… 17 of Sai…', '… 18 of Sai…']
    """
    shown = {name: _cut(name, longest) for name in dict.fromkeys(names)}
    for alike in _alike(shown):
        start = max(_shared(alike) - _BEFORE, 0)
        shown |= {name: _window(name, start, longest) for name in alike}
    for k, name in enumerate([name for alike in _alike(shown) for name in alike], start=1):
        number = f" ({k})"
        shown[name] = shown[name][: longest - len(number)] + number
    return [_escaped(shown[name]) for name in names]


def _alike(shown: dict[str, str]) -> list[list[str]]:
    """Return the groups of different names with one label."""
    groups: dict[str, list[str]] = {}
    for name, label in shown.items():
        groups.setdefault(label, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _shared(names: list[str]) -> int:
    """Return the number of characters with which all names begin."""
    columns = zip(*names, strict=False)
    return next((k for k, letters in enumerate(columns) if len(set(letters)) > 1), len(names[0]))


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def _window(text: str, start: int, longest: int) -> str:
    """Return `text` from position `start` on, with dots where characters are missing."""
    before = "…" if start else ""
    room = longest - len(before)
    part = text[start:]
    return before + (part if len(part) <= room else f"{part[: room - 1]}…")


def _escaped(text: str) -> str:
    return text.replace("$", r"\$")
