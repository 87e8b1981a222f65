"""Tables by grouping factor or term as HTML, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping

import pandas as pd

from pymackay.infer.tables.headed_table import column_text

_MOST_ROWS = 60  # of a table; pandas leaves out the middle of a longer one


def tables_html(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return tables in HTML, each below its name; long ones without their middle."""
    return "".join(
        f"<p><b>{html.escape(name)}</b></p>{_table_html(table)}" for name, table in tables.items()
    )


def _table_html(table: pd.DataFrame) -> str:
    """Return one table whose columns have common decimals."""
    shown = table
    if len(table) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        shown = pd.concat([table.iloc[:half], table.iloc[-half:]])
    texts = pd.DataFrame(
        {k: column_text(str(name), shown.iloc[:, k]) for k, name in enumerate(shown.columns)}
    ).set_axis(shown.index)
    texts.columns = shown.columns
    if len(shown) == len(table):
        return str(texts.to_html())
    gap = pd.DataFrame([["..."] * texts.shape[1]], columns=texts.columns, index=["..."])
    whole = pd.concat([texts.iloc[:half], gap, texts.iloc[half:]])
    whole.index.name = table.index.name
    return f"{whole.to_html()}<p>{len(table):,} rows</p>"
