"""`MacKay`: a Keras callback that re-estimates the prior of every weight group while training."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras

from pymackay.arguments import flag, whole_number
from pymackay.errors import ArgumentError
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.groups import WeightGroups
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.readings import Readings

_DATA = "_pymackay_training_data"  # attribute of a model while `fit` runs


class MacKay(Readings, keras.callbacks.Callback):
    """Re-estimate each group's prior variance and the noise, after some learning.

    Parameters
    ----------
    groups : WeightGroups
    likelihood : {"gaussian", "bernoulli", "categorical", "poisson"}
        Matches the loss of the model: mean squared error; binary or categorical crossentropy;
        Poisson.
    update : str or callable
        Rule of the loop, as in `pymackay.mackay`.
    curvature : {"auto", "exact", "probes", "block", "diagonal"}
        How γ is computed, see `pymackay.keras.fit`.
    every : int
        Epochs between two updates.
    start_after : int
        Epochs before the first update.
    reml : bool
        Whether weights without a prior are integrated out, as in REML.
    probes : int or None
        Random vectors of ``curvature="probes"``; None: 8, and 4 from 100,000 weights on.
    seed : int or numpy.random.Generator
        Draws the probes.
    data : tuple (x, y) or (x, y, sample_weight), tf.data.Dataset, or None
        The training rows; None: those that `model.fit` is given.

    Attributes
    ----------
    groups, covariance, noise, trace, log_evidence, converged, messages
        As in `EvidenceFit`, at the last update.

    Notes
    -----
    Without `data`, ``model.fit`` of this model becomes a wrapper that shows its training data to
    the callbacks. Nothing is traced again between updates. After loading a saved model, new
    `WeightGroups` and a new callback go on from the penalties that were saved; a file that holds
    weights only does not hold them.

    Examples
    --------
    >>> import keras, numpy as np, pymackay as pm
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="linear")])
    >>> groups = pm.keras.WeightGroups(model, {"linear": "linear"})
    >>> evidence = pm.keras.MacKay(groups, every=1, start_after=2)
    >>> model.compile("adam", loss="mse")
    >>> x = np.random.default_rng(1).normal(size=(50, 3))
    >>> history = model.fit(x, x.sum(axis=1), epochs=4, verbose=0, callbacks=[evidence])
    >>> len(evidence.trace)
    3
    """

    def __init__(
        self,
        groups: WeightGroups,
        *,
        likelihood: str = "gaussian",
        update: Any = "gamma",
        curvature: str = "auto",
        every: int = 5,
        start_after: int = 10,
        reml: bool = True,
        probes: int | None = None,
        seed: Any = 0,
        data: Any = None,
    ) -> None:
        super().__init__()
        self.evidence = Evidence(
            groups, likelihood, update, curvature, flag("reml", reml), probes, seed
        )
        self.every = whole_number("every", every)
        self.start_after = whole_number("start_after", start_after, 0)
        self.epochs = 0
        self._data = data
        self._rows: TrainingRows | None = None
        groups.attach()
        if data is None:
            show_training_data(groups.model)

    def on_train_begin(self, logs: Any = None) -> None:
        """Push the penalties of the present priors.

        Raises
        ------
        ArgumentError
            If the callback belongs to another model, has not seen the training data, or the loss
            or the optimizer do not suit it.
        """
        model = self.evidence.groups.model
        if self.model is not model:
            raise ArgumentError("The WeightGroups of this callback are those of another model.")
        data = self._data if self._data is not None else getattr(model, _DATA, None)
        if data is None:
            raise ArgumentError("MacKay has not seen the training data: pass data=(x, y).")
        self._rows = training_rows(data)
        self.evidence.begin(self._rows)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Update the priors where it is time."""
        self.epochs += 1
        past = self.epochs - self.start_after
        if self._rows is not None and past >= 0 and past % self.every == 0:
            self.evidence.advance(self.evidence.snapshot(self._rows))

    def on_train_end(self, logs: Any = None) -> None:
        """Let go of the training data."""
        self._rows = None


def training_rows(data: Any) -> TrainingRows:
    """Return the rows of a tuple (x, y) or (x, y, sample_weight), or of a dataset."""
    return TrainingRows(*data) if isinstance(data, tuple) else TrainingRows(data)


def show_training_data(model: Any) -> None:
    """Make ``model.fit`` keep its training data as an attribute of the model while it runs."""
    if hasattr(model.fit, "shows_training_data"):
        return
    fit, signature = model.fit, inspect.signature(model.fit)

    @functools.wraps(fit)
    def showing(*args: Any, **kwargs: Any) -> Any:
        object.__setattr__(model, _DATA, _training_part(signature.bind(*args, **kwargs).arguments))
        try:
            return fit(*args, **kwargs)
        finally:
            object.__delattr__(model, _DATA)

    showing.shows_training_data = True  # type: ignore[attr-defined]
    object.__setattr__(model, "fit", showing)


def _training_part(arguments: dict[str, Any]) -> Any:
    """Return the training data among the arguments of ``model.fit``.

    Raises
    ------
    ArgumentError
        If classes are weighted.
    """
    if arguments.get("class_weight"):
        raise ArgumentError(
            "class_weight is not supported by MacKay: give each row's weight as sample_weight."
        )
    x, y, weight = (arguments.get(name) for name in ("x", "y", "sample_weight"))
    if y is None:
        return x
    share = arguments.get("validation_split") or 0.0
    if share and arguments.get("validation_data") is None:
        end = int(len(y) * (1.0 - share))
        x, y, weight = keras.tree.map_structure(
            lambda values: None if values is None else values[:end], (x, y, weight)
        )
    return x, y, weight
