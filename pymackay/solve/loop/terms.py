"""Quantities of one term in a round of MacKay's loop: `TermRound`, and `TermMoments` for users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Structure


@dataclass(frozen=True, eq=False)
class TermMoments:
    """Quantities of one term in one round, in the user's units: the argument of a user's own rule.

    Attributes
    ----------
    name, group : str
    effects : tuple of str, length q
    variance : numpy.ndarray, shape (q, q)
        V, the covariance matrix at the start of the round.
    predictions : numpy.ndarray, shape (J, q)
        B̂, the predicted effects.
    error_sum : numpy.ndarray, shape (q, q)
        Σ_j C_j: `pev` under REML, `condvar` under ML, summed over the levels.
    noise_var : float
        σ² of the round.
    """

    name: str
    group: str
    effects: tuple[str, ...]
    variance: np.ndarray
    predictions: np.ndarray
    error_sum: np.ndarray
    noise_var: float

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.predictions)

    @property
    def gamma(self) -> np.ndarray:
        """MacKay's effective number of each effect, J − Σ_j C_j,ii / V_ii, shape (q,)."""
        variance = np.diag(self.variance)
        hidden = np.divide(
            np.diag(self.error_sum),
            variance,
            out=np.full_like(variance, self.n_levels),
            where=variance > 0.0,
        )
        return self.n_levels - hidden


@dataclass(frozen=True, eq=False)
class TermRound:
    """Quantities of one term in one round, in the computed bases, for a response of unit length.

    Attributes
    ----------
    name, group : str
    labels : tuple of str, length q
        Names of the effects.
    root : numpy.ndarray, shape (q, q)
        Λ, with V = σ² ΛΛ'; not triangular in general.
    traces : numpy.ndarray, shape (q, q)
        τ.
    squares : numpy.ndarray, shape (q, q)
        s/σ², from the effects that solve the equations.
    learned : bool
        Whether `effects` were learned instead.
    effects : numpy.ndarray, shape (J, q)
        B̂.
    transform : numpy.ndarray, shape (q, q)
        U: effects in the user's units are U times those computed.
    noise_var : float
        σ².
    y_scale : float
        Length of the response in the user's unit.
    structure : Structure or None
        Of the effects' covariance.
    """

    name: str
    group: str
    labels: tuple[str, ...]
    root: np.ndarray
    traces: np.ndarray
    squares: np.ndarray
    learned: bool
    effects: np.ndarray
    transform: np.ndarray
    noise_var: float
    y_scale: float
    structure: Structure | None = None

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.effects)

    @property
    def information(self) -> np.ndarray:
        """Λ'τΛ, whose eigenvalues are the effective numbers of directions; their sum is γ."""
        return self.root.T @ self.traces @ self.root

    @property
    def shown(self) -> np.ndarray:
        """Û'Û/σ², with B̂ = Û Λ'."""
        if not self.learned:
            return self.root.T @ self.squares @ self.root
        standardised = self.effects @ np.linalg.pinv(self.root).T
        return standardised.T @ standardised / self.noise_var

    @property
    def user_root(self) -> np.ndarray:
        """Root of V in the user's units."""
        return np.sqrt(self.noise_var) * self.y_scale * (self.transform @ self.root)

    def moments(self) -> TermMoments:
        """Return the quantities in the user's units."""
        root = self.user_root
        return TermMoments(
            name=self.name,
            group=self.group,
            effects=self.labels,
            variance=root @ root.T,
            predictions=self.y_scale * (self.effects @ self.transform.T),
            error_sum=root @ (self.n_levels * np.eye(len(root)) - self.information) @ root.T,
            noise_var=self.noise_var * self.y_scale**2,
        )
