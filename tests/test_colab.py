"""A notebook opened alone in Google Colab: its set-up cell installs the helpers and changes nothing.

The quickstart is executed there.

Colab is imitated by a virtual environment with versions from Colab's own list of packages, where a
stand-in for ``google.colab`` is imported as the kernel starts. The address that the set-up cell
installs from is redirected to a clone of this repository, its committed state.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import types

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from helpers.record import read_record
from tests.test_notebooks import NOTEBOOKS, ROOT, check_stderr
from tools.edit import quick
from tools.refresh import repository, setup_cell

# From https://github.com/googlecolab/backend-info, January 2026; other versions where those do not
# run on Python 3.10 to 3.13. Colab's grpcio-status is one of many that need protobuf 5.
PREINSTALLED = """
    pip==24.1.2 tensorflow==2.20.0 keras==3.10.0 numpy==2.1.3 ml_dtypes==0.5.4 protobuf==5.29.5
    grpcio-status==1.71.2 flatbuffers==25.12.19 pandas==2.2.3 matplotlib==3.10.0 pillow==11.3.0
    scikit-learn==1.6.1 scipy==1.15.3 threadpoolctl==3.6.0 mlxtend==0.23.4 pooch==1.8.2
    requests==2.32.4 tqdm==4.67.1 filelock==3.20.3 dask==2025.12.0 PyYAML==6.0.3 ipython==7.34.0
    ipykernel==6.17.1 ipywidgets==7.7.1 anywidget==0.9.21 jupyter_client==7.4.9 traitlets==5.7.1
    tornado==6.5.1 nbclient==0.10.4 nbformat==5.10.4 psutil==5.9.5
""".split()
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=None, startup_timeout=600).execute()
finally:
    nbformat.write(notebook, sys.argv[1])
"""


def needs_colab(test):
    """Mark what runs in the imitated Colab."""
    return pytest.mark.slow(pytest.mark.machine(test))


class Colab:
    def __init__(self, folder):
        self.folder = folder
        environment = folder / "environment"
        self.python = environment / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        theirs = ("MNIST_PATH", "MPLBACKEND", "PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT")
        self.environment = {name: value for name, value in os.environ.items() if name not in theirs}
        self.pip("install", "--quiet", *PREINSTALLED)
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "google" / "colab").mkdir(parents=True)
        (packages / "google" / "colab" / "__init__.py").touch()
        startup = folder / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "colab.py").write_text("import google.colab")
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        self.environment |= {
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": repository(),
        }

    def pip(self, *arguments):
        command = [self.python, "-m", "pip", *arguments]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def versions(self):
        return {
            package["name"]: package["version"] for package in json.loads(self.pip("list", "--format=json"))
        }

    def run(self, path):
        """Execute a notebook alone in an empty folder; return it and the folder's notebook."""
        content = self.folder / path.stem
        content.mkdir()
        copy = content / path.name
        notebook = load_notebook_node(str(path))
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(parameterize_notebook(notebook, quick(path), report_mode=False), copy)
        command = [self.python, "-c", EXECUTE, copy]
        result = subprocess.run(command, cwd=content, env=self.environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-5000:]
        return copy


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    if not shutil.which("git") and not os.environ.get("CI"):
        pytest.skip("needs git")
    return Colab(tmp_path_factory.mktemp("colab"))


@pytest.fixture(scope="module")
def first(colab):
    """Run the quickstart where no helpers are installed yet; return it, and the versions around it."""
    before = colab.versions()
    return colab.run(NOTEBOOKS[0]), before, colab.versions()


@needs_colab
def test_the_setup_cell_installs_the_helpers_and_changes_no_version(colab, first):
    _, before, after = first
    changed = {
        name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version
    }
    assert changed == {}
    assert "mnist-classification" in after and "mnist-classification" not in before
    assert "No broken requirements" in colab.pip("check")


@needs_colab
def test_the_quickstart_runs_to_the_end(first):
    """In the very kernel that installed the helpers."""
    executed = first[0]
    notebook = nbformat.read(executed, as_version=4)
    cells = notebook.cells
    (setup,) = (cell for cell in cells if "setup" in cell.metadata.get("tags", []))
    assert not any("ERROR" in output.text for output in setup.outputs)  # pip reports what does not fit
    setup.outputs = []
    nbformat.write(notebook, executed)
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    assert read_record(executed)["data"] == "MNIST sample (5,000 digits)"
    check_stderr(executed)


@pytest.mark.parametrize("place", ["Jupyter", "Colab"])
def test_the_setup_cell_installs_in_colab_only(place, monkeypatch, capfd):
    """Where the helpers are not installed, it calls pip in Colab, and elsewhere says what to do."""
    calls = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: calls.append(command))
    if place == "Colab":
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    source = setup_cell(nbformat.read(NOTEBOOKS[0], as_version=4))
    installing = source[: source.index("\nimport helpers.quiet")]
    with contextlib.ExitStack() as stack:
        if place == "Jupyter":
            stack.enter_context(pytest.raises(ModuleNotFoundError, match="needs the course's helpers"))
        exec(installing, {})
    assert [re.findall("-m pip (list|install)", command) for command in calls] == (
        [["list", "install"]] if place == "Colab" else []
    )
    assert capfd.readouterr() == ("", "")
