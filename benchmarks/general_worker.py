"""Fits of one generalised model by one package in this process; prints a line of JSON.

``python general_worker.py <engine> <table.csv> <specification>``, in the Python that has the
package; the specification is JSON: formula, weights, groups, solver, repeats. Every fit computes
standard errors. The first fit is not counted where there are several.
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

Fitter = Callable[[], list[float]]


def ours(data: pd.DataFrame, how: dict[str, Any]) -> Fitter:
    """Return a function that fits by pymackay and returns the standard deviations."""
    from pymackay import glmer  # what it needs is imported here, as by the other packages

    def fit() -> list[float]:
        made = glmer(how["formula"], data, "binomial", weights=how["weights"], solver=how["solver"])
        assert np.isfinite(made.std_error).all()
        return [float(np.sqrt(V.iloc[0, 0])) for V in made.varcorr.values()]

    return fit


def glmm(data: pd.DataFrame, how: dict[str, Any]) -> Fitter:
    """Return a function that fits by glmm."""
    import glmm

    weights = None if how["weights"] is None else data[how["weights"]].to_numpy()

    def fit() -> list[float]:
        made = glmm.fit(data, how["formula"], family="binomial", weights=weights)
        return [float(np.sqrt(term[0])) for term in made.varcorr]

    return fit


def gpboost(data: pd.DataFrame, how: dict[str, Any]) -> Fitter:
    """Return a function that fits by GPBoost's iterative methods."""
    import gpboost as gpb

    groups = data[how["groups"]]
    X = np.column_stack([np.ones(len(data)), data["x"]])

    def fit() -> list[float]:
        model = gpb.GPModel(
            group_data=groups, likelihood="bernoulli_logit", matrix_inversion_method="iterative"
        )
        model.fit(y=data["y"].to_numpy(), X=X)
        assert np.isfinite(np.asarray(model.get_coef(std_err=True), dtype=float)).all()
        return np.sqrt(np.asarray(model.get_cov_pars(std_err=False), dtype=float).ravel()).tolist()

    return fit


ENGINES = {"pymackay": ours, "glmm": glmm, "gpboost": gpboost}


def main() -> None:
    """Fit, and print CPU seconds of each fit, standard deviations and peak memory in GiB."""
    engine, table, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    fit = ENGINES[engine](pd.read_csv(table), how)
    seconds = []
    for _ in range(how["repeats"] + (how["repeats"] > 1)):
        before = time.process_time()
        sd = fit()
        seconds.append(time.process_time() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    version = importlib.metadata.version(engine)
    answer = {"seconds": seconds[-how["repeats"] :], "sd": sd, "peak": peak, "version": version}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
