"""`WeightGroups`: the groups of a network's weights that share a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from pymackay.arguments import covariance_matrix, one_of, positive_number
from pymackay.covariance.roots import root_of
from pymackay.errors import ArgumentError
from pymackay.keras.network.penalty import EvidencePenalty, attach

KINDS = ("isotropic", "diagonal", "full")
_WITHOUT = ("bias", "gamma", "beta")  # of a layer that is named as a whole: these have no prior


@dataclass(frozen=True, eq=False)
class Group:
    """Weights that share a prior: rows of a table, each N(0, V).

    Attributes
    ----------
    name : str
    variables : tuple of keras.Variable
    covariance : {"isotropic", "diagonal", "full"}
        Isotropic: every weight is a row, q = 1. Otherwise the last axis of the variables has the
        q columns of V.
    start : numpy.ndarray of shape (q, q), or None
        V before the first update, absolute; None: a share of the variance of the responses.
    """

    name: str
    variables: tuple[Any, ...]
    covariance: str
    start: np.ndarray | None

    @property
    def q(self) -> int:
        """Columns of V."""
        return 1 if self.covariance == "isotropic" else int(self.variables[0].shape[-1])

    @property
    def n(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(variable.shape)) for variable in self.variables)

    @property
    def rows(self) -> int:
        """J, rows of the table: each is a draw from N(0, V)."""
        return self.n // self.q

    def table(self) -> np.ndarray:
        """Return the weights, float64, shape (J, q)."""
        parts = [v.numpy().astype(np.float64).reshape(-1, self.q) for v in self.variables]
        return np.concatenate(parts)


class WeightGroups:
    """Groups of a network's weights; the weights of a group share a prior N(0, V).

    Parameters
    ----------
    model : keras.Model
        A built model.
    groups : mapping
        Name of a group to its weights: the name of a layer, a layer, the path of a variable
        (``"hidden/kernel"``), a variable, or a list of these. Or to a mapping with the keys
        ``weights``, ``covariance`` (``"isotropic"``, ``"diagonal"`` or ``"full"``) and ``start``
        (V before the first update: a variance or a matrix, absolute). A layer stands for its
        trainable weights without biases and without the scale and shift of a normalisation.

    Notes
    -----
    Weights that no group names have no prior, like the fixed effects of a mixed model. The
    groups are attached to the model as regularizers (`EvidencePenalty`); regularizers that the
    variables of a group had before are replaced.

    Raises
    ------
    ArgumentError
        If the model is not built, a name is unknown, a variable is in two groups or is not
        trainable, or a covariance does not suit the shapes.

    Examples
    --------
    >>> import keras, pymackay as pm
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="hidden"),
    ...                           keras.layers.Dense(1, name="output")])
    >>> print(pm.keras.WeightGroups(model, {"first": "hidden", "last": "output/kernel"}))
            n  rows covariance start          weights
    first   6     6  isotropic  auto    hidden/kernel
    last    2     2  isotropic  auto    output/kernel
    (none)  3     3       none       hidden/bias, ...
    """

    def __init__(self, model: Any, groups: Mapping[str, Any]) -> None:
        _check_model(model)
        if not isinstance(groups, Mapping) or not groups:
            raise ArgumentError(
                f"groups is {groups!r}; it must map at least one group's name to its weights, "
                f"such as {{'users': 'user_table'}}."
            )
        self.model = model
        self.groups = tuple(_group(model, str(name), value) for name, value in groups.items())
        _check_disjoint(self.groups)

    @property
    def names(self) -> list[str]:
        """Names of the groups."""
        return [group.name for group in self.groups]

    @property
    def free(self) -> list[Any]:
        """Trainable variables that are in no group: fixed effects."""
        named = {id(variable) for group in self.groups for variable in group.variables}
        return [v for v in self.model.trainable_variables if id(v) not in named]

    def attach(self) -> None:
        """Attach an `EvidencePenalty` to every variable of every group, and to no other.

        Penalties that suit their group stay, with the state of an earlier training. The training
        function of the model is made anew if a penalty had to be attached or removed.
        """
        changed = False
        for variable in self.free:
            if isinstance(variable.regularizer, EvidencePenalty):
                attach(self.model, variable, None)
                changed = True
        for group in self.groups:
            for variable in group.variables:
                if not _suits(variable.regularizer, group):
                    attach(self.model, variable, EvidencePenalty(np.zeros((group.q, group.q))))
                    changed = True
        if changed:
            self.model.train_function = None
            self.model.test_function = None

    def table(self) -> pd.DataFrame:
        """Return a table of the groups: n, rows J, kind of covariance, first variance, weights.

        The first variance is the mean of V's diagonal; ``auto``, where none was given, is the
        variance of the responses, and 3 % of it in a network with hidden layers; without a noise
        variance it is 1.
        """
        free = self.free
        rows = [
            (
                g.n,
                g.rows,
                g.covariance,
                "auto" if g.start is None else f"{np.trace(g.start) / g.q:.4g}",
                ", ".join(label(self.model, v) for v in g.variables),
            )
            for g in self.groups
        ]
        count = sum(int(np.prod(v.shape)) for v in free)
        names = [label(self.model, v) for v in free]
        if free:
            rows.append((count, count, "none", "", names[0] + (", ..." if len(names) > 1 else "")))
        return pd.DataFrame(
            rows,
            columns=["n", "rows", "covariance", "start", "weights"],
            index=[*self.names, *(["(none)"] if free else [])],
        )

    def __repr__(self) -> str:
        return self.table().to_string()


def _suits(penalty: Any, group: Group) -> bool:
    """Say whether a regularizer is the penalty of a group with the same kind of covariance."""
    return isinstance(penalty, EvidencePenalty) and penalty.strength.shape[0] == group.q


def label(model: Any, variable: Any) -> str:
    """Return the path of a variable without the model's own name: ``"hidden/kernel"``."""
    path = str(variable.path)
    prefix = f"{model.name}/"
    return path[len(prefix) :] if path.startswith(prefix) else path


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model is {type(model).__name__}; it must be a keras.Model.")
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            f"Keras runs on the backend {keras.backend.backend()!r}, but pymackay.keras needs "
            f"TensorFlow: set the environment variable KERAS_BACKEND=tensorflow."
        )
    if not model.built or not model.trainable_variables:
        raise ArgumentError(
            "model has no trainable weights yet: build it first, with an Input layer, "
            "model.build(shape), or by calling it on a batch."
        )


def _group(model: Any, name: str, value: Any) -> Group:
    """Return the group that an entry of the user's mapping describes."""
    entry = dict(value) if isinstance(value, Mapping) else {"weights": value}
    unknown = sorted(set(entry) - {"weights", "covariance", "start"})
    if unknown or "weights" not in entry:
        raise ArgumentError(
            f"groups[{name!r}] is {value!r}; it must be weights, or have the key 'weights' and, "
            f"if wanted, 'covariance' and 'start'."
        )
    kind = one_of(f"groups[{name!r}]['covariance']", entry.get("covariance", KINDS[0]), KINDS)
    variables = tuple(_variables(model, name, entry["weights"]))
    columns = {tuple(v.shape)[-1:] for v in variables}
    if kind != "isotropic" and (len(columns) > 1 or min(len(v.shape) for v in variables) < 2):
        raise ArgumentError(
            f"groups[{name!r}] has covariance={kind!r}, which needs weights of at least two axes "
            f"with the same number of columns, but their shapes are "
            f"{[tuple(v.shape) for v in variables]}. Use covariance='isotropic', or split it."
        )
    q = 1 if kind == "isotropic" else int(variables[0].shape[-1])
    start = _start(name, entry.get("start"), kind, q)
    return Group(name, variables, kind, start)


def _start(name: str, value: Any, kind: str, q: int) -> np.ndarray | None:
    if value is None:
        return None
    argument = f"groups[{name!r}]['start']"
    if np.ndim(value) == 0:
        return np.eye(q) * positive_number(argument, value)
    matrix = covariance_matrix(argument, value, [f"column {i}" for i in range(q)])
    if np.linalg.eigvalsh(matrix)[0] <= 0.0 or (kind == "diagonal" and _off_diagonal(matrix)):
        raise ArgumentError(
            f"{argument} is {np.asarray(value).tolist()}; it must be positive definite"
            f"{' and diagonal' if kind == 'diagonal' else ''}: no update brings a variance of "
            f"zero back."
        )
    return matrix


def _off_diagonal(matrix: np.ndarray) -> bool:
    return bool(np.any(matrix != np.diag(np.diag(matrix))))


def start_root(group: Group, noise: float, share: float) -> np.ndarray:
    """Return the root F of V/σ² that a group starts with, (q, q).

    V is a share of σ² where the group has no start of its own.
    """
    if group.start is None:
        return np.sqrt(share) * np.eye(group.q)
    return root_of(group.start) / np.sqrt(noise)


def _variables(model: Any, name: str, weights: Any) -> list[Any]:
    """Return the trainable variables that the user's words for them stand for."""
    if isinstance(weights, Sequence) and not isinstance(weights, str):
        return [v for one in weights for v in _variables(model, name, one)]
    if isinstance(weights, keras.Variable):
        chosen = [weights]
    elif isinstance(weights, keras.layers.Layer):
        chosen = _of_layer(weights)
    elif isinstance(weights, str):
        chosen = _by_name(model, name, weights)
    else:
        raise ArgumentError(
            f"groups[{name!r}] contains {weights!r}; weights are named by a layer, the name of a "
            f"layer, the path of a variable, a variable, or a list of these."
        )
    trainable = {id(v) for v in model.trainable_variables}
    fixed = [v.path for v in chosen if id(v) not in trainable]
    if fixed or not chosen:
        raise ArgumentError(
            f"groups[{name!r}]: {fixed or weights} has no trainable weights of this model. Set "
            f"trainable=True, or leave it out."
        )
    return chosen


def _of_layer(layer: Any) -> list[Any]:
    return [v for v in layer.trainable_variables if v.name not in _WITHOUT]


def _by_name(model: Any, name: str, text: str) -> list[Any]:
    """Return the variables of a layer's name, or the variable of a path or its end."""
    layers = [one for one in model._flatten_layers(include_self=False) if one.name == text]
    if layers:
        return _of_layer(layers[0])
    matching = [v for v in model.trainable_variables if f"/{v.path}".endswith(f"/{text}")]
    if len(matching) == 1:
        return matching
    known = ", ".join(label(model, v) for v in model.trainable_variables)
    reason = "fits more than one variable" if matching else "is neither a layer nor a weight"
    raise ArgumentError(
        f"groups[{name!r}]: {text!r} {reason} of this model. Its trainable weights are: {known}."
    )


def _check_disjoint(groups: Sequence[Group]) -> None:
    owner: dict[int, str] = {}
    for group in groups:
        for variable in group.variables:
            if id(variable) in owner:
                raise ArgumentError(
                    f"{variable.path} is in the groups {owner[id(variable)]!r} and "
                    f"{group.name!r} (or twice in one): a weight has one prior."
                )
            owner[id(variable)] = group.name
