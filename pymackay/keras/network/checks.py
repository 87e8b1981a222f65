"""Checks that a compiled model's loss and optimizer suit the likelihood and the penalties."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.keras.network.likelihoods import LIKELIHOODS, Likelihood
from pymackay.keras.network.linearise import Linearisation


def check_outputs(model: Any) -> None:
    """Check that the model has one output.

    Raises
    ------
    ArgumentError
        If it has several.
    """
    outputs = getattr(model, "outputs", None)
    if outputs is not None and len(outputs) != 1:
        raise ArgumentError(
            f"model has {len(outputs)} outputs; one is expected. Fit the heads one by one, or "
            f"concatenate outputs of one likelihood."
        )


def check_compiled(model: Any, likelihood: Likelihood, linear: Linearisation) -> None:
    """Check the loss and the optimizer of a model, if it is compiled.

    Raises
    ------
    ArgumentError
        If the loss is that of another likelihood, is given logits where the last layer makes
        means or the other way round, or the optimizer decays weights.
    """
    if not model.compiled:
        return
    if getattr(model.optimizer, "weight_decay", None):
        raise ArgumentError(
            f"The optimizer has weight_decay={model.optimizer.weight_decay}, a second penalty on "
            f"the weights that the loop does not know of. Compile with weight_decay=None, for "
            f"example with the optimizer 'adam'."
        )
    name = loss_name(model)
    known = {loss: one.name for one in LIKELIHOODS.values() for loss in one.losses}
    if known.get(name, likelihood.name) != likelihood.name:
        raise ArgumentError(
            f"The model's loss is {name!r}, but likelihood={likelihood.name!r}: compile with "
            f"loss={likelihood.losses[0]!r}, or pass likelihood={known[name]!r}."
        )
    if likelihood.dispersed or name not in known:
        return
    logits = bool(getattr(model.loss, "from_logits", False))
    if logits == linear.means:
        raise ArgumentError(_OUTPUT.format(name=name, activation=likelihood.activation))


_OUTPUT = (
    "The loss {name!r} and the last layer do not fit together: end the model in a Dense layer with "
    "activation={activation!r} and use the loss as it is; or, with a crossentropy, end it in a "
    "Dense layer without activation and use the loss with from_logits=True."
)


def loss_name(model: Any) -> str:
    """Return the name of the model's loss: as it was given, or of its class or function."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, str):
        return loss
    name = getattr(loss, "__name__", None)
    return str(name) if name else type(loss).__name__


def loss_weight(model: Any) -> float:
    """Return the weight that the model's loss is compiled with."""
    config = getattr(model, "_compile_config", None)
    weights = None if config is None else config.config.get("loss_weights")
    if weights is None:
        return 1.0
    values = list(weights.values()) if isinstance(weights, dict) else weights
    return float(np.asarray(values, dtype=np.float64).reshape(-1)[0])
