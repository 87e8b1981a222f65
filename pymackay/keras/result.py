"""`EvidenceFit`: the result of the loop on weight groups, and the tables that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.keras.evidence import Evidence


class Readings:
    """The tables of an `Evidence`, as the callback and the result show them."""

    evidence: Evidence

    @property
    def groups(self) -> pd.DataFrame:
        """Return the table of the groups, see `group_table`."""
        return group_table(self.evidence)

    @property
    def covariance(self) -> dict[str, pd.DataFrame]:
        """Return V of every group by name, absolute, (q, q)."""
        return covariances(self.evidence)

    @property
    def noise(self) -> float:
        """Return σ²."""
        return 1.0 if self.evidence.noise is None else float(self.evidence.noise)

    @property
    def trace(self) -> pd.DataFrame:
        """Return one row per update, see `trace_table`."""
        return trace_table(self.evidence)

    @property
    def log_evidence(self) -> float:
        """Return log p(y | V, σ²) of the last update."""
        updates = self.evidence.updates
        return updates[-1].log_evidence if updates else float("nan")

    @property
    def converged(self) -> bool:
        """Whether the last update changed no variance by more than 1 %."""
        updates = self.evidence.updates
        return bool(updates and updates[-1].change < 0.01)


@dataclass(frozen=True, eq=False)
class EvidenceFit:
    """A network with the priors of its weight groups estimated.

    Attributes
    ----------
    groups : pandas.DataFrame
        By group: `n` weights, `sd` of the prior (root of V's mean diagonal), `gamma` (the
        effective number of weights that the data determine), `determined` (γ/n), `gamma_error`
        (γ's Monte-Carlo standard error).
    covariance : dict of str to pandas.DataFrame
        V, absolute, (q, q).
    noise : float
        σ²; 1 where the likelihood has no dispersion.
    trace : pandas.DataFrame
        One row per update.
    log_evidence : float
        log p(y | V, σ²) by Laplace's approximation; with `reml`, weights without a prior are
        integrated out.
    converged : bool
    curvature : str
        Kind that was used, and why.
    messages : tuple of str
    model : keras.Model
        The network, trained.
    history : dict
        What Keras recorded by epoch.
    """

    groups: pd.DataFrame
    covariance: dict[str, pd.DataFrame]
    noise: float
    trace: pd.DataFrame
    log_evidence: float
    converged: bool
    curvature: str
    messages: tuple[str, ...]
    model: Any
    history: dict[str, list[float]]

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        lines = [
            f"Priors of {len(self.groups)} weight groups ({state}; curvature: {self.curvature})",
            self.groups.to_string(float_format="{:.4g}".format),
            f"noise sd {np.sqrt(self.noise):.4g}, log evidence {self.log_evidence:.6g}",
        ]
        return "\n".join([*lines, *self.messages])


def group_table(evidence: Evidence) -> pd.DataFrame:
    """Return name, n, sd, gamma, determined and gamma_error of every group."""
    if not evidence.roots:
        raise ArgumentError("The loop has not begun: train the model with the callback first.")
    update = evidence.updates[-1] if evidence.updates else None
    records = []
    for k, group in enumerate(evidence.groups.groups):
        gamma = update.gamma[k] if update else float("nan")
        error = update.gamma_error[k] if update else float("nan")
        sd = float(np.sqrt(np.trace(evidence.covariance(k)) / group.q))
        records.append((group.name, group.n, sd, gamma, gamma / group.n, error))
    columns = ["name", "n", "sd", "gamma", "determined", "gamma_error"]
    return pd.DataFrame(records, columns=columns)


def covariances(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return V of every group by name."""
    return {
        group.name: pd.DataFrame(evidence.covariance(k))
        for k, group in enumerate(evidence.groups.groups)
    }


def trace_table(evidence: Evidence) -> pd.DataFrame:
    """Return by update: noise, log evidence, deviance, largest change; γ and sd by group."""
    records = []
    for update in evidence.updates:
        record = {
            "noise": update.noise,
            "log_evidence": update.log_evidence,
            "deviance": update.deviance,
            "change": update.change,
        }
        for k, group in enumerate(evidence.groups.groups):
            variance = update.noise * np.sum(update.roots[k] ** 2) / group.q
            record[f"sd {group.name}"] = float(np.sqrt(variance))
            record[f"gamma {group.name}"] = update.gamma[k]
        records.append(record)
    return pd.DataFrame(records, index=pd.RangeIndex(1, len(records) + 1, name="update"))
