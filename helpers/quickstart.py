"""The network of notebook 00, for the notebooks that go on with it."""

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np

from helpers import storage
from helpers.data import Dataset
from helpers.errors import say
from helpers.models import build_reference_model
from helpers.preprocessing import one_hot, scale, split_validation
from helpers.training import Progress, Recipe, make_reproducible

SETTINGS = ("epochs", "batch_size", "validation_split", "learning_rate", "dropout", "precision", "seed")


def fit(data: Dataset, recipe: Recipe = Recipe()) -> storage.Trained:
    """Train the network of notebook 00, the same to the last bit: plain Keras, the first epoch by itself.

    Args:
        data: a `helpers.data.Dataset`; its test part is not touched.
        recipe: a `Recipe`. Its precision does not count: plain Keras computes in float32.

    Returns:
        As `helpers.training.train`: the model and its history.

    Raises:
        ValueError: the recipe asks for what notebook 00 does not do: another network, distortion, ….
    """
    if recipe != Recipe(**{name: getattr(recipe, name) for name in SETTINGS}):
        raise ValueError(f"{recipe} is not notebook 00's; helpers.training.train can do it.")
    make_reproducible(recipe.seed)
    (x, y), (x_validation, y_validation) = split_validation(data, recipe.validation_split)
    model = _compile(data, recipe)
    options = {
        "batch_size": recipe.batch_size,
        "validation_data": (scale(x_validation), one_hot(y_validation, data.classes)),
        "verbose": 0,
        "callbacks": [Progress()],
    }
    x, y = scale(x), one_hot(y, data.classes)
    history = model.fit(x, y, epochs=1, **options).history
    more = model.fit(x, y, initial_epoch=1, epochs=recipe.epochs, **options).history
    return model, {measure: values + more.get(measure, []) for measure, values in history.items()}


def keep(model: keras.Model, history: dict[str, list[float]], data: Dataset, recipe: Recipe) -> None:
    """Keep the network that a page has trained as `fit` does, for `helpers.storage.load_or_train`.

    A line on stderr says so if it cannot be kept, or if it is no such network, because the page was
    changed or a cell ran twice. Then the notebooks that need it train it.
    """
    (x, _), (x_validation, y_validation) = split_validation(data, recipe.validation_split)
    make_reproducible(recipe.seed)
    start, steps = _compile(data, recipe), recipe.epochs * int(np.ceil(len(x) / recipe.batch_size))
    if same := _settings(model, 0) == _settings(start, steps):
        validation = scale(x_validation), one_hot(y_validation, data.classes)
        measured = model.evaluate(*validation, recipe.batch_size, verbose=0)
        same = np.allclose(measured, [history["val_loss"][-1], history["val_accuracy"][-1]], rtol=1e-3)
    if same:
        storage.keep(model, history, data, recipe, fit)
    else:
        say("This page was changed, or a cell ran twice: other notebooks go on with a network of their own.")


def _compile(data, recipe):
    model = build_reference_model(data.classes, recipe.dropout)
    adam = keras.optimizers.Adam(recipe.learning_rate)
    model.compile(optimizer=adam, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def _settings(model, steps):
    """Return how a network was built, started and compiled, and its training steps, with ``steps`` more."""
    compiled = model.get_compile_config()
    compiled["optimizer"]["config"].pop("name")
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    states = [layer.seed_generator.state.numpy() for layer in drops]  # drawn at the start; counts the steps
    counts = [int(model.optimizer.iterations) + steps] + [int(one[1]) + steps for one in states]
    return [layer.get_config() for layer in model.layers], compiled, [int(one[0]) for one in states], counts
