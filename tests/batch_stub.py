"""A stand-in for the execution of a notebook, and sweeps with it; Dask's workers import it too."""

import json
import math
import os
import time

import nbformat

from helpers import batch
from helpers.batch.plans import run_name
from helpers.record import MIME


def log(word):
    """Add a line to the log that all processes of a test share."""
    with open(os.environ["BATCH_LOG"], "a", encoding="utf-8") as file:
        file.write(f"{word}\n")  # one write: lines of several processes do not mix


def logged():
    """Return what the workers have begun to execute: (name of the run, process) in order."""
    with open(os.environ["BATCH_LOG"], encoding="utf-8") as file:
        return [tuple(line.split("@")) for line in file.read().split()]


def fake_execute(source, parameters, limit=None):
    """Do as `execute` does, without a kernel; the result depends on the parameters only."""
    log(f"{run_name('small', parameters)}@{os.getpid()}")
    time.sleep(0.5 if parameters["epochs"] == 2 else 0.05)  # a slow one, to be killed in
    notebook = nbformat.reads(source, as_version=4)
    notebook.metadata["papermill"] = {"parameters": parameters, "end_time": "now", "duration": 90.0}
    if parameters["epochs"] == 13:
        notebook.metadata["tutorial"]["error"] = "ValueError: 13 brings bad luck"
    rate, epochs = parameters["learning_rate"], parameters["epochs"]
    best = 1 - abs(math.log10(rate) + 2) / 10  # at a rate of 0.01
    text = json.dumps({"validation_accuracy": best, "test_accuracy": rate / epochs})
    output = nbformat.v4.new_output("display_data", data={MIME: text})
    notebook.cells[-1].outputs = [output]
    return nbformat.writes(notebook)


def fake_sweep(notebook, grid, folder, scheduler=None):
    """A sweep with `fake_execute`; the target of the processes that the tests kill."""
    return batch.sweep(batch.make_plan(notebook, grid), folder, scheduler, execute=fake_execute)


def fake_search(notebook, folder, scheduler, **options):
    """A search with `fake_execute`, one trial at a time if the scheduler has one worker."""
    space = {"learning_rate": "1e-5..0.1", "epochs": "1", **options.pop("space", {})}
    how = {name: options.pop(name) for name in ("trials", "method", "metric") if name in options}
    search = batch.make_search(notebook, space, **how)
    return batch.sweep(search, folder, scheduler, execute=fake_execute, **options)
