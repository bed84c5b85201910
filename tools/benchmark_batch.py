"""Compare batch runs with plain papermill, and measure what scheduling costs.

    python tools/benchmark_batch.py [--repeats 3]

1. Throughput: the same 8 runs (notebook 05, sample, 2 epochs, 8 seeds) one after another by
   papermill's command line, and as a sweep on this machine.
2. Overhead: one notebook (02, sample) by papermill's command line, and by `helpers.batch run`.
3. Scheduling: sweeps of 10, 100 and 1,000 runs whose execution is replaced by a stand-in that
   returns at once, on a cluster that is up; then the 1,000 again, when nothing is left to do.

1 and 2 alternate, as whole processes; printed are medians with their range and ratios of
neighboring runs. Everything starts from an empty folder.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PAPERMILL = [sys.executable, "-m", "papermill", "--no-progress-bar"]
BATCH = [sys.executable, "-m", "helpers.batch"]
SAMPLE = ["-p", "dataset", "sample", "-p", "epochs", "2"]
SEEDS = range(8)


def timed(*commands):
    """Return the wall seconds of commands that run one after another, in a folder for this time."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MNIST_RUNS": str(Path(folder, "runs")), "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        for command in commands:
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started


def compare(name, plain, ours, repeats):
    """Time two lists of commands in turn; print their medians, ranges and ratios."""
    seconds = [(timed(*plain), timed(*ours)) for _ in range(repeats)]
    for label, values in (
        ("papermill (s)", [a for a, _ in seconds]),
        ("helpers.batch (s)", [b for _, b in seconds]),
        ("papermill / helpers.batch", [a / b for a, b in seconds]),
    ):
        print(
            f"{name:12} {label:26} {statistics.median(values):7.2f} ({min(values):.2f} to {max(values):.2f})"
        )


def schedule(count, folder):
    """Make a sweep with the stand-in; print what it cost. Runs in a process of its own."""
    from dask.distributed import LocalCluster

    from helpers import batch

    first, plan = (batch.make_plan("04_training", {"seed": list(range(n))}) for n in (4, count))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        batch.sweep(first, f"{folder}-first", scheduler=cluster.scheduler_address, execute=stand_in)
        started = time.perf_counter()
        batch.sweep(plan, folder, scheduler=cluster.scheduler_address, execute=stand_in)
        seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(
        f"{count:5} runs: {seconds:6.2f} s, {1000 * seconds / count:6.1f} ms a run, peak {peak:.0f} MB",
        flush=True,
    )


def stand_in(source, parameters, limit):
    """Return an executed notebook of the usual size, 200 kB, at once."""
    notebook = nbformat.reads(source, as_version=4)
    notebook.metadata["papermill"] = {"parameters": parameters, "end_time": "now"}
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    last.outputs = [nbformat.v4.new_output("stream", text="x" * 200_000)]
    return nbformat.writes(notebook)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats

    evaluation, preprocessing = (
        ROOT / "notebooks" / f"{stem}.ipynb" for stem in ("05_evaluation", "02_preprocessing")
    )
    seeds = ",".join(map(str, SEEDS))
    compare(
        "8 runs",
        [[*PAPERMILL, evaluation, f"{seed}.ipynb", *SAMPLE, "-p", "seed", str(seed)] for seed in SEEDS],
        [[*BATCH, "sweep", evaluation, "out", *SAMPLE, "-p", "seed", seeds]],
        repeats,
    )
    compare(
        "1 run",
        [[*PAPERMILL, preprocessing, "out.ipynb", *SAMPLE]],
        [[*BATCH, "run", preprocessing, "out", *SAMPLE]],
        2 * repeats,
    )
    with tempfile.TemporaryDirectory() as folder:
        for count in (10, 100, 1000, 1000):
            place = str(Path(folder, str(count)))
            code = f"from tools.benchmark_batch import schedule; schedule({count}, {place!r})"
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run(
                [sys.executable, "-c", code], env=environment, check=True, stderr=subprocess.DEVNULL
            )


if __name__ == "__main__":
    main()
