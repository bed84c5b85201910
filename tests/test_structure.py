"""What every committed notebook, the README and the repository must look like."""

import ast
import dataclasses
import json
import re
import statistics
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from packaging.requirements import Requirement

from helpers.models import build_reference_model
from helpers.parameters import PARAMETERS
from helpers.record import MIME
from helpers.training import Recipe
from tools import refresh, study
from tools.student import project_files

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "figures"
PATHS = refresh.notebook_paths()
DEFAULTS = dataclasses.asdict(Recipe()) | {"ensemble": 1}
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


BINARY = {".png", ".woff"}
LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{1000,}")


def text_of(path):
    """A file's text; without figures and weights, whose code can spell anything."""
    if path.suffix != ".ipynb":
        return LONG_BASE64.sub("", path.read_text(encoding="utf-8"))
    notebook = read(path)
    for output in outputs(notebook):
        output.get("data", {}).pop("image/png", None)
    return LONG_BASE64.sub("", nbformat.writes(notebook))


def test_there_are_notebooks_with_numbers_of_their_own():
    assert [int(path.name[:2]) for path in PATHS] == sorted({int(path.name[:2]) for path in PATHS})
    assert len(PATHS) >= 10


@each_notebook
def test_metadata_is_clean(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info", "tutorial"}
    assert notebook.metadata.kernelspec.name == "python3"
    allowed = {"tags", "cellView", "jupyter", "jp-MarkdownHeadingCollapsed"}
    assert all(set(cell.metadata) <= allowed for cell in notebook.cells)


FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}


def is_folded(cell):
    return "hide-input" in cell.metadata.get("tags", [])


@each_notebook
def test_what_is_folded_is_folded_everywhere(path):
    """In JupyterLab, in Colab and on the website; set-up and checks are, and so are solutions in Colab."""
    for cell in read(path).cells:
        about = {name: cell.metadata[name] for name in FOLDED if name in cell.metadata}
        tags = set(cell.metadata.get("tags", []))
        if is_folded(cell):
            assert about == FOLDED, cell.source
        elif "solution" not in tags:
            assert not about, cell.source
        assert is_folded(cell) or not tags & {"setup", "check"}


def visible_code(notebook):
    """The code that a reader meets: not what is folded, nor solutions, which are below a folded heading."""
    solutions = tagged(notebook, "solution")
    return [cell for cell in code_cells(notebook) if not is_folded(cell) and cell not in solutions]


def lines_of(cell):
    return sum(bool(line.strip()) for line in cell.source.split("\n"))


@each_notebook
def test_digits_come_before_machinery(path):
    """The first picture comes within 12 visible lines of code, parameters and imports included."""
    lines = 0
    for cell in visible_code(read(path)):
        lines += lines_of(cell)
        if "show(" in cell.source:
            break
    assert lines <= 12


@each_notebook
def test_cells_are_short(path):
    lines = sorted(map(lines_of, visible_code(read(path))))
    assert statistics.median(lines) <= 8 and lines[-1] <= 25, lines


@each_notebook
def test_an_exercise_that_nobody_solved_yet_gives_no_hint_away(path):
    for cell in tagged(read(path), "exercise"):
        if "..." in cell.source:
            said = "".join(output.get("text", "") for output in cell.outputs)
            assert "Replace the ..." in said, cell.source


@each_notebook
def test_class_names_in_figures_are_those_that_a_font_can_draw(path):
    """Printed, a name may be in any script; a figure needs a font for it."""
    lines = [line for cell in code_cells(read(path)) for line in cell.source.split("\n")]
    named = [line for line in lines if "data.class_names" in line]
    assert all("drawable(data.class_names)" in line or "print(" in line for line in named), named


@each_notebook
def test_every_assertion_has_a_sentence(path):
    """A reader's own data can break one; and what fits MNIST alone asks for MNIST, not for a name."""
    for cell in code_cells(read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Assert) or node.msg, ast.unparse(node)
        assert "is_mnist" in cell.source or "data.name ==" not in cell.source


def test_what_the_lesson_imports_does_not_grow():
    """All that notebooks 00 to 10 import, directly or not: the aim is 1,700 lines of Python."""
    found, waiting = set(), [cell.source for path in PATHS[:11] for cell in code_cells(read(path))]
    while waiting:
        for module in re.findall(r"\bhelpers\.[\w.]+|from helpers import \w+", waiting.pop()):
            base = ROOT / module.replace("from helpers import ", "helpers.").replace(".", "/")
            for file in (base.with_suffix(".py"), base / "__init__.py"):
                if file.exists() and file not in found:
                    found.add(file)
                    waiting.append(file.read_text(encoding="utf-8"))
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in sorted(found)}
    assert len(found) > 8 and sum(lines.values()) <= 2950, (sum(lines.values()), lines)


@each_notebook
def test_was_executed_from_the_top_without_errors(path):
    notebook = read(path)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert all(
        output.output_type != "error" and output.get("name") != "stderr" for output in outputs(notebook)
    )
    assert path.stat().st_size < 1_000_000
    for cell in code_cells(notebook):
        streams = [output.output_type == "stream" for output in cell.outputs]
        assert not any(a and b for a, b in zip(streams, streams[1:], strict=False)), "streams are joined"


@each_notebook
def test_outputs_were_made_by_the_code_above_them(path):
    """The stored hashes are of exactly this code, these helpers, these versions; if not, `make refresh`."""
    stored, made_with = read(path).metadata.tutorial, refresh.made_with(read(path))
    assert {name: stored.get(name) for name in made_with} == made_with


@each_notebook
def test_outputs_were_made_on_the_full_data(path):
    sample = "11" in path.name  # whose subject is many short runs
    assert refresh.read_record(path)["data"] == ("MNIST sample (5,000 digits)" if sample else "MNIST")


def minutes(path):
    """Return how long a notebook took when its outputs were made."""
    duration = read(path).metadata.tutorial.duration
    number = re.fullmatch(r"about (half a|one|[\d.]+) minutes? on \d+ CPU cores", duration)[1]
    return {"half a": 0.5, "one": 1}.get(number) or float(number)


def test_nobody_waits_long():
    """Three minutes to the first trained network and its mistakes, with the full data.

    The aim is four minutes for each notebook and twenty for all; the times were taken on a slow day.
    """
    assert minutes(PATHS[0]) <= 3
    assert max(map(minutes, PATHS)) <= 6 and sum(map(minutes, PATHS)) <= 32


@each_notebook
def test_parameters_are_plain_typed_documented_and_checked(path):
    notebook = read(path)
    (cell,) = tagged(notebook, "parameters")
    assert cell == code_cells(notebook)[0], "nothing is imported before the set-up"
    declared = {}
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.AnnAssign), "name: type = value"
        declared[statement.target.id] = ast.literal_eval(statement.value)
        assert statement.annotation.id == PARAMETERS[statement.target.id].type.__name__
    assert len(cell.source.split("\n")) == len(declared), "one a line"
    assert {"dataset", "seed"} <= set(declared)

    inspected = papermill.inspect_notebook(str(path))
    assert list(inspected) == list(declared), "papermill sees every parameter"
    for name, about in inspected.items():
        assert len(about["help"]) > 10, f"{name} has a comment"
        parameter = PARAMETERS[name]
        if parameter.low is not None and name != "seed":
            numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", about["help"])]
            assert {float(parameter.low), float(parameter.high)} <= set(numbers), f"{name}: range"
        assert all(choice in about["help"] for choice in parameter.choices)

    following = notebook.cells[notebook.cells.index(cell) + 1]
    assert "setup" in following.metadata.tags
    (call,) = [
        node
        for node in ast.walk(ast.parse(following.source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "check_parameters"
    ]
    assert [keyword.arg for keyword in call.keywords] == list(declared)
    assert [keyword.value.id for keyword in call.keywords] == list(declared)


@each_notebook
def test_generated_cells_match_paths_and_repository(path):
    notebook = read(path)
    assert notebook.cells[0].source == refresh.first_cell(path, notebook, PATHS)
    for target in re.findall(r"\]\(([^)#]+\.(?:ipynb|md))", notebook.cells[0].source):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target
    assert f"/blob/main/notebooks/{path.name})" in notebook.cells[0].source
    assert notebook.cells[-1].source.endswith("\n\n" + refresh.navigation(path, PATHS))
    (setup,) = tagged(notebook, "setup")
    assert setup.source == refresh.setup_cell(notebook)
    assert not setup.outputs


@each_notebook
def test_what_a_solution_shows_is_folded_everywhere(path):
    """GitHub, Colab and the website do not fold what stands below a heading."""
    cells = read(path).cells
    for before, cell in zip(cells, cells[1:]):
        if "solution" in before.metadata.get("tags", []) and not cell.source.startswith("##"):
            assert cell.source.startswith("<details><summary>") and cell.source.endswith("</details>")


@each_notebook
def test_links_between_notebooks_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([^)]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            assert target.startswith("https://") or (path.parent / target.split("#")[0]).exists(), target


@each_notebook
def test_follows_the_order_of_sections(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    order = [
        "**Time:**",
        "**What you will do.**",
        "**What you will be able to do.**",
        "**What it builds on.**",
        "## The result",
        "## Summary",
        "## On your own",
        "## Where to read more",
    ]
    places = [text.find(heading) for heading in order]
    assert -1 not in places and places == sorted(places), dict(zip(order, places, strict=True))
    assert "*Predict" in text


@each_notebook
def test_every_figure_has_alt_text(path):
    notebook = read(path)
    for output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            alt = output.metadata["image/png"]["alt"]
            assert len(alt) > 30 and output.data["text/plain"] == alt
    for cell in notebook.cells:
        assert "plt.show(" not in cell.source
        assert not re.search(r"!\[\s*\]\(|<img(?![^>]*alt=)", cell.source)


@each_notebook
def test_every_call_that_shows_a_figure_gives_it_alt_text(path):
    """In the code, too: the outputs may be older than it."""
    for cell in code_cells(read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("show", "show_page"):
                (alt,) = [keyword.value for keyword in node.keywords if keyword.arg == "alt"]
                assert len(ast.unparse(alt)) > 30, ast.unparse(alt)


@each_notebook
def test_every_formula_is_closed(path):
    formula = re.compile(r"(\$\$?)([^$]+)\1")
    for cell in read(path).cells:
        for paragraph in cell.source.split("\n\n") if cell.cell_type == "markdown" else []:
            text = re.sub(r"```.*?```|`[^`]*`", "", paragraph, flags=re.DOTALL)
            assert "$" not in formula.sub("", text), paragraph
            for _, inside in formula.findall(text):
                assert inside.count("{") == inside.count("}"), inside


@each_notebook
def test_has_exactly_one_record(path):
    found = [output for output in outputs(read(path)) if MIME in output.get("data", {})]
    assert len(found) == 1
    assert {"text/html", "text/plain"} < set(found[0].data)
    assert json.loads(found[0].data[MIME])


@each_notebook
def test_uses_no_magics(path):
    for cell in code_cells(read(path)):
        ast.parse(cell.source)  # magics and shell escapes are no Python
        assert "get_ipython" not in cell.source


@each_notebook
def test_exercises_have_folded_solutions_that_ran(path):
    notebook = read(path)
    exercises, solutions = tagged(notebook, "exercise"), tagged(notebook, "solution")
    assert len(exercises) == len(solutions) >= 3
    for number, (exercise, solution) in enumerate(zip(exercises, solutions, strict=True), start=1):
        place = notebook.cells.index(exercise)
        text, check, _, heading, below = notebook.cells[place - 2 : place + 3]
        assert f"### Exercise {number}\n" in text.source
        assert "check" in check.metadata.tags and f"check_{number} = Check(" in check.source
        assert re.search(rf"^check_{number}\(\w+\)$", exercise.source, flags=re.MULTILINE)
        assert exercise.outputs[0].text.startswith(("Replace the ...", "Not yet. "))  # or code to mend
        assert heading.source == f"#### Solution {number}"
        assert heading.metadata == {"jp-MarkdownHeadingCollapsed": True}  # JupyterLab folds what is below
        assert below is solution and solution.source.startswith(f"# Solution {number}")
        assert solution.metadata.cellView == "form"  # Colab folds the code
        assert solution.execution_count and solution.outputs
        following = [cell for cell in notebook.cells[place + 3 :] if cell.cell_type == "markdown"]
        assert any(cell.source.startswith(("### ", "## ")) for cell in following[:2]), "where folding ends"


@each_notebook
def test_every_solution_passes_the_check_of_its_exercise(path):
    for solution in tagged(read(path), "solution"):
        number = re.match(r"# Solution (\d+)", solution.source)[1]
        assert re.search(rf"^check_{number}\(\w+\)$", solution.source.split("\n")[-1])
        assert "Right!" in "".join(output.get("text", "") for output in solution.outputs), solution.source


# A decimal number in prose is a measurement, unless the line cites a source or the number stands
# in the notebook's code too (a setting, or a constant that the code asserts).
DECIMAL = re.compile(r"\d+\.\d+")


@each_notebook
def test_no_measurement_is_typed_by_hand(path):
    notebook = read(path)
    code = "\n".join(cell.source for cell in code_cells(notebook))
    in_code = set(DECIMAL.findall(code))
    for cell in notebook.cells[1:]:
        for line in cell.source.split("\n") if cell.cell_type == "markdown" else []:
            if "https://" in line or line.startswith("- "):
                continue
            text = re.sub(r"\[[^]]*\]\([^)]*\)", "", line)
            by_hand = set(DECIMAL.findall(text)) - in_code - {"3.0", "3.10", "3.13"}
            assert not by_hand, line
            assert not re.search(r"\d\s*(?:seconds|minutes|ms|GB)\b", text), line


def test_no_measurement_is_typed_into_the_readme():
    text = re.sub(
        r"generated -->.*?<!--", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    for line in text.split("\n"):
        if "http" not in line and "papermill" not in line and "PYTHON=" not in line:
            assert not set(DECIMAL.findall(line)) - {"3.10", "3.13"}, line


def test_readme_and_figures_are_up_to_date():
    """If not, run `make refresh`, or `python -m tools.refresh --no-run` for the text alone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert refresh.fill_readme(text, refresh.readme_parts(PATHS)) == text
    shown = {name for path in PATHS for name in refresh.figures(read(path))}
    assert {path.stem for path in (ROOT / "figures").glob("*.png")} == shown
    for path in PATHS:
        for name, (content, _) in refresh.figures(read(path)).items():
            assert (ROOT / "figures" / f"{name}.png").read_bytes() == content
    pages = {name: page for path in PATHS for name, page in refresh.pages(read(path)).items()}
    assert {path.stem for path in (ROOT / "figures").glob("*.html")} == set(pages)
    for name, page in pages.items():
        assert (ROOT / "figures" / f"{name}.html").read_text(encoding="utf-8") == page


def test_the_figures_of_the_study_come_from_its_tables():
    """The tables hold all runs of the recipes, and notebook 10 was executed with them."""
    record = refresh.read_record(PATHS[10])
    tables = {path.stem.removeprefix("study_"): pd.read_csv(path) for path in FIGURES.glob("study_*.csv")}
    assert set(tables) == {*study.TRACKS, "speed"}
    speed = tables.pop("speed")
    plain = speed[speed["program"] == "plain Keras"].set_index(["aim", "seed"])["seconds"]
    for aim, runs in speed[speed.precision.eq("float32") & speed.program.eq("helpers")].groupby("aim"):
        name = f"study_speed_{aim:g}".replace(".", "_")
        seconds = runs.set_index(["aim", "seed"])["seconds"]
        shares = (seconds / plain).reindex(seconds.index)
        assert record[f"{name}_seconds"] == pytest.approx(seconds.median())
        assert record.get(f"{name}_share", np.nan) == pytest.approx(shares.median(skipna=False), nan_ok=True)
        assert runs["seed"].nunique() == len(runs) >= 2
    for track, table in tables.items():
        _, tested_on, runs = study.read_track(track)
        assert (table["test_accuracy"].isna() == (tested_on is None)).all()
        table = table.assign(**{key: value for key, value in DEFAULTS.items() if key not in table})
        wanted = pd.DataFrame(map(study.settings, runs)).astype(object)
        done = table[list(wanted)].fillna(DEFAULTS).astype(object)
        rows_wanted, rows_done = ({*part.itertuples(index=False, name=None)} for part in (wanted, done))
        assert rows_done <= rows_wanted, "nothing but the recipes"
        if track == "ladder":  # interrupted: what is not done yet has older runs, with three seeds
            seedless = [name for name in wanted if name != "seed"]
            counts = done.assign(device=table["device"]).groupby(["device", *seedless]).size()
            found = counts.groupby(seedless).max()
            assert set(found.index) == {*wanted[seedless].itertuples(index=False, name=None)}
            assert (found[found.index.get_level_values("ensemble") == 1] >= 3).all()
            assert not table.duplicated(["device", *wanted]).any()
        else:
            assert rows_done == rows_wanted and len(done) == len(wanted), "each of them once"
        if track not in ("ladder", "parts", "trials"):
            single = table[table["ensemble"] == 1]
            assert record[f"study_{track}_test_accuracy"] == pytest.approx(single["test_accuracy"].mean())
            assert record[f"study_{track}_seeds"] == len(single) == single["seed"].nunique() >= 5


def test_commands_in_the_readme_name_parameters_that_exist():
    found = 0
    for line in (ROOT / "README.md").read_text(encoding="utf-8").split("\n"):
        stem = re.search(r"\d\d_\w+", line)
        for name in re.findall(r" -p (\w+)", line) + re.findall(r"\"-p (\w+)", line):
            path = ROOT / "notebooks" / f"{stem[0]}.ipynb" if stem else None
            assert name in (papermill.inspect_notebook(str(path)) if path else PARAMETERS), line
            found += 1
    assert found >= 5


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target.split("#")[0]).exists(), target


def test_every_command_that_the_documents_name_exists():
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, flags=re.MULTILINE)) <= targets, path.name
        for module in re.findall(r"-m (tools[.]\w+|helpers[.]\w+)", text):
            module = ROOT / module.replace(".", "/")
            assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), module


def test_the_lesson_and_the_helper_build_the_same_network():
    """Notebooks 00 and 03 write out the network that helpers.models builds for all others."""
    theirs = comparable(build_reference_model(10, 0.5))
    for path in (PATHS[0], PATHS[3]):
        (source,) = [
            ast.unparse(statement)
            for cell in code_cells(read(path))
            for statement in ast.parse(cell.source).body
            if isinstance(statement, ast.Assign) and 'name="reference"' in cell.source
            if statement.targets[0].id == "model"
        ]
        names = {
            "keras": keras,
            "layers": keras.layers,
            "dropout": 0.5,
            "data": type("D", (), {"classes": 10}),
        }
        exec(source, names)
        assert comparable(names["model"]) == theirs


def comparable(model):
    """The configuration of every layer, random initializers' seeds aside."""
    return re.sub(r"'seed': (None|\d+)", "", repr([layer.get_config() for layer in model.layers]))


def test_no_machine_paths_and_no_package_index():
    pattern = re.compile(
        r"/(?:home|root|Users|tmp|opt|work)/\w|[A-Z]:\\\\\w|py" + r"pi\.org|python" + "hosted"
    )
    for path in project_files():
        if path.suffix not in BINARY and path.name != Path(__file__).name:
            found = pattern.search(text_of(path))
            assert not found, f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_the_repository_address_stands_in_one_place():
    """Everywhere else it is generated: in the README, the notebooks' badges and their Colab cell."""
    address = refresh.repository().removeprefix("https://")
    for path in project_files():
        skipped = path.suffix in BINARY | {".ipynb"} or path.name in {"pyproject.toml", "README.md"}
        if not skipped:
            assert address not in path.read_text(encoding="utf-8"), path


def test_conda_installs_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[notebook,book,test]"]


def dependencies():
    """Return what the project and its tests depend on, as written in `pyproject.toml`."""
    project = refresh.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + sum(project["optional-dependencies"].values(), [])


def test_every_dependency_has_an_exact_version():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {Requirement(line).name.lower() for line in pins if "==" in line}
    assert {Requirement(line).name.lower() for line in dependencies()} <= pinned


AMERICAN = {
    r"colou?r": "color", r"cent(?:er|re)": "center", r"gr[ae]y": "gray", r"label+ed": "labeled",
    r"normali[sz]e": "normalize", r"recogni[sz]e": "recognize", r"neighbou?r": "neighbor",
    r"behaviou?r": "behavior", r"optimi[sz]er": "optimizer", r"licen[sc]e": "license",
}  # fmt: skip


def test_spelling_is_american():
    for path in [*PATHS, *ROOT.glob("*.md"), *(ROOT / "helpers").rglob("*.py")]:
        text = path.read_text(encoding="utf-8").lower()
        for pattern, american in AMERICAN.items():
            assert set(re.findall(rf"\b{pattern}\b", text)) <= {american}, f"{path.name}: {american}"
