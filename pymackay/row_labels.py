"""Values that come beside a table, one for each row: a Series must have the labels of its rows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pymackay.errors import ArgumentError

__all__ = ["check_labels"]


def check_labels(given: Any, labels: pd.Index, what: str) -> None:
    """Refuse a Series with other labels than the table, or the same in another order.

    Raises
    ------
    ArgumentError
        Taken by position, its values would go to other rows.
    """
    if isinstance(given, pd.Series) and not given.index.equals(labels):
        raise ArgumentError(
            f"{what} is a Series with another index than the data; align it, or pass "
            f"{what}.to_numpy() to go by position"
        )
