"""Every notebook runs on the sample, twice, with exactly the same outputs.

papermill executes it with few epochs; then nbval executes the result again in a new kernel and
compares every output, figures byte for byte, progress and logs on stderr aside. Both runs train
their networks anew. The papermill run also stores nothing outside its own folders.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest

from helpers.record import read_record
from tests.conftest import make_arrays

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = {"dataset": "sample", "epochs": 2, "seeds": 2}


def environment(runs, **more):
    """As a user has it: no Matplotlib backend chosen, trained networks in a folder of their own."""
    return {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | {"MNIST_RUNS": str(runs)} | more


def run_papermill(notebook, output, *options, runs, **more):
    """Run papermill's command line in the output's folder; return the finished process."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(output), *options]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=output.parent, env=environment(runs, **more)
    )


def quick(notebook):
    """Return parameters with which a notebook is done in seconds."""
    declared = set(papermill.inspect_notebook(str(notebook)))
    epochs = {"epochs": 1} if "seeds" in declared else {}  # many trainings
    return {name: value for name, value in (QUICK | epochs).items() if name in declared}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_two_executions_agree(notebook, tmp_path, monkeypatch):
    executed = tmp_path / notebook.name
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs 1"))
    papermill.execute_notebook(
        str(notebook), str(executed), quick(notebook), cwd=tmp_path, progress_bar=False
    )
    assert read_record(executed)["data"] == "MNIST sample (5,000 digits)"
    check_stderr(executed)
    check_solutions(executed)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.nbval_plugin"]
    command += ["--nbval", "--rootdir", str(ROOT), str(executed)]
    again = environment(runs=tmp_path / "runs 2")
    second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=again)
    assert second.returncode == 0, second.stdout[-5000:]


def check_stderr(executed):
    """Only progress reaches stderr: no warnings and no messages of TensorFlow."""
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = output.text.replace("\r", "\n").split("\n")
                noise = [line for line in lines if line.strip() and not is_progress(line)]
                assert not noise, noise


def check_solutions(executed):
    """Every solution passes the check of its exercise, on this data, too."""
    for cell in nbformat.read(executed, as_version=4).cells:
        if "solution" in cell.metadata.get("tags", []):
            assert "Right!" in "".join(output.get("text", "") for output in cell.outputs), cell.source


def is_progress(line):
    return (
        line.startswith(("epoch ", " |", "|"))
        or line.endswith("; it runs again.")  # notebook 11 damages a file
        or line == "Passed unknown parameter: learning_rat"  # papermill's warning there
        or line == "Loaded the model that was trained with this recipe before."
        or line == "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
    )


def test_the_comparison_notices_a_change(tmp_path):
    """The strict comparison can fail: one altered character or figure is reported."""
    for part in ("text", "figure"):
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell(
                    "print('a result')\n"
                    "from IPython.display import display\n"
                    "display({'image/png': 'iVBORw0KGgo='}, raw=True)",
                    execution_count=1,
                    outputs=[
                        nbformat.v4.new_output(
                            "stream", text=("a result\n" if part == "figure" else "another result\n")
                        ),
                        nbformat.v4.new_output(
                            "display_data",
                            data={"image/png": ("iVBORw0KGgo=" if part == "text" else "iVBORw0KGgp=")},
                        ),
                    ],
                )
            ]
        )
        path = tmp_path / f"{part}.ipynb"
        nbformat.write(notebook, path)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.nbval_plugin"]
        command += ["--nbval", "--nbval-kernel-name", "python3", "--rootdir", str(ROOT), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == 1 and "Cell outputs differ" in result.stdout, result.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-p", "sede", "3"], "This notebook has no parameter `sede` (did you mean `seed`?)"),
        (["-p", "momentum", "0.9"], "This notebook has no parameter `momentum`; it has `dataset`, `seed`."),
        (["-p", "seed", "-1"], "`seed` is -1, out of range; give a whole number from 0 to 4294967295."),
        (["-p", "seed", "true"], "`seed` is 'true', a text; give a whole number"),
        (["-p", "dataset", "mnits"], "`dataset` is 'mnits' (did you mean `mnist`?), which is none of"),
    ],
    ids=["misspelt", "undeclared", "out-of-range", "text", "dataset"],
)
def test_bad_parameters_stop_papermill_with_one_sentence(tmp_path, options, sentence):
    earlier = tmp_path / "runs" / "models" / "earlier.keras"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"an earlier result")
    notebook = ROOT / "notebooks" / "01_loading.ipynb"
    result = run_papermill(notebook, tmp_path / "out.ipynb", *options, runs=tmp_path / "runs")
    assert result.returncode != 0
    assert sentence in result.stderr
    assert earlier.read_bytes() == b"an earlier result" and len(list(earlier.parent.iterdir())) == 1
    errors = [
        output
        for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert len(errors) == 1 and len(errors[0].traceback) == 1, "one sentence, no stack of calls"


def test_a_folder_that_cannot_be_written_stops_papermill_with_one_sentence(tmp_path):
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    result = run_papermill(
        ROOT / "notebooks" / "05_evaluation.ipynb",
        tmp_path / "out.ipynb",
        *["-p", "dataset", "sample", "-p", "epochs", "1"],
        runs=blocked,
    )
    assert result.returncode != 0
    assert f"StorageError: {blocked}" in result.stderr and "cannot be written" in result.stderr
    assert "set the environment variable MNIST_RUNS to another folder." in result.stderr


@pytest.mark.slow
def test_own_data_with_other_class_names(tmp_path):
    """A user's .npz runs through evaluation, and its class names show."""
    own = tmp_path / "own.npz"
    np.savez(own, **make_arrays(train=60, classes=3), class_names=["ant", "bear", "zebra"])
    result = run_papermill(
        ROOT / "notebooks" / "05_evaluation.ipynb",
        tmp_path / "out.ipynb",
        *["-p", "dataset", str(own), "-p", "epochs", "1"],
        runs=tmp_path / "runs",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "class zebra" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")
