"""The literal rules: V is the sample covariance of predictions, without their error variances."""

from __future__ import annotations

import numpy as np

from pymackay.solve.loop.rules.rule import Empirical, Rule
from pymackay.solve.loop.terms import TermRound


def _raw_root(term: TermRound) -> np.ndarray:
    """V ← cov(B̂), sample covariance about the mean with the divisor J − 1 (Hinton's lecture)."""
    centred = (term.effects - term.effects.mean(axis=0)) / np.sqrt(term.n_levels - 1)
    triangle = np.asarray(np.linalg.qr(centred, mode="r"))
    root = np.zeros_like(term.root)
    root[:, : len(triangle)] = triangle.T
    return root / np.sqrt(term.noise_var)


def _raw_covariance(effects: np.ndarray, root: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(effects, rowvar=False))


def _diagonal_root(term: TermRound) -> np.ndarray:
    """V ← diag(cov(B̂)), diagonal in the user's effects (the article)."""
    sd = np.std(term.effects @ term.transform.T, axis=0, ddof=1)
    return np.linalg.solve(term.transform, np.diag(sd)) / np.sqrt(term.noise_var)


def _diagonal_covariance(effects: np.ndarray, root: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    variance = np.var(effects @ root.T, axis=0, ddof=1)
    return np.asarray((inverse * variance) @ inverse.T)


RULES = (
    Rule("raw", _raw_root, empirical=Empirical(_raw_covariance)),
    Rule("diagonal", _diagonal_root, empirical=Empirical(_diagonal_covariance, by_effect=True)),
)
