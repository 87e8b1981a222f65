"""Tables in files for Python and R: one binary file per column, without rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["read_table", "write_table"]


def write_table(data: pd.DataFrame, folder: Path) -> None:
    """Write `data` into `folder`: numbers as float64, factors as int32 codes and a level a line.

    ``columns.txt`` holds a line ``name kind`` for each column, kind being ``number``, ``factor``
    or ``ordered``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, column in data.items():
        kind = "number"
        if isinstance(column.dtype, pd.CategoricalDtype):
            kind = "ordered" if column.cat.ordered else "factor"
            column.cat.codes.to_numpy(np.int32).tofile(folder / f"{name}.bin")
            levels = "\n".join(str(level) for level in column.cat.categories)
            (folder / f"{name}.levels").write_text(levels + "\n", encoding="utf-8")
        else:
            column.to_numpy(np.float64).tofile(folder / f"{name}.bin")
        lines.append(f"{name} {kind}\n")
    (folder / "columns.txt").write_text("".join(lines), encoding="utf-8")


def read_table(folder: Path) -> pd.DataFrame:
    """Read what `write_table` wrote."""
    columns: dict[str, object] = {}
    for line in (folder / "columns.txt").read_text(encoding="utf-8").splitlines():
        name, kind = line.split()
        if kind == "number":
            columns[name] = np.fromfile(folder / f"{name}.bin", dtype=np.float64)
            continue
        levels = (folder / f"{name}.levels").read_text(encoding="utf-8").splitlines()
        codes = np.fromfile(folder / f"{name}.bin", dtype=np.int32)
        columns[name] = pd.Categorical.from_codes(codes, levels, ordered=kind == "ordered")
    return pd.DataFrame(columns)
