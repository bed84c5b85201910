"""Compare training through `helpers` with plain Keras, by the same recipe; write figures/benchmark.csv.

    MNIST_PATH=mnist.npz python -m tools.benchmark [--runs 3]

Whole processes, in turn, on the full MNIST, ten epochs each: plain Keras (float32), the helpers in
float32, and the helpers in bfloat16 where the device has it. A row of the table is one process; the rows
of another device stay. Printed are medians with their range, and the ratios to the plain process of the
same round. Peak memory is the operating system's count (ru_maxrss) for the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "figures" / "benchmark.csv"
MEASURED = ["seconds", "first_epoch", "later_epoch", "peak_memory", "test_accuracy"]
PLAIN = [sys.executable, str(ROOT / "tools" / "plain_keras.py")]
HELPERS = [sys.executable, "-c", "from tools.benchmark import helpers_run; helpers_run()"]
ABOUT = """
import json
from helpers.training import Recipe, choose_precision
from tools.study import made_with
print(json.dumps({"auto": choose_precision(), **made_with(Recipe(precision="float32"))}))
"""


def helpers_run():
    """Train by the recipe in the environment; print what `plain_keras.py` prints."""
    from helpers.data import load_mnist
    from helpers.evaluation import predict
    from helpers.training import Recipe, keras, train

    data = load_mnist("mnist")
    recipe = Recipe(**json.loads(os.environ["BENCHMARK_RECIPE"]))
    found = {"seconds": [], "cpu_seconds": []}
    start, cpu_start = time.perf_counter(), time.process_time()

    def note(epoch, logs):
        found["seconds"].append(time.perf_counter() - start)
        found["cpu_seconds"].append(time.process_time() - cpu_start)

    model, history = train(data, recipe, [keras.callbacks.LambdaCallback(on_epoch_end=note)])
    accuracy = float((predict(model, data.x_test).argmax(axis=1) == data.y_test).mean())
    # Only the last epoch's network is tested.
    print(json.dumps({**found, "val_accuracy": history["val_accuracy"], "test_accuracy": [accuracy]}))


def run(command, **environment):
    """Run a command as a process; return what it printed last, its wall seconds and its peak memory in GB."""
    environment = os.environ | environment | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return json.loads(printed.strip().split("\n")[-1]), wall, usage.ru_maxrss * unit / 1e9


def need_data():
    if not os.environ.get("MNIST_PATH"):
        raise SystemExit("Set MNIST_PATH to Keras's mnist.npz, so that no download is timed.")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    need_data()

    about, _, _ = run([sys.executable, "-c", ABOUT])
    device, _, _ = about["device"].rpartition(", ")  # without the precision
    programs = [("plain Keras", "float32", PLAIN), ("helpers", "float32", HELPERS)]
    if about["auto"] == "mixed_bfloat16":
        programs.append(("helpers", "bfloat16", HELPERS))
    rows = []
    for number in range(options.runs):
        for program, precision, command in programs:
            recipe = {"precision": "mixed_bfloat16" if precision == "bfloat16" else precision}
            found, wall, memory = run(command, BENCHMARK_RECIPE=json.dumps(recipe))
            first, *_, last = found["seconds"]
            later = (last - first) / (len(found["seconds"]) - 1)
            measured = wall, first, later, memory, found["test_accuracy"][-1]
            row = {"device": device, "versions": about["versions"], "program": program}
            row |= {"precision": precision, "run": number}
            rows.append(row | dict(zip(MEASURED, measured)))
    table = pd.DataFrame(rows).round(4)
    for (_, program, precision), runs, ratios in by_program(table):
        print(f"{program}, {precision}, {len(runs)} runs on {device}")
        for name in MEASURED:
            print(f"  {name:14} {spread(runs[name])}   of plain Keras: {spread(ratios[name])}")
    if TABLE.exists():
        before = pd.read_csv(TABLE)
        table = pd.concat([before[before["device"] != device], table])
    table.to_csv(TABLE, index=False)


def by_program(table):
    """Yield (device, program, precision), the runs, and their ratios to plain Keras in the same round."""
    for names, runs in table.groupby(["device", "program", "precision"], sort=False):
        plain = table[(table["device"] == names[0]) & (table["program"] == "plain Keras")]
        runs = runs.set_index("run")[MEASURED]
        yield names, runs, runs / plain.set_index("run")[MEASURED]


def spread(values):
    return f"{values.median():.4g} ({values.min():.4g} to {values.max():.4g})"


if __name__ == "__main__":
    main()
