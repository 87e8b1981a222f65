"""Rows that do not fit in memory: Parquet, an iterator of frames, a Dask DataFrame."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from pymackay._files import sums_path
from pymackay.errors import ArgumentError, DataError
from pymackay.formula.expression import all_names
from pymackay.formula.parser import parse_formula
from pymackay.model.stream.accumulate import Summed
from pymackay.model.stream.partition import PartitionSums, Plan, make_plan, sum_partition
from pymackay.model.stream.reading import Reading, digest_frame

__all__ = ["is_source", "sum_source"]

_BATCH = 1_000_000  # rows of a Parquet file that are read at a time
_RETRIES = 3  # times that a partition is summed again when its worker was lost


def is_source(data: Any) -> bool:
    """Say whether `data` come in partitions: a path, an iterator of frames, Dask."""
    if isinstance(data, pd.DataFrame | Mapping):
        return False
    if isinstance(data, str | os.PathLike) or _is_dask(data):
        return True
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(part, pd.DataFrame) for part in data)
    return isinstance(data, Iterator)


def sum_source(
    formula: str,
    source: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Summed:
    """Sum the rows of a source up in one pass.

    Parameters
    ----------
    formula : str
    source : path, iterator of pandas.DataFrame, or dask.dataframe.DataFrame
        A Parquet file or a folder of them is read a million rows at a time. Dask's partitions
        are summed where they are, by its scheduler; one that is lost is summed again.
    weights, offset : str, optional
        Columns or expressions.
    subset : None
        Not offered: the source chooses its rows.
    contrasts : mapping, optional
    checkpoint : path, optional
        Beside it, in a file of the same name with ``.sums`` at the end, the sums so far are saved
        every quarter of a minute, and when anything ends the pass too soon. A pass that finds
        them goes on with the partitions that are missing.

    Raises
    ------
    ArgumentError, DataError, FormulaError
    """
    if subset is not None:
        raise ArgumentError(
            "subset is not offered where the rows come in partitions; let the source leave the "
            "rows out."
        )
    arguments = {"weights": weights, "offset": offset, "contrasts": contrasts}
    path = None if checkpoint is None else sums_path(checkpoint)
    if _is_dask(source):
        return _sum_dask(formula, source, arguments, path)
    frames = _read_parquet(formula, Path(source), arguments) if _is_path(source) else iter(source)
    first = next(frames, None)
    if first is None:
        raise DataError("the source has no rows; a model needs some.")
    plan = make_plan(formula, _frame(first), **arguments)
    used = _names_used(formula, arguments)
    with Reading(plan, path, _question(formula, arguments, plan)) as reading:
        for number, frame in enumerate(chain([first], frames)):
            digest = "" if path is None else _digest(_frame(frame), used)
            if not reading.holds(number, digest):
                reading.add(number, digest, _sum_some(reading.plan, _frame(frame)))
        reading.refuse_more_than(number + 1)
    return reading.sums.finish()


def _question(formula: str, arguments: Mapping[str, Any], plan: Plan) -> str:
    """Write down what the sums depend on besides the rows."""
    return f"{formula} {sorted(arguments.items())} {plan.names} {plan.effects}"


def _digest(frame: pd.DataFrame, used: set[str]) -> str:
    return digest_frame(frame, frame.columns if "." in used else used)


def _frame(part: Any) -> pd.DataFrame:
    if not isinstance(part, pd.DataFrame):
        raise ArgumentError(
            f"data must be an iterator of pandas DataFrames, but it gave a {type(part).__name__}."
        )
    return part


def _is_path(source: Any) -> bool:
    return isinstance(source, str | os.PathLike)


def _is_dask(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(
        source, "to_delayed"
    )


def _names_used(formula: str, arguments: Mapping[str, Any]) -> set[str]:
    """Return every name that formula, weights and offset mention."""
    parsed = parse_formula(formula)
    names = set(all_names(parsed.response)) | set(all_names(parsed.predictors))
    for argument in (arguments["weights"], arguments["offset"]):
        if isinstance(argument, str):
            names |= {argument, *all_names(parse_formula(f"{argument} ~ 1").response)}
    return names


def _read_parquet(formula: str, path: Path, arguments: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """Yield the columns of a Parquet file or folder that are needed, some rows at a time."""
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ArgumentError(
            "reading Parquet needs pyarrow; install it with pip install 'pymackay[big]'."
        ) from error
    if not path.exists():
        raise ArgumentError(f"data is the path '{path}', which does not exist.")
    try:
        dataset = pyarrow.dataset.dataset(path, format="parquet")
        names = dataset.schema.names
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"data is the path '{path}', which is not Parquet ({error}); write it with "
            f"DataFrame.to_parquet, or pass a DataFrame."
        ) from error
    used = _names_used(formula, arguments)
    columns = names if "." in used else [name for name in names if name in used]
    batches = dataset.to_batches(
        columns=columns,
        batch_size=_BATCH,
        batch_readahead=0,
        fragment_readahead=0,
        # what is buffered ahead would stay in memory until the whole file is read
        fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False),
    )
    for batch in batches:
        if batch.num_rows:
            yield batch.to_pandas()


def _sum_dask(formula: str, source: Any, arguments: Mapping[str, Any], path: Path | None) -> Summed:
    """Sum the partitions where Dask has them; lost ones are summed again.

    Of partitions that were summed before, the first one with rows is compared, and their number.
    """
    used = _names_used(formula, arguments)
    if "." not in used:
        source = source[[name for name in source.columns if name in used]]
    parts = source.to_delayed()
    number, plan, digest = _dask_plan(formula, parts, arguments, used)
    question = f"{_question(formula, arguments, plan)} {len(parts)}"
    with Reading(plan, path, question) as reading:
        reading.holds(number, digest)
        missing = {k: part for k, part in enumerate(parts) if k not in reading.done}
        for k, found, part in _dask_results(missing, reading.plan, used if path else None):
            reading.add(k, found, part)
    return reading.sums.finish()


def _dask_plan(
    formula: str, parts: Sequence[Any], arguments: Mapping[str, Any], used: set[str]
) -> tuple[int, Plan, str]:
    """Make the plan, where it is, of the first partition that has rows; with number and digest."""
    import dask

    for i, part in enumerate(parts):
        found = dask.delayed(_plan_of)(formula, part, arguments, used).compute()
        if found is not None:
            return i, *found
    raise DataError("the source has no rows; a model needs some.")


def _plan_of(
    formula: str, frame: pd.DataFrame, arguments: Mapping[str, Any], used: set[str]
) -> tuple[Plan, str] | None:
    return (make_plan(formula, frame, **arguments), _digest(frame, used)) if len(frame) else None


_Result = tuple[int, str, PartitionSums | None]


def _sum_one(number: int, plan: Plan, frame: pd.DataFrame, used: set[str] | None) -> _Result:
    """Sum one partition where it is; with its number and, where that is wanted, its digest."""
    return number, "" if used is None else _digest(frame, used), _sum_some(plan, frame)


def _sum_some(plan: Plan, frame: pd.DataFrame) -> PartitionSums | None:
    return sum_partition(plan, frame) if len(frame) else None


def _dask_results(parts: Mapping[int, Any], plan: Plan, used: set[str] | None) -> Iterator[_Result]:
    """Yield each partition's sums: as they come from a cluster, else one after the other."""
    import dask

    shared = dask.delayed(plan)  # sent once, not with every partition
    work = [dask.delayed(_sum_one)(k, shared, part, used) for k, part in parts.items()]
    try:
        from distributed import as_completed, get_client

        client = get_client()
    except (ImportError, ValueError):
        for one in work:
            yield one.compute()
        return
    futures = client.compute(work, retries=_RETRIES)
    for future in as_completed(futures):
        yield future.result()
        future.release()
