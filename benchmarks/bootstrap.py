"""Times `lmer_many` against lme4's `refit` in a loop: ``python -m benchmarks.bootstrap``.

Both refit the same simulated responses, by turns, in processes of their own that are warm. Writes
`BOOTSTRAP.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

import pymackay as pm
from benchmarks.engines import Worker
from benchmarks.tables import write_table

__all__ = ["main"]

_HERE = Path(__file__).resolve().parent
_LIMIT = 3600.0  # seconds that one round of refits may take


@dataclass(frozen=True)
class Case:
    """A model, whose responses are simulated from its fit.

    Attributes
    ----------
    title, data, formula : str
    responses : int
    reml : bool
    without : int
        Every row whose number is a multiple of this is left out, to unbalance the levels; 0: none.
    """

    title: str
    data: str
    formula: str
    responses: int
    reml: bool = True
    without: int = 0

    def table(self) -> pd.DataFrame:
        data = pm.load_data(self.data)
        if not self.without:
            return data
        rows = np.arange(len(data)) % self.without != self.without - 1
        return data[rows].reset_index(drop=True)


_SLOPES = "Reaction ~ Days + (Days | Subject)"
CASES = (
    Case("sleepstudy, REML", "sleepstudy", _SLOPES, 1000),
    Case("sleepstudy, ML", "sleepstudy", _SLOPES, 300, reml=False),
    Case("sleepstudy unbalanced, ML", "sleepstudy", _SLOPES, 300, reml=False, without=7),
    Case("Dyestuff, REML", "Dyestuff", "Yield ~ 1 + (1 | Batch)", 300),
    Case("Machines, ML", "Machines", "score ~ Machine + (Machine | Worker)", 100, reml=False),
    Case("Penicillin, REML", "Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", 20),
)


@dataclass(frozen=True)
class Result:
    """Seconds for all responses of a case, for every repeat, and differences of the results."""

    case: Case
    ours: list[float]
    ours_cpu: list[float]
    lme4: list[float]
    lme4_cpu: list[float]
    singular: int
    uncertified: int
    excess: np.ndarray
    comparable: bool

    def row(self) -> str:
        """Return a line of the table, milliseconds per refit."""
        per = 1e3 / self.case.responses
        ours, lme4 = statistics.median(self.ours), statistics.median(self.lme4)
        ours_cpu, lme4_cpu = statistics.median(self.ours_cpu), statistics.median(self.lme4_cpu)
        formula = self.case.formula.replace("|", "\\|")
        cells = [
            f"{self.case.title}: `{formula}`",
            str(self.case.responses),
            f"{per * lme4:.3g}",
            f"{per * ours:.3g}",
            f"**{lme4 / ours:.3g}**",
            f"{lme4_cpu / ours_cpu:.3g}",
            str(self.singular),
            str(self.uncertified),
            *self.excesses(),
        ]
        return f"| {' | '.join(cells)} |"

    def excesses(self) -> list[str]:
        """Return the largest amounts by which lme4's criteria are above and below ours."""
        if not self.comparable:
            return ["–", "–"]
        above, below = self.excess.max(), -self.excess.min()
        return [f"{max(above, 0.0):.1g}", f"{max(below, 0.0):.1g}"]


def measure(case: Case, repeats: int) -> tuple[Result, dict[str, str]]:
    """Let both packages refit the responses of a case in turn."""
    data = case.table()
    fit = pm.lmer(case.formula, data, reml=case.reml)
    Y = fit.simulate(case.responses, seed=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(data, folder)
        np.asfortranarray(Y.to_numpy()).T.tofile(folder / "responses.bin")
        script = str(_HERE / "refit_worker.R")
        kind = "REML" if case.reml else "ML"
        worker = Worker(["Rscript", "--vanilla", script, str(folder), case.formula, kind])
        ours, ours_cpu, lme4, lme4_cpu = [], [], [], []
        try:
            many = pm.lmer_many(case.formula, data, Y, reml=case.reml)  # the first pays for imports
            for _ in range(repeats):
                wall, cpu = time.perf_counter(), time.process_time()
                many = pm.lmer_many(case.formula, data, Y, reml=case.reml)
                ours.append(time.perf_counter() - wall)
                ours_cpu.append(time.process_time() - cpu)
                answer = worker.ask("refit", _LIMIT)
                lme4.append(answer["seconds"])
                lme4_cpu.append(answer["cpu"])
        finally:
            worker.close()
        theirs = np.fromfile(folder / "criteria.bin")
    return Result(
        case=case,
        ours=ours,
        ours_cpu=ours_cpu,
        lme4=lme4,
        lme4_cpu=lme4_cpu,
        singular=int(np.count_nonzero(many.singular)),
        uncertified=int(np.count_nonzero(~many.converged)),
        excess=theirs - many.criterion,
        comparable=not case.reml or len(fit.beta) == 1,
    ), worker.hello


_PAGE = """\
# Refits of simulated responses

This page compares the time to fit one model to many responses. The responses are simulated from a
fit of each model. `pymackay.lmer_many` fits all of them in a single call, which includes reading
the formula and building the design. lme4 fits them in a loop over `refit`. Both are warmed up and
take turns in one run. Times are medians of {repeats} repeats, in milliseconds per refit.
`python -m benchmarks.bootstrap` writes this page.

| model | responses | lme4 | pymackay | speedup | speedup, CPU time | singular fits \
| not certified | lme4 above ours, at most | lme4 below ours, at most |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

"Not certified" counts the fits for which the optimality conditions could not be verified. The last
two columns compare the criteria of each response: by how much lme4's is above ours at most, and
below ours at most. They are left out for REML fits with several fixed effects, because `refit` of
lme4 1.1-31 then minimises another criterion: it always counts a single fixed effect. Even
`refit(fit)` on the same data gives other estimates than `fit`. Models with several grouping factors
are fitted one after the other. With up to 80 rows and several variances (Machines), other valleys
of each response's criterion are looked for, as `lmer` does, which takes most of the time.

{cores} cores, load average {load:.1f} at the start; {versions}.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure all cases and write the page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bootstrap", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--page", type=Path, default=_HERE / "BOOTSTRAP.md")
    options = parser.parse_args(arguments)
    load, rows, versions = os.getloadavg()[0], [], {}
    for case in CASES:
        result, versions = measure(case, options.repeats)
        rows.append(result.row())
        print(rows[-1], flush=True)
    ours = {
        "pymackay": pm.__version__,
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "Python": platform.python_version(),
    }
    page = _PAGE.format(
        repeats=options.repeats,
        rows="\n".join(rows),
        cores=os.cpu_count(),
        load=load,
        versions=", ".join(f"{name} {version}" for name, version in {**ours, **versions}.items()),
    )
    options.page.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
