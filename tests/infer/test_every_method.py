"""Every public method of a fit: wherever its rows came from, saved, pickled or fresh, it works, or
refuses and names the cure.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
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
    "coefficients": lambda fit, data, folder: fit.coefficients(),
    "condvar": lambda fit, data, folder: fit.condvar["g"],
    "condvar_error": lambda fit, data, folder: fit.condvar_error()["g"],
    "confint": lambda fit, data, folder: fit.confint("wald"),
    "contrast": lambda fit, data, folder: fit.contrast([0.0, 1.0, 0.0, 0.0]),
    "df": lambda fit, data, folder: fit.df,
    "evaluate": lambda fit, data, folder: fit.evaluate(fit.theta).criterion,
    "glance": lambda fit, data, folder: fit.glance(),
    "loglik": lambda fit, data, folder: fit.loglik,
    "n_obs": lambda fit, data, folder: fit.n_obs,
    "pev": lambda fit, data, folder: fit.pev["g"],
    "power": lambda fit, data, folder: fit.power("x", nsim=3, seed=1),
    "predict": lambda fit, data, folder: fit.predict(data.head(9), se_fit=True),
    "profile": lambda fit, data, folder: fit.profile("x", points=3).confint(),
    "refit": lambda fit, data, folder: fit.refit(2.0 * data["y"]).beta,
    "replace": lambda fit, data, folder: fit.replace(sigma=1.0).sigma,
    "save": lambda fit, data, folder: pm.load_fit(fit.save(folder / "again.fit")).beta,
    "simulate": lambda fit, data, folder: fit.simulate(2, seed=1),
    "std_error": lambda fit, data, folder: fit.std_error,
    "summary": lambda fit, data, folder: fit.summary(ddf="Satterthwaite").coefficients,
    "tidy": lambda fit, data, folder: fit.tidy(),
    "variance_test": lambda fit, data, folder: fit.variance_test("y ~ x + f + (1 | g)"),
}
NEEDS_ROWS = {"augment", "bootstrap", "power", "refit", "simulate"}
"""Methods that refuse where the rows were not kept."""


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
    fields = set(pm.Fit.__dataclass_fields__)
    public = {name for name in vars(pm.Fit) if not name.startswith("_")} | {"_repr_html_"}
    assert public - fields == set(METHODS)


@pytest.fixture(scope="module")
def expected(fits, data, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("expected")
    return {name: call(fits["frame, fresh"], data, folder) for name, call in METHODS.items()}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", METHODS)
def test_each_method_works_or_names_the_cure(name, state, fits, data, expected, tmp_path):
    if name in NEEDS_ROWS and not keeps_rows(state):
        with pytest.raises(pm.PymackayError, match=r"not kept.*[Ff]it (a data frame|the model)"):
            METHODS[name](fits[state], data, tmp_path)
        return
    assert_equal(METHODS[name](fits[state], data, tmp_path), expected[name])


def assert_equal(ours: Any, theirs: Any) -> None:
    """Compare tables, arrays or numbers; text must be equal."""
    assert type(ours) is type(theirs)
    if isinstance(ours, pd.DataFrame):
        pd.testing.assert_frame_equal(
            pd.DataFrame(ours), pd.DataFrame(theirs), rtol=0.0, atol=tol("partitions")
        )
    elif isinstance(ours, pd.Series):
        pd.testing.assert_series_equal(ours, theirs, rtol=0.0, atol=tol("partitions"))
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=tol("partitions"))
