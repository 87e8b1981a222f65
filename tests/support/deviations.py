"""How far a fit is from a reference, quantity by quantity, in statistical units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tolerances import tol

import pymackay as pm

__all__ = ["Deviation", "Truth", "deviations", "truth_of_fit"]

_FLOOR = 1e-4  # standard deviations below this share of sigma are zero


@dataclass(frozen=True)
class Deviation:
    """The largest deviation in one quantity.

    Attributes
    ----------
    quantity : str
    where : str
        The name of the element that deviates most.
    value : float
        In the quantity's unit: standard errors, conditional standard deviations, or relative.
    allowed : float
    """

    quantity: str
    where: str
    value: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the deviation is within what is allowed (nan is not)."""
        return self.value <= self.allowed


@dataclass(frozen=True, eq=False)
class Truth:
    """What a fit is judged by.

    Attributes
    ----------
    criterion, sigma : float
    beta, std_error : pandas.Series
        By R's coefficient names.
    varcorr : dict of str to pandas.DataFrame
        Term to covariance.
    ranef : dict of str to pandas.DataFrame
        Grouping factor to effects, of some levels at least.
    condvar : dict of str to tuple of (list of str, numpy.ndarray of shape (levels, q, q))
        Grouping factor to levels and their error covariances; nan where unknown.
    singular : bool
    dropped : tuple of str
    identified : bool
        False: only criterion and beta are judged, the data do not tell the rest.
    loose : float
        Factor on the tolerances of what depends on theta.
    """

    criterion: float
    sigma: float
    beta: pd.Series
    std_error: pd.Series
    varcorr: dict[str, pd.DataFrame]
    ranef: dict[str, pd.DataFrame]
    condvar: dict[str, tuple[list[str], np.ndarray]]
    singular: bool
    dropped: tuple[str, ...]
    identified: bool = True
    loose: float = 1.0


def truth_of_fit(fit: pm.Fit, *, identified: bool = True) -> Truth:
    """Return what another engine's fit says."""
    condvar = {} if fit.condvar_source is None else fit.condvar
    return Truth(
        criterion=fit.criterion,
        sigma=fit.sigma,
        beta=fit.beta,
        std_error=fit.std_error,
        varcorr=fit.varcorr,
        ranef=fit.ranef,
        condvar={g: (list(fit.ranef[g].index), v) for g, v in condvar.items()},
        singular=fit.singular,
        dropped=fit.dropped,
        identified=identified,
    )


def deviations(fit: pm.Fit, truth: Truth) -> list[Deviation]:
    """Return the largest deviation in every quantity that is judged."""
    result = [
        Deviation(
            "criterion",
            "above",
            fit.criterion - truth.criterion,
            tol("certified") + 1e-9 * abs(truth.criterion),
        ),
        _flag("dropped columns", set(fit.dropped) == set(truth.dropped)),
        _beta(fit, truth),
        _largest("std. error", fit.std_error / truth.std_error - 1.0, 1e-3),
    ]
    if not truth.identified:
        return result
    result.append(_flag("singular", fit.singular == truth.singular))
    sigma = abs(fit.sigma / truth.sigma - 1.0)
    result.append(Deviation("sigma", "sigma", sigma, 1e-4 * truth.loose))
    result.append(_worst(_variances(fit, truth)))
    result.append(_worst(_effects(fit, truth)))
    result += [_worst(list(_condvar(fit, truth)))] if truth.condvar else []
    return result


def _flag(quantity: str, same: bool) -> Deviation:
    return Deviation(quantity, "flag", 0.0 if same else np.inf, 0.0)


def _worst(found: list[Deviation]) -> Deviation:
    return max(found, key=lambda d: np.inf if np.isnan(d.value) else d.value / d.allowed)


def _largest(quantity: str, off: pd.Series, allowed: float) -> Deviation:
    """Series of the same names are subtracted by name: a missing one gives nan, which fails."""
    if off.empty:
        return Deviation(quantity, "", 0.0, allowed)
    size = off.abs()
    if size.isna().any():
        return Deviation(quantity, str(size.index[size.isna()][0]), np.nan, allowed)
    return Deviation(quantity, str(size.idxmax()), float(size.max()), allowed)


def _beta(fit: pm.Fit, truth: Truth) -> Deviation:
    ulps = 4.0 * np.spacing(truth.beta.abs())  # no coefficient is nearer than its own rounding
    beyond = ((fit.beta - truth.beta).abs() - ulps).clip(lower=0.0)
    return _largest("beta", beyond / truth.std_error, 1e-3)


def _variances(fit: pm.Fit, truth: Truth) -> list[Deviation]:
    result = [_flag("terms", list(sorted(fit.varcorr)) == list(sorted(truth.varcorr)))]
    for name, theirs in truth.varcorr.items():
        ours = fit.varcorr[name].loc[list(theirs.index), list(theirs.columns)]
        sd = np.maximum(np.sqrt(np.diag(theirs)), _FLOOR * truth.sigma)
        off = (ours - theirs).abs() / np.outer(sd, sd)
        result.append(Deviation("variances", name, float(off.to_numpy().max()), 1e-3 * truth.loose))
    return result[1:] if result[0].ok else result


def _effects(fit: pm.Fit, truth: Truth) -> list[Deviation]:
    result = []
    for group, theirs in truth.ranef.items():
        ours = fit.ranef[group]
        same = list(ours.columns) == list(theirs.columns)
        sd = np.sqrt(np.maximum(np.einsum("jaa->ja", fit.condvar[group]), 0.0))
        sd = np.maximum(sd, _FLOOR * truth.sigma)
        sd = pd.DataFrame(sd, index=ours.index, columns=range(sd.shape[1])).loc[theirs.index]
        off = np.abs(ours.loc[theirs.index].to_numpy() - theirs.to_numpy()) / sd.to_numpy()
        value = float(off.max()) if same else np.nan
        result.append(Deviation("effects", group, value, 1e-2 * truth.loose))
    return result


def _condvar(fit: pm.Fit, truth: Truth) -> Iterator[Deviation]:
    for group, (levels, theirs) in truth.condvar.items():
        ours = fit.condvar[group][fit.ranef[group].index.get_indexer(levels)]
        known = np.isfinite(theirs)
        scale = max(float(np.abs(theirs[known]).max()), _FLOOR**2 * truth.sigma**2)
        off = float(np.abs(ours - theirs)[known].max()) / scale
        yield Deviation("condvar", group, off, 1e-3 * truth.loose)
