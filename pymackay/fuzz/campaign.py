"""`run`: the differential fuzzer: random models one after the other until time is up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pymackay.fuzz.generate import FuzzModel, generate
from pymackay.fuzz.judge import Outcome, judge_model
from pymackay.fuzz.shrink import shrink
from pymackay.fuzz.store import made, store


@dataclass(frozen=True)
class Disagreement:
    """A model that got two answers.

    Attributes
    ----------
    model : FuzzModel
        As it was drawn.
    outcome : Outcome
    kept : pathlib.Path or None
        Where the shrunk model was stored.
    """

    model: FuzzModel
    outcome: Outcome
    kept: Path | None = None


@dataclass
class Tally:
    """What a run has come to so far.

    Attributes
    ----------
    first : int
        The first seed; they count up.
    verdicts : Counter of str
    disagreements : list of Disagreement
    seconds : float
    interrupted : bool
    """

    first: int
    verdicts: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def models(self) -> int:
        """How many models were judged."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{verdict} {n}" for verdict, n in self.verdicts.most_common())
        found = len(self.disagreements)
        return (
            f"{self.models} models from seed {self.first} in {self.seconds:.0f} s, "
            f"{found} disagreement{'' if found == 1 else 's'}"
            f"{', interrupted' if self.interrupted else ''}" + (f"\n{counts}" if counts else "")
        )


def run(
    seconds: float,
    seed: int,
    *,
    keep: Path | None = None,
    with_r: bool = True,
    progress: Callable[[Tally], None] = lambda tally: None,
    found: Callable[[Disagreement], None] = lambda disagreement: None,
) -> Tally:
    """Judge random models for a while.

    Parameters
    ----------
    seconds : float
        When to stop; a model that has been begun is finished.
    seed : int
        The first seed.
    keep : pathlib.Path, optional
        Folder that every disagreement is stored in, shrunk.
    with_r : bool
        False: judged by the dense oracle alone.
    progress, found : callable
        Told of the tally after every model, and of every disagreement.

    Raises
    ------
    ArgumentError
        If the folder cannot be made.

    Returns
    -------
    Tally
        Also when Ctrl-C ended the run.
    """
    if keep is not None:
        made(keep)
    judge = partial(judge_model, with_r=with_r)
    tally, begin = Tally(seed), time.monotonic()
    try:
        while tally.seconds < seconds:
            model = generate(seed + tally.models)
            outcome = judge(model)
            tally.verdicts[outcome.verdict] += 1
            if not outcome.agrees:
                tally.disagreements.append(Disagreement(model, outcome))
                found(_kept(tally, judge, keep))
            tally.seconds = time.monotonic() - begin
            progress(tally)
    except KeyboardInterrupt:
        tally.interrupted, tally.seconds = True, time.monotonic() - begin
    return tally


def _kept(tally: Tally, judge: Callable[[FuzzModel], Outcome], folder: Path | None) -> Disagreement:
    """Shrink and store the last disagreement, where there is a folder for it."""
    last = tally.disagreements[-1]
    if folder is None:
        return last
    small = shrink(last.model, last.outcome.verdict, judge=judge)
    path = store(small, judge(small), folder)
    tally.disagreements[-1] = Disagreement(last.model, last.outcome, path)
    return tally.disagreements[-1]
