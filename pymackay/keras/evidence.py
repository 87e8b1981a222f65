"""`Evidence`: the loop's state, and one update of every group's prior and of the noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pymackay.keras.curvature.choose import choose_sums
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Determined
from pymackay.keras.groups import Group, WeightGroups, start_root
from pymackay.keras.likelihoods import find_likelihood
from pymackay.keras.linearise import Linearisation
from pymackay.keras.rows import TrainingRows
from pymackay.keras.snapshot import Snapshot, take
from pymackay.solve.loop.rules.registry import find_rule
from pymackay.solve.loop.terms import TermRound

_STEP = 3.0  # a standard deviation changes by no more than this factor in an update
_FLOOR = 1e-5  # relative standard deviation: variances stay above 1e-10 of σ²


@dataclass(frozen=True, eq=False)
class Update:
    """One update of the loop.

    Attributes
    ----------
    roots : list of numpy.ndarray, shape (q, q)
        F of every group after the update; V = σ²FF'.
    noise : float
        σ² after the update.
    gamma, gamma_error : list of float
        γ of every group before the update, and its Monte-Carlo standard error.
    log_evidence : float
        Of the roots and σ² before the update.
    deviance : float
    change : float
        Largest relative change of V's diagonal and of σ².
    floored : int
        Weights without a prior that the data do not determine.
    """

    roots: list[np.ndarray]
    noise: float
    gamma: list[float]
    gamma_error: list[float]
    log_evidence: float
    deviance: float
    change: float
    floored: int


@dataclass(eq=False)
class Evidence:
    """MacKay's loop on weight groups: what it is asked for, and where it stands.

    Attributes
    ----------
    groups : WeightGroups
    likelihood, update, curvature : str
        As in `pymackay.keras.fit`.
    reml : bool
    roots : list of numpy.ndarray, shape (q, q)
        F of every group, V = σ²FF'.
    noise : float or None
        σ²; None before the first update.
    updates : list of Update
    """

    groups: WeightGroups
    likelihood: Any = "gaussian"
    update: Any = "gamma"
    curvature: Any = "auto"
    reml: bool = True
    probes: int = 8
    seed: Any = 0
    roots: list[np.ndarray] = field(default_factory=list)
    noise: float | None = None
    updates: list[Update] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.family = find_likelihood(self.likelihood)
        self.rule = find_rule(self.update)
        self.columns = Columns(self.groups)
        self.linearisation = Linearisation(self.groups.model, self.family)
        self.noise = None if self.family.dispersed else 1.0

    def begin(self, rows: TrainingRows) -> None:
        """Set the roots that the loop starts with, and push the penalties."""
        if not self.roots:
            noise = self.noise if self.noise is not None else _variance(rows)
            self.roots = [start_root(group, noise) for group in self.groups.groups]
        self.n_rows, self.outputs = _size(rows, self.linearisation)
        self.push()

    def push(self) -> None:
        """Hand the penalties of the present roots to the model's regularizers."""
        per_loss = self.n_rows * (1 if self.family.per_row else self.outputs)
        factor = 1.0 / per_loss if self.family.dispersed else 0.5 / per_loss
        noise = 1.0 if self.noise is None else self.noise
        for group, root in zip(self.groups.groups, self.roots, strict=True):
            inverse = np.linalg.pinv(root)
            for variable in group.variables:
                variable.regularizer.assign(factor * inverse.T @ inverse, root, noise)

    def snapshot(self, rows: TrainingRows) -> Snapshot:
        """Linearise the network at its present weights."""
        sums = choose_sums(self.curvature, self.columns, rows, self.linearisation, self)
        return take(rows, self.linearisation, self.family, self.columns, sums)

    def advance(self, snapshot: Snapshot) -> Update:
        """Update every group's prior and the noise from a snapshot, and push the penalties."""
        determined = snapshot.sums.determine(self.roots, self.reml)
        gamma = [float(np.trace(T)) for T in determined.information]
        spare = snapshot.n_obs - sum(gamma) - (self.columns.n_free if self.reml else 0)
        spare = max(spare, 1e-3 * snapshot.n_obs)
        estimate = snapshot.deviance / spare if self.family.dispersed else 1.0
        noise = estimate if self.noise is None else self.noise
        roots = []
        for k, group in enumerate(self.groups.groups):
            step = self._next_root(group, self.roots[k], determined.information[k], noise)
            roots.append(step * np.sqrt(noise / estimate))
        update = Update(
            roots,
            estimate,
            gamma,
            determined.error,
            self._log_evidence(snapshot, determined, noise),
            snapshot.deviance,
            self._change(roots, estimate, noise),
            determined.floored,
        )
        self.roots, self.noise = roots, estimate
        self.updates.append(update)
        self.push()
        return update

    def _next_root(
        self, group: Group, root: np.ndarray, information: np.ndarray, noise: float
    ) -> np.ndarray:
        """Return the rule's next F of one group; column by column where V is diagonal."""
        table = group.table()
        if group.covariance != "diagonal":
            return self._ruled(group.name, table, root, information, noise)
        parts = [
            self._ruled(
                f"{group.name}[{a}]",
                table[:, a : a + 1],
                root[a : a + 1, a : a + 1],
                information[a : a + 1, a : a + 1],
                noise,
            )
            for a in range(group.q)
        ]
        return np.diag([float(part[0, 0]) for part in parts])

    def _ruled(
        self, name: str, table: np.ndarray, root: np.ndarray, T: np.ndarray, noise: float
    ) -> np.ndarray:
        inverse = np.linalg.pinv(root)
        term = TermRound(
            name=name,
            group=name,
            labels=tuple(f"column {a}" for a in range(len(root))),
            root=root,
            traces=inverse.T @ T @ inverse,
            squares=np.zeros_like(root),
            learned=True,
            effects=table,
            transform=np.eye(len(root)),
            noise_var=noise,
            y_scale=1.0,
        )
        return _within(self.rule.next_root(term), root)

    def _log_evidence(self, snapshot: Snapshot, determined: Determined, noise: float) -> float:
        """Return log p(y | V, σ²), by Laplace's approximation at the present weights.

        −2 log p = n log 2πσ² + (deviance + |u|²)/σ² + log|M|, less p log 2πσ² for weights without
        a prior that are integrated out.
        """
        weights = self.columns.standardise(self.columns.weights(), self.roots)
        size = float(np.sum(weights[self.columns.penalised] ** 2))
        free = self.columns.n_free if self.reml else 0
        count = snapshot.n_obs if self.family.dispersed else 0.0
        return -0.5 * (
            (count - free) * np.log(2.0 * np.pi * noise)
            + (snapshot.deviance + size) / noise
            + determined.log_det
        )

    def _change(self, roots: list[np.ndarray], estimate: float, noise: float) -> float:
        changes = [abs(estimate / noise - 1.0)]
        for new, old in zip(roots, self.roots, strict=True):
            after, before = estimate * new @ new.T, noise * old @ old.T
            unit = np.sqrt(np.diag(before))
            unit[unit == 0.0] = 1.0
            changes.append(float(np.abs((after - before) / np.outer(unit, unit)).max()))
        return max(changes)

    def covariance(self, k: int) -> np.ndarray:
        """Return V of a group, absolute, (q, q)."""
        noise = 1.0 if self.noise is None else self.noise
        return noise * self.roots[k] @ self.roots[k].T


def _within(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return the next F, its change and its size held within bounds.

    In the metric of the old F, singular values lie between 1/3 and 3; those of F itself stay
    above `_FLOOR`, so that a group can come back.
    """
    U, sizes, Vt = np.linalg.svd(np.linalg.pinv(old) @ new)
    step = old @ (U * np.clip(sizes, 1.0 / _STEP, _STEP)) @ Vt
    U, sizes, Vt = np.linalg.svd(step)
    return (U * np.maximum(sizes, _FLOOR)) @ Vt


def _variance(rows: TrainingRows) -> float:
    values = np.concatenate([chunk.y.reshape(len(chunk.y), -1) for chunk in rows.chunks()])
    return float(values.astype(np.float64).var(axis=0).mean()) or 1.0


def _size(rows: TrainingRows, linearisation: Linearisation) -> tuple[int, int]:
    count, outputs = 0, 1
    for chunk in rows.chunks():
        if not count:
            outputs = linearisation.outputs(chunk.x).shape[1]
        count += len(chunk.y)
    return count, outputs
