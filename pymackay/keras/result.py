"""`EvidenceFit`: the result of the loop on weight groups."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay._files import write_whole


@dataclass(frozen=True, eq=False)
class EvidenceFit:
    """A network with the priors of its weight groups estimated.

    Attributes
    ----------
    groups : pandas.DataFrame
        By group: `name`; `n` weights; `sd` of the prior (root of V's mean diagonal); `gamma`, the
        effective number of weights that the data determine; `determined`, γ/n; `gamma_error`, γ's
        Monte-Carlo standard error, 0 where nothing is sampled.
    covariance : dict of str to pandas.DataFrame
        V, absolute, (q, q); q = 1 for an isotropic group.
    noise : float
        σ²; 1 where the likelihood has no dispersion.
    trace : pandas.DataFrame
        One row per update: noise, log evidence (of the variances before the update), deviance,
        largest relative change, sd and γ of every group.
    log_evidence : float
        log p(y | V, σ²) by Laplace's approximation, at the last update; weights without a prior
        are integrated out with `reml`, and otherwise held at their mode.
    converged : bool
    curvature : str
        Kind that was used, and why.
    messages : tuple of str
        What is to be known of the result, each with a cure.
    lost : dict of str to numpy.ndarray, shape (q,)
        Groups of which a literal rule has set a direction's variance to zero, and the direction.
    literal : pandas.DataFrame
        What `forecast` returns.
    model : keras.Model
        The network, trained.
    history : dict of str to list of float
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
    lost: dict[str, np.ndarray]
    literal: pd.DataFrame
    model: Any
    history: dict[str, list[float]]

    def forecast(self) -> pd.DataFrame:
        """Return what MacKay's literal loop would do to each group.

        Returns
        -------
        pandas.DataFrame
            `group`, `direction`, `s`, `threshold` (the s from which it survives; 4 where all
            weights have the same information), `survives`, and `kept`, the share of the variance
            that the literal loop keeps.
        """
        return self.literal

    def as_dict(self) -> dict[str, Any]:
        """Return the result without the model, as numbers, texts, lists and dicts."""
        return {
            "groups": self.groups.to_dict("list"),
            "covariance": {name: V.to_numpy().tolist() for name, V in self.covariance.items()},
            "noise": self.noise,
            "trace": self.trace.to_dict("list"),
            "log_evidence": self.log_evidence,
            "converged": self.converged,
            "curvature": self.curvature,
            "messages": list(self.messages),
            "lost": {name: direction.tolist() for name, direction in self.lost.items()},
            "forecast": self.literal.to_dict("list"),
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the result without the model as JSON, and write it where a path is given.

        Numbers that are not finite become null.

        Raises
        ------
        ArgumentError
            If the file cannot be written.
        """
        text = json.dumps(_finite(self.as_dict()), indent=1, allow_nan=False)
        if path is not None:
            write_whole(path, text)
        return text

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        lines = [
            f"Priors of {len(self.groups)} weight groups ({state}; curvature: {self.curvature})",
            self.groups.to_string(index=False, float_format="{:.4g}".format),
            f"noise sd {np.sqrt(self.noise):.4g}, log evidence {self.log_evidence:.6g}",
        ]
        return "\n".join([*lines, *self.messages])


def _finite(value: Any) -> Any:
    """Return a value in which NaN and infinities are None."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
