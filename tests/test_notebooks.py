"""Every notebook runs on the sample with an empty store of networks; wrong answers are put to each check.

`make test FULL=1`, as in `.ci/run`, executes each a second time: it loads what the first execution trained,
and every output must be the same to the letter, figures byte for byte, progress and logs on stderr aside.
(That training twice gives the same network twice is tested in test_training, and that what follows is the
same whether a network was trained or loaded, in test_storage.)
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from helpers.record import record_in
from tools import verify
from tools.edit import quick

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def environment(runs, **more):
    """As a user has it: no Matplotlib backend chosen, trained networks in a folder of their own."""
    return {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | {"MNIST_RUNS": str(runs)} | more


def run_papermill(notebook, output, *options, runs, **more):
    """Run papermill's command line in the output's folder; return the finished process."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(output), *options]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=output.parent, env=environment(runs, **more)
    )


# Put to each check right after its solution, which ends with the right one; leaves no names behind.
PROBE = """\
def _probe(check, right):
    import contextlib, io, json
    def shown(answer):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            check(answer)
        return out.getvalue()
    def same(wrong):
        try:
            return bool((wrong == right) is True or abs(wrong - right) < 1e-9)
        except Exception:
            return False
    functions = (lambda *given: None), (lambda *given: 0.1)
    wrong = [value for value in (0, 0.1, 1, -1, None, True, "a text", *functions) if not same(value)]
    refused = {repr(value): shown(value) for value in wrong}
    advised = {sentence: shown(mistake) for mistake, sentence in check.mistakes.items() if not same(mistake)}
    return json.dumps([refused, advised, shown(...)])
print(_probe(check_N, ANSWER))
del _probe"""


def with_probes(notebook):
    """Return a notebook with a cell after each solution that puts wrong answers to its check."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if "solution" in cell.metadata.get("tags", []):
            check, answer = re.search(r"(check_\d+)\((\w+)\)$", cell.source).groups()
            probe = PROBE.replace("check_N", check).replace("ANSWER", answer)
            cells.append(nbformat.v4.new_code_cell(probe, metadata={"tags": ["probe"]}))
    notebook.cells = cells
    return notebook


def check_probes(executed):
    """Every check refuses wrong answers, with its hint or with what it says of a typical mistake."""
    found = [cell for cell in executed.cells if "probe" in cell.metadata.get("tags", [])]
    assert len(found) >= 3
    for number, cell in enumerate(found, start=1):
        refused, advised, waiting = json.loads(cell.outputs[0].text)
        assert waiting.startswith("Replace the ..."), number
        for wrong, said in refused.items():
            assert said.startswith("Not yet. "), f"check_{number} takes {wrong}: {said}"
        for sentence, said in advised.items():
            assert said == f"Not yet. {sentence}\n", f"check_{number}: a mistake gets another advice"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for executed notebooks, with an empty store of networks."""
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs"))
    return tmp_path


def execute(notebook, output):
    """Execute a notebook on the sample, with few epochs and seeds; return it."""
    papermill.execute_notebook(
        str(notebook), str(output), quick(notebook), cwd=output.parent, progress_bar=False
    )
    check_stderr(output)
    return nbformat.read(output, as_version=4)


@each_notebook
def test_runs_on_the_sample(notebook, folder):
    source, output = folder / "source.ipynb", folder / "first.ipynb"
    nbformat.write(with_probes(nbformat.read(notebook, as_version=4)), source)
    first = execute(source, output)
    assert record_in(first)["data"] == "MNIST sample (5,000 digits)"
    check_solutions(output)
    check_shares(output)
    check_probes(first)
    if os.environ.get("FULL"):
        first.cells = [cell for cell in first.cells if "probe" not in cell.metadata.get("tags", [])]
        second = execute(notebook, folder / "second.ipynb")
        assert verify.differences(first, second, exact=True) == []


def check_stderr(executed):
    """Only progress reaches stderr: no warnings and no messages of TensorFlow."""
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = output.text.replace("\r", "\n").split("\n")
                noise = [line for line in lines if line.strip() and not is_progress(line)]
                assert not noise, noise


def check_shares(executed):
    """An interval in percent lies between 0 and 100, however few seeds there are."""
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            for low, high in re.findall(r"(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)%", output.get("text", "")):
                assert 0 <= float(low) <= float(high) <= 100, output.text


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-p", "sede", "3"], "This notebook has no parameter `sede` (did you mean `seed`?)"),
        (["-p", "seed", "true"], "`seed` is 'true', a text; give a whole number"),
        (["-p", "dataset", "mnits"], "`dataset` is 'mnits' (did you mean `mnist`?), which is none of"),
    ],
    ids=["misspelt", "text", "dataset"],
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
@pytest.mark.parametrize(
    ("stem", "options"),
    [
        ("04_training", {"epochs": 1, "learning_rate": 0.5}),
        ("05_evaluation", {"epochs": 1, "learning_rate": 0.5}),
        ("06_visualization", {"epochs": 1, "learning_rate": 0.5}),
        ("09_inside_the_network", {"epochs": 2, "learning_rate": 0.1}),
        ("12_draw_a_digit", {"epochs": 1, "learning_rate": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_network_that_learned_nothing_ends_no_notebook(tmp_path, stem, options):
    """Without variety, t-SNE ended the kernel (scikit-learn's issue 29127), and ratios became nan."""
    given = [word for name, value in options.items() for word in ("-p", name, str(value))]
    output = tmp_path / "out.ipynb"
    notebook = ROOT / "notebooks" / f"{stem}.ipynb"
    result = run_papermill(notebook, output, "-p", "dataset", "sample", *given, runs=tmp_path / "runs")
    assert result.returncode == 0, result.stderr[-3000:]
    check_stderr(output)
    check_solutions(output)
    check_shares(output)
