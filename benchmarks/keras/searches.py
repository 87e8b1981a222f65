"""What a Keras user does about penalties without the loop: nothing, stop early, drop, or search.

A method that needs a validation set takes a fifth of the training rows, chooses by it, and trains
once more on all of them where it has chosen a penalty. Its noise variance is the mean square on the
validation set at the choice; without a validation set it is that of the training rows.
"""

from __future__ import annotations

import functools
import tempfile
from typing import Any

import keras
import numpy as np

from benchmarks.keras.answer import Answer
from benchmarks.keras.network import Penalised, groups_of, mean_square, predict, train, untrained
from benchmarks.keras.tasks import TASKS, Task

__all__ = ["SEARCHES"]

GRID = np.logspace(-5.0, -1.0, 8)
TRIALS = 16
STEP = 5.0  # factor by which the search by coordinates changes one penalty


def no_penalty(task: Task, seed: int) -> Answer:
    """Train on all rows."""
    model = untrained(task, {})
    train(model, task, task.train)
    return Answer(predict(model, task.test), mean_square(model, task.train), 1, {})


def early_stopping(task: Task, seed: int, dropout: float = 0.0) -> Answer:
    """Stop when the validation error has not fallen for ten epochs; keep the best weights."""
    fitted, held = task.split(seed)
    model = untrained(task, {}, dropout)
    stop = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    history = train(model, task, fitted, validation_data=(held.inputs, held.y), callbacks=[stop])
    details = {"epochs": len(history.epoch)}
    return Answer(predict(model, task.test), mean_square(model, held), 1, details)


def dropout(task: Task, seed: int) -> Answer:
    """Drop a fifth of the units and of the levels' effects, and stop early."""
    return early_stopping(task, seed, dropout=0.2)


def one_l2(task: Task, seed: int) -> Answer:
    """One L2 penalty for all layers, the best of a grid of eight."""
    network = _shared(task.name, seed)
    return _refitted(network, _tried(network, _grid(task)))


def random_l2(task: Task, seed: int) -> Answer:
    """A penalty for each layer, the best of sixteen drawn at random."""
    rng = np.random.default_rng([seed, 2])
    low, high = np.log(GRID[[0, -1]])
    names = groups_of(task)
    draws = np.exp(rng.uniform(low, high, (TRIALS, len(names))))
    network = _shared(task.name, seed)
    trials = [dict(zip(names, map(float, row), strict=True)) for row in draws]
    return _refitted(network, _tried(network, trials))


def coordinate_l2(task: Task, seed: int) -> Answer:
    """A penalty for each layer: from the grid's best, each layer's a fifth and five times."""
    network = _shared(task.name, seed)
    tried = _tried(network, _grid(task))
    for name in groups_of(task):
        _, best = min(tried, key=lambda pair: pair[0])
        tried += _tried(network, [{**best, name: best[name] * f} for f in (1.0 / STEP, STEP)])
    return _refitted(network, tried)


def keras_tuner(task: Task, seed: int) -> Answer:
    """A penalty for each layer by KerasTuner's Bayesian optimisation with sixteen trials."""
    import keras_tuner

    network = _shared(task.name, seed)
    low, high = float(GRID[0]), float(GRID[-1])
    tried: list[tuple[float, dict[str, float]]] = []

    class Tuner(keras_tuner.BayesianOptimization):  # type: ignore[misc]
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> float:
            choice = trial.hyperparameters
            names = groups_of(task)
            l2 = {n: choice.Float(n, low, high, sampling="log") for n in names}
            tried.extend(_tried(network, [l2]))
            return tried[-1][0]

    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(
            objective=keras_tuner.Objective("default_objective", "min"),
            max_trials=TRIALS,
            seed=seed,
            directory=folder,
        )
        tuner.search(verbose=0)
    return _refitted(network, tried)


@functools.lru_cache(maxsize=1)
def _shared(name: str, seed: int) -> Penalised:
    """Return the network of a task and seed: one for all searches, so that it is compiled once."""
    return Penalised(TASKS[name](seed), seed)


def _grid(task: Task) -> list[dict[str, float]]:
    return [dict.fromkeys(groups_of(task), float(value)) for value in GRID]


def _tried(
    network: Penalised, trials: list[dict[str, float]]
) -> list[tuple[float, dict[str, float]]]:
    """Train with each choice of penalties; return the validation error of each."""
    fitted, held = network.task.split(network.seed)
    return [(network.error(fitted, held, trial), trial) for trial in trials]


def _refitted(network: Penalised, tried: list[tuple[float, dict[str, float]]]) -> Answer:
    """Train with the best penalties on all rows."""
    square, best = min(tried, key=lambda pair: pair[0])
    task = network.task
    model = network.train(task.train, best)
    return Answer(predict(model, task.test), square, len(tried) + 1, {"l2": best})


SEARCHES = {
    "no penalty": no_penalty,
    "early stopping": early_stopping,
    "dropout": dropout,
    "one l2, grid": one_l2,
    "l2 per layer, random": random_l2,
    "l2 per layer, by coordinates": coordinate_l2,
    "l2 per layer, KerasTuner": keras_tuner,
}
