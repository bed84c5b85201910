"""The reference network. Notebook 03 builds it layer by layer."""

import helpers.quiet  # isort: skip (must come before Keras)

import keras
from keras import layers


def build_reference_model(classes=10, dropout=0.5, precision="float32"):
    """Build the reference convolutional network, untrained and not compiled.

    Args:
        classes: the number of outputs.
        dropout: the share of the dense layer's outputs that training drops.
        precision: the layers' dtype policy, ``"float32"`` or ``"mixed_bfloat16"``; weights and
            output are float32 in both.

    Returns:
        A Keras model from ``(batch, 28, 28, 1)`` pixels in [0, 1] to ``(batch, classes)``
        probabilities; 225,034 parameters with 10 classes.
    """
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
