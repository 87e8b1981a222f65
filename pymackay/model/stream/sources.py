"""Rows that do not fit in memory: Parquet, an iterator of frames, a Dask DataFrame."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from pymackay._files import sums_path
from pymackay.datasets import list_data
from pymackay.errors import ArgumentError, DataError
from pymackay.formula.expression import all_names
from pymackay.formula.parser import parse_expression
from pymackay.formula.specification import Specification, specify
from pymackay.incoming.frames import as_partition
from pymackay.model.columns.table import Table, is_dask
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import Built
from pymackay.model.model import Model
from pymackay.model.stream.digest import digest_frame
from pymackay.model.stream.finish import finish
from pymackay.model.stream.partition import PartitionSums, no_rows, sum_partition
from pymackay.model.stream.plan import Plan, make_plan
from pymackay.model.stream.reading import Reading
from pymackay.model.stream.response import LINEAR, ResponseKind

_BATCH = 1_000_000  # rows of a Parquet file that are read at a time
_RETRIES = 3  # times that a partition is summed again after its worker failed


def sum_source(
    formula: str,
    source: Any,
    arguments: Arguments | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    kind: ResponseKind = LINEAR,
) -> Built:
    """Sum the rows of a source in one pass.

    Parameters
    ----------
    formula : str
    source : path, iterator of pandas.DataFrame, function, or dask.dataframe.DataFrame
        A function returns an iterator of data frames.
        A Parquet file or a folder of them is read a million rows at a time. Dask's scheduler
        sums its partitions on its workers, and again if a worker fails.
    arguments : Arguments, optional
        Weights and offset are columns or expressions; `subset` is not available: the source
        selects its rows.
    checkpoint : path, optional
        The sums so far are saved in a file of this name with ``.sums`` at the end, every 15 seconds
        and when the pass is interrupted. A later pass with the same checkpoint sums only the
        partitions that are missing.
    kind : ResponseKind
        What the response may be.

    Raises
    ------
    ArgumentError, DataError, FormulaError
    """
    arguments = arguments or Arguments()
    if arguments.subset is not None:
        raise ArgumentError(
            "subset is not offered where the rows come in partitions; select the rows in the "
            "source."
        )
    path = None if checkpoint is None else sums_path(checkpoint)
    if is_dask(source):
        specification = specify(formula, list(source.columns), arguments.double_bar)
        used = _names_used(specification, arguments, source.columns)
        parts = source[[name for name in source.columns if name in used]].to_delayed()
        return _sum_dask(specification, parts, arguments, used, path, kind)
    if isinstance(source, str | os.PathLike):
        dataset = _open_parquet(Path(source))
        specification = specify(formula, dataset.schema.names, arguments.double_bar)
        frames = _read_parquet(dataset, _names_used(specification, arguments, dataset.schema.names))
        first = next(frames, None)
    else:
        frames = iter(source() if callable(source) else source)
        first = next(frames, None)
        names = () if first is None else Table(as_partition(first)).names
        specification = specify(formula, names, arguments.double_bar)
    if first is None:
        raise DataError("the source has no rows; a model needs some.")
    return _sum_frames(specification, chain([first], frames), arguments, path, kind)


def rereadable(source: Any, model: Model, arguments: Arguments) -> Callable[[], Iterator[Any]]:
    """Return what reads the columns that a model needs, as frames, from the start in every call.

    Raises
    ------
    ArgumentError
        If the source can be read once only.
    """
    specification = model.blueprint.specification
    if is_dask(source):
        used = _names_used(specification, arguments, source.columns)
        parts = source[[name for name in source.columns if name in used]].to_delayed()
        return lambda: (part.compute() for part in parts)
    if isinstance(source, str | os.PathLike):
        dataset = _open_parquet(Path(source))
        used = _names_used(specification, arguments, dataset.schema.names)
        return lambda: _read_parquet(dataset, used)
    return lambda: iter(source() if callable(source) else source)


def refuse_iterator(source: Any) -> None:
    """Refuse a source that is gone when it has been read once.

    Raises
    ------
    ArgumentError
    """
    if isinstance(source, Iterator):
        raise ArgumentError(
            f"data is a {type(source).__name__}, which can be read once, but a generalised model "
            f"reads the rows in every step of the fit; give a function that returns a new iterator "
            f"of data frames, a Parquet file or a Dask DataFrame."
        )


def _sum_frames(
    specification: Specification,
    frames: Iterator[Any],
    arguments: Arguments,
    path: Path | None,
    kind: ResponseKind,
) -> Built:
    """Sum frames one after the other; those that are in the saved sums are skipped."""
    used = None
    skipped = []  # fingerprint and number of rows of the partitions before the plan
    for frame in frames:
        first = as_partition(frame)
        used = used or _names_used(specification, arguments, first.columns)
        plan = make_plan(specification, first, arguments, kind)
        if plan is not None:
            break
        skipped.append((_digest(first, used, path), len(first)))
    else:
        raise DataError(_nothing_to_use(sum(rows for _, rows in skipped)))
    with Reading(plan, path, _question(plan)) as reading:
        for number, (digest, rows) in enumerate(skipped):
            if not reading.holds(number, digest):
                reading.add(number, digest, no_rows(reading.plan, rows))
        for number, frame in enumerate(chain([first], frames), len(skipped)):
            digest = _digest(as_partition(frame), used, path)
            if not reading.holds(number, digest):
                reading.add(number, digest, sum_partition(reading.plan, frame))
        reading.refuse_more_than(number + 1)
    return finish(reading.sums)


def _digest(frame: pd.DataFrame, used: set[str], path: Path | None) -> str:
    """Return the fingerprint of a partition; empty if the sums are not saved."""
    return "" if path is None else digest_frame(frame, used)


def _nothing_to_use(rows: int) -> str:
    if not rows:
        return "the source has no rows; a model needs some."
    return (
        f"no row is complete in the whole source: each of its {rows} rows has a missing value in "
        f"some variable; leave the emptiest variable out of the formula, or fill it."
    )


def _question(plan: Plan) -> str:
    """Return, as text, what the sums depend on besides the rows."""
    arguments = {name: getattr(plan.arguments, name) for name in ("weights", "offset", "contrasts")}
    formula = plan.specification.formula
    return f"{formula} {sorted(arguments.items())} {[side.labels for side in plan.sides]}"


def _names_used(
    specification: Specification, arguments: Arguments, columns: Collection[str]
) -> set[str]:
    """Return every column that formula and arguments mention."""
    names = {name for variable in specification.variables for name in all_names(variable.node)}
    if isinstance(arguments.contrasts, Mapping):  # of columns outside the fixed part, too
        names.update(name for name in arguments.contrasts if name in columns)
    for what, argument in (("weights", arguments.weights), ("offset", arguments.offset)):
        if isinstance(argument, str):
            node = None if argument in columns else parse_expression(argument, what)
            names.update([argument] if node is None else all_names(node))
    return names


def _open_parquet(path: Path) -> Any:
    """Return the pyarrow dataset of a Parquet file or folder."""
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ArgumentError(
            "reading Parquet needs pyarrow; install it with: pip install pyarrow"
        ) from error
    if not path.exists():
        raise ArgumentError(f"data is the path '{path}', which does not exist{_hint(path)}.")
    try:
        return pyarrow.dataset.dataset(path, format="parquet")
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"data is the path '{path}', which is not Parquet ({error}); write it with "
            f"DataFrame.to_parquet, or pass a DataFrame."
        ) from error


def _hint(path: Path) -> str:
    """Return how to get the bundled data set of this name, if there is one."""
    name = str(path)
    return f"; the data set of this name is pymackay.load_data({name!r})" * (name in list_data())


def _read_parquet(dataset: Any, used: set[str]) -> Iterator[pd.DataFrame]:
    """Yield the columns that are needed, some rows at a time."""
    import pyarrow.dataset

    batches = dataset.to_batches(
        columns=[name for name in dataset.schema.names if name in used],
        batch_size=_BATCH,
        batch_readahead=0,
        fragment_readahead=0,
        # what is buffered ahead would stay in memory until the whole file is read
        fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False),
    )
    for batch in batches:
        if batch.num_rows:
            yield batch.to_pandas(integer_object_nulls=True)


def _sum_dask(
    specification: Specification,
    parts: Sequence[Any],
    arguments: Arguments,
    used: set[str],
    path: Path | None,
    kind: ResponseKind,
) -> Built:
    """Sum the partitions on Dask's workers, and again those whose worker fails.

    Saved sums are used if the number of partitions, and the first one with rows, are the same.
    """
    number, plan, digest = _dask_plan(specification, parts, arguments, used, kind)
    with Reading(plan, path, f"{_question(plan)} {len(parts)}") as reading:
        reading.holds(number, digest)
        missing = {k: part for k, part in enumerate(parts) if k not in reading.done}
        for k, fingerprint, part in _dask_results(missing, reading.plan, used if path else None):
            reading.add(k, fingerprint, part)
    return finish(reading.sums)


def _dask_plan(
    specification: Specification,
    parts: Sequence[Any],
    arguments: Arguments,
    used: set[str],
    kind: ResponseKind,
) -> tuple[int, Plan, str]:
    """Return number, plan and fingerprint of the first partition with rows, made by a worker."""
    import dask

    n_rows = 0
    for i, part in enumerate(parts):
        work = dask.delayed(_plan_of)(specification, part, arguments, used, kind)
        planned, rows = work.compute()
        if planned is not None:
            return i, *planned
        n_rows += rows
    raise DataError(_nothing_to_use(n_rows))


def _plan_of(
    specification: Specification,
    frame: pd.DataFrame,
    arguments: Arguments,
    used: set[str],
    kind: ResponseKind,
) -> tuple[tuple[Plan, str] | None, int]:
    """Return plan and fingerprint of a partition, None if no row is complete; and its row count."""
    plan = make_plan(specification, frame, arguments, kind)
    return (None if plan is None else (plan, digest_frame(frame, used))), len(frame)


_Result = tuple[int, str, PartitionSums]


def _sum_one(number: int, plan: Plan, frame: pd.DataFrame, used: set[str] | None) -> _Result:
    """Sum one partition; return its number, its fingerprint (empty without `used`) and the sums."""
    return number, "" if used is None else digest_frame(frame, used), sum_partition(plan, frame)


def _dask_results(parts: Mapping[int, Any], plan: Plan, used: set[str] | None) -> Iterator[_Result]:
    """Yield the sums of each partition: from a cluster as they are completed, else in order."""
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
