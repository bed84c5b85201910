"""Keep trained models, so that each is trained once and loaded by every notebook that needs it.

A model is kept as two files, ``<key>.keras`` (the network) and ``<key>.json`` (its recipe, history
and the SHA-256 of the first). The key is a hash of everything that decides the result. Both files
are written under temporary names and renamed when complete, the ``.json`` last: a model without a
matching ``.json`` does not exist.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import tensorflow as tf

from helpers import augmentation, models, preprocessing, training
from helpers.data import Dataset
from helpers.folders import clear_errors, locked, make_folder, runs_folder

ABOUT = "about.json"  # in a .keras file: what the network was trained on
OTHERWISE = "set the environment variable MNIST_RUNS to another folder"


def load_or_train(data, recipe=training.Recipe()):
    """Load the model trained on exactly this data with exactly this recipe, or train and keep it.

    If another process is training the same model, this one waits and then loads it.

    Args:
        data: a `helpers.data.Dataset`.
        recipe: a `helpers.training.Recipe`.

    Returns:
        The model and its history, as `helpers.training.train` returns them.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full. What was kept before
            stays as it was.
    """
    folder = runs_folder() / "models"
    key = model_key(data, recipe)
    kept = _load(folder, key)
    if kept is None:
        make_folder(folder, OTHERWISE)
        with locked(folder / f"{key}.lock", busy=_wait, otherwise=OTHERWISE):
            kept = _load(folder, key)  # another process may have finished it meanwhile
            if kept is None:
                started = time.perf_counter(), time.process_time()
                model, history = training.train(data, recipe)
                notes = {
                    "data": data.name,
                    "recipe": asdict(recipe),
                    "seconds": time.perf_counter() - started[0],
                    "cpu_seconds": time.process_time() - started[1],
                }
                _save(folder, key, model, history, notes)
                return model, history
    _say("Loaded the model that was trained with this recipe before.")
    return kept


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


def training_seconds(data, recipe=training.Recipe()):
    """Return what the training of a kept model took: (wall-clock seconds, CPU seconds of all cores).

    Raises:
        FileNotFoundError: there is no such model.
    """
    notes = json.loads(
        (runs_folder() / "models" / f"{model_key(data, recipe)}.json").read_text(encoding="utf-8")
    )
    return notes["seconds"], notes["cpu_seconds"]


def model_key(data, recipe):
    """Return the name of a model: a hash of data, recipe, software versions and training code."""
    sources = (Path(module.__file__) for module in (augmentation, models, preprocessing, training))
    code = "".join(source.read_text(encoding="utf-8") for source in sources)
    everything = {
        "data": data.fingerprint,
        "recipe": asdict(recipe) | {"precision": training.choose_precision(recipe.precision)},
        "versions": [keras.__version__, tf.__version__],
        "code": hashlib.sha256(code.encode()).hexdigest(),
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return f"{recipe.network}-{digest[:16]}"


def _load(folder, key):
    """Return the kept model and history, or None if there is none that is whole."""
    try:
        notes = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        content = (folder / f"{key}.keras").read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _say(f"The kept model {key} cannot be read ({error}); training it again.")
        return None
    if not isinstance(notes, dict) or hashlib.sha256(content).hexdigest() != notes.get("model_sha256"):
        _say(f"The kept model {key} is damaged; training it again.")
        return None
    model = keras.saving.load_model(folder / f"{key}.keras", compile=False, safe_mode=True)
    return model, notes["history"]


def _save(folder, key, model, history, notes):
    with clear_errors(folder, otherwise=OTHERWISE):
        for abandoned in folder.glob(f"{key}.*.tmp"):  # by a process that was killed
            shutil.rmtree(abandoned, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"{key}.", suffix=".tmp") as scratch:
            network, description = (Path(scratch, "model.keras"), Path(scratch, "model.json"))
            model.save(network)
            notes = notes | {
                "history": history,
                "model_sha256": hashlib.sha256(network.read_bytes()).hexdigest(),
            }
            description.write_text(json.dumps(notes, indent=1), encoding="utf-8")
            os.replace(network, folder / f"{key}.keras")
            os.replace(description, folder / f"{key}.json")


def _wait():
    _say("Another process is training this model; waiting for it.")


def _say(text):
    print(text, file=sys.stderr, flush=True)
