"""`collect_messages`: what is to be known of a result, each with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from pymackay.keras.evidence import Evidence
from pymackay.keras.network.groups import Group

_UNINFORMED = 1e-3  # share of a group's weights that the data determine, below which none is
_HOMOGENEOUS = (keras.activations.relu, keras.activations.leaky_relu, keras.activations.linear)
_UNFINISHED = 0.1  # of the effective weights: how far from the mode counts as unfinished
_NORMALISATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)


def collect_messages(evidence: Evidence) -> Iterator[str]:
    """Yield the messages that apply to the present state of the loop."""
    yield from _of_layers(evidence)
    if evidence.updates:
        yield from _of_update(evidence)
        yield from _of_mode(evidence)


def _of_update(evidence: Evidence) -> Iterator[str]:
    """Yield what the last update shows."""
    update = evidence.updates[-1]
    for name, direction in evidence.lost.items():
        yield (
            f"Group {name!r}: the literal rule {evidence.rule.name!r} has set the variance of "
            f"{_combination(direction)} to zero. That is a property of the rule, which leaves out "
            f"the weights' error variances, not an estimate. Use update='gamma'."
        )
    for k, group in enumerate(evidence.groups.groups):
        if update.gamma[k] < _UNINFORMED * group.n and group.name not in evidence.lost:
            yield (
                f"Group {group.name!r}: the data determine {update.gamma[k]:.3g} of {group.n} "
                f"weights; its prior has shrunk the group to zero. It can be left out of the model."
            )
    if update.floored:
        yield (
            f"{update.floored} weights without a prior are not determined by the data; they are "
            f"held where they are. Put them into a group, or remove them."
        )
    if update.saturated:
        yield (
            "The network has as many effective weights as there are observations: the noise "
            "cannot be told from the weights. Use more rows, a smaller network, or a smaller "
            "'start' for the groups."
        )
    if any(np.nan_to_num(update.gamma_error) > 0.0):
        yield (
            "gamma was estimated from random probes: gamma_error is its standard error. "
            "log_evidence uses the log determinant of blocks only. Use curvature='exact' for the "
            "exact values."
        )
    elif evidence.plan is not None and evidence.plan.kind in ("diagonal", "block"):
        yield (
            f"curvature={evidence.plan.kind!r} leaves out products between weights, which makes "
            f"gamma too large where weights can replace each other. Use curvature='probes'."
        )


def _of_mode(evidence: Evidence) -> Iterator[str]:
    """Yield how far the weights are from the mode of the penalised likelihood.

    Around the mode, the weights' own uncertainty lowers the logarithm by about half of Σγ.
    """
    if evidence.rise > _UNFINISHED * sum(evidence.updates[-1].gamma):
        yield (
            f"The weights were not at the mode of their penalised likelihood at the last update: "
            f"its logarithm could rise by about {evidence.rise:.3g}. The variances are those of "
            f"an unfinished training, and the noise is too large. Train for more epochs, with "
            f"larger batches or a smaller learning rate, or use pymackay.keras.fit(..., "
            f"polish=True) with curvature='exact' or 'probes'."
        )


def _of_layers(evidence: Evidence) -> Iterator[str]:
    """Yield what the network's layers mean for the groups."""
    model = evidence.groups.model
    for group in evidence.groups.groups:
        free = [layer.name for layer in _layers(model, group) if _is_normalised(layer)]
        if free:
            yield (
                f"Group {group.name!r}: {', '.join(free)} is followed by a normalisation, so that "
                f"the size of its weights has no effect on the output and its prior variance has "
                f"no meaning. Leave it without a prior."
            )
        yield from _of_free_scale(evidence, group)
    others = [evidence.columns.variables[i].path for i in evidence.linearisation.untapped]
    if others:
        yield (
            f"The Jacobian of {', '.join(others)} is computed row by row, because it belongs to "
            f"no Dense or Embedding layer that is used as such; this takes time and memory "
            f"proportional to rows times weights."
        )
    unpenalised = [v.path for v in evidence.groups.free if v.regularizer is not None]
    if unpenalised:
        yield (
            f"{', '.join(unpenalised)} has a regularizer of its own, which the loop does not know "
            f"of. Put it into a group, or remove the regularizer."
        )
    if not evidence.family.dispersed:
        yield (
            f"The {evidence.family.name} likelihood is approximated by a quadratic at the mode in "
            f"each update (penalised quasi-likelihood): variances are too small where a group has "
            f"few observations per weight. Use pymackay.glmer for a model that is linear in its "
            f"weights: its Laplace approximation and its quadrature do not have this bias."
        )


def _of_free_scale(evidence: Evidence, group: Group) -> Iterator[str]:
    """Yield the layers whose size can move into a next layer that has no prior.

    A layer with a positively homogeneous activation (ReLU, none) gives the same outputs when its
    weights are halved and those of the next layer are doubled.
    """
    free = {id(variable) for variable in evidence.groups.free}
    for layer in _layers(evidence.groups.model, group):
        if not isinstance(layer, keras.layers.Dense) or layer.activation not in _HOMOGENEOUS:
            continue
        targets = list(_targets(layer))
        dense = [target for target in targets if isinstance(target, keras.layers.Dense)]
        if targets and len(dense) == len(targets) and all(id(d._kernel) in free for d in dense):
            names = ", ".join(target.name for target in dense)
            yield (
                f"Group {group.name!r}: the size of the weights of {layer.name} can move into "
                f"{names}, which has no prior, so that the prior variance has no meaning of its "
                f"own. Put {names} into a group too."
            )


def _targets(operation: Any) -> Iterator[Any]:
    """Yield the operations that an operation's output goes into, through dropout and ReLU."""
    for node in operation._outbound_nodes:
        if isinstance(node.operation, keras.layers.Dropout | keras.layers.ReLU):
            yield from _targets(node.operation)
        else:
            yield node.operation


def _layers(model: Any, group: Group) -> list[Any]:
    ids = {id(variable) for variable in group.variables}
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if any(id(variable) in ids for variable in layer._trainable_variables)
    ]


def _is_normalised(layer: Any) -> bool:
    """Say whether the layer's output goes into a normalisation, and nowhere else."""
    if getattr(layer, "activation", None) not in (None, keras.activations.linear):
        return False
    targets = [node.operation for node in layer._outbound_nodes]
    return bool(targets) and all(isinstance(target, _NORMALISATIONS) for target in targets)


def _combination(direction: np.ndarray) -> str:
    if len(direction) == 1:
        return "its weights"
    parts = [f"{value:.3g} x column {a}" for a, value in enumerate(direction) if value != 0.0]
    return " + ".join(parts)
