"""The identity of code: what changes it, and what does not."""

import importlib
import shutil
from pathlib import Path

import nbformat
import pytest

from helpers import identity
from helpers.identity import of_module, of_notebook

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the course, where a kernel would find it first; return a function that changes it."""
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)

    def change(name, old, new):
        path = tmp_path / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        importlib.invalidate_caches()

    return change


def code_hash(notebook, folder=None):
    return of_notebook(notebook, folder).code


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])


def hashes():
    """Of all notebooks of the course, by number."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found[path.stem[:2]] = code_hash(nbformat.read(path, as_version=4))
    return found


def test_comments_and_docstrings_change_nothing_and_an_expression_does(copy):
    before = hashes()
    copy("helpers/errors.py", "class TutorialError", "# a remark\nclass TutorialError")
    copy("helpers/errors.py", "A problem that the reader can solve.", "A problem.")
    assert hashes() == before
    copy("helpers/evaluation.py", "confidence: float = 0.95", "confidence: float = 0.9")
    after = hashes()
    changed = {number for number in before if after[number] != before[number]}
    assert {"05", "06", "11", "12"} <= changed  # 12 by the page of helpers.draw
    assert not {"00", "01", "02", "03"} & changed  # 00 takes the pad alone


def test_type_hints_of_functions_change_nothing_and_those_of_a_dataclass_do():
    assert code_hash(notebook("def f(x: int) -> str: pass")) == code_hash(notebook("def f(x): pass"))
    assert code_hash(notebook("class A:\n    x: int = 1")) != code_hash(notebook("class A:\n    x = 1"))


def test_a_cell_counts_by_its_meaning():
    base = code_hash(notebook("x = 1\nx + 1"))
    assert code_hash(notebook("# a remark\nx = 1\n\nx + 1  # another")) == base
    assert code_hash(notebook("x = 1\nx + 2")) != base
    assert code_hash(notebook("x = 1\nx + 1;")) != base, "shows no result"
    assert code_hash(notebook("x = 1", "x + 1")) != base
    assert code_hash(notebook("'a text that is shown'")) != code_hash(notebook("'another'"))
    assert code_hash(notebook("this is no code")) != code_hash(notebook("nor is this"))


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nfrom mine import answer",
        "%%time\nfrom mine import answer",
        "!ls\nimport mine",
        "%time import mine",
        "def later():\n    import mine.part",
        'other = """\\\nfrom mine import answer"""',
    ],
)
def test_nothing_hides_an_import_of_the_readers_own_module(tmp_path, cell):
    """Next to the notebook, with a module in it that is imported relatively."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("from . import deep\nanswer = 41\n")
    (tmp_path / "mine" / "deep.py").write_text("from .deeper import *\n")
    (tmp_path / "mine" / "deeper.py").write_text("depth = 2\n")
    (tmp_path / "mine" / "table.csv").write_text("1,2\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    found = [code_hash(notebook(cell), tmp_path)]
    for name in ("__init__.py", "deep.py", "deeper.py", "table.csv"):
        with open(tmp_path / "mine" / name, "a") as file:
            file.write("more = 1\n")
        found.append(code_hash(notebook(cell), tmp_path))
    assert len(set(found)) == 5
    (tmp_path / "unrelated.py").write_text("x = 2\n")
    assert code_hash(notebook(cell), tmp_path) == found[-1]


def test_packages_of_the_course_are_followed(copy):
    ways = [
        "from helpers.batch import make_plan",
        "from helpers import batch",
        "import helpers.batch as b",
        "from helpers.batch.plans import make_plan",
    ]
    before = [code_hash(notebook(way)) for way in ways]
    copy("helpers/batch/results.py", 'endswith(".ipynb")', 'endswith(".nb")')
    assert all(code_hash(notebook(way)) != old for way, old in zip(ways, before))


def test_the_generated_cell_counts_by_what_it_imports(copy):
    cells = notebook("from helpers.parameters import check_parameters\nprint('a')")
    cells.cells[0].metadata.tags = ["setup"]
    before = code_hash(cells)
    cells.cells[0].source = cells.cells[0].source.replace("'a'", "'b'")
    assert code_hash(cells) == before
    copy("helpers/parameters.py", "Parameter(128, 1, 10000)", "Parameter(127, 1, 10000)")
    assert code_hash(cells) != before


def test_libraries_count_by_their_versions_apart_from_the_code(monkeypatch):
    cells = notebook("import json, numpy.random\nfrom sklearn import metrics\nimport no_such_module")
    before = of_notebook(cells)
    assert set(before.versions) == {"numpy", "scikit-learn"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    after = of_notebook(cells)
    assert after.code == before.code and after.versions == {"numpy": "99", "scikit-learn": "99"}


def test_libraries_in_a_folder_of_their_own_count_by_their_versions(tmp_path, monkeypatch):
    """As ``pip install --target`` puts them; there, all of TensorFlow was read, for a minute."""
    about = tmp_path / "faraway-1.5.dist-info"
    (tmp_path / "faraway" / "inner").mkdir(parents=True)
    about.mkdir()
    for name in ("faraway/__init__.py", "faraway/inner/__init__.py"):
        (tmp_path / name).write_text("import numpy", encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faraway\nVersion: 1.5\n", encoding="utf-8")
    (about / "top_level.txt").write_text("faraway\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    identity._distributions.cache_clear()
    cells = notebook("import faraway.inner")
    before = of_notebook(cells)
    assert before.versions == {"faraway": "1.5"}
    (tmp_path / "faraway" / "inner" / "__init__.py").write_text("import json", encoding="utf-8")
    assert of_notebook(cells) == before
    identity._distributions.cache_clear()


def test_a_module_without_another_ignores_what_that_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, source in {"first": "import second, third", "second": "x = 1", "third": "y = 1"}.items():
        Path(f"{name}.py").write_text(source, encoding="utf-8")
    before = of_module("first", without=("second",)).code
    Path("second.py").write_text("x = 2", encoding="utf-8")
    assert of_module("first", without=("second",)).code == before
    Path("third.py").write_text("y = 2", encoding="utf-8")
    assert of_module("first", without=("second",)).code != before


def test_training_is_known_with_what_it_imports():
    assert {"keras", "tensorflow", "numpy"} <= set(of_module("helpers.training").versions)
