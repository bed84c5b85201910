"""Batch runs: what is refused, what is kept, and that a sweep survives being stopped anywhere."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import papermill
import psutil
import pytest

from helpers import batch
from helpers.batch import plans, results, running
from helpers.batch.__main__ import main
from helpers.errors import DataError, ParameterError, StorageError, TutorialError
from helpers.record import MIME
from tests import batch_stub
from tests.conftest import make_arrays
from tools.benchmark_batch import stand_in

ROOT = Path(__file__).resolve().parent.parent
GRID = {"learning_rate": [0.001, 0.01], "seed": [0, 1]}

CODE = """\
from helpers.parameters import check_parameters
from helpers.record import record
check_parameters(seed=seed, epochs=epochs, learning_rate=learning_rate, dataset=dataset)
"""


@pytest.fixture
def notebook(tmp_path):
    """A small notebook with the usual cells; with epochs 13 it fails, with 14 its kernel dies."""
    return make_notebook(tmp_path / "small.ipynb")


def make_notebook(path):
    np.savez(path.with_name("tiny.npz"), **make_arrays())
    parameters = (
        "seed: int = 0  # start of the random numbers\n"
        "epochs: int = 1  # passes\n"
        "learning_rate: float = 0.001  # step size\n"
        f"dataset: str = {str(path.with_name('tiny.npz'))!r}  # which"
    )
    sources = [
        parameters,
        CODE,
        "if epochs == 13:\n    raise ValueError('13 brings\\nbad luck')",
        "import os\nif epochs == 14:\n    os._exit(9)",
        "record(test_accuracy=learning_rate / epochs, threads=os.environ.get('TF_NUM_INTRAOP_THREADS', ''))",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


# What is to be run


def test_a_plan_has_every_combination(notebook):
    plan = batch.make_plan(notebook, GRID, [{"epochs": 1}, {"epochs": 2}])
    assert len(plan.runs) == 8
    assert {tuple(sorted(run.items())) for run in plan.runs.values()} == {
        (("epochs", epochs), ("learning_rate", rate), ("seed", seed))
        for epochs in (1, 2)
        for rate in (0.001, 0.01)
        for seed in (0, 1)
    }
    assert all(name.startswith(f"small_epochs={run['epochs']}_") for name, run in plan.runs.items())


def test_equal_values_are_one_run(notebook):
    plan = batch.make_plan(notebook, {"learning_rate": ["1e-3", 0.001, "0.0010"], "seed": ["1", 1]})
    assert list(plan.runs.values()) == [{"learning_rate": 0.001, "seed": 1}]
    assert type(plan.runs.popitem()[1]["learning_rate"]) is float


def test_names_are_safe_and_distinct():
    names = [plans.run_name("n", {"dataset": value}) for value in ("/a b/ü.npz", "/a b/ü_npz", "x" * 300)]
    assert len(set(names)) == 3
    names.append(plans.run_name("n\\ö", {"dataset": "数据" * 90}))
    assert all(len(name.encode()) < 140 and not set(name) & set(" /\\:*?") for name in names)
    assert plans.run_name("n", {"seed": 1, "epochs": 2}) == plans.run_name("n", {"epochs": 2, "seed": 1})
    assert plans.run_name("n", {"seed": 1}) != plans.run_name("m", {"seed": 1})
    assert plans.run_name("n", {}).startswith("n_")
    long = [plans.run_name("n", {"dataset": "x" * 300, "seed": seed}) for seed in (1, 2)]
    assert long[0][:120] == long[1][:120] and long[0] != long[1], "the hash is of all values"


@pytest.mark.parametrize(
    ("grid", "entries", "sentence"),
    [
        ({"epohcs": [1]}, [{}], "no parameter `epohcs` (did you mean `epochs`?)"),
        ({}, [{"sede": 1}], "no parameter `sede` (did you mean `seed`?)"),
        ({"dropout": [0.5]}, [{}], "no parameter `dropout`; it has `seed`"),
        ({"epochs": ["1.5"]}, [{}], "`epochs` is '1.5', a text; give a whole number"),
        ({"epochs": [1, 0]}, [{}], "`epochs` is 0, out of range"),
        ({"epochs": [True]}, [{}], "`epochs` is True"),
        ({"learning_rate": ["nan"]}, [{}], "`learning_rate` is nan, out of range"),
        ({"learning_rate": ["fast"]}, [{}], "`learning_rate` is 'fast', a text"),
        ({"learning_rate": [[0.1]]}, [{}], "`learning_rate` is [0.1], a list"),
        ({"dataset": [7]}, [{}], "`dataset` is 7"),
        ({"seed": [1]}, [{"seed": 2}], "`seed` stands in the grid and in the list"),
    ],
)
def test_bad_parameters_are_refused_before_a_kernel_starts(notebook, grid, entries, sentence):
    with pytest.raises(ParameterError) as error:
        batch.make_plan(notebook, grid, entries)
    assert sentence in str(error.value)


def test_notebooks_are_found_by_stem_and_misspelt_ones_explained():
    assert plans.find_notebook("04_training") == ROOT / "notebooks" / "04_training.ipynb"
    with pytest.raises(ParameterError, match="did you mean `04_training`"):
        plans.find_notebook("04_trainign")


# One run, and the command line


def command(*arguments, cwd=None):
    """Run the command line as a user does; return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "helpers.batch", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )


@pytest.mark.full
def test_run_from_another_folder_with_values_from_a_file(notebook, tmp_path):
    (tmp_path / "values.yml").write_text("learning_rate: 1e-2\nepochs: 5\n")
    done = command("run", "small.ipynb", "out", "-f", "values.yml", "-p", "epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, measured, _ = done.stdout.splitlines()
    assert re.fullmatch(r"small: finished in \d+ s -> out.small.ipynb", first)
    assert measured.split() == ["test", "accuracy", "0.0050"]
    assert "6/6" in done.stderr  # the progress, in cells
    found = results.read_executed(tmp_path / "out" / "small.ipynb")
    assert found.parameters == {"learning_rate": 0.01, "epochs": 2}
    assert found.record["test_accuracy"] == 0.005 and found.problem is None
    assert list(tmp_path.glob("out/*")) == [tmp_path / "out" / "small.ipynb"]


@pytest.mark.full
def test_several_notebooks_get_what_they_declare(notebook, tmp_path, capsys):
    other = nbformat.read(notebook, as_version=4)
    other.cells = [nbformat.v4.new_code_cell("seed: int = 3  # start", metadata={"tags": ["parameters"]})]
    nbformat.write(other, tmp_path / "other.ipynb")
    both = [notebook, tmp_path / "other.ipynb"]
    assert batch.run(both, tmp_path / "out", {"seed": "5", "epochs": "13"}) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "in whichever order they end"
    assert any(line.startswith("small: failed: ValueError: 13 brings bad luck -> ") for line in lines)
    assert any(line.startswith("other: finished in ") for line in lines)
    partial = results.read_folder(tmp_path / "out")["small"]
    assert partial.problem == "ValueError: 13 brings bad luck" and partial.record == {}
    with pytest.raises(ParameterError, match="no parameter `dropout`"):
        batch.run(both, tmp_path / "out", {"dropout": 0.5})


def test_a_kernel_that_dies_is_a_failure_with_its_partial_notebook(notebook):
    plan = batch.make_plan(notebook, {"epochs": [14]})
    text = running.execute(plan.source, {"epochs": 14})
    notebook.write_text(text, encoding="utf-8")
    assert "DeadKernelError" in results.read_executed(notebook).problem
    assert nbformat.reads(text, as_version=4).cells[0].execution_count == 1


def test_a_kernel_that_dies_while_it_starts_is_started_again(notebook, monkeypatch):
    """Kernels that start side by side can take the same port (ipykernel's pull request 412)."""
    real, calls = papermill.execute_notebook, []

    def flaky(*given, **options):
        calls.append(given)
        if len(calls) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*given, **options)

    monkeypatch.setattr(papermill, "execute_notebook", flaky)
    text = running.execute(batch.make_plan(notebook, {"epochs": [1]}).source, {"epochs": 1})
    notebook.write_text(text, encoding="utf-8")
    assert results.read_executed(notebook).problem is None and len(calls) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "{notebook}", "out", "-p", "epohcs", "1"], "ParameterError: This notebook has no parameter"),
        (["sweep", "{notebook}", "out", "-p", "epochs", "1,x"], "ParameterError: `epochs` is 'x', a text"),
        (
            ["sweep", "{notebook}", "out", "-f", "bad.yml"],
            "bad.yml has grid, list, seeds; write `grid` as",
        ),
        (
            ["sweep", "{notebook}", "out", "-f", "none.yml"],
            "none.yml cannot be read as `name: value` lines: ",
        ),
        (["sweep", "{notebook}", "bad.yml"], "StorageError: bad.yml cannot be written (File exists)"),
        (["sweep", "{notebook}", "out", "--scheduler", "tcp://127.0.0.1:9"], "There is no Dask scheduler at"),
        (["sweep", "{notebook}", "out", "--scheduler", "nonsense://x"], "There is no Dask scheduler at"),
        (["sweep", "{notebook}", "out", "-f", "grid.yml"], "write `grid` as a mapping from names to lists"),
        (["sweep", "{notebook}", "out", "-f", "list.yml"], "write `grid` as a mapping from names to lists"),
        (["sweep", "{notebook}", "out", "-f", "none_at_all.yml"], "There is nothing to run"),
        (
            ["sweep", "{notebook}", "s3://bucket/x"],
            "s3://bucket/x is an address; give a folder",
        ),
        (
            ["run", "{notebook}", "s3://bucket/x"],
            "s3://bucket/x is an address; give a folder",
        ),
        (["run", "bad.yml", "out"], "ParameterError: bad.yml cannot be read as a notebook"),
        (["run", "{notebook}", "."], "would be overwritten by its own result; choose another folder."),
        (["run", "{notebook}", "{notebook}", "out"], "Two of the notebooks have the same name"),
        (["collect", "out"], "StorageError: There is no folder out."),
        (["collect", "."], "StorageError: There is no finished run in ."),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(notebook, tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    Path("bad.yml").write_text("seeds: [1]\n")
    Path("grid.yml").write_text("grid: [1]\n")
    Path("list.yml").write_text("list: {seed: 1}\n")
    Path("none_at_all.yml").write_text("grid: {seed: []}\n")
    monkeypatch.setattr(running, "CONNECTION_SECONDS", 1)
    assert main([word.format(notebook=notebook) for word in arguments]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in last, last


# Sweeps with real kernels


def test_sweep_on_this_machine_resumes_and_retries(notebook, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "sweep"
    arguments = ["sweep", str(notebook), str(folder), "--workers", "2", "-p", "epochs", "1,13,2"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    name = plans.run_name("small", {"epochs": 13})
    reason = f"  {name}: ValueError: 13 brings bad luck\n"
    assert printed.out.startswith("3 runs: 2 finished, 1 failed.\n" + reason)
    assert "2 of 3 finished, 0 running, 1 failed" in printed.err
    first = {path: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}
    assert len(first) == 3
    share = str(max(1, (os.cpu_count() or 1) // 2))
    assert set(results.collect(folder)[0]["threads"]) == {share}

    monkeypatch.setattr(running, "_connect", lambda *_: pytest.fail("nothing is left to run"))
    assert main(arguments) == 1
    assert reason in capsys.readouterr().out
    monkeypatch.undo()
    assert main([*arguments, "--retry"]) == 1
    changed = {path for path, when in first.items() if path.stat().st_mtime_ns != when}
    assert changed == {folder / f"{name}.ipynb"}


# Sweeps with the stand-in, on a scheduler and two workers that are processes of their own


def start_cluster(folder, workers):
    """Start a Dask scheduler and workers; return the scheduler's address and all processes, it first."""
    about = folder / "scheduler.json"
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    with open(folder / "output", "w") as output:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *options, "--scheduler-file", str(about)],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
                cwd=folder,
            )
            for options in [scheduler, *workers * [worker]]
        ]
    while processes[0].poll() is None:
        try:
            return json.loads(about.read_text())["address"], processes
        except (OSError, ValueError):  # not there, or not yet whole
            time.sleep(0.05)
    raise RuntimeError((folder / "output").read_text())


def stop(processes):
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a Dask scheduler with two workers, and the workers' processes."""
    folder = tmp_path_factory.mktemp("cluster")
    os.environ["BATCH_LOG"] = str(folder / "log")
    address, processes = start_cluster(folder, workers=2)
    yield address, processes[1:]
    stop(processes)


@pytest.fixture
def log(cluster):
    """Empty the log of executions."""
    Path(os.environ["BATCH_LOG"]).write_text("")


def finished(folder):
    return {name for name, found in results.read_folder(folder).items() if found.problem is None}


@pytest.mark.slow
def test_sweep_killed_at_twenty_random_moments(notebook, tmp_path, cluster, log):
    """Nothing is lost, nothing that was finished runs again, and the table is the same."""
    address, _ = cluster
    grid = {"learning_rate": [0.001, 0.01, 0.1], "seed": list(range(14)), "epochs": [1]}
    folder = tmp_path / "sweep"
    folder.mkdir()
    processes = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    processes.set_forkserver_preload(["tests.batch_stub", "distributed"])
    draw = random.Random(0)
    kills = 0
    done = set()
    deadline = time.monotonic() + 600
    while len(done) < 42:
        assert time.monotonic() < deadline
        before = len(batch_stub.logged())
        process = processes.Process(target=batch_stub.fake_sweep, args=(notebook, grid, folder, address))
        process.start()
        if kills < 20:
            wanted = before + draw.choice([0, 1, 1, 2, 3])
            while len(batch_stub.logged()) < wanted and process.is_alive():
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.08))
            process.kill()
            kills += 1
        process.join()
        again = {name for name, _ in batch_stub.logged()[before:]}
        assert not again & done, "a finished run ran again"
        assert finished(folder) >= done, "a finished run was lost"
        done = finished(folder)
    assert kills == 20
    undisturbed = tmp_path / "undisturbed"
    batch_stub.fake_sweep(notebook, grid, undisturbed, address)
    pd.testing.assert_frame_equal(results.collect(folder)[0], results.collect(undisturbed)[0])
    assert {path.suffix for path in folder.iterdir()} == {".ipynb", ".lock"}, "no partial file is left"


@pytest.mark.slow
def test_a_killed_sweep_on_the_default_cluster_leaves_nothing_and_continues(notebook, tmp_path):
    """Dask's own processes and real kernels: SIGKILL of the command, then the command again."""
    folder = tmp_path / "sweep"
    slow = nbformat.read(notebook, as_version=4)
    slow.cells.insert(3, nbformat.v4.new_code_cell("import time\ntime.sleep(2 * (seed > 0))"))
    nbformat.write(slow, notebook)
    command = [sys.executable, "-m", "helpers.batch", "sweep", notebook, folder]
    command += ["--workers", "2", "-p", "seed", "0,1,2,3"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(folder.glob("*.ipynb")):  # the first run is short, the second is at work
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("ipykernel" in " ".join(child.cmdline()) for child in children), "a kernel is running"
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}
    assert 1 <= len(finished) < 4
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "the workers and their kernels have ended too"

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "4 runs: 4 finished, 0 failed." in again.stdout, again.stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "nothing finished is repeated"
    table, left_out = results.collect(folder)
    assert list(table["seed"]) == [0, 1, 2, 3] and not left_out
    assert set(table["test_accuracy"]) == {0.001}


def test_second_sweep_into_one_folder_is_refused(notebook, tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    lock = filelock.FileLock(folder / running.LOCK)
    with lock, pytest.raises(StorageError, match="Another sweep is writing to"):
        batch.sweep(batch.make_plan(notebook, GRID), folder)


DAMAGES = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not JSON": lambda text: "<html>",
    "a list": lambda text: "[1, 2]",
    "no cells": lambda text: "{}",
    "cells of another kind": lambda text: json.dumps({"metadata": {}, "cells": [7]}),
    "record that is a list": lambda text: re.sub(r'"{.*?}"', '"[1]"', text),
    "record with lists in a list": lambda text: re.sub(r': [0-9.e-]+}"', ': [[1]]}"', text),
    "parameters that are a list": lambda text: re.sub(
        r'"parameters": {.*?}', '"parameters": [1]', text, flags=re.S
    ),
    "too deep": lambda text: "[" * 100_000,
    "not text": lambda text: b"\xff\xfe\x00",
}


@pytest.mark.full
@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_output_is_reported_and_made_again(notebook, tmp_path, cluster, log, capsys, kind):
    address, _ = cluster
    grid = {"seed": [0, 1], "epochs": [1], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", address)
    whole, _ = results.collect(tmp_path / "sweep")
    path = sorted((tmp_path / "sweep").glob("*.ipynb"))[0]
    damaged = DAMAGES[kind](path.read_text(encoding="utf-8"))
    path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())

    table, left_out = results.collect(tmp_path / "sweep")
    assert list(table.index) == list(whole.index[1:]) and list(left_out) == [path.stem]
    capsys.readouterr()
    before = len(batch_stub.logged())
    assert batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", address) == {}
    assert path.stem in capsys.readouterr().err
    assert [name for name, _ in batch_stub.logged()[before:]] == [path.stem]
    pd.testing.assert_frame_equal(results.collect(tmp_path / "sweep")[0], whole)


def test_changed_code_runs_again_and_a_larger_grid_only_adds(notebook, tmp_path, cluster, log, capsys):
    address, _ = cluster
    grid = {"seed": [0, 1], "epochs": [1], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", address)
    batch_stub.fake_sweep(notebook, grid | {"seed": [0, 1, 2]}, tmp_path / "sweep", address)
    assert len(batch_stub.logged()) == 3
    first = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "sweep").glob("*.ipynb")}
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("13 brings", "thirteen brings"), encoding="utf-8")
    batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", address)
    assert len(batch_stub.logged()) == 5
    said = capsys.readouterr().err
    assert "made with other code; it runs again" in said
    assert f"2 finished runs of other code or data are kept in {tmp_path / 'sweep' / 'archive'}" in said
    kept = list((tmp_path / "sweep" / "archive").glob("*/*.ipynb"))
    assert len(kept) == 2 and len({path.parent for path in kept}) == 1
    assert {path.read_text(encoding="utf-8") for path in kept} < set(first.values())
    for changed in (text, text.replace("13 brings", "thirteen brings")):  # back, and again
        notebook.write_text(changed, encoding="utf-8")
        batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", address)
    assert all(path.exists() for path in kept)
    assert len(results.collect(tmp_path / "sweep")[0]) == 3, "what is in the archive is not in the table"


def test_a_run_that_cannot_be_archived_is_one_sentence(notebook, tmp_path, cluster, log, monkeypatch):
    grid = {"seed": [0], "epochs": [1], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, tmp_path, cluster[0])
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("13 brings", "thirteen brings"), encoding="utf-8")

    def refuse(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match=r"archive.* cannot be written \(Permission denied\)"):
        batch_stub.fake_sweep(notebook, grid, tmp_path, cluster[0])


def test_corrected_data_under_the_same_name_are_new_runs(notebook, tmp_path, cluster, log, capsys):
    own = tmp_path / "mine.npz"
    np.savez(own, **make_arrays())
    grid = {"dataset": [str(own)], "seed": [0], "epochs": [1], "learning_rate": [0.1]}
    for _ in range(2):
        batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", cluster[0])
    assert len(batch_stub.logged()) == 1
    np.savez(own, **make_arrays(seed=1))
    batch_stub.fake_sweep(notebook, grid, tmp_path / "sweep", cluster[0])
    assert len(batch_stub.logged()) == 2
    assert "made with other data; it runs again" in capsys.readouterr().err
    assert len(list((tmp_path / "sweep" / "archive").rglob("*.ipynb"))) == 1
    default = {name: values for name, values in grid.items() if name != "dataset"}
    batch_stub.fake_sweep(notebook, default, tmp_path / "default", cluster[0])
    np.savez(notebook.with_name("tiny.npz"), **make_arrays(seed=2))
    batch_stub.fake_sweep(notebook, default, tmp_path / "default", cluster[0])
    assert len(batch_stub.logged()) == 4, "also if the notebook names the data"


def test_other_versions_of_libraries_are_new_runs(notebook, tmp_path, cluster, log, monkeypatch, capsys):
    grid = {"seed": [0], "epochs": [1], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, tmp_path, cluster[0])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    batch_stub.fake_sweep(notebook, grid, tmp_path, cluster[0])
    assert len(batch_stub.logged()) == 2
    assert re.search(r"made with other (?!code)[^;]+; it runs again", capsys.readouterr().err)


def test_each_data_set_is_loaded_once_and_before_anything_starts(notebook, tmp_path, monkeypatch):
    loaded = []
    real = plans.load_mnist
    monkeypatch.setattr(plans, "load_mnist", lambda name: loaded.append(name) or real(name))
    monkeypatch.setattr(running, "_connect", lambda *_: pytest.fail("started"))
    grid = {"seed": list(range(5)), "dataset": [str(notebook.with_name("tiny.npz")), "fasion_mnist"]}
    with pytest.raises(DataError, match="did you mean `fashion_mnist`"):
        batch.sweep(batch.make_plan(notebook, grid), tmp_path / "out")
    assert len(loaded) <= 2 and not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="did you mean `fashion_mnist`"):
        batch.run([notebook], tmp_path / "out", {"dataset": "fasion_mnist"})
    assert not (tmp_path / "out").exists()


def test_notebooks_that_run_side_by_side_have_their_data_loaded_once(notebook, tmp_path, monkeypatch):
    loaded, real = [], plans.load_mnist
    monkeypatch.setattr(plans, "load_mnist", lambda name: loaded.append(name) or real(name))
    monkeypatch.setattr(running, "_connect", lambda *_: pytest.fail("started"))
    other = shutil.copy(notebook, notebook.with_name("another.ipynb"))
    tiny = str(notebook.with_name("tiny.npz"))
    with pytest.raises(pytest.fail.Exception, match="started"):
        batch.run([notebook, other], tmp_path / "out", {"dataset": tiny})
    assert loaded == [tiny]


def test_dry_run_says_what_would_run_why_and_how_long(notebook, tmp_path, cluster, log, capsys):
    folder = tmp_path / "sweep"
    arguments = ["sweep", str(notebook), str(folder), "--dry-run", "--workers", "2", "-p", "seed", "0,1,2"]
    arguments += ["-p", "epochs", "1,13", "-p", "learning_rate", "0.1"]
    assert main(arguments) == 0 and not folder.exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 runs: 0 finished, 0 failed, 6 to run."
    assert all(line.endswith(": new") for line in lines[1:7])
    assert lines[7] == "How long that takes is not known: no run in this folder is finished."
    grid = {"seed": [0, 1], "epochs": [1, 13], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, folder, cluster[0])
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 runs: 2 finished, 2 failed, 2 to run."
    assert lines[-1] == "About 1.5 minutes: a run took 90 s, and 2 run at a time here."
    assert main([*arguments, "--retry"]) == 0
    assert capsys.readouterr().out.count("failed before: ValueError: 13 brings bad luck") == 2
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("13 brings", "thirteen brings"), encoding="utf-8")
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("made with other code; what is there moves to archive/" in line for line in lines) == 2
    assert len(batch_stub.logged()) == 4 and not (folder / "archive").exists(), "nothing was done"


def test_help_says_which_end_of_a_metric_is_good(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert "makes as high as it can" in " ".join(capsys.readouterr().out.split())


def test_values_may_be_given_one_by_one(notebook, tmp_path, capsys):
    words = ["sweep", str(notebook), str(tmp_path / "out"), "--dry-run", "-p", "seed", "0,1"]
    assert main([*words, "-p", "seed", "2"]) == 0
    assert capsys.readouterr().out.startswith("3 runs: ")


def test_the_benchmarks_stand_in_returns_a_valid_notebook():
    plan = batch.make_plan("04_training", {})
    nbformat.validate(json.loads(stand_in(plan.source, {}, None)))


def test_a_value_with_a_comma_can_be_quoted(notebook, tmp_path, capsys):
    for name in ("a,b.npz", "c.npz"):
        np.savez(tmp_path / name, **make_arrays())
    both = f'"{tmp_path / "a,b.npz"}",{tmp_path / "c.npz"}'
    arguments = ["sweep", str(notebook), str(tmp_path / "out"), "--dry-run", "-p", "dataset"]
    assert main([*arguments, both]) == 0
    assert capsys.readouterr().out.startswith("2 runs: ")


def test_a_notebook_without_a_kernel_says_what_helps(notebook):
    content = nbformat.read(notebook, as_version=4)
    del content.metadata["kernelspec"]
    nbformat.write(content, notebook)
    with pytest.raises(ParameterError, match="No kernel name .*; open it in JupyterLab, choose Python 3"):
        batch.make_plan(notebook, {})


def test_failures_do_not_stop_the_others_and_are_kept(notebook, tmp_path, cluster, log):
    address, _ = cluster
    grid = {"seed": [0, 1], "epochs": [13, 1], "learning_rate": [0.1]}
    failed = batch_stub.fake_sweep(notebook, grid, tmp_path, address)
    assert list(failed.values()) == 2 * ["ValueError: 13 brings bad luck"]
    assert batch_stub.fake_sweep(notebook, grid, tmp_path, address) == failed
    assert len(batch_stub.logged()) == 4


def test_an_error_outside_the_notebook_is_a_failure_of_that_run_only(notebook, tmp_path, cluster):
    def broken(source, parameters, limit):
        if parameters["seed"] == 1:
            raise MemoryError("no room")
        return source

    plan = batch.make_plan(notebook, {"seed": [0, 1, 2]})
    failed = batch.sweep(plan, tmp_path, cluster[0], execute=broken)
    assert list(failed.values()) == ["MemoryError: no room"]
    assert results.read_folder(tmp_path)[list(failed)[0]].problem == "MemoryError: no room"
    assert batch.sweep(plan, tmp_path, cluster[0], execute=broken) == failed, "kept, and not repeated"


def test_full_disk_stops_the_sweep_with_one_sentence_and_keeps_the_rest(
    notebook, tmp_path, cluster, log, monkeypatch
):
    grid = {"seed": [0], "epochs": [1], "learning_rate": [0.1]}
    batch_stub.fake_sweep(notebook, grid, tmp_path, cluster[0])
    kept = finished(tmp_path)

    def full(self, text, **options):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    plan = batch.make_plan(notebook, grid | {"seed": [0, 1]})
    with pytest.raises(StorageError, match="No space left on device"):
        batch.sweep(plan, tmp_path, cluster[0], execute=batch_stub.fake_execute)
    assert finished(tmp_path) == kept
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "failure", [OSError(24, "Too many open files"), RuntimeError("Cluster failed to start: no\nport")]
)
def test_a_cluster_that_does_not_start_is_one_sentence(notebook, tmp_path, monkeypatch, failure):
    def fail(**how):
        raise failure

    monkeypatch.setattr("distributed.Client", fail)
    with pytest.raises(TutorialError, match="^No Dask cluster starts on this machine .+; try again, with"):
        batch.sweep(batch.make_plan(notebook, {}), tmp_path)


@pytest.mark.slow
def test_a_lost_scheduler_is_one_sentence(notebook, tmp_path):
    address, processes = start_cluster(tmp_path, workers=1)
    pid = processes[0].pid
    plan = batch.make_plan(notebook, {"seed": [0]})
    try:
        with pytest.raises(TutorialError, match="The Dask scheduler was lost; start the sweep again"):
            batch.sweep(plan, tmp_path, address, execute=lambda *_: os.kill(pid, signal.SIGKILL))
    finally:
        stop(processes)


# Collecting


def write_executed(path, parameters, record, **metadata):
    """Write a notebook as papermill leaves it, with a record in it."""
    output = nbformat.v4.new_output("display_data", data={MIME: json.dumps(record)})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    about = {"parameters": parameters, "end_time": "now", "exception": None} | metadata
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": about}), path)


@pytest.fixture
def folder(tmp_path):
    """Executed notebooks: 2 learning rates, 2 dropouts, 3 seeds; one was interrupted."""
    folder = tmp_path / "executed"
    folder.mkdir()
    for number, (rate, dropout, seed) in enumerate(
        (rate, dropout, seed) for rate in (0.01, 0.001) for dropout in (0.0, 0.5) for seed in (0, 1, 2)
    ):
        parameters = {"learning_rate": rate, "dropout": dropout, "seed": seed}
        record = {"data": "tiny", "test_accuracy": 0.9 + rate + seed / 100, "seed": seed, "loss": 1.0}
        record["validation_accuracy"] = record["test_accuracy"] - 0.01
        write_executed(folder / f"{number}.ipynb", parameters, record)
    write_executed(folder / "stopped.ipynb", {"seed": 9}, {"test_accuracy": 0.5}, end_time=None)
    (folder / "notes.txt").write_text("not a notebook")
    return folder


def test_collected_table(folder):
    table, left_out = results.collect(folder)
    assert list(table) == [
        *("dropout", "learning_rate", "seed"),
        *("data", "test_accuracy", "loss", "validation_accuracy"),
    ]
    assert len(table) == 12 and left_out == {"stopped": "it was interrupted"}
    assert list(table["dropout"]) == sorted(table["dropout"])
    row = table.loc["2"]
    assert row["learning_rate"] == 0.01 and row["seed"] == 2 and row["test_accuracy"] == pytest.approx(0.93)
    assert results.swept(table) == ["learning_rate", "dropout"]


def test_metric_is_chosen_or_named(folder):
    table, _ = results.collect(folder)
    numbers = results.measured(table)
    assert numbers == ["test_accuracy", "loss", "validation_accuracy"]
    assert results.choose_metric(numbers) == "validation_accuracy"
    assert results.choose_metric(numbers, "loss") == "loss"
    assert results.choose_metric(numbers, "test_accuracy") == "test_accuracy"
    assert results.choose_metric(["test_accuracy", "accuracy"]) == "accuracy"
    with pytest.raises(ParameterError, match="no number 'validation_accuracy'.*; name one with --metric"):
        results.choose_metric(["test_accuracy", "loss"])
    with pytest.raises(ParameterError, match="did you mean `test_accuracy`"):
        results.choose_metric(numbers, "test_acuracy")
    with pytest.raises(ParameterError, match="they hold test_accuracy, loss, validation_accuracy"):
        results.choose_metric(numbers, "data")


def table_of(rates, dropouts, seeds, accuracy=lambda rate, dropout, seed: 0.9 + rate + seed / 1000):
    rows = [
        {"learning_rate": rate, "dropout": dropout, "seed": seed}
        | {"validation_accuracy": accuracy(rate, dropout, seed), "test_accuracy": 0.5}
        for rate in rates
        for dropout in dropouts
        for seed in seeds
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("parameters", [[], ["learning_rate"], ["learning_rate", "dropout"]])
def test_sweep_shows_every_run_and_every_mean(parameters):
    dropouts = [0.0, 0.5] if "dropout" in parameters else [0.5]
    rates = [0.001, 0.01, 0.05] if parameters else [0.01]
    table = table_of(rates, dropouts, range(3))
    figure = batch.draw_sweep(table, "validation_accuracy", parameters)
    (axis,) = figure.axes
    dots = [line for line in axis.lines if line.get_marker() == "."]
    assert sorted(np.concatenate([line.get_xdata() for line in dots])) == pytest.approx(
        sorted(100 * table["validation_accuracy"])
    )
    assert len(axis.containers) == len(rates) * len(dropouts), "a mean with its interval for each"
    assert axis.get_xlabel() == "validation accuracy (%)"
    rows = [label.get_text() for label in axis.get_yticklabels()]
    if not parameters:
        assert rows == ["all runs"]
        return
    best = figure.get_suptitle()
    assert best.startswith("Highest mean validation accuracy: 95.1%, at learning rate 0.05"), best
    words = [f"learning rate {rate}" for rate in rates]
    if len(parameters) == 2:
        words = [f"{word}, dropout {dropout:g}" for word in words for dropout in dropouts]
    assert rows == words


def test_an_interval_of_a_share_ends_at_0_and_100_percent():
    table = pd.DataFrame({"validation_accuracy": [0.9, 0.95, 0.1], "seed": [0, 1, 2]})
    (axis,) = batch.draw_sweep(table, "validation_accuracy", []).axes
    ((one, other),) = axis.collections[0].get_segments()
    assert (one[0], other[0]) == (0, 100)


def test_sweep_with_one_run_a_place_and_other_units():
    table = table_of([0.001, 0.01], [0.5], [0]).assign(loss=[2.0, 3.0])
    figure = batch.draw_sweep(table, "loss", ["learning_rate"])
    assert figure.axes[0].get_ylabel() == "loss"
    assert "Mean loss: from 2 to 3" in figure.get_suptitle()


def test_only_of_validation_images_is_the_highest_named(folder):
    """By a test accuracy nothing is chosen."""
    table, _ = results.collect(folder)
    parameters = ["learning_rate", "dropout"]
    for metric, start in (
        (
            "validation_accuracy",
            "Highest mean validation accuracy: 91%, at learning rate 0.01",
        ),
        ("test_accuracy", "Mean test accuracy: from 91.1% to 92%\n"),
        ("loss", "Mean loss: from 1 to 1\n"),
    ):
        figure = batch.draw_sweep(table, metric, parameters)
        assert figure.get_suptitle().startswith(start), figure.get_suptitle()
        plt.close(figure)


def test_collect_writes_table_and_figure(folder, capsys):
    assert main(["collect", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == [str(folder / "collected.csv"), str(folder / "collected.png")]
    assert "Left out stopped: it was interrupted" in printed.err and "Careful" not in printed.err
    again = pd.read_csv(folder / "collected.csv", index_col="run", dtype={"run": str})
    pd.testing.assert_frame_equal(again, results.collect(folder)[0])
    assert (folder / "collected.png").read_bytes().startswith(b"\x89PNG")
    write_executed(folder / "other.ipynb", {"seed": 5}, {"data": "sample", "validation_accuracy": 0.5})
    write_executed(folder / "unknown.ipynb", {"seed": 6}, {"validation_accuracy": 0.5})
    assert main(["collect", str(folder)]) == 0
    assert "Careful: these runs used different data: sample, tiny." in capsys.readouterr().err


def test_a_table_without_a_metric_is_written_without_a_figure(tmp_path, capsys):
    write_executed(tmp_path / "a.ipynb", {"seed": 0}, {"loss": 0.5})
    assert main(["collect", str(tmp_path)]) == 2
    assert (tmp_path / "collected.csv").exists() and not (tmp_path / "collected.png").exists()
    assert "The records hold no number 'validation_accuracy'" in capsys.readouterr().err
    assert main(["collect", str(tmp_path), "--metric", "loss"]) == 0
    assert (tmp_path / "collected.png").exists()


def test_runs_with_and_without_a_parameter_are_kept_apart(tmp_path):
    for seed in (0, 1):
        write_executed(tmp_path / f"{seed}.ipynb", {"seed": seed}, {"validation_accuracy": 0.9})
        write_executed(
            tmp_path / f"faster {seed}.ipynb",
            {"seed": seed, "learning_rate": 0.1},
            {"validation_accuracy": 0.5},
        )
    table, _ = results.collect(tmp_path)
    assert results.swept(table) == ["learning_rate"]
    assert main(["collect", str(tmp_path)]) == 0
    assert (tmp_path / "collected.png").exists()


def test_a_text_that_some_runs_were_not_given_is_drawn_as_default(tmp_path):
    for rate in (1e-4, 1e-3, 1e-2):
        write_executed(tmp_path / f"{rate}.ipynb", {"learning_rate": rate}, {"validation_accuracy": 0.9})
    write_executed(tmp_path / "a.ipynb", {"dataset": "fashion_mnist"}, {"validation_accuracy": 0.8})
    table, _ = results.collect(tmp_path)
    axis, _ = batch.draw_sweep(table, "validation_accuracy", results.swept(table)).axes
    assert axis.get_xlabel() == "dataset"
    assert {label.get_text() for label in axis.get_xticklabels()} == {"default", "fashion_mnist"}
    plt.close("all")


def test_an_entry_of_the_list_has_defaults_for_what_it_leaves_out(notebook):
    plan = batch.make_plan(notebook, {}, [{"epochs": 2}, {"learning_rate": 0.1}])
    assert list(plan.runs.values()) == [
        {"epochs": 2, "learning_rate": 0.001},
        {"epochs": 1, "learning_rate": 0.1},
    ]


# Last, as it takes a worker away from the tests after it


@pytest.mark.slow
def test_work_of_a_killed_worker_is_finished_by_the_other(notebook, tmp_path, cluster, log):
    address, _ = cluster
    folder = tmp_path / "sweep"
    processes = multiprocessing.get_context("spawn")
    sweep = processes.Process(
        target=batch_stub.fake_sweep,
        args=(notebook, {"seed": list(range(8)), "epochs": [2], "learning_rate": [0.1]}, folder, address),
    )
    sweep.start()
    deadline = time.monotonic() + 60
    while len(batch_stub.logged()) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    pid = batch_stub.logged()[-1][1]  # of the worker that has just begun a run
    os.kill(int(pid), signal.SIGKILL)
    sweep.join(60)
    assert sweep.exitcode == 0
    assert len(finished(folder)) == 8
    runs = batch_stub.logged()
    again = [name for name, by in runs if by != pid and (name, pid) in runs]
    assert len({name for name, _ in runs}) == 8
    assert 1 <= len(again) <= 2, "what it ran, and perhaps a result on its way"
