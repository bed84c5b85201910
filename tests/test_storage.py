"""Keeping models: trained once, loaded whole or not at all, safe against everything that goes wrong."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import nbformat
import numpy as np
import papermill
import pytest
import tensorflow as tf

from helpers import folders, identity, storage, training
from helpers.data import Dataset
from helpers.errors import StorageError
from helpers.models import build_reference_model
from helpers.storage import load_or_train, model_key, training_seconds
from helpers.training import Recipe
from tests.conftest import make_arrays, same

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in Keras
]

PROJECT = Path(__file__).resolve().parent.parent
RECIPE = Recipe(epochs=1, batch_size=16, precision="float32")
HISTORY = {"accuracy": [0.5], "loss": [1.25], "val_accuracy": [0.5], "val_loss": [1.5]}


@pytest.fixture
def trained(monkeypatch):
    """Replace the training with a quick one; return the list of the recipes that were trained."""
    recipes = []

    def train(data, recipe):
        recipes.append(recipe)
        keras.utils.set_random_seed(recipe.seed)
        return build_reference_model(data.classes), HISTORY

    monkeypatch.setattr(training, "train", train)
    return recipes


def kept(folder):
    """Return the names and contents of the files that were kept, locks aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


# Once trained, always loaded


def test_second_call_loads_what_the_first_trained(monkeypatch, tiny, capfd):
    """With the real training, once."""
    model, history = load_or_train(tiny, RECIPE)
    warned = capfd.readouterr().out
    monkeypatch.setattr(training, "train", lambda *args: pytest.fail("trained again"))
    loaded, loaded_history = load_or_train(tiny, RECIPE)
    assert same(loaded, model)
    assert loaded_history == history
    x = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))
    shown = capfd.readouterr()
    assert shown.out == warned and "Loaded" in shown.err


def test_files_and_notes(tiny, folder, trained):
    load_or_train(tiny, RECIPE)
    key = model_key(tiny, RECIPE)
    assert set(kept(folder)) == {f"{key}.keras", f"{key}.json"}
    notes = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    assert notes["history"] == HISTORY
    assert notes["recipe"] == dataclasses.asdict(RECIPE) and notes["data"] == "tiny"


def test_each_recipe_is_kept(tiny, folder, trained):
    recipes = [dataclasses.replace(RECIPE, seed=seed) for seed in (0, 1)]
    first = [load_or_train(tiny, recipe)[0] for recipe in recipes]
    second = [load_or_train(tiny, recipe)[0] for recipe in recipes]
    assert trained == recipes
    assert same(first[0], second[0]) and same(first[1], second[1]) and not same(*first)


# The key

OTHER_RECIPE = {
    "network": "dense",
    "schedule": "one_cycle",
    "augmentation": "affine",
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "averaging": 0.9,
    "epochs": 2,
    "batch_size": 17,
    "validation_split": 0.2,
    "learning_rate": 0.002,
    "dropout": 0.4,
    "precision": "mixed_bfloat16",
    "seed": 1,
}


def test_key_is_stable(tiny):
    again = Dataset(**make_arrays(), name="the name does not matter")
    assert model_key(tiny, RECIPE) == model_key(again, dataclasses.replace(RECIPE))
    assert set(OTHER_RECIPE) == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize("field", OTHER_RECIPE)
def test_key_changes_with_the_recipe(tiny, field):
    other = dataclasses.replace(RECIPE, **{field: OTHER_RECIPE[field]})
    assert model_key(tiny, other) != model_key(tiny, RECIPE)


@pytest.mark.parametrize("part", ["x_train", "y_train", "x_test", "y_test"])
def test_key_changes_with_the_data(tiny, part):
    arrays = make_arrays()
    arrays[part][-1] ^= 1
    assert model_key(Dataset(**arrays, name="tiny"), RECIPE) != model_key(tiny, RECIPE)


def test_key_changes_with_the_class_names(tiny):
    """The network's outputs have other meanings then."""
    other = dataclasses.replace(tiny, class_names=tuple(reversed(tiny.class_names)))
    assert model_key(other, RECIPE) != model_key(tiny, RECIPE)


def test_key_changes_with_the_code_of_the_training_and_with_versions(monkeypatch, tiny):
    before = model_key(tiny, RECIPE)
    training_code = storage.training_identity()
    for other in (
        dataclasses.replace(training_code, code="other"),
        dataclasses.replace(training_code, versions=training_code.versions | {"keras": "99.0"}),
    ):
        monkeypatch.setattr(storage, "training_identity", lambda other=other: other)
        assert model_key(tiny, RECIPE) != before


def test_the_training_is_all_that_training_imports_but_the_loading_of_data():
    everything = identity.of_module("helpers.training")
    training_code = storage.training_identity()
    assert training_code == identity.of_module("helpers.training", without=("helpers.data",)) != everything
    assert {"keras", "tensorflow", "numpy"} <= set(training_code.versions)
    assert "pooch" in everything.versions and "pooch" not in training_code.versions


def test_auto_precision_shares_its_model_with_what_it_means(tiny):
    auto, meant = (
        dataclasses.replace(RECIPE, precision=precision)
        for precision in ("auto", training.choose_precision("auto"))
    )
    assert model_key(tiny, auto) == model_key(tiny, meant)


# Damaged files: trained again instead of loaded


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000] if path.suffix == ".keras" else path.read_bytes()[:-40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def write(content):
    return lambda path: path.write_bytes(content)


DAMAGE = {
    "model missing": (".keras", Path.unlink),
    "model truncated": (".keras", cut),
    "model altered": (".keras", flip),
    "model empty": (".keras", write(b"")),
    "notes missing": (".json", Path.unlink),
    "notes half-written": (".json", cut),
    "notes empty": (".json", write(b"")),
    "notes not text": (".json", write(b"\xff\xfe\x00")),
    "notes of another form": (".json", write(b"[]")),
    "notes without content": (".json", write(b"{}")),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_model_is_trained_again(tiny, folder, trained, case, capsys):
    ending, damage = DAMAGE[case]
    model, _ = load_or_train(tiny, RECIPE)
    whole = kept(folder)
    damage(folder / (model_key(tiny, RECIPE) + ending))
    again, history = load_or_train(tiny, RECIPE)
    assert len(trained) == 2
    assert same(again, model) and history == HISTORY
    assert capsys.readouterr().err.count("training it again") == ("missing" not in case)
    assert kept(folder).keys() == whole.keys()
    load_or_train(tiny, RECIPE)
    assert len(trained) == 2, "repaired by the second training"


def test_other_model_under_this_name_is_not_loaded(tiny, folder, trained):
    """As after a crash between the two renamings of two different savings."""
    load_or_train(tiny, RECIPE)
    load_or_train(tiny, dataclasses.replace(RECIPE, seed=1))
    this, other = (model_key(tiny, dataclasses.replace(RECIPE, seed=seed)) for seed in (0, 1))
    os.replace(folder / f"{other}.keras", folder / f"{this}.keras")
    load_or_train(tiny, RECIPE)
    assert len(trained) == 3


def test_what_the_training_took_is_kept(monkeypatch, tiny):
    def slow(*args):
        time.sleep(0.3)
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return build_reference_model(), {}

    monkeypatch.setattr(training, "train", slow)
    load_or_train(tiny, RECIPE)
    kept_seconds = training_seconds(tiny, RECIPE)
    assert 0.5 <= kept_seconds[0] < 5 and 0.2 <= kept_seconds[1] < 3
    load_or_train(tiny, RECIPE)
    assert training_seconds(tiny, RECIPE) == kept_seconds, "of the training, not of the loading"


# Folders that cannot be written, and full disks


def assert_storage_error(data, folder, recipe=RECIPE):
    with pytest.raises(StorageError) as caught:
        load_or_train(data, recipe)
    message = str(caught.value)
    assert str(folder) in message and "MNIST_RUNS" in message
    assert "\n" not in message and message.endswith(".")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_folder_that_cannot_be_made(monkeypatch, tmp_path, tiny, trained, place):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / place))
    assert_storage_error(tiny, tmp_path / place)
    assert trained == [], "found out before the training"
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_read_only_folder(tiny, folder, trained):
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    assert_storage_error(tiny, folder)
    assert trained == []
    folder.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_read_only_folder_as_any_user(monkeypatch, tiny, folder, trained, code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(folders.tempfile, "TemporaryFile", refuse)
    assert_storage_error(tiny, folder)
    assert trained == []


def test_kept_model_is_loaded_from_a_read_only_folder(monkeypatch, tiny, trained):
    load_or_train(tiny, RECIPE)
    monkeypatch.setattr(storage, "make_folder", no_space)
    monkeypatch.setattr(folders.filelock, "FileLock", no_space)
    load_or_train(tiny, RECIPE)
    assert len(trained) == 1


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def half_a_save(model, path, **options):
    Path(path).write_bytes(b"half a model")
    no_space()


FULL_DISK = {
    "saving": (keras.Model, "save", half_a_save),
    "notes": (Path, "write_text", no_space),
    "renaming": (storage.os, "replace", no_space),
}


@pytest.mark.parametrize("case", FULL_DISK)
def test_full_disk(monkeypatch, tiny, folder, trained, case):
    load_or_train(tiny, RECIPE)
    before = kept(folder)
    other = dataclasses.replace(RECIPE, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(*FULL_DISK[case])
        assert_storage_error(tiny, folder, other)
    assert kept(folder) == before, "no partial files, and the earlier model as it was"
    load_or_train(tiny, RECIPE)
    assert len(trained) == 2
    load_or_train(tiny, other)  # there is space again, and the lock is free
    assert len(trained) == 3
    load_or_train(tiny, other)
    assert len(trained) == 3


@pytest.mark.parametrize("space", [0, 1000, 100_000, 500_000, 900_000])
def test_full_disk_for_real(tiny, folder, trained, space):
    """The system refuses to let any file grow beyond `space` bytes; the model takes 930,000."""
    resource = pytest.importorskip("resource")
    folder.mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (space, hard))
    try:
        with pytest.raises(StorageError) as caught:
            load_or_train(tiny, RECIPE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(folder) in str(caught.value)
    assert kept(folder) == {}


def test_error_in_the_second_renaming_leaves_nothing_that_counts(monkeypatch, tiny, trained):
    replace = os.replace

    def fail_on_notes(source, target):
        if str(target).endswith(".json"):
            no_space()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "replace", fail_on_notes)
        with pytest.raises(StorageError):
            load_or_train(tiny, RECIPE)
    load_or_train(tiny, RECIPE)
    assert len(trained) == 2


def test_error_in_training_frees_the_lock(monkeypatch, tiny, folder, trained):
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_or_train(tiny, RECIPE)
    assert kept(folder) == {}
    load_or_train(tiny, RECIPE)
    assert len(trained) == 1


# What follows is the same, trained or loaded


def test_what_follows_is_the_same_trained_or_loaded(tiny):
    """Random numbers of every kind, names, dropout, and the order in which TensorFlow adds."""

    def follow():
        model, history = load_or_train(tiny, RECIPE)
        x = np.ones((3, 28, 28, 1), np.float32)
        return [
            random.random(),
            np.random.random(),
            tf.random.uniform(()).numpy(),
            keras.random.normal((2,)).numpy().tolist(),
            keras.layers.Dense(1).name,
            keras.Sequential().name,
            model.name,
            [layer.name for layer in model.layers],
            model(x, training=True).numpy().tolist(),
            model.compiled,
            history,
        ]

    trained = follow()
    random.seed(99), np.random.seed(99), tf.random.set_seed(99)
    loaded = follow()
    assert loaded == trained


STORE = [
    'dataset: str = "{own}"\nseed: int = 0',
    "from helpers.data import load_mnist\n"
    "from helpers.storage import load_or_train\n"
    "from helpers.training import Recipe\n"
    "import random, keras, numpy as np, tensorflow as tf\n"
    "model, history = load_or_train(load_mnist(dataset), Recipe(epochs=1, batch_size=16))",
    "print(random.random(), np.random.random(), float(tf.random.uniform(())), keras.layers.Dense(1).name)\n"
    "model.summary()\nhistory",
    "fresh = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])\n"
    "fresh.get_weights()[0].sum()",
]


@pytest.mark.slow
def test_a_notebook_shows_the_same_with_an_empty_and_a_full_store(tmp_path):
    np.savez(tmp_path / "own.npz", **make_arrays())
    cells = [
        nbformat.v4.new_code_cell(source.replace("{own}", str(tmp_path / "own.npz"))) for source in STORE
    ]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    shown = []
    for name in ("empty", "full"):
        papermill.execute_notebook(str(path), str(tmp_path / f"{name}.ipynb"), progress_bar=False)
        executed = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in executed.cells for output in cell.outputs]
        assert ("Loaded the model" in str(outputs)) == (name == "full")
        shown.append([output for output in outputs if output.get("name") != "stderr"])
    assert shown[0] == shown[1] and len(shown[0]) >= 3


# Other processes

CHILD = """
import os, signal, time
from pathlib import Path
from tests.conftest import make_arrays
from helpers import storage, training
from helpers.data import Dataset
from helpers.models import build_reference_model
from helpers.training import Recipe

log = Path(os.environ["MNIST_RUNS"] + ".log")
data, recipe = Dataset(**make_arrays(), name="tiny"), Recipe(epochs=1, batch_size=16, precision="float32")

def train(data, recipe):
    with log.open("a") as file:
        file.write("child trains\\n")
    return build_reference_model(data.classes), {"loss": [0.0]}

training.train = train
"""


def child(code, **options):
    """Start a process that runs `code` after CHILD."""
    paths = [str(PROJECT), str(PROJECT / "tests")]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("moment", ["within the file", "before the first renaming", "between the renamings"])
def test_killed_while_saving(tiny, folder, trained, moment):
    process = child(
        f"""
        moment = {moment!r}
        die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        replace = os.replace

        def replace_once(source, target):
            replace(source, target)
            os.replace = die

        def half_a_save(model, path):
            Path(path).write_bytes(b"half a model")
            die()

        import keras
        if moment == "within the file":
            keras.Model.save = half_a_save
        else:
            os.replace = die if moment == "before the first renaming" else replace_once
        storage.load_or_train(data, recipe)
        """
    )
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list(folder.rglob("*.keras")), "it died with the model on its way to the disk"

    _, history = load_or_train(tiny, RECIPE)  # neither waits for the dead one's lock nor loads its model
    assert len(trained) == 1 and history == HISTORY
    load_or_train(tiny, RECIPE)
    assert len(trained) == 1


def test_two_processes_train_once(monkeypatch, tiny, tmp_path, folder, capfd):
    """The child trains until this process has said that it waits; then this one loads."""
    folder.mkdir(parents=True)  # files that do not fit, as between the child's two renamings
    for ending in (".keras", ".json"):
        (folder / (model_key(tiny, RECIPE) + ending)).write_text("{}")
    waiting = tmp_path / "waiting"
    process = child(
        """
        def slow(data, recipe, train=training.train):
            print("training", flush=True)
            waiting = Path(os.environ["MNIST_RUNS"]).with_name("waiting")
            for _ in range(6000):  # a minute
                if waiting.exists():
                    break
                time.sleep(0.01)
            return train(data, recipe)

        training.train = slow
        storage.load_or_train(data, recipe)
        """
    )
    assert process.stdout.readline() == "training\n"

    def say(text, say=storage.say):
        waiting.touch()
        say(text)

    monkeypatch.setattr(storage, "say", say)
    monkeypatch.setattr(training, "train", lambda *args: (waiting.touch(), pytest.fail("trained twice")))
    _, history = load_or_train(tiny, RECIPE)
    assert history == {"loss": [0.0]}
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert Path(os.environ["MNIST_RUNS"] + ".log").read_text() == "child trains\n"
    assert capfd.readouterr().err.startswith("Another process is training this model")
