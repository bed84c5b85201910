"""Write the course without solutions, for a class, into a folder of its own.

    python -m tools.student runs/student

Checks and hints stay, and so do the exercises. What is folded below a solution's heading goes, and so do all
outputs, and the Colab badges, which lead to the notebooks with solutions. The folder is a project: `make lab`
works there.
"""

import argparse
import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
GENERATED = re.compile(r"\.venv|runs|\.git|build|__pycache__|.*\.egg-info|\..*_cache|\.ipynb_checkpoints")
COLAB = re.compile(r"(?: · )?\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
LEFT_OUT = ("tests/", "tools/", ".ci/", ".github/", ".pre-commit-config.yaml", "CHANGELOG.md")


def project_files():
    """Return the project's files: git's list, or without git everything but what is generated."""
    paths = []
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    if ROOT / "pyproject.toml" not in paths:  # no git, or another project's
        paths = list(ROOT.rglob("*"))
    return [
        path
        for path in paths
        if path.is_file() and not any(GENERATED.fullmatch(part) for part in path.relative_to(ROOT).parts)
    ]


def without_solutions(notebook):
    """Return a notebook without what stands below its solutions' headings, and without outputs."""
    cells, in_solution = [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("#### Solution "):
                in_solution = True
            elif cell.source.startswith(("## ", "### ")):
                in_solution = False
        if not in_solution and "solution" not in cell.metadata.get("tags", []):
            cells.append(cell)
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    cells[0].source = COLAB.sub("", cells[0].source)
    notebook.cells = cells
    notebook.metadata.pop("tutorial", None)
    return notebook


def write_course(folder):
    """Write the course into a new folder.

    Raises:
        SystemExit: there is something in the folder already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; name a new folder with STUDENT=FOLDER, or delete this one.")
    for path in project_files():
        name = path.relative_to(ROOT)
        if not name.as_posix().startswith(LEFT_OUT):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        nbformat.write(without_solutions(nbformat.read(path, as_version=4)), path)
    readme = folder / "README.md"
    text = COLAB.sub("", readme.read_text(encoding="utf-8"))
    readme.write_text(text.replace(", with solutions folded away", ""), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    write_course(parser.parse_args().folder)
