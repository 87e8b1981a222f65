"""`HeadedTable`: a data frame that prints a heading above it and messages below it."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd

from pymackay.infer.tables.r_print import format_numbers, format_p_values

_DIGITS = 5


class HeadedTable(pd.DataFrame):
    """A data frame that prints a heading above it and messages below it.

    Subsets of it and results of computations with it are plain data frames.

    Attributes
    ----------
    heading : str
    messages : tuple of str
        Remarks on the numbers: a refit by ML, a direction that was left out.
    """

    _metadata = ["heading", "messages"]  # noqa: RUF012 - the name and kind that pandas asks for

    def __init__(
        self,
        rows: Any = None,
        *,
        heading: str = "",
        messages: tuple[str, ...] = (),
        **pandas: Any,
    ) -> None:
        super().__init__(rows, **pandas)
        self.heading = heading
        self.messages = messages

    def __repr__(self) -> str:
        return "\n".join(
            part for part in (self.heading, self._shown().to_string(), *self.messages) if part
        )

    def _repr_html_(self) -> str:
        parts = [f"<p>{html.escape(self.heading)}</p>" if self.heading else ""]
        parts.append(self._shown().to_html())
        parts += [f"<p>{html.escape(message)}</p>" for message in self.messages]
        return "".join(parts)

    def _shown(self) -> pd.DataFrame:
        """Return the cells as text: a column has common decimals, p-values are written as R's."""
        return pd.DataFrame(
            {name: column_text(str(name), self[name]) for name in self.columns}, index=self.index
        )


def column_text(name: str, column: pd.Series) -> list[str]:
    """Return a column as text of one width; a missing number is left empty."""
    if not pd.api.types.is_float_dtype(column):
        return [str(value) for value in column]
    values = column.to_numpy()
    known = ~np.isnan(values)
    texts = np.full(len(values), "", dtype=object)
    is_p = name.startswith("Pr(") or name == "p.value"
    texts[known] = (
        format_p_values(values[known], _DIGITS - 1)
        if is_p
        else format_numbers(values[known], _DIGITS)
    )
    return list(texts)
