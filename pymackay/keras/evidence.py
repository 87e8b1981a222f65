"""`Evidence`: the loop's state, and one update of every group's prior and of the noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pymackay.arguments import random_generator, whole_number
from pymackay.errors import ArgumentError
from pymackay.keras.curvature.choose import Plan, make_plan
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Determined
from pymackay.keras.network.checks import check_compiled, check_outputs, loss_weight
from pymackay.keras.network.groups import WeightGroups, start_root
from pymackay.keras.network.likelihoods import find_likelihood, responses
from pymackay.keras.network.linearise import linearisation_of
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.snapshot import Snapshot, take
from pymackay.keras.step import lost_direction, next_root
from pymackay.solve.loop.rules.registry import find_rule

_SPARE = 1e-3  # share of the observations that the noise is estimated from at least


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
        Largest relative change of V and of σ².
    floored : int
        Weights without a prior that the data do not determine.
    saturated : bool
        Whether the effective number of weights comes up to the number of observations.
    """

    roots: list[np.ndarray]
    noise: float
    gamma: list[float]
    gamma_error: list[float]
    log_evidence: float
    deviance: float
    change: float
    floored: int
    saturated: bool


@dataclass(eq=False)
class Evidence:
    """MacKay's loop on weight groups: what it is asked for, and where it stands.

    Attributes
    ----------
    groups : WeightGroups
    likelihood, update, curvature, reml, probes, seed
        As in `pymackay.keras.fit`.
    roots : list of numpy.ndarray, shape (q, q)
        F of every group, V = σ²FF'; empty before the loop begins.
    noise : float or None
        σ²; None before the first update.
    updates : list of Update
    plan : Plan or None
        How the curvature is computed.
    shares : numpy.ndarray of shape (P,), or None
        What the data determine of each weight, at the last update.
    information : list of numpy.ndarray, shape (q, q)
        T of every group, at the last update.
    rise : float
        By how much log p(y, w) could still rise at the last update, about.
    damping : float
        λ of the last Gauss-Newton step; 0 while steps succeed without.
    lost : dict of str to numpy.ndarray, shape (q,)
        Groups of which a literal rule has lost a direction.
    """

    groups: WeightGroups
    likelihood: Any = "gaussian"
    update: Any = "gamma"
    curvature: Any = "auto"
    reml: bool = True
    probes: int | None = None
    seed: Any = 0
    roots: list[np.ndarray] = field(default_factory=list)
    noise: float | None = None
    updates: list[Update] = field(default_factory=list)
    plan: Plan | None = None
    shares: np.ndarray | None = None
    information: list[np.ndarray] = field(default_factory=list)
    lost: dict[str, np.ndarray] = field(default_factory=dict)
    rise: float = 0.0
    damping: float = 0.0
    per_loss: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.groups, WeightGroups):
            raise ArgumentError(
                f"groups is {type(self.groups).__name__}; it must be pymackay.keras.WeightGroups."
            )
        self.family = find_likelihood(self.likelihood)
        self.rule = find_rule(self.update)
        if self.probes is not None:
            self.probes = whole_number("probes", self.probes, 2)
        check_outputs(self.groups.model)
        self.columns = Columns(self.groups)
        self.linearisation = linearisation_of(self.groups.model, self.family.activation)
        if not self.family.dispersed:
            self.noise = 1.0

    def begin(self, rows: TrainingRows) -> None:
        """Choose the curvature and the roots that the loop starts with, and push the penalties.

        A model that was saved with its penalties goes on from them.
        """
        n_rows, outputs, variance = self._look(rows)
        model = self.groups.model
        if self.plan is None:
            generator = random_generator(self.seed)
            self.plan = make_plan(
                self.curvature,
                self.columns,
                rows,
                self.linearisation,
                self.probes,
                generator,
                n_rows,
            )
        check_compiled(model, self.family, self.linearisation)
        if not self.roots:
            self._restore(variance)
        per_row = 1 if self.family.per_row else outputs
        self.per_loss = n_rows * per_row / loss_weight(model)
        self.push()

    def _look(self, rows: TrainingRows) -> tuple[int, int, float]:
        """Return the number of rows and of outputs, and the variance of the responses."""
        count, values = 0, list[np.ndarray]()
        for chunk in rows.chunks():
            count += len(chunk.y)
            if not values:
                outputs = self.linearisation.outputs(chunk.x).shape[1]
            values.append(responses(self.family, chunk.y, outputs))
        return count, outputs, float(np.concatenate(values).var(axis=0).mean()) or 1.0

    def _restore(self, variance: float) -> None:
        """Set F and σ² from the penalties of a saved model; where there are none, from starts."""
        penalties = [group.variables[0].regularizer for group in self.groups.groups]
        kept = [penalty.noise for penalty in penalties if penalty.root is not None]
        if self.family.dispersed and kept:
            self.noise = kept[0]
        noise = variance if self.noise is None else self.noise
        self.roots = [
            start_root(group, noise)
            if penalty.root is None or group.start is not None
            else penalty.root
            for group, penalty in zip(self.groups.groups, penalties, strict=True)
        ]

    def push(self) -> None:
        """Hand the penalties of the present roots to the model's regularizers."""
        factor = (1.0 if self.family.dispersed else 0.5) / self.per_loss
        for group, root in zip(self.groups.groups, self.roots, strict=True):
            inverse = np.linalg.pinv(root)
            for variable in group.variables:
                variable.regularizer.assign(factor * inverse.T @ inverse, root, self.noise)

    def snapshot(self, rows: TrainingRows) -> Snapshot:
        """Linearise the network at its present weights."""
        if self.plan is None:
            raise ArgumentError("The loop has not begun: call Evidence.begin first.")
        sums = self.plan.new_sums()
        return take(rows, self.linearisation, self.family, self.columns, sums)

    def advance(self, snapshot: Snapshot) -> Update:
        """Update every group's prior and the noise from a snapshot, and push the penalties.

        σ² ← deviance/(n − p − Σγ) (MacKay 1992, eq. 4.10); the rule's step is relative to σ² of
        the round, and F ← F √(σ²_old/σ²_new) keeps V.
        """
        measured = snapshot.sums.determine(self.roots, self.reml)
        estimate, saturated = self._noise(snapshot, measured)
        noise = estimate if self.noise is None else self.noise
        roots = [
            next_root(self.rule, group, root, T, noise) * np.sqrt(noise / estimate)
            for group, root, T in zip(
                self.groups.groups, self.roots, measured.information, strict=True
            )
        ]
        update = Update(
            roots=roots,
            noise=estimate,
            gamma=[float(np.trace(T)) for T in measured.information],
            gamma_error=measured.error,
            log_evidence=self._log_evidence(snapshot, measured, noise),
            deviance=snapshot.deviance,
            change=self._change(roots, estimate, noise),
            floored=measured.floored,
            saturated=saturated,
        )
        self._note(snapshot, measured, noise)
        self.roots, self.noise = roots, estimate
        self.updates.append(update)
        self.push()
        return update

    def _noise(self, snapshot: Snapshot, measured: Determined) -> tuple[float, bool]:
        """Return σ² from n − p − Σγ observations, and whether there are none to speak of."""
        if not self.family.dispersed:
            return 1.0, False
        gamma = sum(float(np.trace(T)) for T in measured.information)
        spare = snapshot.n_obs - gamma - (self.columns.n_free if self.reml else 0)
        held = max(spare, _SPARE * snapshot.n_obs)
        return snapshot.deviance / held, spare < held

    def _note(self, snapshot: Snapshot, measured: Determined, noise: float) -> None:
        """Keep what messages and forecasts say of the update, at the roots before it."""
        self.shares, self.information = measured.shares, measured.information
        self.rise = 0.5 * snapshot.sums.length(self.roots, self.downhill(snapshot)) / noise
        self._note_lost(measured, noise)

    def _note_lost(self, measured: Determined, noise: float) -> None:
        """Note the groups of which a rule that is not the likelihood's has lost a direction."""
        self.lost = {}
        if self.rule.likelihood:
            return
        for group, root, T in zip(
            self.groups.groups, self.roots, measured.information, strict=True
        ):
            direction = lost_direction(group, root, T, noise)
            if direction is not None:
                self.lost[group.name] = direction

    def downhill(self, snapshot: Snapshot) -> np.ndarray:
        """Return −(Λ'g + Du), half the steepest descent of deviance + |u|² in u, (P,)."""
        u = self.columns.standardise(self.columns.weights(), self.roots)
        slope = self.columns.scale_back(snapshot.gradient, self.roots)
        return -slope - self.columns.penalised * u

    def _log_evidence(self, snapshot: Snapshot, measured: Determined, noise: float) -> float:
        """Return log p(y | V, σ²), by Laplace's approximation at the present weights.

        −2 log p = n log 2πσ² + (deviance + |u|²)/σ² + log|M|, less p log 2πσ² for weights without
        a prior that are integrated out.
        """
        u = self.columns.standardise(self.columns.weights(), self.roots)
        size = float(np.sum(u[self.columns.penalised] ** 2))
        free = self.columns.n_free if self.reml else 0
        count = snapshot.n_obs if self.family.dispersed else 0.0
        return -0.5 * (
            (count - free) * np.log(2.0 * np.pi * noise)
            + (snapshot.deviance + size) / noise
            + measured.log_det
        )

    def _change(self, roots: list[np.ndarray], estimate: float, noise: float) -> float:
        """Return the largest relative change of V, in units of its sd, and of σ²."""
        changes = [abs(estimate / noise - 1.0)]
        for new, old in zip(roots, self.roots, strict=True):
            after, before = estimate * new @ new.T, noise * old @ old.T
            unit = np.sqrt(np.diag(before))
            changes.append(float(np.abs((after - before) / np.outer(unit, unit)).max()))
        return max(changes)

    @property
    def sigma2(self) -> float:
        """σ², 1 before the first update."""
        return 1.0 if self.noise is None else self.noise

    def covariance(self, k: int) -> np.ndarray:
        """Return V of a group, absolute, (q, q)."""
        return self.sigma2 * self.roots[k] @ self.roots[k].T
