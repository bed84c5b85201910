"""Say which operations the training spends its time in: plain Keras's, and that of `helpers.training`.

    python -m tools.profile_step

Both train the reference network on the sample, in float32, after a first epoch that compiles. The times are
those of TensorFlow's own trace, for one step in milliseconds; operations overlap on several cores, so their
sum is more than a step takes.
"""

import collections
import re
import tempfile
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import pandas as pd
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

from helpers.data import load_mnist
from helpers.models import build_reference_model
from helpers.preprocessing import one_hot, scale, split_validation
from helpers.training import Recipe, train

SHOWN = 0.2  # milliseconds, at least


class Trace(keras.callbacks.Callback):
    """Trace the second epoch: the first one compiles."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            tf.profiler.experimental.start(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            tf.profiler.experimental.stop()


def by_keras(data, recipe, trace):
    """Train as Keras does by itself."""
    keras.utils.set_random_seed(recipe.seed)
    model = build_reference_model()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    options = {"batch_size": recipe.batch_size, "epochs": recipe.epochs, "verbose": 0, "callbacks": [trace]}
    (x, y), validation = split_validation(data, recipe.validation_split)
    model.fit(scale(x), one_hot(y), validation_data=(scale(validation[0]), one_hot(validation[1])), **options)


def by_helpers(data, recipe, trace):
    """Train by the program of the course."""
    train(data, recipe, [trace])


def milliseconds(folder, steps):
    """Return how long a step is in each kind of operation, from a trace: kind → milliseconds."""
    found = collections.Counter()
    for path in Path(folder).rglob("*.xplane.pb"):
        for plane in XSpace.FromString(path.read_bytes()).planes:
            names = {key: about.name for key, about in plane.event_metadata.items()}
            for event in (event for line in plane.lines for event in line.events):
                # An operation is named place:Kind; other events are functions of the runtime around them.
                if operation := re.fullmatch(r"[^: ]+:(?:_MklNative|_Mkl)?(\w+)", names[event.metadata_id]):
                    found[operation[1]] += event.duration_ps / 1e9 / steps
    return found


def main():
    data = load_mnist("sample")
    recipe = Recipe(epochs=2, precision="float32")
    (images, _), _ = split_validation(data, recipe.validation_split)
    columns = {}
    for name, work in (("plain Keras", by_keras), ("helpers.training", by_helpers)):
        with tempfile.TemporaryDirectory() as folder:
            work(data, recipe, Trace(folder))
            columns[name] = milliseconds(folder, len(images) / recipe.batch_size)
    table = pd.DataFrame(columns).fillna(0).sort_values("plain Keras", ascending=False)
    table.loc["all operations"] = table.sum()
    print("milliseconds in a step")
    print(table[(table > SHOWN).any(axis=1)].round(1).to_string())


if __name__ == "__main__":
    main()
