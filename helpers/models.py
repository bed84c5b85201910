"""The networks. Notebook 03 builds the reference network layer by layer, 07 the dense ones, 10 the others.

Every function takes the same arguments:

- ``classes``: the number of outputs;
- ``dropout``: the share of a dense layer's outputs that training drops (not used by all);
- ``precision``: the layers' dtype policy, ``"float32"`` or ``"mixed_bfloat16"``; weights and output
  are float32 in both;

and returns a Keras model, untrained and not compiled, from ``(batch, 28, 28, 1)`` pixels in [0, 1]
to ``(batch, classes)`` probabilities.
"""

import helpers.quiet  # isort: skip (must come before Keras)

import keras
from keras import layers


def build_reference_model(classes=10, dropout=0.5, precision="float32"):
    """Build the reference convolutional network: 225,034 parameters with 10 classes."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu", dtype=precision, name="conv_1"),
            layers.MaxPooling2D(2, dtype=precision, name="pool_1"),
            layers.Conv2D(64, 3, activation="relu", dtype=precision, name="conv_2"),
            layers.MaxPooling2D(2, dtype=precision, name="pool_2"),
            layers.Flatten(dtype=precision, name="flatten"),
            layers.Dense(128, activation="relu", dtype=precision, name="dense"),
            layers.Dropout(dropout, dtype=precision, name="dropout"),
            layers.Dense(classes, activation="softmax", dtype="float32", name="output"),
        ],
        name="reference",
    )


def build_dense_model(classes=10, dropout=0.5, precision="float32", widths=(512, 512)):
    """Build a network of dense layers only, as commonly taught: 669,706 parameters with 10 classes.

    ``widths`` are the numbers of units of the hidden layers.
    """
    hidden = []
    for width in widths:
        hidden.append(layers.Dense(width, activation="relu", dtype=precision))
        hidden.append(layers.Dropout(dropout, dtype=precision))
    output = layers.Dense(classes, activation="softmax", dtype="float32")
    return keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Flatten(dtype=precision), *hidden, output], name="dense"
    )


def build_small_dense_model(classes=10, dropout=0.5, precision="float32"):
    """Build a dense network of the reference network's size: 224,995 parameters with 10 classes."""
    return build_dense_model(classes, dropout, precision, widths=(283,))


def build_normalized_model(classes=10, dropout=0.5, precision="float32"):
    """Build the reference network with batch normalization: 225,258 parameters that are trained."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *_convolution(32, 3, precision),
            layers.MaxPooling2D(2, dtype=precision),
            *_convolution(64, 3, precision),
            layers.MaxPooling2D(2, dtype=precision),
            layers.Flatten(dtype=precision),
            layers.Dense(128, use_bias=False, dtype=precision),
            *_normalize(precision),
            layers.Dropout(dropout, dtype=precision),
            layers.Dense(classes, activation="softmax", dtype="float32"),
        ],
        name="normalized",
    )


def build_deep_model(classes=10, dropout=0.5, precision="float32"):
    """Build the network of four convolutions: 243,114 parameters that are trained; no dropout."""
    return _build_pyramid("deep", (32, 64, 96, 192), classes, precision)


def build_tiny_model(classes=10, dropout=0.5, precision="float32"):
    """Build the same in tiny: 7,490 parameters that are trained; no dropout."""
    return _build_pyramid("tiny", (8, 16, 16, 24), classes, precision)


def _build_pyramid(name, filters, classes, precision):
    """Build four convolutions on three scales; of each of the last maps the largest value decides."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *_convolution(filters[0], 5, precision),
            layers.MaxPooling2D(2, dtype=precision),
            *_convolution(filters[1], 3, precision, padding="same"),
            *_convolution(filters[2], 3, precision),
            layers.MaxPooling2D(2, dtype=precision),
            *_convolution(filters[3], 3, precision),
            layers.GlobalMaxPooling2D(dtype=precision),
            layers.Dense(classes, activation="softmax", dtype="float32"),
        ],
        name=name,
    )


def build_wide_dense_model(classes=10, dropout=0.5, precision="float32"):
    """Build a wide dense network with batch normalization: 1,865,738 parameters that are trained."""
    hidden = []
    for _ in range(2):
        hidden.append(layers.Dense(1024, use_bias=False, dtype=precision))
        hidden += [*_normalize(precision), layers.Dropout(dropout, dtype=precision)]
    output = layers.Dense(classes, activation="softmax", dtype="float32")
    return keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Flatten(dtype=precision), *hidden, output], name="dense_wide"
    )


def _convolution(filters, size, precision, padding="valid"):
    """Return a convolution with batch normalization in place of its bias, and a ReLU."""
    convolution = layers.Conv2D(filters, size, padding=padding, use_bias=False, dtype=precision)
    return convolution, *_normalize(precision)


def _normalize(precision):
    """Return batch normalization and the ReLU that follows it."""
    return layers.BatchNormalization(momentum=0.9, dtype=precision), layers.ReLU(dtype=precision)


NETWORKS = {
    "reference": build_reference_model,
    "dense": build_dense_model,
    "dense_same_size": build_small_dense_model,
    "normalized": build_normalized_model,
    "deep": build_deep_model,
    "tiny": build_tiny_model,
    "dense_wide": build_wide_dense_model,
}


def build_model(network, classes=10, dropout=0.5, precision="float32"):
    """Build the network of a name in ``NETWORKS``.

    Raises:
        KeyError: there is none of this name.
    """
    return NETWORKS[network](classes, dropout, precision)
