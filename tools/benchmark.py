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
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "figures" / "benchmark.csv"
HELPERS = [sys.executable, "-c", "from tools.benchmark import helpers_run; helpers_run()"]
PROGRAMS = {  # (program, precision): the command
    ("plain Keras", "float32"): [sys.executable, str(ROOT / "tools" / "plain_keras.py")],
    ("helpers", "float32"): HELPERS,
    ("helpers", "bfloat16"): HELPERS,
}
ABOUT = """
import json
from helpers.training import Recipe, choose_precision
from tools.study import made_with
print(json.dumps({"auto": choose_precision(), **made_with(Recipe(precision="float32"))}))
"""


def helpers_run():
    """Load, train and test through the helpers; print the accuracy and the epochs' times."""
    from helpers.data import load_mnist
    from helpers.evaluation import predict
    from helpers.training import Recipe, keras, train

    data = load_mnist("mnist")
    recipe = Recipe(precision=os.environ["BENCHMARK_PRECISION"])
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model, _ = train(data, recipe, [clock])
    accuracy = float((predict(model, data.x_test).argmax(axis=1) == data.y_test).mean())
    seconds = [after - before for before, after in zip(ends, ends[1:])]
    print(json.dumps({"test_accuracy": accuracy, "epoch_seconds": seconds}))


def run(command, precision="float32"):
    """Run a command; return what it printed last, its wall seconds and its peak memory in GB."""
    environment = os.environ | {
        "BENCHMARK_PRECISION": {"bfloat16": "mixed_bfloat16"}.get(precision, precision),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit status {process.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return json.loads(printed.strip().split("\n")[-1]), wall, usage.ru_maxrss * unit / 1e9


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not os.environ.get("MNIST_PATH"):
        raise SystemExit("Set MNIST_PATH to Keras's mnist.npz, so that no download is timed.")

    about, _, _ = run([sys.executable, "-c", ABOUT])
    device = about["device"].removesuffix(", float32").split(", float32 (")[0]
    rows = []
    for number in range(options.runs):
        for (program, precision), command in PROGRAMS.items():
            if precision == "bfloat16" and about["auto"] == "float32":
                continue
            found, wall, memory = run(command, precision)
            first, *later = found["epoch_seconds"]
            rows.append(
                {"device": device, "versions": about["versions"], "program": program, "precision": precision}
                | {
                    "run": number,
                    "seconds": wall,
                    "first_epoch": first,
                    "later_epoch": statistics.mean(later),
                }
                | {"peak_memory": memory, "test_accuracy": found["test_accuracy"]}
            )
    table = pd.DataFrame(rows).round(4)
    print_table(table)
    if TABLE.exists():
        before = pd.read_csv(TABLE)
        table = pd.concat([before[before["device"] != device], table])
    table.to_csv(TABLE, index=False)


def print_table(table):
    """Print medians and ranges of a device's runs, and of the ratios to the plain run of the same round."""
    plain = table[table["program"] == "plain Keras"].set_index("run")
    for (program, precision), runs in table.groupby(["program", "precision"], sort=False):
        print(f"{program}, {precision}, {len(runs)} runs on {runs['device'].iloc[0]}")
        for name in ("seconds", "first_epoch", "later_epoch", "peak_memory", "test_accuracy"):
            values = runs.set_index("run")[name]
            ratio = "" if name == "test_accuracy" else f"   of plain Keras: {spread(values / plain[name])}"
            print(f"  {name:14} {spread(values)}{ratio}")


def spread(values):
    return f"{values.median():.4g} ({values.min():.4g} to {values.max():.4g})"


if __name__ == "__main__":
    main()
