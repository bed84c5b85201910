"""The study of recipes: what is measured, what is written down, and that it goes on where it was stopped."""

import csv

import numpy as np
import pandas as pd
import pytest

from helpers.data import load_mnist
from helpers.evaluation import predict
from helpers.storage import load_or_train
from helpers.training import Recipe, split_validation
from tests.conftest import make_arrays
from tools import benchmark_targets, study

QUICK = {"epochs": 1, "batch_size": 10, "network": "dense_same_size"}
TRACK = f"""\
data: {{own}}
test: {{other}}
seeds: 2
recipes:
  - {QUICK}
  - {QUICK | {"learning_rate": 0.01}}
ensembles:
  - {QUICK}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one small track; return its folder."""
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(study, "ROOT", tmp_path)
    (tmp_path / "tools" / "study").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    np.savez(tmp_path / "own.npz", **make_arrays(train=60))
    np.savez(tmp_path / "other.npz", **make_arrays(train=60, test=30, seed=5))
    text = TRACK.replace("{own}", str(tmp_path / "own.npz")).replace("{other}", str(tmp_path / "other.npz"))
    (tmp_path / "tools" / "study" / "quick.yml").write_text(text, encoding="utf-8")
    return tmp_path


def rows(project):
    with (project / "figures" / "study_quick.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_run_gets_a_row_with_what_it_was_made_with(project):
    study.study("quick")
    found = rows(project)
    expected = [("0", "0.001", "1"), ("1", "0.001", "1"), ("0", "0.01", "1"), ("1", "0.01", "1")]
    expected += [("0", "0.001", "2")]
    assert [(row["seed"], row["learning_rate"], row["ensemble"]) for row in found] == expected
    assert len({row["test_accuracy"] for row in found}) > 1 and {row["data"] for row in found} == {"own"}
    for row in found:
        assert "CPU with" in row["device"] and "TensorFlow 2." in row["versions"] and len(row["code"]) == 16
        assert row["trained_parameters"] == "224995" and 0 < float(row["seconds"]) < 60


def test_an_ensemble_is_measured_by_its_mean_probabilities(project):
    data = load_mnist(str(project / "own.npz"))
    recipes = [Recipe(**QUICK, seed=seed) for seed in (3, 4)]
    row = study.measure(data, recipes)
    models = [load_or_train(data, recipe)[0] for recipe in recipes]
    _, (x, y) = split_validation(data, 0.1)
    for name, images, labels in (("validation", x, y), ("test", data.x_test, data.y_test)):
        mean = np.mean([predict(model, images) for model in models], axis=0)
        assert row[f"{name}_accuracy"] == np.mean(mean.argmax(axis=1) == labels)


def test_trials_do_not_look_at_the_test_images(project, monkeypatch):
    path = project / "tools" / "study" / "quick.yml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"test: {project / 'other.npz'}", "test: null"), encoding="utf-8")
    seen = []
    monkeypatch.setattr(study, "predict", lambda model, x: seen.append(len(x)) or predict(model, x))
    study.study("quick")
    assert {row["test_accuracy"] for row in rows(project)} == {""}
    assert set(seen) == {6}, "the validation images only"


def test_the_named_test_images_are_used(project):
    study.study("quick")
    model, _ = load_or_train(load_mnist(str(project / "own.npz")), Recipe(**QUICK))
    other = load_mnist(str(project / "other.npz"))
    right = predict(model, other.x_test).argmax(axis=1) == other.y_test
    assert float(rows(project)[0]["test_accuracy"]) == right.mean()


def test_a_study_goes_on_where_it_was_stopped(project, monkeypatch, capsys):
    measured, measure = [], study.measure

    def stopped(data, run, tests):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(run)
        return measure(data, run, tests)

    monkeypatch.setattr(study, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.study("quick")
    before = rows(project)
    assert len(before) == 2 and "quick: 5 runs, 5 to do\n" in capsys.readouterr().out

    monkeypatch.setattr(
        study, "measure", lambda *given, **options: measured.append(given) or measure(*given, **options)
    )
    study.study("quick")
    assert len(measured) == 5 and rows(project)[:2] == before
    assert "quick: 5 runs, 3 to do\n" in capsys.readouterr().out


def test_rows_of_other_code_are_measured_again(project, monkeypatch, capsys):
    study.study("quick")
    path = project / "figures" / "study_quick.csv"
    code = rows(project)[0]["code"]
    path.write_text(path.read_text(encoding="utf-8").replace(code, "0" * 16), encoding="utf-8")
    capsys.readouterr()
    study.study("quick")
    assert "5 to do, by their last times 0.0 hours" in capsys.readouterr().out
    assert {row["code"] for row in rows(project)} == {code}


@pytest.mark.parametrize("name", study.TRACKS)
def test_every_recipe_of_the_study_can_be_trained(name):
    _, _, runs = study.read_track(name)
    assert runs and len({tuple(run) for run in runs}) == len(runs)
    assert all(len({recipe.seed for recipe in run}) == len(run) for run in runs)


def test_a_complete_table_of_times_is_only_shown(tmp_path, monkeypatch, capsys):
    made_with = {"device": "CPU", "versions": "Python 3", "code": "0123"}
    row = {"aim": 98.0, "program": "helpers", "precision": "float32", "epochs": 1, "seconds": 2.0}
    row |= {"cpu_seconds": 3.0, "val_accuracy": 0.98, "test_accuracy": 0.98, **made_with}
    path = tmp_path / "speed.csv"
    pd.DataFrame([{"seed": seed, **row} for seed in range(2)]).to_csv(path, index=False)
    before = path.read_bytes()
    about = made_with | {"auto": "float32", "device": "CPU, float32"}
    monkeypatch.setattr(benchmark_targets, "need_data", lambda: None)
    monkeypatch.setattr(benchmark_targets, "run", lambda *command: (about, 0, 0))
    monkeypatch.setattr("sys.argv", ["benchmark_targets", "--seeds", "2", "--output", str(path)])
    benchmark_targets.main()
    assert "helpers" in capsys.readouterr().out and path.read_bytes() == before
