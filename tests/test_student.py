"""`make student`: the course without solutions, for a class."""

import ast
import builtins
import re

import nbformat
import papermill
import pytest

from tests.test_notebooks import NOTEBOOKS
from tests.test_structure import read, tagged
from tools import student
from tools.edit import quick


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "course"
    student.write_course(folder)
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_are_out_and_checks_stay(course, path):
    original, notebook = read(path), read(course / "notebooks" / path.name)
    text = nbformat.writes(notebook)
    assert "# Solution " not in text and not tagged(notebook, "solution")
    for cell in tagged(original, "solution"):
        assert cell.source not in "\n".join(one.source for one in notebook.cells)
    for tag in ("check", "exercise", "setup", "parameters"):
        assert [cell.source for cell in tagged(notebook, tag)] == [
            cell.source for cell in tagged(original, tag)
        ]
    assert len(tagged(notebook, "exercise")) >= 3
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)
    assert "## Where to read more" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_stays_uses_no_name_that_only_a_solution_defines(course, path):
    def names(cells, context):
        trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
        return {
            node.id
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, context)
        }

    notebook = read(course / "notebooks" / path.name)
    trees = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    arguments = {node.arg for tree in trees for node in ast.walk(tree) if isinstance(node, ast.arg)}
    solutions = names(tagged(read(path), "solution"), ast.Store)
    kept = names(notebook.cells, ast.Store) | set(dir(builtins)) | arguments
    assert not (solutions - kept) & names(notebook.cells, ast.Load)


def test_every_link_leads_somewhere_in_the_course(course):
    for path in [course / "README.md", *sorted((course / "notebooks").glob("*.ipynb"))]:
        cells = read(path).cells if path.suffix == ".ipynb" else [None]
        texts = (
            [cell.source for cell in cells if cell.cell_type == "markdown"]
            if cells[0]
            else [path.read_text()]
        )
        targets = [target for text in texts for target in re.findall(r"\]\(([^)]+)\)", text)]
        assert targets
        for target in targets:
            assert "colab.research" not in target, "it leads to the notebook with solutions"
            assert target.startswith(("https://", "#")) or (path.parent / target.split("#")[0]).exists(), (
                target
            )


@pytest.mark.full
def test_it_runs_and_waits_for_answers(course, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs"))
    path = course / "notebooks" / "03_model.ipynb"
    papermill.execute_notebook(
        str(path), str(tmp_path / "out.ipynb"), quick(path), cwd=path.parent, progress_bar=False
    )
    exercises = tagged(read(tmp_path / "out.ipynb"), "exercise")
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in exercises]
    assert len(said) >= 3 and all("Replace the ..." in text for text in said), said


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("my notes")
    with pytest.raises(SystemExit, match="is not empty; name a new folder with STUDENT=FOLDER"):
        student.write_course(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
