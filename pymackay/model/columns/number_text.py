"""What to tell about a text column most of whose labels are numbers: "<0.1" among them, perhaps."""

from __future__ import annotations

from collections.abc import Sequence

from pymackay.errors import listed

_FEWEST = 3  # labels that are numbers, from which a column may be meant as numbers
_SHARE = 2 / 3  # of the labels, at least


def advice_on_number_text(name: str, labels: Sequence[str]) -> str | None:
    """Return a message about a text column that seems to hold numbers; None about any other.

    Parameters
    ----------
    name : str
        Of the column.
    labels : sequence of str
        Its distinct values.

    Examples
    --------
    >>> print(advice_on_number_text("dose", ["0.5", "1", "2", "<0.1"]))
    the column 'dose' holds text and is a factor with 4 levels, but 3 of its 4 labels are numbers, \
and '<0.1' is not; if it is meant as numbers, convert it with pandas.to_numeric(data['dose'], \
errors='coerce'), which makes the others missing; if it is a factor, write factor(dose)
    >>> advice_on_number_text("dose", ["low", "1", "2", "high"])
    """
    others = [label for label in labels if not _is_number(label)]
    count = len(labels) - len(others)
    if count < _FEWEST or count < _SHARE * len(labels):
        return None
    cure = "errors='coerce'), which makes the others missing"
    if not others:
        what, cure = f"all {count} of its labels are numbers", "errors='raise')"
    else:
        shown, verb = listed(map(repr, others), 5), "is" if len(others) == 1 else "are"
        what = f"{count} of its {len(labels)} labels are numbers, and {shown} {verb} not"
    if any("," in label for label in labels):
        cure += "; a decimal comma must become a point first"
    return (
        f"the column '{name}' holds text and is a factor with {len(labels)} levels, but {what}; "
        f"if it is meant as numbers, convert it with pandas.to_numeric(data['{name}'], {cure}; if "
        f"it is a factor, write factor({name})"
    )


def _is_number(label: str) -> bool:
    """Say whether a label is a number, with a decimal point or comma."""
    try:
        float(label.replace(",", "."))
    except ValueError:
        return False
    return any(character.isdigit() for character in label)
