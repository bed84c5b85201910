"""Execute one notebook on the sample and show what changed since the last commit, in code and outputs.

    python -m tools.edit 04

The notebook as it is and as it was committed, each with the helpers of its time, run side by side with few
epochs. The committed outputs, made on the full data, stay as they are until `make refresh N=04`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill

from tools import refresh

QUICK = {"dataset": "sample", "epochs": 1, "seeds": 2}


def quick(path):
    """Return parameters with which a notebook is done in seconds."""
    declared = set(papermill.inspect_notebook(str(path)))
    return {name: value for name, value in QUICK.items() if name in declared}


def start(project, path, output):
    """Start to execute a notebook with the helpers of a project."""
    parameters = [word for name, value in quick(path).items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(path), str(output), *parameters]
    environment = os.environ | {"PYTHONPATH": str(project), "MNIST_RUNS": str(output.with_suffix(""))}
    return subprocess.Popen(command, cwd=path.parent, env=environment, stderr=subprocess.PIPE, text=True)


def committed(folder):
    """Write the last commit's notebooks and helpers into a folder."""
    parts = ["notebooks", "helpers", "pyproject.toml", "figures"]
    archive = subprocess.run(
        ["git", "archive", "HEAD", *parts], cwd=refresh.ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="the first letters of a notebook's name, as in 04")
    name = parser.parse_args().name
    paths = refresh.named([name])
    if len(paths) > 1:
        raise SystemExit(f"{name} may be {', '.join(path.stem for path in paths)}; give both digits.")
    (path,) = paths
    for check in (["check"], ["format", "--check"]):
        if subprocess.run([sys.executable, "-m", "ruff", *check, "--quiet", str(path)]).returncode:
            print(f"Ruff would write {path.name} otherwise; the commit's hook, or `ruff format`, does it.")
    with tempfile.TemporaryDirectory() as scratch:
        before, after = (Path(scratch, when) for when in ("before", "after"))
        for folder in (before, after):
            folder.mkdir()
        committed(before)
        running = {after / path.name: start(refresh.ROOT, path, after / path.name)}
        old = before / "notebooks" / path.name
        if old.exists():
            running[before / path.name] = start(before, old, before / path.name)
        for output, process in running.items():
            _, said = process.communicate()
            if process.returncode:
                for other in running.values():  # its folder goes, and it with it
                    other.terminate()
                    other.wait()
                print(said[-3000:], file=sys.stderr)
                raise SystemExit(f"{output.parent.name}: {path.name} stopped.")
            notebook = nbformat.read(output, as_version=4)
            refresh.clean(notebook)
            nbformat.write(notebook, output)
        if old.exists():
            ignored = [f"--ignore-{what}" for what in ("metadata", "details", "id")]
            command = [sys.executable, "-m", "nbdime", "diff", *ignored]
            subprocess.run([*command, str(before / path.name), str(after / path.name)], check=True)
    print(f"{path.name} runs from the top. When it says what you want: make refresh N={path.name[:2]}")


if __name__ == "__main__":
    main()
