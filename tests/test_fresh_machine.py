"""The README's commands on a fresh machine: a new clone, an empty home folder, no settings but pip's.

The machine's user has no rights beyond a folder of a name with spaces and non-ASCII letters, and the
lowest supported Python that they can start, with the lowest versions that `pyproject.toml` allows.
`make tutorial` and `make test` run there, the first with
few epochs on the sample, the second without what `.ci/run` does itself. Then the same checkout is made
read-only, and reads the full data if that is at hand.
"""

import functools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from helpers.record import read_record
from tests.test_structure import dependencies

pytestmark = [
    pytest.mark.slow,
    pytest.mark.machine,
    pytest.mark.skipif(os.name == "nt" or not shutil.which("git"), reason="needs make and git"),
]

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
NOBODY = "65534"
ANOTHER_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
QUICK = "-p dataset sample -p epochs 1 -p seeds 2"
UNIT_TESTS = "PYTEST_ADDOPTS=-k 'not runs_on_the_sample and not test_draw and not made_by_the_code'"
KEPT = {"PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
SAMPLE = "MNIST sample (5,000 digits)"


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def environment(home):
    """A new user's environment, with this machine's way to the package index."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith("PIP_") or name.lower().endswith("_proxy")
    }
    kept.pop("PIP_CACHE_DIR", None)
    return kept | {"HOME": str(home)}


def run(command, timeout=1500, **options):
    """Run a command; return the finished process. What it started ends with it."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, output)


def find_pythons(as_user=()):
    """Return version → path of the supported Pythons that a user can start and make environments with."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = {}
    for version in VERSIONS:
        name = f"python{version}"
        paths = [Path(folder, name) for folder in os.get_exec_path() if "shims" not in Path(folder).parts]
        paths += sorted(pyenv.glob(f"{version}.*/bin/{name}"))
        for path in filter(os.path.exists, paths):
            if run([*as_user, str(path), "-c", "import ensurepip, venv"], cwd="/").returncode == 0:
                found[version] = str(path)
                break
    return found


class Machine:
    """A clone of the committed project and an empty home folder, of this or of another user."""

    def __init__(self, python, path="mnist-classification", as_user=()):
        self.python, self.as_user = python, list(as_user)
        self.top = Path(tempfile.mkdtemp(prefix="fresh-"))
        self.home, self.folder = self.top / "home", self.top / path
        self.home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.folder)], check=True)
        if as_user:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(self.top)], check=True)

    def run(self, *command, cwd=None, **variables):
        """Run a command as the machine's user; return the finished process."""
        return run(
            [*self.as_user, *map(str, command)],
            cwd=cwd or self.folder,
            env=environment(self.home) | variables,
        )

    def make(self, *words, **variables):
        return self.run("make", *words, f"PYTHON={self.python}", **variables)

    def succeed(self, done):
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def batch(self, *words, **variables):
        return self.run(".venv/bin/python", "-m", "helpers.batch", "run", *words, **variables)

    def changed(self):
        """What git finds changed in the clone."""
        return self.succeed(self.run("git", "status", "--porcelain"))

    def remove(self):
        subprocess.run(["chmod", "-R", "u+w", str(self.top)], check=False)
        shutil.rmtree(self.top)


def full_data():
    """The path of the full MNIST, if it is at hand."""
    path = os.environ.get("MNIST_PATH")
    return str(Path(path).resolve()) if path and Path(path).is_file() else None


@functools.cache
def python_and_user():
    """Return the lowest Python that a user without rights can start, and how to become that user."""
    as_user = ANOTHER_USER if is_root() else []
    if as_user and not shutil.which("setpriv"):
        return None, as_user
    return next(iter(find_pythons(as_user).values()), None), as_user


def lowest(requirement):
    """Return a requirement of exactly its lowest version."""
    wanted = Requirement(requirement)
    (version,) = (one.version for one in wanted.specifier if one.operator == ">=")
    wanted.specifier = f"=={version}"
    return str(wanted)


@pytest.fixture(scope="module")
def user():
    """The user's machine, set up."""
    python, as_user = python_and_user()
    if not python:
        pytest.skip("needs a Python that a user without rights can start, and for root `setpriv`")
    machine = Machine(python, "Übung & köder 数字/mnist classification", as_user)
    try:
        machine.succeed(machine.make(".venv/ready"))
        (machine.home / "lowest.txt").write_text("\n".join(map(lowest, dependencies())))
        pip = [".venv/bin/python", "-m", "pip", "install", "--quiet", "-c", machine.home / "lowest.txt"]
        machine.succeed(machine.run(*pip, "-e", ".[notebook,test]"))
        yield machine
    finally:
        machine.remove()


def test_tutorial_and_tests_from_an_odd_path_without_rights(user):
    shown = user.succeed(user.make("tutorial", f"ARGS={QUICK}"))
    assert "test accuracy" in shown.lower() or "test_accuracy" in shown
    executed = sorted(path.name for path in (user.folder / "runs" / "tutorial").glob("*.ipynb"))
    assert executed == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert " passed" in user.succeed(user.make("test", UNIT_TESTS))
    assert user.changed() == ""


def test_read_only_checkout(user):
    """Results go elsewhere; where they cannot, one sentence says so."""
    elsewhere = user.home / "my results"
    subprocess.run(["chmod", "-R", "a-w", str(user.folder)], check=True)

    done = user.make("tutorial", f"ARGS={QUICK}")
    assert done.returncode != 0 and "Permission denied" not in done.stdout
    assert "runs/tutorial cannot be written to; run make with MNIST_RUNS=FOLDER." in done.stdout

    done = user.batch("01_loading", "runs/new", *shlex.split("-p dataset sample"))
    assert done.returncode == 2 and done.stdout.startswith("StorageError: runs/new cannot be written")
    assert done.stdout.count("\n") == 1

    papermill = [user.folder / ".venv/bin/papermill", "--no-progress-bar"]
    papermill += [user.folder / "notebooks/05_evaluation.ipynb", "out.ipynb"]
    papermill += shlex.split("-p dataset sample -p epochs 1 -p seed 7")
    done = user.run(*papermill, cwd=user.home)
    assert done.returncode != 0 and "MNIST_RUNS to another folder" in done.stdout, done.stdout[-3000:]
    user.succeed(user.run(*papermill, cwd=user.home, MNIST_RUNS=str(elsewhere)))
    assert read_record(user.home / "out.ipynb")["data"] == SAMPLE

    user.succeed(user.batch("01_loading", elsewhere, *shlex.split("-p dataset sample")))
    assert read_record(elsewhere / "01_loading.ipynb")["data"] == SAMPLE
    done = user.make("tutorial", "ARGS=-p sede 3", f"MNIST_RUNS={elsewhere}")
    assert "no parameter `sede`" in done.stdout, "it went past the folder"


def test_full_data_from_a_file(user):
    if not full_data():
        pytest.skip("the full data is not at hand")
    shutil.copy(full_data(), user.home / "mnist.npz")
    (user.home / "mnist.npz").chmod(0o644)
    results = user.home / "full"
    variables = {"MNIST_PATH": str(user.home / "mnist.npz"), "MNIST_RUNS": str(results)}
    user.succeed(user.batch("01_loading", "05_evaluation", results, "-p", "epochs", "1", **variables))
    for name in ("01_loading", "05_evaluation"):
        assert read_record(results / f"{name}.ipynb")["data"] == "MNIST"


def test_read_only_checkout_that_was_never_set_up():
    python, as_user = python_and_user()
    if not python:
        pytest.skip("needs a user without rights, for root with `setpriv`")
    machine = Machine(python, as_user=as_user)
    try:
        subprocess.run(["chmod", "-R", "a-w", str(machine.folder)], check=True)
        done = machine.make("tutorial")
    finally:
        machine.remove()
    assert done.returncode != 0
    sentence, status = done.stdout.splitlines()
    assert sentence == f"{machine.folder} cannot be written to; copy this project to a folder of your own."
    assert status.startswith("make: ***")
