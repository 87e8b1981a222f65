"""`run`: generates and judges random models for a given time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pymackay.fuzz.generate import FuzzModel, generate
from pymackay.fuzz.generate_general import generate_general
from pymackay.fuzz.judge import judge_model
from pymackay.fuzz.outcome import Outcome
from pymackay.fuzz.shrink import shrink
from pymackay.fuzz.store import make_folder, store


@dataclass(frozen=True)
class Disagreement:
    """A model on which the engines disagree.

    Attributes
    ----------
    model : FuzzModel
        The generated model.
    outcome : Outcome
    kept : pathlib.Path or None
        File of the reduced model, if it was stored.
    """

    model: FuzzModel
    outcome: Outcome
    kept: Path | None = None


@dataclass
class Tally:
    """The results of a run so far.

    Attributes
    ----------
    first : int
        The first seed; each model has the next one.
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
        """Number of models that were judged."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{verdict} {n}" for verdict, n in self.verdicts.most_common())
        count = len(self.disagreements)
        return (
            f"{self.models} models from seed {self.first} in {self.seconds:.0f} s, "
            f"{count} disagreement{'' if count == 1 else 's'}"
            f"{', interrupted' if self.interrupted else ''}" + (f"\n{counts}" if counts else "")
        )


def run(
    seconds: float,
    seed: int,
    *,
    keep: Path | None = None,
    with_r: bool = True,
    generalised: bool = False,
    progress: Callable[[Tally], None] = lambda tally: None,
    on_disagreement: Callable[[Disagreement], None] = lambda disagreement: None,
) -> Tally:
    """Judge random models for a given time.

    Parameters
    ----------
    seconds : float
        Duration; the last model is finished.
    seed : int
        The first seed.
    keep : pathlib.Path, optional
        Folder in which every disagreement is stored, reduced to a small model.
    with_r : bool
        False: models are judged by the dense oracle alone.
    generalised : bool
        True: generalised models.
    progress, on_disagreement : callable
        Called with the tally after every model, and with every disagreement.

    Raises
    ------
    ArgumentError
        If the folder cannot be created.

    Returns
    -------
    Tally
        Returned also if Ctrl-C ended the run.
    """
    if keep is not None:
        make_folder(keep)
    judge = partial(judge_model, with_r=with_r)
    make = generate_general if generalised else generate
    tally, begin = Tally(seed), time.monotonic()
    try:
        while tally.seconds < seconds:
            model = make(seed + tally.models)
            outcome = judge(model)
            tally.verdicts[outcome.verdict] += 1
            if not outcome.agrees:
                tally.disagreements.append(Disagreement(model, outcome))
                on_disagreement(_kept(tally, judge, keep))
            tally.seconds = time.monotonic() - begin
            progress(tally)
    except KeyboardInterrupt:
        tally.interrupted, tally.seconds = True, time.monotonic() - begin
    return tally


def _kept(tally: Tally, judge: Callable[[FuzzModel], Outcome], folder: Path | None) -> Disagreement:
    """Reduce and store the last disagreement if there is a folder, and return it."""
    last = tally.disagreements[-1]
    if folder is None:
        return last
    small = shrink(last.model, last.outcome.verdict, judge=judge)
    path = store(small, judge(small), folder)
    tally.disagreements[-1] = Disagreement(last.model, last.outcome, path)
    return tally.disagreements[-1]
