"""The networks: shapes, parameter counts, settings."""

import numpy as np
import pytest

from helpers.models import NETWORKS, build_model, build_reference_model

LAYERS = {  # name: (output shape without the batch, parameters by hand)
    "conv_1": ((26, 26, 32), (3 * 3 * 1 + 1) * 32),
    "pool_1": ((13, 13, 32), 0),
    "conv_2": ((11, 11, 64), (3 * 3 * 32 + 1) * 64),
    "pool_2": ((5, 5, 64), 0),
    "flatten": ((1600,), 0),
    "dense": ((128,), (1600 + 1) * 128),
    "dropout": ((128,), 0),
    "output": ((10,), (128 + 1) * 10),
}


def test_every_layer():
    model = build_reference_model()
    found = {layer.name: (layer.output.shape[1:], layer.count_params()) for layer in model.layers}
    assert found == LAYERS
    assert list(found) == list(LAYERS), "the order"
    assert model.input_shape == (None, 28, 28, 1)
    assert model.count_params() == 225_034 == sum(count for _, count in LAYERS.values())


def test_activations_and_dropout():
    model = build_reference_model(dropout=0.25)
    activations = {
        layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
    }
    assert activations == {"conv_1": "relu", "conv_2": "relu", "dense": "relu", "output": "softmax"}
    assert model.get_layer("dropout").rate == 0.25
    assert build_reference_model().get_layer("dropout").rate == 0.5


def test_26_classes():
    model = build_reference_model(classes=26)
    assert model.output_shape == (None, 26)
    assert model.count_params() == 225_034 - 129 * 10 + 129 * 26


def test_not_compiled():
    assert not build_reference_model().compiled


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ("normalized", 225_258),
        ("deep", 5 * 5 * 32 + 9 * 32 * 64 + 9 * 64 * 96 + 9 * 96 * 192 + 2 * (32 + 64 + 96 + 192) + 1930),
        ("tiny", 5 * 5 * 8 + 9 * 8 * 16 + 9 * 16 * 16 + 9 * 16 * 24 + 2 * (8 + 16 + 16 + 24) + 250),
        ("dense_wide", 784 * 1024 + 1024 * 1024 + 2 * 2 * 1024 + 1025 * 10),
    ],
)
def test_parameters_that_are_trained(network, parameters):
    """Weights without biases, two for each normalized channel, and the output with its biases."""
    model = build_model(network)
    assert sum(int(np.prod(weights.shape)) for weights in model.trainable_variables) == parameters
    assert f"{parameters:,} parameters" in NETWORKS[network].__doc__
    assert model.output_shape == (None, 10) and build_model(network, classes=26).output_shape == (None, 26)


def test_the_tiny_network_is_tiny_however_one_counts():
    assert build_model("tiny").count_params() <= 8000  # with what normalization keeps


def test_the_deep_network_looks_anywhere():
    """Of each of the last maps only the largest value counts, wherever it is."""
    shapes = [layer.output.shape[1:] for layer in build_model("deep").layers]
    assert shapes[-3:] == [(3, 3, 192), (192,), (10,)]


@pytest.mark.parametrize("network", ["normalized", "deep", "tiny", "dense_wide"])
def test_normalization_looks_back_about_ten_steps(network):
    """A training on few images has few steps; Keras's default looks back a hundred."""
    layers = [layer for layer in build_model(network).layers if "batch_normalization" in layer.name]
    assert layers and {layer.momentum for layer in layers} == {0.9}
