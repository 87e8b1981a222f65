"""`Readings`: what the loop shows of its groups, for the callback and the result."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.keras.evidence import Evidence
from pymackay.keras.forecast import forecast_literal
from pymackay.keras.messages import collect_messages

CONVERGED = 0.01  # relative change of variances: far below what a sample of weights determines


class Readings:
    """Tables of an `Evidence`, made when asked for."""

    evidence: Evidence

    @property
    def groups(self) -> pd.DataFrame:
        """Return name, n, sd, gamma, determined and gamma_error of every group."""
        evidence = _begun(self.evidence)
        update = evidence.updates[-1] if evidence.updates else None
        records = []
        for k, group in enumerate(evidence.groups.groups):
            gamma = update.gamma[k] if update else float("nan")
            error = update.gamma_error[k] if update else float("nan")
            sd = float(np.sqrt(np.trace(evidence.covariance(k)) / group.q))
            records.append((group.name, group.n, sd, gamma, gamma / group.n, error))
        columns = ["name", "n", "sd", "gamma", "determined", "gamma_error"]
        return pd.DataFrame(records, columns=columns)

    @property
    def covariance(self) -> dict[str, pd.DataFrame]:
        """Return V of every group by name, absolute, (q, q)."""
        evidence = _begun(self.evidence)
        return {
            group.name: pd.DataFrame(evidence.covariance(k))
            for k, group in enumerate(evidence.groups.groups)
        }

    @property
    def noise(self) -> float:
        """Return σ²; 1 where the likelihood has no dispersion."""
        noise = self.evidence.noise
        return float("nan") if noise is None else float(noise)

    @property
    def trace(self) -> pd.DataFrame:
        """Return by update: noise, log evidence, deviance, largest change; sd and γ by group."""
        records = []
        for update in self.evidence.updates:
            record = {
                "noise": update.noise,
                "log_evidence": update.log_evidence,
                "deviance": update.deviance,
                "change": update.change,
            }
            for k, group in enumerate(self.evidence.groups.groups):
                variance = update.noise * np.sum(update.roots[k] ** 2) / group.q
                record[f"sd {group.name}"] = float(np.sqrt(variance))
                record[f"gamma {group.name}"] = update.gamma[k]
            records.append(record)
        return pd.DataFrame(records, index=pd.RangeIndex(1, len(records) + 1, name="update"))

    @property
    def log_evidence(self) -> float:
        """Return log p(y | V, σ²) of the last update."""
        updates = self.evidence.updates
        return updates[-1].log_evidence if updates else float("nan")

    @property
    def converged(self) -> bool:
        """Whether the last update changed no variance by more than 1 %."""
        updates = self.evidence.updates
        return bool(updates and updates[-1].change < CONVERGED)

    @property
    def messages(self) -> tuple[str, ...]:
        """Return what is to be known of the result, each with a cure."""
        return tuple(collect_messages(self.evidence))

    def forecast(self) -> pd.DataFrame:
        """Return what MacKay's literal loop would do to each group, see `forecast_literal`."""
        return forecast_literal(_begun(self.evidence))


def _begun(evidence: Evidence) -> Evidence:
    if not evidence.roots:
        raise ArgumentError("The loop has not begun: train the model with the callback first.")
    return evidence
