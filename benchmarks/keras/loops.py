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
    **options: Any,
) -> Answer:
    """Train once with `pymackay.keras.fit`; every table and every kernel is a weight group."""
    model = untrained(task, {})
    groups = pm.keras.WeightGroups(model, weights_of(task))
    fit = pm.keras.fit(
        model,
        task.train.inputs,
        task.train.y,
        groups,
        epochs=task.epochs,
        batch_size=task.batch,
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
    "loop": loop,
    "loop, literal": partial(loop, update="raw", curvature="diagonal"),
    "loop, diagonal": partial(loop, curvature="diagonal"),
    "loop, probes": partial(loop, curvature="probes"),
    "loop, exact": partial(loop, curvature="exact"),
}
