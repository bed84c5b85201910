"""Compare training through `helpers` with the plain Keras script of the same recipe.

    MNIST_PATH=mnist.npz python tools/benchmark.py [--runs 3] [--epochs 10] [--precision auto]

Both run as whole processes, in turn, on the full MNIST, after one uncounted warm-up of each (one
epoch). Printed are medians with their range, and the ratio helpers / plain of each pair of
neighboring runs. Peak memory is the operating system's count (ru_maxrss) for the process.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAIN = [sys.executable, str(ROOT / "tools" / "plain_keras.py")]
HELPERS = [sys.executable, "-c", "from tools.benchmark import helpers_run; helpers_run()"]


def helpers_run():
    """Load, train and test through the helpers; print the accuracy and the epochs' times."""
    from helpers.data import load_mnist
    from helpers.evaluation import predict
    from helpers.training import Recipe, keras, train

    data = load_mnist("mnist")
    recipe = Recipe(epochs=int(os.environ["BENCHMARK_EPOCHS"]), precision=os.environ["BENCHMARK_PRECISION"])
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model, _ = train(data, recipe, [clock])
    accuracy = float((predict(model, data.x_test).argmax(axis=1) == data.y_test).mean())
    seconds = [after - before for before, after in zip(ends, ends[1:])]
    print(json.dumps({"test_accuracy": accuracy, "epoch_seconds": seconds}))


def measure(command, epochs, precision):
    """Run a command; return wall seconds, those of the epochs, peak memory and test accuracy."""
    environment = os.environ | {
        "BENCHMARK_EPOCHS": str(epochs),
        "BENCHMARK_PRECISION": precision,
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
    result = json.loads(printed.strip().split("\n")[-1])
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return {
        "wall (s)": wall,
        "first epoch (s)": result["epoch_seconds"][0],  # with the compilation
        "later epochs (s)": statistics.mean(result["epoch_seconds"][1:] or [math.nan]),
        "peak memory (GB)": usage.ru_maxrss * unit / 1e9,
        "test accuracy (%)": 100 * result["test_accuracy"],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    if not os.environ.get("MNIST_PATH"):
        raise SystemExit("Set MNIST_PATH to Keras's mnist.npz, so that no download is timed.")

    commands = {"plain": PLAIN, "helpers": HELPERS}
    for command in commands.values():
        measure(command, 1, options.precision)
    runs = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, command in commands.items():
            runs[name].append(measure(command, options.epochs, options.precision))

    print(f"{options.runs} runs each, {options.epochs} epochs, precision {options.precision}")
    print(f"{'':18} {'plain Keras':>24} {'helpers':>24} {'ratio':>20}")
    for figure in runs["plain"][0]:
        values = {name: [run[figure] for run in runs[name]] for name in runs}
        ratios = [b / a for a, b in zip(values["plain"], values["helpers"], strict=True)]
        columns = [spread(values["plain"]), spread(values["helpers"]), spread(ratios)]
        if "accuracy" in figure:
            difference = statistics.mean(values["helpers"]) - statistics.mean(values["plain"])
            columns[2] = f"{difference:+.2f} points"
        print(f"{figure:18} {columns[0]:>24} {columns[1]:>24} {columns[2]:>20}")


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
