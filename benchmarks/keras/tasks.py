"""The tasks: simulated and real data in a training and a test part, by the seed.

Every network of a task is a perceptron of the covariates plus one number per level of each factor,
so that a factor's table is an `Embedding` with one column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

import pymackay as pm

__all__ = ["SEEDS", "TASKS", "Rows", "Task"]

SEEDS = tuple(range(1, 21))


@dataclass(frozen=True)
class Rows:
    """Rows of a task.

    Attributes
    ----------
    x : numpy.ndarray, (n, covariates), float32
    codes : dict of str to numpy.ndarray, (n,), int32
        Factor to the level of each row.
    y : numpy.ndarray, (n,), float32
    """

    x: np.ndarray
    codes: dict[str, np.ndarray]
    y: np.ndarray

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What the network takes: the covariates as ``x``, the codes by the factor's name."""
        return {"x": self.x, **self.codes}

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        codes = {name: code[rows] for name, code in self.codes.items()}
        return Rows(self.x[rows], codes, self.y[rows])


@dataclass(frozen=True)
class Task:
    """Data, and the size of the network that is trained on them.

    Attributes
    ----------
    name : str
        Its key in `TASKS`.
    train, test : Rows
    levels : dict of str to int
        Number of levels of each factor.
    hidden : tuple of int
        Units of the hidden layers.
    epochs, batch : int
        Of one training.
    rate : float
        Learning rate of Adam.
    """

    name: str
    train: Rows
    test: Rows
    levels: dict[str, int]
    hidden: tuple[int, ...]
    epochs: int
    batch: int = 250
    rate: float = 0.01

    def split(self, seed: int, share: float = 0.2) -> tuple[Rows, Rows]:
        """Divide the training rows: some for training, a share of them for validation."""
        order = np.random.default_rng([seed, 1]).permutation(len(self.train.y))
        held = int(share * len(order))
        return self.train.take(order[held:]), self.train.take(order[:held])


def simulated(seed: int, n: int = 4000, n_test: int = 10_000) -> Task:
    """Six covariates with interactions and three factors, of which the last has no effect.

    The noise has the standard deviation 1, so no test RMSE is below 1. The effects of the 2,000
    users have the standard deviation 0.7, those of the 60 stores 0.5. The levels are used
    unequally: the probabilities are gamma variates of shape 1.
    """
    rng = np.random.default_rng([seed, 0])
    levels = {"user": 2000, "store": 60, "zip": 400}
    sd = {"user": 0.7, "store": 0.5, "zip": 0.0}
    use = {name: rng.gamma(1.0, size=size) for name, size in levels.items()}
    effects = {name: sd[name] * rng.standard_normal(size) for name, size in levels.items()}

    def draw(rows: int) -> Rows:
        x = rng.standard_normal((rows, 6))
        codes = {
            name: rng.choice(size, rows, p=use[name] / use[name].sum()).astype(np.int32)
            for name, size in levels.items()
        }
        mean = x[:, 0] * x[:, 1] + np.sin(1.5 * x[:, 2]) + np.maximum(x[:, 3], 0.0) * x[:, 4]
        mean = mean + 0.5 * x[:, 5] + sum(effects[name][code] for name, code in codes.items())
        y = mean + rng.standard_normal(rows)
        return Rows(x.astype(np.float32), codes, y.astype(np.float32))

    return Task("simulated", draw(n), draw(n_test), levels, hidden=(24, 24), epochs=60, batch=200)


def diabetes(seed: int) -> Task:
    """Disease progression of 442 patients (scikit-learn's data); a third is the test part."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    rows = Rows(np.asarray(data.data, float), {}, np.asarray(data.target, float))
    return _divided("diabetes", rows, {}, seed, n=300, hidden=(24,), epochs=120, batch=60)


def insteval(seed: int) -> Task:
    """Ratings of lectures at ETH Zurich (lme4's data): 5,000 of 73,421 rows, 10,000 to test.

    Students, lecturers and departments are factors; the ages of student and lecture, and whether it
    is a service lecture for another department, are covariates.
    """
    data = pm.load_data("InstEval")
    tables = {"student": "s", "lecturer": "d", "department": "dept"}
    codes = {
        name: pd.Categorical(data[column]).codes.astype(np.int32) for name, column in tables.items()
    }
    levels = {name: int(code.max()) + 1 for name, code in codes.items()}
    x = np.column_stack([pd.Categorical(data[c]).codes for c in ("studage", "lectage", "service")])
    rows = Rows(x.astype(float), codes, data["y"].to_numpy(float))
    return _divided(
        "insteval", rows, levels, seed, n=5000, n_test=10_000, hidden=(24, 24), epochs=60
    )


def _divided(
    name: str,
    rows: Rows,
    levels: dict[str, int],
    seed: int,
    n: int,
    n_test: int | None = None,
    **size: object,
) -> Task:
    """Draw n training and n_test test rows; scale all by the training rows' mean and sd."""
    order = np.random.default_rng([seed, 0]).permutation(len(rows.y))
    train, test = rows.take(order[:n]), rows.take(order[n:][:n_test])
    x, y = (train.x.mean(0), train.x.std(0)), (train.y.mean(), train.y.std())

    def scaled(part: Rows) -> Rows:
        covariates, response = (part.x - x[0]) / x[1], (part.y - y[0]) / y[1]
        return Rows(covariates.astype(np.float32), part.codes, response.astype(np.float32))

    return Task(name, scaled(train), scaled(test), levels, **size)  # type: ignore[arg-type]


TASKS: dict[str, Callable[[int], Task]] = {
    "simulated": simulated,
    "diabetes": diabetes,
    "insteval": insteval,
}
