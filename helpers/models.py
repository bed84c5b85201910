"""The networks. Notebook 03 builds the reference network layer by layer, 07 the dense ones, 10 the others.

Every function takes the number of outputs, ``classes``, and the share of a dense layer's outputs
that training drops, ``dropout`` (not used by all). It returns a Keras model, untrained and not
compiled, from ``(batch, 28, 28, 1)`` pixels in [0, 1] to ``(batch, classes)`` probabilities.
"""

import helpers.quiet  # isort: skip (must come before Keras)

import keras
from keras import layers


def build_reference_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the reference convolutional network: 225,034 parameters with 10 classes."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, name="pool_1"),
            layers.Conv2D(64, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dropout(dropout, name="dropout"),
            layers.Dense(classes, activation="softmax", name="output"),
        ],
        name="reference",
    )


def build_dense_model(
    classes: int = 10, dropout: float = 0.5, widths: tuple[int, ...] = (512, 512)
) -> keras.Sequential:
    """Build a network of dense layers only, as commonly taught: 669,706 parameters with 10 classes.

    ``widths`` are the numbers of units of the hidden layers.
    """
    hidden = []
    for width in widths:
        hidden += [layers.Dense(width, activation="relu"), layers.Dropout(dropout)]
    return _sequence("dense", classes, layers.Flatten(), *hidden)


def build_small_dense_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build a dense network of the reference network's size: 224,995 parameters with 10 classes."""
    return build_dense_model(classes, dropout, widths=(283,))


def build_normalized_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the reference network with batch normalization: 225,258 parameters that are trained."""
    return _sequence(
        "normalized",
        classes,
        *_normalized(layers.Conv2D(32, 3, use_bias=False)),
        layers.MaxPooling2D(2),
        *_normalized(layers.Conv2D(64, 3, use_bias=False)),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        *_normalized(layers.Dense(128, use_bias=False)),
        layers.Dropout(dropout),
    )


def build_deep_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the network of four convolutions: 243,114 parameters that are trained; no dropout."""
    return _build_pyramid("deep", classes, (32, 64, 96, 192))


def build_wide_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the same with twice the filters: 965,450 parameters that are trained; no dropout."""
    return _build_pyramid("wide", classes, (64, 128, 192, 384))


def build_tiny_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the same in tiny: 7,490 parameters that are trained; no dropout."""
    return _build_pyramid("tiny", classes, (8, 16, 16, 24))


def _build_pyramid(name, classes, filters):
    """Build four convolutions on three scales; of each of the last maps the largest value decides."""
    return _sequence(
        name,
        classes,
        *_normalized(layers.Conv2D(filters[0], 5, use_bias=False)),
        layers.MaxPooling2D(2),
        *_normalized(layers.Conv2D(filters[1], 3, padding="same", use_bias=False)),
        *_normalized(layers.Conv2D(filters[2], 3, use_bias=False)),
        layers.MaxPooling2D(2),
        *_normalized(layers.Conv2D(filters[3], 3, use_bias=False)),
        layers.GlobalMaxPooling2D(),
    )


def build_wide_dense_model(classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build a wide dense network with batch normalization: 1,865,738 parameters that are trained."""
    hidden = []
    for _ in range(2):
        hidden += [*_normalized(layers.Dense(1024, use_bias=False)), layers.Dropout(dropout)]
    return _sequence("dense_wide", classes, layers.Flatten(), *hidden)


def _normalized(layer):
    """Return a layer without biases, batch normalization in their place, and a ReLU."""
    return layer, layers.BatchNormalization(momentum=0.9), layers.ReLU()


def _sequence(name, classes, *hidden):
    """Return the network of these hidden layers."""
    output = layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input((28, 28, 1)), *hidden, output], name=name)


NETWORKS = {
    "reference": build_reference_model,
    "dense": build_dense_model,
    "dense_same_size": build_small_dense_model,
    "normalized": build_normalized_model,
    "deep": build_deep_model,
    "wide": build_wide_model,
    "tiny": build_tiny_model,
    "dense_wide": build_wide_dense_model,
}


def build_model(network: str, classes: int = 10, dropout: float = 0.5) -> keras.Sequential:
    """Build the network of a name in ``NETWORKS``.

    Raises:
        KeyError: there is none of this name.
    """
    return NETWORKS[network](classes, dropout)
