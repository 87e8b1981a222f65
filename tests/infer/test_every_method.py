"""Every public method of a fit: wherever its rows came from, saved, pickled or fresh, it works, or
refuses and names the cure.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from journeys import assert_same, methods_besides
from tolerances import tol

import pymackay as pm

FORMULA = "y ~ x + f + (x | g)"

METHODS: dict[str, Callable[[pm.Fit, pd.DataFrame, Path], Any]] = {
    "_repr_html_": lambda fit, data, folder: len(fit._repr_html_()) > 0,
    "aic": lambda fit, data, folder: fit.aic,
    "anova": lambda fit, data, folder: fit.anova(),
    "augment": lambda fit, data, folder: fit.augment(data),
    "bic": lambda fit, data, folder: fit.bic,
    "bootstrap": lambda fit, data, folder: fit.bootstrap(3, seed=1).replicates,
    "coef": lambda fit, data, folder: fit.coef()["g"],
    "coefficients": lambda fit, data, folder: fit.coefficients(),
    "condvar": lambda fit, data, folder: fit.condvar["g"],
    "condvar_error": lambda fit, data, folder: fit.condvar_error()["g"],
    "confint": lambda fit, data, folder: fit.confint("wald"),
    "contrast": lambda fit, data, folder: fit.contrast([0.0, 1.0, 0.0, 0.0]),
    "df": lambda fit, data, folder: fit.df,
    "drop1": lambda fit, data, folder: fit.drop1(),
    "effects_of": lambda fit, data, folder: fit.effects_of(data.head(9))["g"],
    "evaluate": lambda fit, data, folder: fit.evaluate(fit.theta).criterion,
    "glance": lambda fit, data, folder: fit.glance(),
    "has_residual": lambda fit, data, folder: fit.has_residual,
    "influence": lambda fit, data, folder: fit.influence("g").beta,
    "loglik": lambda fit, data, folder: fit.loglik,
    "model_matrix": lambda fit, data, folder: fit.model_matrix(data.head(9)),
    "n_obs": lambda fit, data, folder: fit.n_obs,
    "par": lambda fit, data, folder: fit.par,
    "pev": lambda fit, data, folder: fit.pev["g"],
    "power": lambda fit, data, folder: fit.power("x", nsim=3, seed=1),
    "predict": lambda fit, data, folder: fit.predict(data.head(9), se_fit=True),
    "profile": lambda fit, data, folder: fit.profile("x", points=3).frame[["value", "zeta"]],
    "random_effects_pca": lambda fit, data, folder: fit.random_effects_pca()["g"],
    "random_tests": lambda fit, data, folder: fit.random_tests(),
    "refit": lambda fit, data, folder: fit.refit(2.0 * data["y"]).beta,
    "replace": lambda fit, data, folder: fit.replace(sigma=1.0).sigma,
    "residuals_of": lambda fit, data, folder: fit.residuals_of("pearson"),
    "save": lambda fit, data, folder: pm.load_fit(fit.save(folder / "again.fit")).beta,
    "simulate": lambda fit, data, folder: fit.simulate(2, seed=1),
    "std_error": lambda fit, data, folder: fit.std_error,
    "summary": lambda fit, data, folder: fit.summary(ddf="Satterthwaite").coefficients,
    "tidy": lambda fit, data, folder: fit.tidy(),
    "variance_test": lambda fit, data, folder: fit.variance_test(("g", "x")),
}
NEEDS_ROWS = {
    "anova": "Fit a smaller model to the same data and pass both to anova",
    "augment": "Fit a data frame",
    "bootstrap": "Fit a data frame",
    "drop1": "Fit a data frame",
    "influence": "Fit a data frame",
    "power": "Fit a data frame",
    "random_tests": "Fit a data frame",
    "refit": "Fit a data frame",
    "residuals_of": "Fit a data frame",
    "simulate": "Fit a data frame",
    "variance_test": "Fit the smaller model to the same data and pass that",
}
"""Methods that refuse where the rows were not kept, and the cure that they name."""


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 160
    data = pd.DataFrame({"g": np.arange(n) % 12, "x": rng.normal(size=n)})
    data["f"] = np.repeat(["c", "a"], [100, 60])
    data.loc[::9, "f"] = "b"
    effects = rng.normal(size=(12, 2))[data["g"]]
    data["y"] = 5.0 + data["x"] + effects[:, 0] + effects[:, 1] * data["x"] + rng.normal(size=n)
    return data


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return rows()


@pytest.fixture(scope="module")
def fits(data: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pm.Fit]:
    """Return the fit by source and by what was done to it."""
    import dask.dataframe as dask

    folder = tmp_path_factory.mktemp("fits")
    data.to_parquet(folder / "rows.parquet")
    fresh = {
        "frame": pm.lmer(FORMULA, data),
        "Parquet": pm.lmer(FORMULA, folder / "rows.parquet"),
        "iterator": pm.lmer(FORMULA, (data.iloc[k : k + 40] for k in range(0, 160, 40))),
        "Dask": pm.lmer(FORMULA, dask.from_pandas(data, npartitions=3)),
    }
    made = {}
    for source, fit in fresh.items():
        made[f"{source}, fresh"] = fit
        made[f"{source}, saved"] = pm.load_fit(fit.save(folder / f"{source}.fit"))
        made[f"{source}, pickled"] = pickle.loads(pickle.dumps(fit))
    made["frame, copied"] = copy.deepcopy(fresh["frame"])
    made["frame, saved without rows"] = pm.load_fit(
        fresh["frame"].save(folder / "short.fit", rows=False)
    )
    return made


STATES = [
    *(f"{source}, {state}" for source in ("frame", "Parquet", "iterator", "Dask")
      for state in ("fresh", "saved", "pickled")),
    "frame, copied",
    "frame, saved without rows",
]  # fmt: skip


def keeps_rows(state: str) -> bool:
    return state.startswith("frame") and "without" not in state


def test_each_method_has_an_entry():
    assert methods_besides(()) == sorted(METHODS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", METHODS)
def test_each_method_works_or_names_the_cure(name, state, fits, data, tmp_path):
    if name in NEEDS_ROWS and not keeps_rows(state):
        with pytest.raises(pm.PymackayError, match=rf"not kept.*{NEEDS_ROWS[name]}"):
            METHODS[name](fits[state], data, tmp_path)
        return
    ours, theirs = (METHODS[name](fits[k], data, tmp_path) for k in (state, "frame, fresh"))
    _assert_equal(ours, theirs)


def test_smaller_fits_are_the_cure(data):
    smaller = ("y ~ x + (x | g)", "y ~ x + f + (1 | g)")
    whole = [pm.lmer(formula, data) for formula in (FORMULA, *smaller)]
    parts = [pm.lmer(formula, [data.head(90), data.tail(70)]) for formula in (FORMULA, *smaller)]
    _assert_equal(parts[0].anova(parts[1]), whole[0].anova(whole[1]))
    _assert_equal(parts[0].variance_test(parts[2]), whole[0].variance_test(whole[2]))


def test_a_fit_works_in_another_process(fits, data):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    fit = fits["frame, fresh"]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        again = pool.submit(pm.Fit.predict, fit, data.head(4)).result()
    np.testing.assert_array_equal(again, fit.predict(data.head(4)))


def test_other_results_can_be_pickled_and_copied(fits, data):
    fit = fits["frame, fresh"]
    many = pm.lmer_many("y ~ x + (x | g)", data, np.column_stack([data["y"], data["x"] ** 2]))
    comparison = pm.compare(fit, fits["Parquet, fresh"], tolerances={"beta": 1e-4})
    for result in (many, comparison, fit.bootstrap(3, seed=1), fit.profile("x", points=3)):
        for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
            assert repr(again) == repr(result)


def test_a_fit_of_another_engine_keeps_what_can_leave_the_process(fits):
    fit = fits["frame, fresh"]
    source = fit.condvar_source
    foreign = fit.replace(problem=None, condvar_source=lambda: source(), pev_source=None)
    again = pickle.loads(pickle.dumps(foreign))
    np.testing.assert_array_equal(again.condvar["g"], fit.condvar["g"])
    with pytest.raises(pm.PymackayError, match=r"evaluate is not offered .*another process"):
        again.evaluate(fit.theta)
    assert copy.deepcopy(foreign).evaluate(fit.theta).criterion == fit.criterion


def test_reading_and_predicting_loads_no_tensorflow(fits, data, tmp_path):
    path, table = fits["frame, fresh"].save(tmp_path / "fit"), tmp_path / "rows.csv"
    data.head(4).to_csv(table, index=False)
    code = (
        "import sys, pandas as pd, pymackay as pm\n"
        f"fit = pm.load_fit({str(path)!r})\n"
        f"fit.predict(pd.read_csv({str(table)!r}))\n"
        "fit.summary(), fit.tidy()\n"
        "print('tensorflow' in sys.modules)\n"
        "fit.pev\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


def _assert_equal(ours: Any, theirs: Any) -> None:
    assert_same(ours, theirs, rtol=0.0, atol=tol("partitions"))
