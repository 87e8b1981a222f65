"""Likelihoods of a network's outputs: deviance, curvature in the outputs, the Keras loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError

_SMALL = 1e-12  # probabilities and rates are kept this far from zero


@dataclass(frozen=True)
class Likelihood:
    """A likelihood p(y | f), f being the linear predictor of the last layer.

    Attributes
    ----------
    name : str
    dispersed : bool
        Whether σ² is estimated (gaussian); otherwise it is 1.
    activation : str
        Activation of an output layer that gives means; ``"linear"`` gives f itself.
    losses : tuple of str
        Names of the Keras losses that are the mean of −log p (gaussian: of the squared error).
    per_row : bool
        Whether the loss is a mean over rows; otherwise over rows and outputs.
    deviance : callable
        ``(f, y) -> (n,)``: −2 log p, gaussian: squared error; summed over outputs.
    root : callable
        ``f -> (n, K, K)`` or ``(n, K)``, where diagonal: R, with R R' = −E d²log p/df² (gaussian:
        times σ²).
    """

    name: str
    dispersed: bool
    activation: str
    losses: tuple[str, ...]
    per_row: bool
    deviance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    root: Callable[[np.ndarray], np.ndarray]


def _sigmoid(f: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -f))


def _softmax(f: np.ndarray) -> np.ndarray:
    shifted = np.exp(f - f.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _gaussian_deviance(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sum((y - f) ** 2, axis=1)


def _bernoulli_deviance(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 2.0 * np.sum(np.logaddexp(0.0, f) - y * f, axis=1)


def _bernoulli_root(f: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(_sigmoid(f) * _sigmoid(-f), _SMALL))


def _categorical_deviance(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    largest = f.max(axis=1)
    total = largest + np.log(np.exp(f - largest[:, None]).sum(axis=1))
    return 2.0 * (y.sum(axis=1) * total - np.sum(y * f, axis=1))


def _categorical_root(f: np.ndarray) -> np.ndarray:
    """Return diag(√p) − p√p', whose square is diag(p) − pp'."""
    p = np.maximum(_softmax(f), _SMALL)
    p /= p.sum(axis=1, keepdims=True)
    root = -p[:, :, None] * np.sqrt(p)[:, None, :]
    k = np.arange(p.shape[1])
    root[:, k, k] += np.sqrt(p)
    return root


def _poisson_deviance(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 2.0 * np.sum(np.exp(f) - y * f + gammaln(y + 1.0), axis=1)


LIKELIHOODS = {
    one.name: one
    for one in (
        Likelihood(
            "gaussian",
            True,
            "linear",
            ("mse", "mean_squared_error", "MeanSquaredError"),
            False,
            _gaussian_deviance,
            np.ones_like,
        ),
        Likelihood(
            "bernoulli",
            False,
            "sigmoid",
            ("binary_crossentropy", "BinaryCrossentropy", "bce"),
            False,
            _bernoulli_deviance,
            _bernoulli_root,
        ),
        Likelihood(
            "categorical",
            False,
            "softmax",
            (
                "categorical_crossentropy",
                "CategoricalCrossentropy",
                "sparse_categorical_crossentropy",
                "SparseCategoricalCrossentropy",
            ),
            True,
            _categorical_deviance,
            _categorical_root,
        ),
        Likelihood(
            "poisson",
            False,
            "exponential",
            ("poisson", "Poisson"),
            False,
            _poisson_deviance,
            lambda f: np.exp(0.5 * f),
        ),
    )
}


def find_likelihood(value: object) -> Likelihood:
    """Return the likelihood of that name.

    Raises
    ------
    ArgumentError
        If it is none of the names.
    """
    return LIKELIHOODS[one_of("likelihood", value, LIKELIHOODS)]


def responses(likelihood: Likelihood, y: Any, outputs: int) -> np.ndarray:
    """Return the responses of n rows as float64, (n, K); class numbers become indicators.

    Raises
    ------
    ArgumentError
        If their shape or their values do not suit the likelihood.
    """
    values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
    if likelihood.name == "categorical" and values.shape[1] == 1 and outputs > 1:
        codes = values[:, 0].astype(int)
        if np.any(codes != values[:, 0]) or codes.min() < 0 or codes.max() >= outputs:
            raise ArgumentError(f"y must hold class numbers from 0 to {outputs - 1}.")
        values = np.eye(outputs)[codes]
    if values.shape[1] != outputs:
        raise ArgumentError(
            f"y has {values.shape[1]} columns per row, but the model has {outputs} outputs."
        )
    low, high = _RANGES[likelihood.name]
    if not np.isfinite(values).all() or values.min() < low or values.max() > high:
        raise ArgumentError(
            f"y has values from {values.min():g} to {values.max():g}; with likelihood="
            f"{likelihood.name!r} they must be finite and from {low:g} to {high:g}."
        )
    return values


_RANGES = {
    "gaussian": (-np.inf, np.inf),
    "bernoulli": (0.0, 1.0),
    "categorical": (0.0, 1.0),
    "poisson": (0.0, np.inf),
}


def mean(likelihood: Likelihood, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the expected responses, (n, K); y − mean is d log p/df (gaussian: times σ²)."""
    if likelihood.name == "gaussian":
        return f
    if likelihood.name == "bernoulli":
        return _sigmoid(f)
    if likelihood.name == "poisson":
        return np.exp(f)
    return _softmax(f) * y.sum(axis=1, keepdims=True)
