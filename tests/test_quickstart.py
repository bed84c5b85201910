"""The network of notebook 00: trained on its page, kept, and what the other notebooks train without it."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers import storage
from helpers.models import build_reference_model
from helpers.quickstart import fit
from helpers.storage import load_or_train
from helpers.training import Recipe
from tests.conftest import same

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "00_quickstart.ipynb"
RECIPE = Recipe(epochs=2, seed=3)

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in Keras
]


def run_notebook(data, recipe, change=("", "")):
    """Run the cells of notebook 00 from the preparation of the images to the end of the training."""
    cells = [
        cell.source.replace(*change)
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells
        if cell.cell_type == "code"
    ]
    (first,) = (i for i, cell in enumerate(cells) if "x_train = " in cell)
    (last,) = (i for i, cell in enumerate(cells) if "keep(" in cell)
    nothing = {name: lambda *args, **kwargs: None for name in ("show", "draw_digits")}
    variables = nothing | {"data": data, "class_names": data.class_names}
    variables |= {"seed": recipe.seed, "epochs": recipe.epochs}
    for cell in cells[first : last + 1]:
        exec(cell, variables)
    return variables["model"], variables["history"]


def test_the_page_of_notebook_00_and_its_helper_train_the_same_network(tiny, monkeypatch):
    model, history = run_notebook(tiny, RECIPE)
    again, its_history = fit(tiny, RECIPE)
    assert same(model, again) and history == its_history
    assert [len(values) for values in history.values()] == [2] * 4

    monkeypatch.setattr(storage, "_train", lambda *args: pytest.fail("trained again"))
    loaded, kept_history = load_or_train(tiny, RECIPE, fit)
    assert same(loaded, model) and kept_history == history


def test_one_epoch_with_other_settings(tiny):
    recipe = Recipe(epochs=1, batch_size=16, validation_split=0.5, learning_rate=0.01, dropout=0.2)
    model, history = fit(tiny, recipe)
    assert [len(values) for values in history.values()] == [1] * 4
    assert model.get_layer("dropout").rate == 0.2 and model.optimizer.learning_rate == np.float32(0.01)


@pytest.mark.parametrize("other", [{"network": "deep"}, {"augmentation": "affine"}, {"averaging": 0.9}])
def test_what_plain_keras_does_not_do_is_refused(tiny, other):
    with pytest.raises(ValueError, match="helpers.training.train can do it"):
        fit(tiny, Recipe(**other))


def test_the_two_ways_to_train_share_no_network(tiny):
    assert storage.model_key(tiny, RECIPE, fit) != storage.model_key(tiny, RECIPE)


def test_a_network_that_cannot_be_kept_is_no_error(tiny, tmp_path, monkeypatch, capsys):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("MNIST_RUNS", str(blocked))
    storage.keep(build_reference_model(), {}, tiny, RECIPE, fit)
    said = capsys.readouterr().err
    assert "This network is not kept for the notebooks that follow." in said and str(blocked) in said


def test_a_network_that_another_process_is_training_is_left_to_it(tiny, folder, capsys):
    folder.mkdir(parents=True)
    with storage.locked(folder / f"{storage.model_key(tiny, RECIPE, fit)}.lock", busy=None):
        storage.keep(build_reference_model(), {}, tiny, RECIPE, fit)
    assert "Another process is training the same one." in capsys.readouterr().err
    assert not list(folder.glob("*.json"))


CHANGES = {
    "a layer": ("layers.Conv2D(64, 3,", "layers.Conv2D(63, 3,"),
    "the rate": ("learning_rate=0.001", "learning_rate=0.002"),
    "the batch": ('"batch_size": 128', '"batch_size": 16'),
    "the loss": ('loss="categorical_crossentropy"', 'loss="mean_squared_error"'),
    "what is measured": ('metrics=["accuracy"]', 'metrics=["accuracy", "mae"]'),
    "the start": ("model = keras.Sequential(", "keras.random.normal((1,))\nmodel = keras.Sequential("),
    "trained on with a new optimizer": (
        "more = model.fit(",
        "model.compile('adam', model.loss)\nmore = model.fit(",
    ),
    "the pixels": ('astype("float32")[..., np.newaxis] / 255', 'astype("float32")[..., np.newaxis] / 127'),
    "a cell ran twice": ("more = model.fit(", "model.fit(x_train, y_train, verbose=0)\nmore = model.fit("),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_reader_changes_in_notebook_00_goes_no_further(tiny, folder, capsys, change):
    run_notebook(tiny, Recipe(epochs=1), change)
    assert "This page was changed, or a cell ran twice" in capsys.readouterr().err
    assert not folder.exists()
