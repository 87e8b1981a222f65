"""`Reading`: the sums of a pass over a source, saved so that an interrupted pass can resume."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pymackay._files import write_arrays
from pymackay.errors import ArgumentError
from pymackay.model.stream.accumulate import Accumulator
from pymackay.model.stream.partition import PartitionSums
from pymackay.model.stream.plan import Plan

_FORMAT = 2  # version of the file's format; other versions are refused
_EVERY = 15.0  # least number of seconds between two writes
_SHARE = 0.05  # largest share of the time that writing may take


class Reading(AbstractContextManager["Reading"]):
    """The sums of the partitions so far, with the numbers of these partitions.

    As a context manager it saves the sums at its end, also when an error or an interrupt ends it.

    Parameters
    ----------
    plan : Plan
        From the first partition. If there are saved sums, they continue with their own bases.
    path : pathlib.Path or None
        File for the sums; None: they are not saved.
    question : str
        What the sums depend on besides the rows: formula, arguments, number of partitions.

    Raises
    ------
    ArgumentError
        If the file has another question or another format, or its folder does not exist.
    """

    def __init__(self, plan: Plan, path: Path | None, question: str) -> None:
        self.path = path
        self.done: dict[int, str] = {}
        self._question = hashlib.sha256(f"{_FORMAT} {question}".encode()).hexdigest()
        self._whole = True  # False while a partition is being added, when the sums cannot be saved
        self._cost = 0.0
        self._saved = time.monotonic()
        state = None if path is None else self._load(path)
        if state is None:
            self.sums = Accumulator(plan)
            return
        self.done = {int(k): digest for k, digest in json.loads(str(state["done"])).items()}
        self.sums = Accumulator.from_state(plan, state)

    @property
    def plan(self) -> Plan:
        """The plan by which all partitions are summed."""
        return self.sums.plan

    def holds(self, number: int, digest: str) -> bool:
        """Return whether a partition is in the sums.

        Raises
        ------
        ArgumentError
            If it is, but its rows were different then.
        """
        if number not in self.done:
            return False
        if self.done[number] != digest:
            raise self._of_other(f"partition {number + 1} of the source has other rows than before")
        return True

    def refuse_more_than(self, count: int) -> None:
        """Refuse sums of more partitions than the source has.

        Raises
        ------
        ArgumentError
        """
        if len(self.done) > count:
            raise self._of_other(f"sums of {len(self.done)} partitions, but the source has {count}")

    def add(self, number: int, digest: str, part: PartitionSums) -> None:
        """Add the sums of a partition, and save if the last write was long enough ago."""
        self._whole = False
        self.sums.add(part)
        self.done[number] = digest
        self._whole = True
        waited = time.monotonic() - self._saved
        if self.path is not None and waited > max(_EVERY, self._cost / _SHARE):
            self.save()

    def save(self) -> None:
        """Replace the file by the sums so far, in one step."""
        if self.path is None or not self._whole:
            return
        start = time.monotonic()
        arrays: dict[str, Any] = dict(self.sums.state())
        arrays |= {"question": np.array(self._question), "done": np.array(json.dumps(self.done))}
        write_arrays(self.path, arrays)
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.save()

    def _load(self, path: Path) -> dict[str, np.ndarray] | None:
        """Return the arrays of a file with the same question; None if there is no file."""
        if not path.parent.is_dir():
            raise ArgumentError(
                f"checkpoint '{path}' is in a folder that does not exist; name a file in another."
            )
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            question = str(state.pop("question"))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArgumentError(
                f"checkpoint '{path}' cannot be read ({error}); delete it, or name another."
            ) from error
        if question != self._question:
            raise self._of_other("formula, weights, offset, contrasts or columns are not the same")
        return state

    def _of_other(self, why: str) -> ArgumentError:
        return ArgumentError(
            f"checkpoint '{self.path}' holds sums of another model or other data ({why}); delete "
            f"it, or name another."
        )
