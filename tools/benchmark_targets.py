"""How fast a mean test accuracy of 98%, 99% and 99.5% is reached, beside plain Keras's 10 epochs.

    MNIST_PATH=mnist.npz python -m tools.benchmark_targets [--seeds 5] [--output speed.csv]

In each round, which has a seed of its own, whole processes run one after the other: the plain
float32 script of the reference recipe (`plain_keras.py`, 10 epochs), then each recipe below. Counted
is the training alone, with the time that TensorFlow takes to prepare it, in wall-clock seconds and
in CPU seconds of all cores. Printed are means over the seeds, and the ratios to the plain script of
the same round. The recipes were chosen on validation images.
"""

import argparse
import json
import statistics

import pandas as pd

from tools.benchmark import HELPERS, PLAIN, need_data, run

FAST = {"schedule": "one_cycle", "validation_split": 0.01}
NORMALIZED = {**FAST, "network": "normalized", "learning_rate": 0.006, "dropout": 0.2}
DEEP = {**FAST, "network": "deep", "learning_rate": 0.003, "augmentation": "affine"}
TARGETS = {  # percent of the test images: the recipe that reaches it
    98.0: {**NORMALIZED, "epochs": 1, "validation_split": 0.5},  # on half of the images
    99.0: {**NORMALIZED, "epochs": 2},
    99.5: {**DEEP, "epochs": 5, "weight_decay": 0.01, "label_smoothing": 0.05},
}


def measure(command, **environment):
    """Run a training as a process; return its test accuracy, seconds and CPU seconds."""
    found, _, _ = run(command, **environment)
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
    need_data()

    rows = []
    for seed in range(options.seeds):
        beside = measure(PLAIN, BENCHMARK_SEED=str(seed))
        rows.append({"target": "plain Keras, 10 epochs", "seed": seed, **beside})
        for percent, recipe in TARGETS.items():
            found = measure(HELPERS, BENCHMARK_RECIPE=json.dumps(recipe | {"seed": seed}))
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
