"""How fast a mean test accuracy of 98%, 99% and 99.5% is reached, beside plain Keras's 10 epochs.

    MNIST_PATH=mnist.npz python tools/benchmark_targets.py [--seeds 5] [--output speed.csv]

In each round, which has a seed of its own, whole processes run one after the other: the plain
float32 script of the reference recipe (`plain_keras.py`, 10 epochs), then each recipe below. Counted
is the training alone, with the time that TensorFlow takes to prepare it, in wall-clock seconds and
in CPU seconds of all cores. Printed are means over the seeds, and the ratios to the plain script of
the same round. The recipes were chosen on validation images.
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
FAST = {"schedule": "one_cycle", "validation_split": 0.01}
NORMALIZED = {**FAST, "network": "normalized", "learning_rate": 0.006, "dropout": 0.2}
DEEP = {**FAST, "network": "deep", "learning_rate": 0.003, "augmentation": "affine"}
TARGETS = {  # percent of the test images: the recipe that reaches it
    98.0: {**NORMALIZED, "epochs": 1, "validation_split": 0.5},  # on half of the images
    99.0: {**NORMALIZED, "epochs": 2},
    99.5: {**DEEP, "epochs": 5, "weight_decay": 0.01, "label_smoothing": 0.05},
}


def run_recipe():
    """Train by the recipe in the environment; print what `plain_keras.py` prints."""
    from helpers.data import load_mnist
    from helpers.evaluation import predict
    from helpers.training import Recipe, train

    data = load_mnist("mnist")
    recipe = Recipe(**json.loads(os.environ["BENCHMARK_RECIPE"]))
    started = time.perf_counter(), time.process_time()
    model, _ = train(data, recipe)
    seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    accuracy = float((predict(model, data.x_test).argmax(axis=1) == data.y_test).mean())
    print(json.dumps({"test_accuracy": accuracy, "epoch_seconds": [seconds], "cpu_seconds": cpu_seconds}))


def measure(command, **environment):
    """Run a training as a process; return its test accuracy, seconds and CPU seconds."""
    environment = os.environ | environment | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr[-2000:]}")
    found = json.loads(process.stdout.strip().split("\n")[-1])
    return {
        "test_accuracy": found["test_accuracy"],
        "seconds": sum(found["epoch_seconds"]),
        "cpu_seconds": found["cpu_seconds"],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", help="a CSV file for the single runs")
    options = parser.parse_args()
    if not os.environ.get("MNIST_PATH"):
        raise SystemExit("Set MNIST_PATH to Keras's mnist.npz, so that no download is timed.")

    plain = [sys.executable, str(ROOT / "tools" / "plain_keras.py")]
    recipe_run = [sys.executable, "-c", "from tools.benchmark_targets import run_recipe; run_recipe()"]
    rows = []
    for seed in range(options.seeds):
        beside = measure(plain, BENCHMARK_SEED=str(seed))
        rows.append({"target": "plain Keras, 10 epochs", "seed": seed, **beside})
        for percent, recipe in TARGETS.items():
            found = measure(recipe_run, BENCHMARK_RECIPE=json.dumps(recipe | {"seed": seed}))
            ratios = {f"{name}_ratio": found[name] / beside[name] for name in ("seconds", "cpu_seconds")}
            rows.append({"target": f"{percent:g}%", "seed": seed, **found, **ratios})
    table = pd.DataFrame(rows).round(4)
    if options.output:
        table.to_csv(options.output, index=False)
    for target, runs in table.groupby("target", sort=False):
        print(f"{target}: {len(runs)} seeds, mean test accuracy {100 * runs['test_accuracy'].mean():.3f}%")
        for name in runs.columns[3:]:
            if runs[name].notna().all():
                values = runs[name]
                spread = f"({values.min():.3f} to {values.max():.3f})"
                print(f"  {name:18} {statistics.median(values):.3f} {spread}")


if __name__ == "__main__":
    main()
