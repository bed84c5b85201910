"""What goes wrong around a run: a killed kernel, a full disk, Ctrl-C, odd clocks, homes and locales.

After each fault the same command works, and ends with exactly the result of an undisturbed run.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import nbformat
import numpy as np
import psutil
import pytest

from helpers.record import read_record
from tests.conftest import make_arrays
from tests.test_notebooks import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="signals and limits of this kind are not Windows's"),
]

CELLS = [
    'dataset: str = "sample"\nseed: int = 0\nepochs: int = 3',
    "from helpers.data import load_mnist\n"
    "from helpers.evaluation import predict\n"
    "from helpers.parameters import check_parameters\n"
    "from helpers.record import record\n"
    "from helpers.storage import load_or_train, training_seconds\n"
    "from helpers.training import Recipe\n"
    "check_parameters(dataset=dataset, seed=seed, epochs=epochs)",
    "data = load_mnist(dataset)\n"
    'recipe = Recipe(epochs=epochs, seed=seed, precision="float32")\n'
    "model, history = load_or_train(data, recipe)",
    "seconds = training_seconds(data, recipe)\n"
    "assert 0 < seconds[0] < 3600 and 0 < seconds[1] < 3600, seconds\n"
    "probabilities = predict(model, data.x_test)\n"
    'print("classes:", ", ".join(data.class_names))\n'
    'record(data=data.name, loss=history["loss"][-1], sure=float(probabilities.max(axis=1).sum()))',
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook that trains for some seconds."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("notebook") / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def start(command, folder, runs=None, environment=(), **options):
    """Start a Python program in a process group of its own, as a terminal does."""
    known = {k: v for k, v in os.environ.items() if k not in ("MNIST_PATH", "MPLBACKEND")}
    known |= {"MNIST_RUNS": str(runs or folder / "runs"), "PYTHONPATH": str(ROOT)} | dict(environment)
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={name: value for name, value in known.items() if value is not None},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
        **options,
    )


def papermill(notebook, output, *parameters):
    return ["-m", "papermill", "--no-progress-bar", notebook, output, *parameters]


def batch(notebook, output, *parameters):
    return ["-m", "helpers.batch", "run", notebook, output.parent, *parameters]


def finish(process, seconds=300):
    """Return exit status, stdout and stderr of a process."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def messages(executed):
    """Return what an executed notebook has on stderr."""
    cells = nbformat.read(executed, as_version=4).cells
    return "".join(o.text for c in cells for o in c.get("outputs", []) if o.get("name") == "stderr")


def run(notebook, output, way=papermill, runs=None, parameters=(), **options):
    """Run the notebook to its end; return its record."""
    status, _, err = finish(start(way(notebook, output, *parameters), output.parent, runs, **options))
    assert status == 0, err[-3000:]
    return read_record(output)


@pytest.fixture(scope="module")
def undisturbed(notebook, tmp_path_factory):
    """The record of a run that nothing disturbs."""
    return run(notebook, tmp_path_factory.mktemp("undisturbed") / "small.ipynb")


def wait_for_training(process, runs):
    """Wait until a network is being trained."""
    deadline = time.monotonic() + 200
    while not list((runs / "models").glob("*.lock")):
        assert time.monotonic() < deadline and process.poll() is None, finish(process)
        time.sleep(0.02)
    time.sleep(0.3)
    assert not list((runs / "models").glob("*.json")), "too late"


def kernels(process):
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]


def test_kernel_killed_in_training(notebook, undisturbed, tmp_path):
    output = tmp_path / "small.ipynb"
    process = start(papermill(notebook, output), tmp_path)
    wait_for_training(process, tmp_path / "runs")
    (kernel,) = kernels(process)
    kernel.kill()
    status, _, err = finish(process)
    assert status != 0 and "Kernel died" in err
    assert not list((tmp_path / "runs" / "models").glob("*.json"))
    assert run(notebook, output) == undisturbed
    assert "Loaded" not in messages(output)
    assert not list((tmp_path / "runs" / "models").glob("*.tmp"))


@pytest.mark.parametrize("way", [papermill, batch])
def test_ctrl_c_in_training(notebook, undisturbed, tmp_path, way):
    output = tmp_path / "small.ipynb"
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background does not
    process = start(way(notebook, output), tmp_path, preexec_fn=heed)
    wait_for_training(process, tmp_path / "runs")
    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = finish(process, seconds=60)
    if way is batch:
        assert status == 130 and err.rstrip().endswith("continues with the same command.")
        assert "Traceback" not in err and "ERROR" not in err and "never retrieved" not in err
        assert not output.exists(), "whole or not at all"
    else:
        assert status != 0
    assert psutil.wait_procs(processes, timeout=20)[1] == [], "nothing goes on in the background"
    assert not list((tmp_path / "runs" / "models").glob("*.json"))
    assert run(notebook, output, way) == undisturbed


def test_full_disk_in_a_batch(notebook, undisturbed, tmp_path):
    """No file may grow beyond 300,000 bytes; the network takes 930,000."""
    resource = pytest.importorskip("resource")
    output, limit = tmp_path / "small.ipynb", (300_000, resource.RLIM_INFINITY)
    process = start(
        batch(notebook, output),
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    status, out, err = finish(process)
    assert status == 1 and "Traceback" not in err
    assert "failed: StorageError" in out and "free space there" in out and "MNIST_RUNS" in out
    left = [path.name for path in (tmp_path / "runs" / "models").iterdir() if path.suffix != ".lock"]
    assert left == []
    assert run(notebook, output, batch) == undisturbed


def test_two_at_once_train_once(notebook, undisturbed, tmp_path):
    outputs = [tmp_path / f"{number}.ipynb" for number in (1, 2)]
    processes = [start(papermill(notebook, output), tmp_path) for output in outputs]
    ends = [finish(process) for process in processes]
    assert [status for status, *_ in ends] == [0, 0], ends
    assert [read_record(output) for output in outputs] == [undisturbed, undisturbed]
    loaded = ["Loaded the model" in messages(output) for output in outputs]
    assert sorted(loaded) == [False, True], "one trained, one waited or came later"


BACKWARD = """
import itertools, time
start, count = time.time(), itertools.count()
time.time = lambda: start - 3600 * next(count)  # an hour back whenever somebody looks
"""


def test_clocks_that_are_wrong(notebook, undisturbed, tmp_path):
    """The clock goes backward in training; then files come from the far future and from 1970."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "clock.py").write_text(BACKWARD)
    output, models = tmp_path / "small.ipynb", tmp_path / "runs" / "models"
    assert run(notebook, output, environment={"IPYTHONDIR": str(tmp_path / "ipython")}) == undisturbed
    notes = json.loads(next(models.glob("*.json")).read_text())
    assert notes["seconds"] > 0 and notes["cpu_seconds"] > 0
    for year in (2100, 1970):
        moment = (year - 1970) * 365.25 * 86400
        for path in [models, *models.iterdir()]:
            os.utime(path, (moment, moment))
        assert run(notebook, output) == undisturbed
        assert "Loaded the model" in messages(output)
    (json_file,) = models.glob("*.json")
    json_file.unlink()
    for path in models.iterdir():
        os.utime(path, (4e9, 4e9))
    assert run(notebook, output) == undisturbed, "an old lock holds nobody up"


PLAIN = (
    "\n".join(CELLS[:3])
    + """
import json, matplotlib.pyplot as plt
from helpers.plots import draw_digits, use_style
use_style()
draw_digits(data.x_test[:4], ["a"] * 4).savefig("figure.png")
seconds = training_seconds(data, recipe)
print(json.dumps([data.name, history["loss"][-1], min(seconds) > 0], ensure_ascii=True))
"""
)
HOMES = {"none": None, "missing": "{}/none/at/all", "a file": "/dev/null"}


@pytest.mark.parametrize("home", HOMES)
def test_no_home(undisturbed, tmp_path, home):
    """Without a home, or with one that cannot be written, data is found, networks train and figures show."""
    place = HOMES[home] and HOMES[home].format(tmp_path)
    names = dict.fromkeys(["KERAS_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"])
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": None}
    script = PLAIN.replace('dataset: str = "sample"', 'dataset: str = "auto"')
    environment = names | proxy | {"HOME": place, "no_proxy": None}
    if place is None:  # then the system's list of users has one, whose cache may hold the data
        environment["KERAS_HOME"] = str(tmp_path / "keras")
    status, out, err = finish(start(["-c", script], tmp_path, environment=environment))
    assert status == 0, err[-3000:]
    assert "NOT THE FULL MNIST" in out
    assert json.loads(out.splitlines()[-1]) == [undisturbed["data"], undisturbed["loss"], True]


def test_strict_umask(notebook, undisturbed, tmp_path):
    output = tmp_path / "new" / "small.ipynb"
    output.parent.mkdir()
    for _ in range(2):
        assert run(notebook, output, batch, tmp_path / "runs", umask=0o077) == undisturbed
    assert "Loaded the model" in messages(output)
    for path in (tmp_path / "runs").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, "nobody else may look"


@pytest.mark.parametrize("way", [papermill, batch])
def test_locale_without_letters_beyond_ascii(notebook, tmp_path, way):
    """In the locale C, names of folders and classes are kept as they are."""
    own, place = tmp_path / "own.npz", tmp_path / "größe ☃"
    place.mkdir()
    np.savez(own, **make_arrays(train=60, classes=3), class_names=["Hündin", "鶏", "кот"])
    plain = dict.fromkeys(["PYTHONIOENCODING", "LANGUAGE", "LC_CTYPE"])
    plain |= {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": None}
    output = place / "small.ipynb"
    parameters = ["-p", "dataset", own, "-p", "epochs", "1"]
    for _ in range(2):
        run(notebook, output, way, place / "runs", parameters, environment=plain)
    assert "classes: Hündin, 鶏, кот" in output.read_text(encoding="utf-8")
    assert "Loaded the model" in messages(output)
    status, out, err = finish(
        start(way(notebook, output, "-p", "dataset", "größe"), place, environment=plain)
    )
    assert status != 0 and "`dataset` is" in out + err


@pytest.fixture
def hanging_proxy():
    """The address of a proxy that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("dataset", ["auto", "mnist", "fashion_mnist"])
def test_proxy_that_hangs(tmp_path, hanging_proxy, dataset):
    proxy = dict.fromkeys(["HTTPS_PROXY", "https_proxy"], hanging_proxy)
    proxy |= {"NO_PROXY": None, "no_proxy": None, "KERAS_HOME": str(tmp_path / "keras")}
    script = f"""
import time
from helpers.data import load_mnist
from helpers.errors import DataError
start = time.monotonic()
try:
    print(load_mnist({dataset!r}).name)
except DataError as error:
    print(error)
assert time.monotonic() - start < 20, time.monotonic() - start
"""
    status, out, err = finish(start(["-c", script], tmp_path, environment=proxy))
    assert status == 0, err
    if dataset == "auto":
        assert "NOT THE FULL MNIST" in out and out.endswith("MNIST sample (5,000 digits)\n")
    else:
        assert out.count("\n") == 1 and "the server did not answer in time" in out
    assert not [path for path in (tmp_path / "keras").rglob("*") if path.is_file()]
