"""Weight groups: how weights are named, and what is refused."""

from __future__ import annotations

import keras
import pytest
from keras_models import small_network

import pymackay as pm


@pytest.fixture(scope="module")
def model():
    return small_network()


def paths(groups, k=0):
    return [variable.path for variable in groups.groups[k].variables]


def test_weights_are_named_in_five_ways(model):
    kernel = model.get_layer("hidden").kernel
    for weights in (
        "hidden",
        model.get_layer("hidden"),
        "hidden/kernel",
        kernel,
        ["hidden/kernel"],
    ):
        groups = pm.keras.WeightGroups(model, {"one": weights})
        assert [v is kernel for v in groups.groups[0].variables] == [True]
    groups = pm.keras.WeightGroups(model, {"bias": "hidden/bias"})
    assert paths(groups) == [model.get_layer("hidden").bias.path]


def test_the_table_shows_sizes_and_what_has_no_prior(model):
    groups = pm.keras.WeightGroups(
        model,
        {
            "table": {"weights": "table", "covariance": "full", "start": [[2.0, 0.5], [0.5, 4.0]]},
            "dense": ["hidden", "output"],
        },
    )
    table = groups.table()
    assert table.loc["table", ["n", "rows"]].tolist() == [10, 5]
    assert table.loc["dense", ["n", "rows"]].tolist() == [8, 8]
    assert table.loc["(none)", "n"] == 3
    assert table["start"].tolist() == ["3", "auto", ""]
    assert "(none)" in repr(groups)


@pytest.mark.parametrize(
    ("groups", "part"),
    [
        ({}, "at least one group"),
        ({"a": "nothing"}, "trainable weights are: "),
        ({"a": "kernel"}, "fits more than one variable"),
        ({"a": 3}, "named by a layer"),
        ({"a": "hidden", "b": "hidden/kernel"}, "a weight has one prior"),
        ({"a": {"weight": "hidden"}}, "have the key 'weights'"),
        ({"a": {"weights": "hidden/bias", "covariance": "full"}}, "at least two axes"),
        ({"a": {"weights": "hidden", "covariance": "correlated"}}, "must be one of"),
        ({"a": {"weights": "hidden", "start": -1.0}}, "positive"),
        (
            {"a": {"weights": "table", "covariance": "diagonal", "start": [[1, 0.5], [0.5, 1]]}},
            "and diagonal",
        ),
    ],
)
def test_what_cannot_be_a_group_is_refused(model, groups, part):
    with pytest.raises(pm.ArgumentError, match=part):
        pm.keras.WeightGroups(model, groups)


def test_models_that_are_not_built_are_refused():
    with pytest.raises(pm.ArgumentError, match="build it first"):
        pm.keras.WeightGroups(keras.Sequential([keras.layers.Dense(1)]), {"a": "dense"})
    with pytest.raises(pm.ArgumentError, match=r"must be a keras\.Model"):
        pm.keras.WeightGroups("model", {"a": "dense"})


def test_frozen_layers_are_refused():
    model = small_network()
    model.get_layer("hidden").trainable = False
    with pytest.raises(pm.ArgumentError, match="trainable=True"):
        pm.keras.WeightGroups(model, {"a": model.get_layer("hidden").kernel})


def test_other_groups_of_a_model_take_the_place_of_earlier_ones():
    model = small_network()
    pm.keras.WeightGroups(model, {"table": "table", "hidden": "hidden"}).attach()
    table, hidden = model.get_layer("table"), model.get_layer("hidden")
    first = table.embeddings.regularizer
    pm.keras.WeightGroups(model, {"table": "table"}).attach()
    assert table.embeddings.regularizer is first
    assert hidden.kernel.regularizer is None and hidden.kernel_regularizer is None
    pm.keras.WeightGroups(model, {"t": {"weights": "table", "covariance": "full"}}).attach()
    assert table.embeddings.regularizer.strength.shape == (2, 2)
