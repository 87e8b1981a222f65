"""`fit`: train a network and estimate the prior of every weight group."""

from __future__ import annotations

from typing import Any

import keras

from pymackay.arguments import flag, whole_number
from pymackay.keras.callback import MacKay
from pymackay.keras.evidence import Evidence
from pymackay.keras.groups import WeightGroups
from pymackay.keras.polish import gauss_newton
from pymackay.keras.result import EvidenceFit, covariances, group_table, trace_table
from pymackay.keras.rows import TrainingRows

_ROUNDS = 200  # of polishing
_TOLERANCE = 1e-9  # relative change of variances at which the loop has converged


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    groups: Any = None,
    *,
    likelihood: str = "gaussian",
    update: Any = "gamma",
    curvature: str = "auto",
    reml: bool = True,
    epochs: int = 60,
    batch_size: int = 128,
    polish: bool = True,
    every: int = 5,
    start_after: int = 10,
    sample_weight: Any = None,
    rounds: int = _ROUNDS,
    verbose: Any = 0,
) -> EvidenceFit:
    """Train a network and estimate the prior variance of every weight group, without validation.

    Returns
    -------
    EvidenceFit
    """
    groups = groups if isinstance(groups, WeightGroups) else WeightGroups(model, groups)
    rows = TrainingRows(x, y, sample_weight)
    callback = MacKay(
        groups,
        likelihood=likelihood,
        update=update,
        curvature=curvature,
        every=every,
        start_after=start_after,
        reml=reml,
        data=x if y is None else (x, y, sample_weight),
    )
    evidence = callback.evidence
    _compile(model, evidence)
    history: dict[str, list[float]] = {}
    if whole_number("epochs", epochs, 0):
        batch = {} if rows.dataset is not None else {"batch_size": batch_size}
        record = model.fit(
            x,
            y,
            epochs=epochs,
            sample_weight=sample_weight,
            callbacks=[callback],
            verbose=verbose,
            **batch,
        )
        history = record.history
    else:
        evidence.begin(rows)
    if flag("polish", polish):
        _polish(evidence, rows, rounds)
    return _result(evidence, model, history)


def _compile(model: Any, evidence: Evidence) -> None:
    if getattr(model, "optimizer", None) is None:
        model.compile("adam", loss=evidence.family.losses[0])


def _polish(evidence: Evidence, rows: TrainingRows, rounds: int) -> None:
    """Alternate a Gauss-Newton step and an update until no variance changes."""
    for _ in range(rounds):
        step = gauss_newton(evidence, rows, evidence.snapshot(rows))
        if step is None:
            return
        update = evidence.advance(evidence.snapshot(rows))
        if update.change < _TOLERANCE:
            return


def _result(evidence: Evidence, model: keras.Model, history: Any) -> EvidenceFit:
    last = evidence.updates[-1] if evidence.updates else None
    return EvidenceFit(
        groups=group_table(evidence),
        covariance=covariances(evidence),
        noise=1.0 if evidence.noise is None else float(evidence.noise),
        trace=trace_table(evidence),
        log_evidence=last.log_evidence if last else float("nan"),
        converged=bool(last and last.change < 0.01),
        curvature=str(evidence.curvature),
        messages=(),
        model=model,
        history=history,
    )
