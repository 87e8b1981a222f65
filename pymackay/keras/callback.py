"""`MacKay`: a Keras callback that re-estimates the prior of every weight group while training."""

from __future__ import annotations

import functools
from typing import Any

import keras

from pymackay.arguments import flag, whole_number
from pymackay.errors import ArgumentError
from pymackay.keras.evidence import Evidence
from pymackay.keras.groups import WeightGroups
from pymackay.keras.result import Readings
from pymackay.keras.rows import TrainingRows


class MacKay(keras.callbacks.Callback, Readings):
    """Re-estimate each group's prior variance and the noise after some learning.

    Parameters
    ----------
    groups : WeightGroups
    likelihood : {"gaussian", "bernoulli", "categorical", "poisson"}
        Matches the loss of the model: mean squared error; binary or categorical crossentropy;
        Poisson.
    update : str or callable
        Rule of the loop, as in `pymackay.mackay`.
    curvature : {"auto", "exact", "diagonal"}
        How γ is computed, see `pymackay.keras.fit`.
    every : int
        Epochs between two updates.
    start_after : int
        Epochs before the first update.
    reml : bool
        Whether weights without a prior are integrated out, as in REML.
    data : tuple (x, y) or (x, y, sample_weight), tf.data.Dataset, or None
        The training rows; None: those that `model.fit` is given.

    Attributes
    ----------
    groups : pandas.DataFrame
    covariance : dict of str to pandas.DataFrame
    noise, log_evidence : float
    trace : pandas.DataFrame
    converged : bool

    Notes
    -----
    The callback reads the arguments of `model.fit`: while it exists, ``model.fit`` of this model
    is a wrapper that remembers them. Nothing is traced again between updates.
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
        data: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(groups, WeightGroups):
            raise ArgumentError(
                f"groups is {type(groups).__name__}; it must be pymackay.keras.WeightGroups."
            )
        self.evidence = Evidence(
            groups, likelihood, update, curvature=curvature, reml=flag("reml", reml)
        )
        self.every = whole_number("every", every)
        self.start_after = whole_number("start_after", start_after, 0)
        self.rows = None if data is None else _rows(data)
        self._epochs = 0
        groups.attach()
        if data is None:
            _remember_data(groups.model, self)

    def on_train_begin(self, logs: Any = None) -> None:
        """Push the penalties of the present priors."""
        if self.rows is None:
            raise ArgumentError(
                "MacKay has not seen the training data: call model.fit of the model whose weight "
                "groups it has, or pass data=(x, y)."
            )
        self.evidence.begin(self.rows)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Update the priors where it is time."""
        self._epochs += 1
        past = self._epochs - self.start_after
        if self.rows is not None and past >= 0 and past % self.every == 0:
            self.evidence.advance(self.evidence.snapshot(self.rows))


def _rows(data: Any) -> TrainingRows:
    return TrainingRows(*data) if isinstance(data, tuple) else TrainingRows(data)


def _remember_data(model: Any, callback: MacKay) -> None:
    """Make ``model.fit`` hand its training data to the callback before it trains."""
    fit = model.fit

    @functools.wraps(fit)
    def remembering(x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        callback.rows = TrainingRows(x, y, kwargs.get("sample_weight"))
        return fit(x, y, *args, **kwargs)

    model.fit = remembering
