"""`HeadedTable`: a data frame that prints a heading above it and messages below it."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd


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
        """Return the cells as text: six digits, p-values never as an exact zero."""
        return pd.DataFrame(
            {name: [_cell(name, value) for value in self[name]] for name in self.columns},
            index=self.index,
        )


def _cell(column: str, value: object) -> str:
    if not isinstance(value, float | np.floating):
        return str(value)
    if np.isnan(value):
        return ""
    if str(column).startswith("Pr(") and value < 2.2e-16:
        return "< 2.2e-16"
    return f"{value:.6g}"
