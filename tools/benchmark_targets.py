"""How long it takes to a validation accuracy of 98%, 99% and 99.5%, in plain Keras and through the helpers.

    MNIST_PATH=mnist.npz python -m tools.benchmark_targets [--seeds 5] [--output speed.csv]

In each round, which has a seed of its own, whole processes run one after the other: the plain float32
script of the reference recipe (`plain_keras.py`, ten epochs), whose time to an aim is that to the end of its
first epoch with such a validation accuracy; then, for each aim, the recipe below that was chosen for it in
trials on validation images, in float32 and, where the device has it, in bfloat16. Counted is the training
alone, with the time that TensorFlow takes to prepare it, in wall-clock seconds and in CPU seconds of all
cores. Each row has the accuracies of the network at that time. Rounds that the table has already, made by
this code on such a device, are not repeated: times are compared within a round only.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from tools.benchmark import ABOUT, HELPERS, PLAIN, need_data, run

FAST = {"schedule": "one_cycle", "validation_split": 0.01}
NORMALIZED = {**FAST, "network": "normalized", "learning_rate": 0.006, "dropout": 0.2}
DEEP = {**FAST, "network": "deep", "learning_rate": 0.003, "augmentation": "affine"}
AIMS = {  # percent of the validation images: the recipe that was chosen for it
    98.0: {**NORMALIZED, "epochs": 1, "validation_split": 0.5},  # on half of the images
    99.0: {**NORMALIZED, "epochs": 2},
    99.5: {**DEEP, "epochs": 5, "weight_decay": 0.01, "label_smoothing": 0.05},
}


def rows_of(seed, precisions):
    """Yield a row for each program, precision and aim that it reaches."""
    plain, _, _ = run(PLAIN, BENCHMARK_SEED=str(seed))
    for aim in AIMS:
        epochs = [number for number, share in enumerate(plain["val_accuracy"], start=1) if 100 * share >= aim]
        if epochs:
            row = {"aim": aim, "program": "plain Keras", "precision": "float32", "epochs": epochs[0]}
            yield row | {name: values[epochs[0] - 1] for name, values in plain.items()}
    for aim, recipe in AIMS.items():
        for precision in precisions:
            given = recipe | {"seed": seed, "precision": precision}
            found, _, _ = run(HELPERS, BENCHMARK_RECIPE=json.dumps(given))
            row = {"aim": aim, "program": "helpers", "precision": precision, "epochs": recipe["epochs"]}
            yield row | {name: values[-1] for name, values in found.items()}


def read(path, made_with):
    """Return the rows of a table, if there is one, that were made with this."""
    if not path or not Path(path).exists():
        return []
    rows = pd.read_csv(path, dtype={"code": str}).to_dict("records")
    return [row for row in rows if made_with.items() <= row.items()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", help="a CSV file for the single runs")
    options = parser.parse_args()
    need_data()

    about, _, _ = run([sys.executable, "-c", ABOUT])
    device, _, _ = about["device"].rpartition(", ")  # without the precision
    precisions = ["float32"] + ["mixed_bfloat16"] * (about["auto"] == "mixed_bfloat16")
    made_with = {"device": device, "versions": about["versions"], "code": about["code"]}
    rows = read(options.output, made_with)
    for seed in sorted(set(range(options.seeds)) - {row["seed"] for row in rows}):
        rows += [{"seed": seed, **row, **made_with} for row in rows_of(seed, precisions)]
        if options.output:
            pd.DataFrame(rows).round(4).to_csv(options.output, index=False)
    measured = ["test_accuracy", "epochs", "seconds", "cpu_seconds"]
    by = pd.DataFrame(rows).groupby(["aim", "program", "precision"])[measured]
    print(by.agg(["mean", "min", "max"]).round(3).to_string())


if __name__ == "__main__":
    main()
