"""Train the recipes in ``tools/study`` and put what they measure into ``figures``, for notebook 10 to read.

    python -m tools.study                every track: many hours on a CPU
    python -m tools.study ladder tiny    these

A recipe is trained once for each seed, one after the other in one process, so that each kind of network
is compiled once. A run ends with one look at the validation images and one at the test images, which
trials do not look at. A table is written after every run and continued where it was stopped: a run is
done if its row was made by this code.
"""

import argparse
import csv
import platform
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import yaml

from helpers.data import load_mnist
from helpers.evaluation import predict
from helpers.folders import write
from helpers.storage import load_or_train, training_identity, training_seconds
from helpers.training import Recipe, describe_device, split_validation

ROOT = Path(__file__).resolve().parent.parent
TRACKS = sorted(path.stem for path in (ROOT / "tools" / "study").glob("*.yml"))


def read_track(name):
    """Return what a track trains: (data set, data set of the test images or None, the runs).

    A run is a list of recipes: one, or an ensemble of several that differ in their seed only.
    """
    written = yaml.safe_load((ROOT / "tools" / "study" / f"{name}.yml").read_text(encoding="utf-8"))
    seeds = range(written["seeds"])
    runs = [[Recipe(**recipe, seed=seed)] for recipe in written["recipes"] for seed in seeds]
    runs += [[Recipe(**recipe, seed=seed) for seed in seeds] for recipe in written.get("ensembles", [])]
    data = written.get("data", "mnist")
    return data, written.get("test", data), runs


def settings(run):
    """Return what tells a run from the others of its table: the first recipe and the number of networks."""
    return asdict(run[0]) | {"ensemble": len(run)}


def measure(data, run, tests=True):
    """Train what is not trained yet; return the row of the table, without settings.

    An ensemble answers by the mean of its networks' probabilities.
    """
    _, (x_validation, y_validation) = split_validation(data, run[0].validation_split)
    validation = test = seconds = cpu_seconds = 0
    for recipe in run:
        model, _ = load_or_train(data, recipe)
        validation = validation + predict(model, x_validation)
        if tests:
            test = test + predict(model, data.x_test)
        wall, cpu = training_seconds(data, recipe)
        seconds, cpu_seconds = seconds + wall, cpu_seconds + cpu
    return {
        "data": data.name,
        "validation_accuracy": np.mean(validation.argmax(axis=1) == y_validation),
        "test_accuracy": np.mean(test.argmax(axis=1) == data.y_test) if tests else None,
        "trained_parameters": sum(int(np.prod(weights.shape)) for weights in model.trainable_variables),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }


def made_with(recipe):
    """Return the columns that say what a row was made with: device and precision, versions, code."""
    device = describe_device(recipe.precision)
    if device.startswith("CPU"):
        cpu = Path("/proc/cpuinfo")  # Linux only
        found = re.search(r"^model name\s*: (.*)", cpu.read_text() if cpu.exists() else "", re.MULTILINE)
        device = f"{found[1] if found else platform.processor()}, {device}"
    versions = f"Python {platform.python_version()}, TensorFlow {tf.__version__}"
    return {"device": device, "versions": versions, "code": training_identity().code[:16]}


def study(name):
    """Train a track's runs that are not in its table yet."""
    path = ROOT / "figures" / f"study_{name}.csv"
    table = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    trained_on, tested_on, runs = read_track(name)
    data = load_mnist(trained_on)
    if tested_on not in (trained_on, None):
        test = load_mnist(tested_on)
        data = replace(data, x_test=test.x_test, y_test=test.y_test)

    def row_of(run):
        wanted = {key: str(value) for key, value in settings(run).items()}
        return next((row for row in table if wanted.items() <= row.items()), None)

    rows = [row_of(run) for run in runs]
    code = made_with(runs[0][0])["code"]
    waiting = [i for i, row in enumerate(rows) if row is None or row.get("code") != code]
    known = [float(rows[i]["seconds"]) for i in waiting if rows[i]]
    hours = f", by their last times {sum(known) / 3600:.1f} hours" if len(known) == len(waiting) > 0 else ""
    print(f"{name}: {len(runs)} runs, {len(waiting)} to do{hours}", flush=True)
    for i in waiting:
        measured = measure(data, runs[i], tests=tested_on is not None)
        rows[i] = settings(runs[i]) | measured | made_with(runs[i][0])
        write(pd.DataFrame([row for row in rows if row]).to_csv(index=False), path)
        print(f"{name}: {i + 1} of {len(runs)}, {100 * measured['validation_accuracy']:.2f}%", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracks", nargs="*", default=TRACKS, help=f"of {', '.join(TRACKS)} (default: all)")
    for name in parser.parse_args().tracks:
        study(name)


if __name__ == "__main__":
    main()
