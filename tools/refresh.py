"""Execute the notebooks on the full MNIST and rewrite everything that is made from them.

    python -m tools.refresh             all notebooks
    python -m tools.refresh 04          only this one
    python -m tools.refresh --no-run    only navigation, badges, set-up cells, figures and README

An executed notebook replaces the committed one, without papermill's traces. Navigation, badges and
the set-up cell are generated; so are the README's marked parts and the files in ``figures/``.
"""

import argparse
import base64
import copy
import hashlib
import html
import math
import os
import re
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd

from helpers.data import load_mnist
from helpers.evaluation import wilson_interval
from helpers.identity import of_notebook
from helpers.record import read_record, record_in
from tools import benchmark

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
SETUP_CELL = """\
# Set-up: the course's helpers, and a check of the settings above.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("helpers") is None:
    source = "git+{repository}"
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError(
            "This notebook needs the course's helpers. Choose the kernel of their"
            f" environment (`make lab` does), or run `pip install {{source}}` here."
        )
    pip = f"{{sys.executable}} -m pip"  # keeps the versions of all that is installed
    install = f"{{pip}} install --quiet --constraint /dev/stdin {{source}}"
    subprocess.run(f"{{pip}} list --format=freeze | {{install}}", shell=True, check=True)

{quiet}from helpers.exercises import Check
from helpers.parameters import check_parameters
from helpers.plots import use_style

{check}
use_style()"""


def repository():
    """Return the project's address, which stands in pyproject.toml and nowhere else by hand."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["urls"]["Repository"]


def notebook_paths():
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def named(names):
    """Return the notebooks whose names start so, as in 04."""
    paths = notebook_paths()
    unknown = [name for name in names if not any(path.name.startswith(name) for path in paths)]
    if unknown:
        raise SystemExit(f"There is no notebook {', '.join(unknown)}.")
    return [path for path in paths if path.name.startswith(tuple(names))]


def title(notebook):
    """Return the notebook's title line, as in "04 · Training: how the network learns"."""
    return notebook.cells[0].source.split("\n")[0].removeprefix("# ")


def short_title(path):
    """Return a notebook's number and the beginning of its title, as in "04 Training"."""
    return title(nbformat.read(path, as_version=4)).split(":")[0].replace(" ·", "")


def colab_link(path):
    owner_and_name = repository().removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{path.name}"
    return f"[![Open in Colab]({BADGE})]({address})"


def navigation(path, paths):
    """Return the links to the neighbors and the course map."""
    place = paths.index(path)
    links = ["[Course map](../README.md#course-map)"]
    if place > 0:
        links.insert(0, f"[← {short_title(paths[place - 1])}]({paths[place - 1].name})")
    if place + 1 < len(paths):
        links.append(f"[{short_title(paths[place + 1])} →]({paths[place + 1].name})")
    return " · ".join(links)


def first_cell(path, notebook, paths):
    """Return the text of the first cell: title, neighbors, course map, Colab badge, duration."""
    duration = notebook.metadata.get("tutorial", {}).get("duration", "not measured yet")
    data = record_in(notebook).get("data", "MNIST")
    return (
        f"# {title(notebook)}\n\n{navigation(path, paths)} · {colab_link(path)}\n\n"
        f"**Time:** {duration} of a server, measured with the {'full MNIST' if data == 'MNIST' else data}; "
        "an older computer may take two to three times as long."
    )


def setup_cell(notebook):
    """Return the source of the folded cell that follows a notebook's parameters."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (parameters,) = (cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    names = re.findall(r"^(\w+)", parameters.source, flags=re.MULTILINE)
    loads = any(
        re.search(r"^(?:import|from) (?:keras|tensorflow)\b", cell.source, re.MULTILINE) for cell in code
    )
    given = [f"{name}={name}" for name in names]
    check = f"check_parameters({', '.join(given)})"
    if len(check) > 88:  # as ruff lays it out
        check = "\n".join(["check_parameters(", *(f"    {one}," for one in given), ")"])
    quiet = "import helpers.quiet  # TensorFlow's start-up messages off\n" if loads else ""
    return SETUP_CELL.format(repository=repository(), quiet=quiet, check=check)


def fold(notebook):
    """Let JupyterLab and Colab fold what the website folds by its tag, and solutions."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "hide-input" in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
        if {"hide-input", "solution"} & set(tags):
            cell.metadata["cellView"] = "form"
        if re.match("#### Solution [0-9]", cell.source):
            cell.metadata["jp-MarkdownHeadingCollapsed"] = True


def write_generated_cells(paths):
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        fold(notebook)
        notebook.cells[0].source = first_cell(path, notebook, paths)
        links, last = navigation(path, paths), notebook.cells[-1]
        last.source = re.sub(r"\n\n\[(← |Course map).*$", "", last.source) + f"\n\n{links}"
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = setup_cell(notebook)
        nbformat.write(notebook, path)


def made_with(notebook):
    """Return what decides a notebook's outputs, settings and data aside: hashes of code and versions."""
    versions = (ROOT / "constraints.txt").read_bytes()
    return {
        "code_sha256": of_notebook(notebook).code,
        "constraints_sha256": hashlib.sha256(versions.replace(b"\r\n", b"\n")).hexdigest(),
    }


def execute(path, parameters=None):
    """Execute a notebook, by default with its own parameters; return it cleaned, with its duration."""
    import papermill

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, path.name)
        papermill.execute_notebook(
            str(path),
            str(output),
            parameters,
            cwd=str(path.parent),
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its warnings look like errors
        )
        notebook = nbformat.read(output, as_version=4)
    seconds = time.perf_counter() - started
    minutes = math.ceil(2 * seconds / 60) / 2  # rounded up to half minutes
    unit = "minute" if minutes <= 1 else "minutes"
    number = {0.5: "half a", 1: "one"}.get(minutes, f"{minutes:g}")
    clean(notebook)
    notebook.metadata["tutorial"] = made_with(notebook) | {
        "duration": f"about {number} {unit} on {os.cpu_count()} CPU cores",
    }
    return notebook


def execute_again(path, alone):
    """Execute a committed notebook. ``alone`` it keeps its duration: it trains what others would leave."""
    before = nbformat.read(path, as_version=4).metadata.get("tutorial", {})
    notebook = execute(path)
    if alone and "duration" in before:
        notebook.metadata.tutorial["duration"] = before["duration"]
    return notebook


def clean(notebook):
    """Take out what differs from run to run or machine to machine."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
            for output in cell.outputs:  # a widget lives as long as its kernel; a text stays
                shown = output.get("data", {})
                widget = shown.pop("application/vnd.jupyter.widget-view+json", None)
                if widget and shown["text/plain"].startswith("interactive("):
                    shown["text/plain"] = (
                        "A slider. It appears when you run this cell in JupyterLab or Colab."
                    )


def joined(outputs):
    """Return outputs without stderr, and with streams in one piece: how they are cut depends on timing."""
    whole = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if whole and output.output_type == whole[-1].output_type == "stream":
            whole[-1].text += output.text
        else:
            whole.append(copy.copy(output))
    return whole


def named_outputs(notebook, kind):
    """Yield what has a name among a notebook's outputs of a MIME type: (its metadata, its data)."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get(kind, {})
            if "name" in about:
                yield about, output.data[kind]


def pages(notebook):
    """Return the named pages in a notebook's outputs: name → HTML text."""
    return {
        about["name"]: html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
        for about, frame in named_outputs(notebook, "text/html")
    }


def figures(notebook):
    """Return the named figures in a notebook's outputs: name → (PNG bytes, alt text)."""
    return {
        about["name"]: (base64.b64decode(picture), about["alt"])
        for about, picture in named_outputs(notebook, "image/png")
    }


def readme_parts(paths):
    """Return the README's generated parts: marker name → Markdown."""
    notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
    alt = {name: text for nb in notebooks.values() for name, (_, text) in figures(nb).items()}
    rows = [
        "| | notebook | what you will do | builds on | run time | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for path, notebook in notebooks.items():
        number, name = title(notebook).split(" · ", 1)
        tasks, *_, basis = notebook.cells[1].source.split("\n\n")
        task = tasks.removeprefix("**What you will do.** ").split(".")[0]
        needed = ", ".join(sorted(set(re.findall(r"\]\((\d\d)_", basis))))
        duration = notebook.metadata["tutorial"]["duration"].removeprefix("about ").split(" on ")[0]
        rows.append(
            f"| {number} | [{name}](notebooks/{path.name}) | {task} | {needed} | {duration} "
            f"| {colab_link(path)} |"
        )

    records = {path.stem[:2]: read_record(path) for path in paths}
    training, evaluation, model = records["04"], records["05"], records["03"]
    interval = f"{percent(evaluation['test_interval_low'])} to {percent(evaluation['test_interval_high'])}"
    results = [
        "| measured | value | in notebook |",
        "| --- | --- | --- |",
        f"| test accuracy | **{percent(evaluation['test_accuracy'])}** (95% interval {interval}) | 05 |",
        f"| training accuracy, dropout off | {percent(training['training_accuracy'])} | 04 |",
        f"| validation accuracy | {percent(training['validation_accuracy'])} | 04 |",
        f"| parameters of the network | {model['parameters']:,} | 03 |",
        "",
        f"One training run of {evaluation['epochs']} epochs with seed {evaluation['seed']} on "
        f"{evaluation['data']}, not the best of several. The interval covers the choice of "
        "test digits only; another seed would give a different network.",
    ]
    study = records["10"]
    tracks = {
        "deep CNN": "cnn",
        "deep CNN, trained on only 4,000 images": "sample",
        "CNN with fewer than 8,000 parameters": "tiny",
        "dense network, trained on distorted images": "dense",
    }
    best = ["| network | mean test accuracy (95% interval over seeds) | training |", "| --- | --- | --- |"]
    for name, track in tracks.items():
        if f"study_{track}_seeds" not in study:
            continue
        mean, seeds = study[f"study_{track}_test_accuracy"], study[f"study_{track}_seeds"]
        low, high = (100 * study[f"study_{track}_interval_{end}"] for end in ("low", "high"))
        best.append(f"| {name} | {100 * mean:.3f}% ({low:.3f} to {high:.3f}) | {seeds} runs, all counted |")
        if track == "cnn":
            together = 100 * study["study_ensemble_test_accuracy"]
            low, high = (100 * end for end in wilson_interval(round(100 * together), 10_000))
            interval = f"{low:.2f} to {high:.2f} over test digits"
            best.append(f"| these {seeds} deep CNNs together | {together:.2f}% ({interval}) | one ensemble |")
    for name in (name for name in study if re.fullmatch("study_speed_.+_seconds", name)):
        aim = name.removeprefix("study_speed_").removesuffix("_seconds")
        reached, share = study[f"study_speed_{aim}_test_accuracy"], study.get(f"study_speed_{aim}_share")
        beside = "plain Keras does not reach it in ten epochs"
        if share is not None:
            low, high = (study[f"study_speed_{aim}_share_{end}"] for end in ("low", "high"))
            beside = f"{share:.2f} × ({low:.2f} to {high:.2f}) the time until plain Keras reaches it"
        label = f"a short run in float32, its recipe chosen for {aim.replace('_', '.')}%"
        seeds = study["study_speed_seeds"]
        best.append(f"| {label} | {percent(reached)} | {seeds} runs; {study[name]:.0f} s; {beside} |")
    return {
        "speed": speed_table(),
        "hero": f"![{alt['predictions']}](figures/predictions.png)\n\n{colab_link(paths[0])}",
        "results": "\n".join(results),
        "study": "\n".join(best),
        "frontier": f"![{alt['frontier']}](figures/frontier.png)",
        "curves": f"![{alt['accuracy']}](figures/accuracy.png)",
        "architecture": f"![{alt['architecture']}](figures/architecture.png)",
        "course-map": "\n".join(rows),
        "clone": f"```\ngit clone {repository()}\ncd {repository().rsplit('/', 1)[1]}\nmake lab\n```",
    }


def speed_table():
    """Return the benchmark's table in Markdown: medians over runs, and the ratios within the rounds."""
    columns = {"seconds": "s", "later_epoch": "s", "peak_memory": "GB"}
    lines = [
        "| ten epochs | whole process | each epoch after the first | peak memory |",
        "| --- | --- | --- | --- |",
    ]
    table = pd.read_csv(ROOT / "figures" / "benchmark.csv")
    for (device, program, precision), runs, ratios in benchmark.by_program(table):
        plain = program == "plain Keras"
        if plain:
            lines.append(f"| *{device}, {len(runs)} runs each* | | | |")
        cells = [f"{program}, {precision}"]
        for name, unit in columns.items():
            shares = sorted({f"{ratios[name].min():.2f}", f"{ratios[name].max():.2f}"})
            times = "" if plain else f" ({' to '.join(shares)})"
            cells.append(f"{runs[name].median():.3g} {unit}{times}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(share):
    return f"{100 * share:.2f}%"


def fill_readme(text, parts):
    """Return the README with every part between its markers replaced."""
    for name, part in parts.items():
        pattern = rf"(<!-- {name}: generated -->\n).*?(<!-- {name}: end -->)"
        text, count = re.subn(
            pattern, lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"README.md needs the markers of the part {name!r} exactly once.")
    return text


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument(
        "names", nargs="*", help="the first letters of notebooks to execute (default: all)"
    )
    arguments.add_argument("--no-run", action="store_true", help="execute none")
    options = arguments.parse_args()
    paths = notebook_paths()
    chosen = named(options.names or [""])

    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if not options.no_run:
        load_mnist("mnist")  # outputs are committed from the full data only: fail now, not later
        write_generated_cells(paths)  # they are executed too
        with tempfile.TemporaryDirectory() as runs:
            os.environ["MNIST_RUNS"] = runs  # train anew; nothing kept from earlier days
            for path in chosen:
                notebook = execute_again(path, alone=bool(options.names))
                nbformat.write(notebook, path)  # at once: what follows may fail
                print(f"{path.stem}: {notebook.metadata.tutorial.duration}", flush=True)
    write_generated_cells(paths)  # again, with the measured durations
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for name, (content, _) in figures(notebook).items():
            (ROOT / "figures" / f"{name}.png").write_bytes(content)
        for name, page in pages(notebook).items():
            (ROOT / "figures" / f"{name}.html").write_text(page, encoding="utf-8")
    readme.write_text(fill_readme(text, readme_parts(paths)), encoding="utf-8")


if __name__ == "__main__":
    main()
