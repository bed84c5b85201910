"""Keep trained models, so that each is trained once and loaded by every notebook that needs it.

A model is kept as two files, ``<key>.keras`` (the network) and ``<key>.json`` (its recipe, history
and the SHA-256 of the first). The key is a hash of everything that decides the result. Both files
are written under temporary names and renamed when complete, the ``.json`` last: a model without a
matching ``.json`` does not exist.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
from keras.src.utils.naming import reset_uids  # of no public name

from helpers import identity, training
from helpers.data import Dataset
from helpers.errors import StorageError, say
from helpers.folders import clear_errors, locked, make_folder, runs_folder
from helpers.training import Recipe

ABOUT = "about.json"  # in a .keras file: what the network was trained on
OTHERWISE = "set the environment variable MNIST_RUNS to another folder"

Trained = tuple[keras.Model, dict[str, list[float]]]  # a network and its history
Train = Callable[[Dataset, Recipe], Trained]


def load_or_train(data: Dataset, recipe: Recipe = Recipe(), train: Train | None = None) -> Trained:
    """Load the model trained on exactly this data with exactly this recipe, or train and keep it.

    What follows is the same either way: the model comes from its file, and the random numbers start
    from the recipe's seed. If another process is training the same model, this one waits for it.

    Args:
        data: a `helpers.data.Dataset`.
        recipe: how to train.
        train: what trains it, `helpers.training.train` if nothing is said, or `helpers.quickstart.fit`.

    Returns:
        The model and its history, as `helpers.training.train` returns them.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full. What was kept before
            stays as it was.
    """
    folder, key = runs_folder() / "models", model_key(data, recipe, train)
    kept = _load(folder, key, recipe.seed)
    if kept is None:
        make_folder(folder, OTHERWISE)
        wait = functools.partial(say, "Another process is training this model; waiting for it.")
        with locked(folder / f"{key}.lock", busy=wait, otherwise=OTHERWISE):
            kept = _load(folder, key, recipe.seed, complain=say)  # another process may have finished it
            if kept is None:
                return _train(data, recipe, train, folder, key)
    training.split_validation(data, recipe.validation_split)  # warns of the same as the training did
    training.make_reproducible(recipe.seed)
    return kept


def keep(model: keras.Model, history: dict[str, list[float]], data: Dataset, recipe: Recipe, train: Train):
    """Keep a network that is trained already, and just as ``train`` would: `load_or_train` finds it.

    If that cannot be done, a line says so, and nothing is lost: `load_or_train` will train it.
    """
    folder, key = runs_folder() / "models", model_key(data, recipe, train)
    try:
        make_folder(folder, OTHERWISE)
        with locked(folder / f"{key}.lock", busy=_refuse, otherwise=OTHERWISE):
            _save(folder, key, model, data, {"recipe": asdict(recipe), "history": history})
    except StorageError as error:
        say(f"This network is not kept for the notebooks that follow. {error}")


def _refuse():
    raise StorageError("Another process is training the same one.")


def save_model(model: keras.Model, path: str | os.PathLike, data: Dataset) -> None:
    """Save a network as a ``.keras`` file that also says what it was trained on.

    Keras opens it like any other: what is added, ``about.json``, it passes over.

    Args:
        model: the network.
        path: the file to write; its name ends in ``.keras``.
        data: what the network was trained on. Its name, its fingerprint and its class names, in the
            order of the network's outputs, go into the file.
    """
    model.save(path)
    about = {"data": data.name, "fingerprint": data.fingerprint, "class_names": list(data.class_names)}
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(ABOUT, json.dumps(about, indent=1))


def read_about(path: str | os.PathLike) -> dict | None:
    """Return what `save_model` added to a file: data, fingerprint, class_names; None if nothing."""
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(ABOUT)) if ABOUT in file.namelist() else None


def training_seconds(data: Dataset, recipe: Recipe = Recipe()) -> tuple[float, float]:
    """Return what the training of a kept model took: (wall-clock seconds, CPU seconds of all cores).

    Raises:
        FileNotFoundError: there is no such model.
    """
    path = runs_folder() / "models" / f"{model_key(data, recipe)}.json"
    notes = json.loads(path.read_text(encoding="utf-8"))
    return notes["seconds"], notes["cpu_seconds"]


def model_key(data: Dataset, recipe: Recipe, train: Train | None = None) -> str:
    """Return the name of a model: a hash of data, recipe, training code and library versions."""
    code = training_identity(train.__module__) if train else training_identity()
    everything = {
        "data": [data.fingerprint, data.class_names],
        "recipe": asdict(recipe) | {"precision": training.choose_precision(recipe.precision)},
        "training": asdict(code),
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return f"{recipe.network}-{digest[:16]}"


@functools.cache  # what this process has imported does not change
def training_identity(module: str = "helpers.training") -> identity.Identity:
    """Return the identity of the code that trains. Of data its fingerprint counts, not how it was loaded."""
    return identity.of_module(module, without=("helpers.data",))


def _train(data, recipe, train, folder, key):
    wall, cpu = time.perf_counter(), time.process_time()
    model, history = (train or training.train)(data, recipe)
    notes = {
        "recipe": asdict(recipe),
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "history": history,
    }
    _save(folder, key, model, data, notes)
    kept = _read(folder, key, recipe.seed)
    training.make_reproducible(recipe.seed)
    return kept, history


def _load(folder, key, seed, complain=lambda text: None):
    """Return the kept model and history, or None if there is none that is whole.

    While another process may be between its two renamings, what does not fit is no reason to complain.
    """
    try:
        notes = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        content = (folder / f"{key}.keras").read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        complain(f"The kept model {key} cannot be read ({error}); training it again.")
        return None
    if not isinstance(notes, dict) or hashlib.sha256(content).hexdigest() != notes.get("model_sha256"):
        complain(f"The kept model {key} is damaged; training it again.")
        return None
    say("Loaded the model that was trained with this recipe before.")
    return _read(folder, key, seed), notes["history"]


def _read(folder, key, seed):
    reset_uids()  # what is built from here on gets the same names, trained or loaded
    training.make_reproducible(seed)  # of its dropout, too
    return keras.saving.load_model(folder / f"{key}.keras", compile=False, safe_mode=True)


def _save(folder, key, model, data, notes):
    with clear_errors(folder, otherwise=OTHERWISE):
        for abandoned in folder.glob(f"{key}.*.tmp"):  # by a process that was killed
            shutil.rmtree(abandoned, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"{key}.", suffix=".tmp") as scratch:
            network, description = Path(scratch, "model.keras"), Path(scratch, "model.json")
            save_model(model, network, data)
            notes |= {"data": data.name, "model_sha256": hashlib.sha256(network.read_bytes()).hexdigest()}
            description.write_text(json.dumps(notes, indent=1), encoding="utf-8")
            os.replace(network, folder / f"{key}.keras")
            os.replace(description, folder / f"{key}.json")
