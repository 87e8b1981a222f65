"""MacKay's loop on the network of a task: one training, no validation set."""

from __future__ import annotations

from functools import partial
from typing import Any

import pymackay as pm
from benchmarks.keras.answer import Answer
from benchmarks.keras.network import groups_of, predict, untrained
from benchmarks.keras.tasks import Task

__all__ = ["LOOPS", "loop"]


def loop(
    task: Task,
    seed: int,
    start: float = 1.0,
    every: int = 5,
    start_after: int = 10,
    **options: Any,
) -> Answer:
    """Train once with `pymackay.keras.fit`; every table and every kernel is a weight group.

    `start` is each group's variance before the first update, as a share of the response's.
    """
    model = untrained(task, {})
    variance = start * float(task.train.y.var())
    named = {
        name: {"weights": weights, "start": variance} for name, weights in weights_of(task).items()
    }
    groups = pm.keras.WeightGroups(model, named)
    fit = pm.keras.fit(
        model,
        task.train.inputs,
        task.train.y,
        groups,
        epochs=task.epochs,
        batch_size=task.batch,
        every=every,
        start_after=start_after,
        **options,
    )
    table = fit.groups.set_index("name")
    details = {
        "sd": table["sd"].to_dict(),
        "gamma": table["gamma"].to_dict(),
        "log_evidence": float(fit.log_evidence),
        "converged": bool(fit.converged),
        "curvature": fit.curvature,
    }
    return Answer(predict(model, task.test), float(fit.noise), 1, details)


def weights_of(task: Task) -> dict[str, str]:
    """Return the weight groups: the tables of the factors, and the kernels of the layers."""
    return {
        name: f"{name}_table" if name in task.levels else f"{name}/kernel"
        for name in groups_of(task)
    }


LOOPS = {
    "loop, literal": partial(loop, update="raw", curvature="diagonal", polish=False),
    "loop, diagonal": partial(loop, curvature="diagonal", polish=False),
    "loop, block": partial(loop, curvature="block", polish=False),
    "loop, block, small start": partial(
        loop, curvature="block", polish=False, start=0.03, every=4, start_after=4
    ),
    "loop, probes": partial(loop, curvature="probes", polish=False),
    "loop, exact": partial(loop, curvature="exact", polish=False),
    "loop": loop,
}
