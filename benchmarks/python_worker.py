"""A Python engine as a worker: reads a table, then fits once for every line "fit".

``python python_worker.py <engine> <folder of the table> <formula> [<JSON of more arguments>]``.
It imports nothing of this project unless the engine is ours. A line "stages" is answered with the
time of each step, by engines that can tell.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Answer = dict[str, Any]


class Ours:
    """`pymackay.lmer`."""

    packages = ("pymackay", "tensorflow", "numpy", "scipy")

    def __init__(self, data: Any, formula: str, more: dict[str, str]) -> None:
        self.data, self.formula = data, formula

    @staticmethod
    def load() -> None:
        import pymackay.api.lmer  # noqa: F401

    def fit(self) -> Any:
        import pymackay as pm

        return pm.lmer(self.formula, self.data)

    def describe(self, fit: Any) -> Answer:
        ended = fit.convergence
        note = "" if ended.converged else ended.message
        return {"criterion": fit.criterion, "evaluations": ended.evaluations, "note": note}

    def stages(self) -> Answer:
        """Time the steps of `pymackay.lmer`, one after the other."""
        from pymackay.model.design.build import build_model
        from pymackay.model.sums.gram import cross_products
        from pymackay.solve.assemble import Problem, assemble
        from pymackay.solve.exact.solver import Exact
        from pymackay.solve.search.newton import find_optimum

        clock = [time.perf_counter()]
        model = build_model(self.formula, self.data)
        clock.append(time.perf_counter())
        gram = cross_products(model)
        clock.append(time.perf_counter())
        solver = Exact(gram, True)
        clock.append(time.perf_counter())
        optimum = find_optimum(solver)
        clock.append(time.perf_counter())
        assemble(Problem(model, solver), optimum.factors, optimum.evaluation, optimum.convergence)
        clock.append(time.perf_counter())
        names = ("formula and model", "cross-products", "solver", "optimise", "assemble")
        return {name: clock[i + 1] - clock[i] for i, name in enumerate(names)}


class Glmm:
    packages = ("glmm", "numpy")

    def __init__(self, data: Any, formula: str, more: dict[str, str]) -> None:
        self.data, self.formula = data, formula

    @staticmethod
    def load() -> None:
        import glmm  # noqa: F401

    def fit(self) -> Any:
        import glmm

        return glmm.fit(self.data, self.formula)

    def describe(self, fit: Any) -> Answer:
        note = "" if fit.converged else "does not claim convergence"
        return {"criterion": -2.0 * fit.loglik, "evaluations": fit.n_eval, "note": note}


class Mixedlm:
    packages = ("mixedlm", "numpy")

    def __init__(self, data: Any, formula: str, more: dict[str, str]) -> None:
        self.data, self.formula = data, formula

    @staticmethod
    def load() -> None:
        from mixedlm import lmer  # noqa: F401

    def fit(self) -> Any:
        import mixedlm

        return mixedlm.lmer(self.formula, self.data)

    def describe(self, fit: Any) -> Answer:
        note = "" if fit.converged else "does not claim convergence"
        return {"criterion": fit.REMLcrit(), "evaluations": fit.function_evals, "note": note}


class LmePython:
    """lme-python, which takes a polars data frame."""

    packages = ("lme_python", "polars")

    def __init__(self, data: Any, formula: str, more: dict[str, str]) -> None:
        import polars as pl

        self.formula = formula
        self.data = pl.DataFrame(
            {
                name: pl.Series(name, column.astype(str).to_list())
                if column.dtype == "category"
                else column.to_numpy()
                for name, column in data.items()
            }
        )

    @staticmethod
    def load() -> None:
        import lme_python  # noqa: F401

    def fit(self) -> Any:
        import lme_python

        return lme_python.lmer(self.formula, data=self.data, reml=True)

    def describe(self, fit: Any) -> Answer:
        note = "" if fit.converged else "does not claim convergence"
        return {"criterion": fit.reml_criterion, "evaluations": fit.iterations, "note": note}


class Statsmodels:
    packages = ("statsmodels", "numpy", "scipy")

    def __init__(self, data: Any, formula: str, more: dict[str, str]) -> None:
        self.data, self.more = data, more

    @staticmethod
    def load() -> None:
        import statsmodels.formula.api  # noqa: F401

    def fit(self) -> Any:
        import statsmodels.formula.api as smf

        return smf.mixedlm(data=self.data, **self.more).fit(reml=True)

    def describe(self, fit: Any) -> Answer:
        note = "" if fit.converged else "does not claim convergence"
        return {"criterion": -2.0 * fit.llf, "evaluations": None, "note": note}


ENGINES: dict[str, Any] = {
    "pymackay": Ours,
    "glmm": Glmm,
    "mixedlm": Mixedlm,
    "lme-python": LmePython,
    "statsmodels": Statsmodels,
}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the value of `work`, wall seconds, and CPU seconds of all threads."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    value = work()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    engine = ENGINES[sys.argv[1]]
    answers, sys.stdout = (
        sys.stdout,
        sys.stderr,
    )  # so that output of a library is not taken for an answer

    def say(answer: Answer) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    _, imported, _ = timed(engine.load)
    from benchmarks.tables import read_table

    more = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    subject = engine(read_table(Path(sys.argv[2])), sys.argv[3], more)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in engine.packages[1:]]
    say({"version": _version(engine), "libraries": ", ".join(versions), "import": imported})
    for line in sys.stdin:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            if line.strip() == "stages":
                subject.stages()
                say(subject.stages())
                continue
            fit, seconds, cpu = timed(subject.fit)
            say({"seconds": seconds, "cpu": cpu, **subject.describe(fit)})
            del fit


def _version(engine: Any) -> str:
    if engine is Ours:
        import pymackay

        return pymackay.__version__
    return importlib.metadata.version(engine.packages[0])


if __name__ == "__main__":
    main()
