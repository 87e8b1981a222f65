"""`Correlation`: correlations of residuals that depend on the time between two rows only.

A subclass gives C, element by element a function of the lags and of parameters x without bounds,
with its first derivatives, and the second ones, of which the mixed ones are zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

_NO_CORRELATION = 36.0  # exp(-36) is below the rounding of one
_ONE = 1e-8  # by which a correlation may be less than one without being so in practice
Derivatives = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Correlation(ABC):
    """A family of correlation matrices."""

    tag = ""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, ``"ar1.rho"``."""

    @abstractmethod
    def values(self, x: np.ndarray) -> np.ndarray:
        """Return the correlations that x, (r,), stands for, by `names`."""

    @abstractmethod
    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return the x of correlations inside of their bounds, (r,)."""

    @abstractmethod
    def starts(self) -> tuple[np.ndarray, ...]:
        """Return the x that searches start from, each (r,)."""

    @abstractmethod
    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return C, (..., m, m), dC/dx and d²C/dx², (..., r, m, m), at lags (..., m, m)."""

    def range_at(self, lag: float) -> tuple[float, float]:
        """Return the bounds of x, given the least lag; beyond them C is what it is there."""
        return -np.inf, np.inf

    @property
    def n_par(self) -> int:
        """Number of parameters, r."""
        return len(self.names)


def _powers(rho: float, lag: np.ndarray) -> Derivatives:
    """Return ``rho^lag`` and its two derivatives by rho, for whole lags."""
    first = lag * rho ** np.maximum(lag - 1.0, 0.0)
    second = lag * (lag - 1.0) * rho ** np.maximum(lag - 2.0, 0.0)
    return rho**lag, first, second


def _logistic(x: np.ndarray) -> np.ndarray:
    """Return ``1/(1 + exp(−x))``, which does not overflow in this form."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


@dataclass(frozen=True)
class Independent(Correlation):
    """No correlation."""

    names = ()

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return nothing, (0,)."""
        return x

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return nothing, (0,)."""
        return values

    def starts(self) -> tuple[np.ndarray, ...]:
        """Return one empty start."""
        return (np.zeros(0),)

    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return identity matrices: rows of a block of one row, or of different visits."""
        m = lag.shape[-1]
        none = np.zeros((*lag.shape[:-2], 0, m, m))
        return np.broadcast_to(np.eye(m), lag.shape), none, none


@dataclass(frozen=True)
class Ar1(Correlation):
    """``rho^lag`` for whole lags, rho = tanh x between −1 and 1.

    Attributes
    ----------
    even : bool
        Whether all lags are even, so that the sign of rho does not matter: it is taken as positive.
    """

    tag = "ar1"
    names = ("ar1.rho",)
    even: bool = False

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return rho, (1,)."""
        return np.abs(np.tanh(x)) if self.even else np.tanh(x)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return x, (1,)."""
        return np.arctanh(values)

    def range_at(self, lag: float) -> tuple[float, float]:
        """Return the bounds of x: at zero, where the sign does not matter."""
        return (0.0 if self.even else -np.inf), np.inf

    def starts(self) -> tuple[np.ndarray, ...]:
        """Return the x of positive and of negative correlations."""
        return (np.array([0.5]),) if self.even else (np.array([0.5]), np.array([-0.3]))

    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return C and derivatives; drho/dx = 1 − rho², d²rho/dx² = −2 rho (1 − rho²)."""
        rho = float(np.tanh(x[0]))
        C, first, second = _powers(rho, lag)
        slope = 1.0 - rho**2
        bend = second * slope**2 - 2.0 * rho * slope * first
        return C, (slope * first)[..., None, :, :], bend[..., None, :, :]


@dataclass(frozen=True)
class Ou(Correlation):
    """``rho^lag`` for any lags, ``rho = exp(−exp(x) / unit)`` between 0 and 1.

    Attributes
    ----------
    unit : float
        A typical lag.
    """

    tag = "ou"
    names = ("ou.rho",)
    unit: float = 1.0

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return rho, the correlation of residuals one unit of the user's time apart, (1,)."""
        return np.exp(-np.exp(x) / self.unit)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return x, (1,)."""
        return np.log(-np.log(values) * self.unit)

    def range_at(self, lag: float) -> tuple[float, float]:
        """Return the bounds of x: where ``rho^lag`` is one, or below the rounding of one."""
        low, high = np.log(np.array([_ONE, _NO_CORRELATION]) * self.unit / lag)
        return float(low), float(high)

    def starts(self) -> tuple[np.ndarray, ...]:
        """Return the x of strong and weak correlations."""
        return np.array([-0.5]), np.array([1.0])

    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return ``C = exp(−k)``, k = exp(x) lag / unit; ``C' = −k C``, ``C'' = (k² − k) C``."""
        k = np.exp(x[0]) * lag / self.unit
        C = np.exp(-k)
        return C, (-k * C)[..., None, :, :], ((k**2 - k) * C)[..., None, :, :]


@dataclass(frozen=True)
class Cs(Correlation):
    """The same correlation rho between all rows of a group, above −1/(size − 1).

    Attributes
    ----------
    size : int
        Rows of the largest group.
    """

    tag = "cs"
    names = ("cs.rho",)
    size: int = 2

    @property
    def _low(self) -> float:
        return -1.0 / max(self.size - 1, 1)

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return rho, (1,)."""
        return self._low + (1.0 - self._low) * _logistic(x)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return x, (1,)."""
        share = (values - self._low) / (1.0 - self._low)
        return np.log(share / (1.0 - share))

    def starts(self) -> tuple[np.ndarray, ...]:
        """Return the x of rho = 0.3 and near 0."""
        return self.inverse(np.array([0.3])), self.inverse(np.array([0.5 * self._low]))

    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return C and derivatives; s the logistic function, s' = s (1 − s)."""
        m = lag.shape[-1]
        share = float(_logistic(x)[0])
        slope = (1.0 - self._low) * share * (1.0 - share)
        off = np.broadcast_to(1.0 - np.eye(m), lag.shape)
        C = np.eye(m) + float(self.values(x)[0]) * off
        first = (slope * off)[..., None, :, :]
        return C, first, (1.0 - 2.0 * share) * first


@dataclass(frozen=True)
class Toep(Correlation):
    """A correlation for each lag that occurs; where no matrix has these, there is no likelihood.

    Attributes
    ----------
    lags : tuple of float
        The lags above zero, ascending.
    """

    tag = "toep"
    lags: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, by lag."""
        return tuple(f"toep.rho{lag:g}" for lag in self.lags)

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return the correlations, which are the parameters themselves, (r,)."""
        return x

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return them, (r,)."""
        return values

    def starts(self) -> tuple[np.ndarray, ...]:
        """Return powers of a correlation, which every group of rows can have."""
        lags = np.array(self.lags)
        return 0.5 ** (lags / lags[0]), np.zeros(len(lags))

    def at(self, x: np.ndarray, lag: np.ndarray) -> Derivatives:
        """Return C, and derivatives that are one where a lag is that of the parameter."""
        which = lag[..., None, :, :] == np.array(self.lags)[:, None, None]
        first = which.astype(np.float64)
        C = np.einsum("...rab,r->...ab", first, x) + (lag == 0.0)
        return C, first, np.zeros_like(first)
