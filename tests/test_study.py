"""A study of recipes: its notebook measures what it says, and its parameters are complete."""

import dataclasses
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import yaml

from helpers import record
from helpers.batch import make_plan
from helpers.evaluation import predict
from helpers.models import NETWORKS
from helpers.parameters import PARAMETERS
from helpers.storage import load_or_train
from helpers.training import Recipe, split_validation
from tests.conftest import make_arrays

STUDY = Path(__file__).resolve().parent.parent / "tools" / "study.ipynb"


@pytest.fixture
def run_study(tmp_path, monkeypatch):
    """Run the notebook's cells here, without a kernel; return its variables and its record."""
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs"))
    np.savez(tmp_path / "own.npz", **make_arrays(train=60))

    def run(**parameters):
        recorded = {}
        monkeypatch.setattr(record, "record", recorded.update)
        variables = {}
        for cell in nbformat.read(STUDY, as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, variables)
                if "parameters" in cell.metadata.get("tags", []):
                    variables |= {"dataset": str(tmp_path / "own.npz"), "epochs": 1, "batch_size": 10}
                    variables |= parameters
        return variables, recorded

    return run


def test_every_field_of_a_recipe_is_a_parameter():
    declared = set(papermill.inspect_notebook(str(STUDY)))
    others = {"dataset", "test_dataset", "ensemble"}
    assert declared == {field.name for field in dataclasses.fields(Recipe)} | others
    assert PARAMETERS["network"].choices == tuple(NETWORKS)


def test_an_ensemble_is_measured_by_its_mean_probabilities(run_study):
    variables, found = run_study(ensemble=2, seed=3, network="dense_same_size")
    data = variables["data"]
    recipes = [Recipe(epochs=1, batch_size=10, network="dense_same_size", seed=seed) for seed in (3, 4)]
    models = [load_or_train(data, recipe)[0] for recipe in recipes]
    _, (x, y) = split_validation(data, 0.1)
    for name, images, labels in (("validation", x, y), ("test", data.x_test, data.y_test)):
        mean = np.mean([predict(model, images) for model in models], axis=0)
        assert found[f"{name}_accuracy"] == np.mean(mean.argmax(axis=1) == labels)
    assert found["trained_parameters"] == 224_995
    assert 0 < found["cpu_seconds"] and 0 < found["seconds"] < 60


def test_the_recipe_reaches_the_training(run_study):
    given = {
        "network": "normalized",
        "schedule": "one_cycle",
        "augmentation": "elastic",
        "dropout": 0.1,
        "weight_decay": 0.01,
        "label_smoothing": 0.05,
        "averaging": 0.9,
        "learning_rate": 0.003,
        "validation_split": 0.2,
        "precision": "float32",
        "seed": 7,
    }
    variables, found = run_study(**given)
    assert variables["recipes"] == [Recipe(epochs=1, batch_size=10, **given)]
    assert found["trained_parameters"] == 225_258


def test_other_test_images_can_be_named(run_study, tmp_path):
    np.savez(tmp_path / "other.npz", **make_arrays(train=60, test=30, seed=5))
    variables, found = run_study(test_dataset=str(tmp_path / "other.npz"), network="dense_same_size")
    images, labels = (make_arrays(train=60, test=30, seed=5)[name] for name in ("x_test", "y_test"))
    read = predict(variables["model"], images).argmax(axis=1)
    assert found["test_accuracy"] == np.mean(read == labels)
    np.testing.assert_array_equal(variables["data"].x_train, make_arrays(train=60)["x_train"])


@pytest.mark.parametrize("path", sorted((STUDY.parent / "study").glob("*.yml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_study_can_be_run(path):
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    plan = make_plan(STUDY, written.get("grid", {}), written["list"])
    assert len(plan.runs) == len(written["list"]) * len(written.get("grid", {}).get("seed", [0]))
