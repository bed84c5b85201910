"""`make refresh`: what it executes, what it keeps of that, and what it rewrites."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from helpers.record import MIME
from tools import refresh

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what refresh reads and writes, with nothing that trains."""
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("notebooks", "figures"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "earlier"))
    return tmp_path


def test_an_executed_notebook_reaches_readme_and_figures(project, monkeypatch):
    asked, folders = [], []

    def execute(path):
        folders.append(os.environ["MNIST_RUNS"])
        assert os.listdir(folders[-1]) == [], "nothing kept from earlier days"
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if MIME in output.get("data", {}):
                    output.data[MIME] = '{"parameters": 4321, "seed": 0}'
        return notebook

    monkeypatch.setattr(refresh, "load_mnist", asked.append)
    monkeypatch.setattr(refresh, "execute", execute)
    monkeypatch.setattr(sys, "argv", ["refresh.py", "03_model"])
    figure = project / "figures" / "accuracy.png"
    picture = figure.read_bytes()
    figure.write_bytes(b"an older figure")
    before = (project / "README.md").read_text(encoding="utf-8")
    refresh.main()

    assert asked == ["mnist"], "the full data or an error, before anything is executed"
    assert len(folders) == 1 and folders[0] != str(project / "earlier")
    after = (project / "README.md").read_text(encoding="utf-8")
    changed = [pair for pair in zip(before.split("\n"), after.split("\n"), strict=True) if pair[0] != pair[1]]
    assert [line for _, line in changed] == ["| parameters of the network | 4,321 | 03 |"]
    assert refresh.read_record(project / "notebooks" / "03_model.ipynb")["parameters"] == 4321
    assert figure.read_bytes() == picture


def test_what_differs_from_run_to_run_is_taken_out():
    widget = "application/vnd.jupyter.widget-view+json"
    outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stderr", text="epoch 1/3 |███ | 00:01\n"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("display_data", data={widget: {}, "text/plain": "the pad"}),
    ]
    cell = new_code_cell("1", outputs=outputs, metadata={"tags": [], "papermill": {}, "execution": {}})
    notebook = new_notebook(cells=[cell], metadata={"papermill": {"duration": 3.0}, "widgets": {}})
    refresh.clean(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and cell.metadata == {}
    assert [output.get("text") for output in cell.outputs] == ["a\nb\n", None]
    assert cell.outputs[1].data == {"text/plain": "the pad"}


def test_a_notebook_executed_alone_keeps_its_duration(tmp_path, monkeypatch):
    path = tmp_path / "04_training.ipynb"
    nbformat.write(new_notebook(metadata={"tutorial": {"duration": "about 2 minutes"}}), path)

    def execute(path):
        return new_notebook(metadata={"tutorial": {"duration": "about 3 minutes"}})

    monkeypatch.setattr(refresh, "execute", execute)
    for alone, minutes in ((True, 2), (False, 3)):
        notebook = refresh.execute_again(path, alone)
        assert notebook.metadata.tutorial.duration == f"about {minutes} minutes"


def test_tags_decide_what_is_folded():
    cells = [
        new_code_cell("check_1 = 0", metadata={"tags": ["check", "hide-input"]}),
        nbformat.v4.new_markdown_cell("#### Solution 1"),
        new_code_cell("# Solution 1", metadata={"tags": ["solution"]}),
        new_code_cell("answer = ..."),
    ]
    refresh.fold(new_notebook(cells=cells))
    assert cells[0].metadata.jupyter.source_hidden and cells[0].metadata.cellView == "form"
    assert cells[1].metadata["jp-MarkdownHeadingCollapsed"]
    assert cells[2].metadata.cellView == "form" and "jupyter" not in cells[2].metadata
    assert not cells[3].metadata
