"""A user's own data runs through the notebooks by the one parameter `dataset`, and its names show.

The data has the form of Fashion-MNIST, as an .npz file and as IDX files, or 26 classes. Every figure
that is really drawn is caught in the kernel: its texts, and whether one is cut off or hides another.
"""

import json
import re

import nbformat
import numpy as np
import pytest

from helpers.data import CLOTHES, load_mnist
from helpers.record import read_record
from tests.conftest import save_idx
from tests.test_notebooks import ROOT, run_papermill

pytestmark = pytest.mark.slow

WORDS = (
    "apple", "bread", "cheese", "dill", "egg", "fig", "grape", "honey", "ice cream", "juice",
    "kale", "lemon", "mango", "noodles", "olive", "pear", "quince", "rice", "salt", "tomato",
    "udon", "vanilla", "watermelon", "xigua", "yoghurt", "zucchini",
)  # fmt: skip
QUICK = {"epochs": "2", "batch_size": "32"}
STEMS = ("01_loading", "02_preprocessing", "03_model", "04_training", "05_evaluation", "06_visualization")

# In the kernel: write what every figure says, and where.
CATCH = """
import json, os
from matplotlib.figure import Figure
from matplotlib.text import Text

def savefig(figure, *args, plain=Figure.savefig, **options):
    plain(figure, *args, **options)
    figure.canvas.draw()
    outer = figure.bbox
    ticks, hidden = set(), set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                seen = axes.axison and axis.get_visible() and low <= tick.get_loc() <= high
                (ticks if seen else hidden).update({tick.label1, tick.label2})
    said = []
    for text in figure.findobj(Text):
        if not (text.get_visible() and text.get_text().strip()) or text in hidden:
            continue
        box = text.get_window_extent()
        role = "tick" if text in ticks else "text"
        for axis in figure.axes:
            if text in (axis.title, axis._left_title, axis._right_title):
                role = "title"
            elif text in (axis.xaxis.label, axis.yaxis.label):
                role = "label"
            elif text in axis.texts:
                role = "in axes"
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < outer.x1 + 1 and box.y1 < outer.y1 + 1
        said.append([text.get_text(), role, bool(inside), box.extents.tolist(), text.get_rotation()])
    with open(os.environ["CAUGHT"], "a") as file:
        file.write(json.dumps(said) + "\\n")

Figure.savefig = savefig
"""
NAMING = {  # how many figures of a notebook name classes, solutions of exercises included
    "01_loading": 7,
    "02_preprocessing": 1,
    "03_model": 1,
    "04_training": 0,
    "05_evaluation": 2,
    "06_visualization": 5,
}


def make_classes(names, train, test):
    """Return arrays of digits from the sample; beyond ten classes, the digits turned by 90 or 180 degrees."""
    sample, classes = load_mnist("sample"), len(names)
    arrays = {}
    for part, count, images, digits in (
        ("train", train, sample.x_train, sample.y_train),
        ("test", test, sample.x_test, sample.y_test),
    ):
        labels = np.arange(count) % classes
        used = [np.flatnonzero(digits == digit) for digit in range(10)]
        chosen = [images[used[label % 10][i // classes]] for i, label in enumerate(labels)]
        turned = [np.rot90(image, label // 10) for image, label in zip(chosen, labels)]
        order = np.random.default_rng(0).permutation(count)
        arrays[f"x_{part}"] = np.stack(turned)[order]
        arrays[f"y_{part}"] = labels.astype(np.uint8)[order]
    return arrays


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data in every form, a kernel that writes down its figures, and trained networks."""
    place = tmp_path_factory.mktemp("own data")
    clothes, words = make_classes(CLOTHES, 600, 200), make_classes(WORDS, 780, 260)
    (place / "npz").mkdir()
    np.savez_compressed(place / "npz" / "own.npz", **clothes, class_names=CLOTHES)
    for form, arrays, names in (("idx", clothes, CLOTHES), ("zipped", words, WORDS)):
        folder = save_idx(place / form / "own", arrays, zipped=form == "zipped")
        (folder / "class_names.txt").write_text("\n".join(names), encoding="utf-8")
    startup = place / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "catch.py").write_text(CATCH, encoding="utf-8")
    return place


FORMS = {"npz": ("npz/own.npz", CLOTHES), "idx": ("idx/own", CLOTHES), "zipped": ("zipped/own", WORDS)}


@pytest.fixture(scope="module")
def executed(place):
    """Return a function that runs a notebook on the data in one form, once: its path and its figures."""
    done = {}

    def run(stem, form):
        if (stem, form) not in done:
            folder = place / "executed" / form
            folder.mkdir(parents=True, exist_ok=True)
            caught, output = folder / f"{stem}.jsonl", folder / f"{stem}.ipynb"
            caught.touch()
            source = ROOT / "notebooks" / f"{stem}.ipynb"
            declared = source.read_text(encoding="utf-8")
            options = [
                word for name in QUICK if f"{name}: int" in declared for word in ("-p", name, QUICK[name])
            ]
            options += ["-p", "dataset", str(place / FORMS[form][0])]
            extra = {"IPYTHONDIR": str(place / "ipython"), "CAUGHT": str(caught)}
            result = run_papermill(source, output, *options, runs=place / "runs", **extra)
            assert result.returncode == 0, result.stderr[-3000:]
            done[stem, form] = output, [json.loads(line) for line in caught.read_text().splitlines()]
        return done[stem, form]

    return run


def without_names(text, names):
    """Replace every class name by a box."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.sub("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in longest_first), "□", text)


def digit_labels(text):
    """Return the single digits that stand alone: no part of a number, a percentage or a count."""
    return re.findall(r"(?<![\w.,×])(?<!by )\d(?![\w.,%×]| of | to | for | by | images| classes)", text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stem", STEMS)
def test_every_figure_that_names_classes_has_the_names(executed, stem, form):
    names = FORMS[form][1]
    _, figures = executed(stem, form)
    naming = [figure for figure in figures if any("□" in without_names(said[0], names) for said in figure)]
    assert len(naming) == NAMING[stem]
    for figure in naming:
        ticks = [text for text, role, *_ in figure if role == "tick" and text in names]
        assert len(ticks) % len(names) == 0, "an axis of classes has a name for each"
        for text, role, *_ in figure:
            if role in ("title", "text"):
                assert not digit_labels(without_names(text, names)), text
    titles = [text for figure in figures for text, role, *_ in figure if role == "title"]
    if stem == "06_visualization":
        true = [text for text in titles if re.search(r"true ", text)]
        assert len(true) >= 24 + 12 and all(re.search(r"true □$", without_names(t, names)) for t in true)


@pytest.mark.parametrize("form", ["npz", "zipped"])
@pytest.mark.parametrize("stem", STEMS)
def test_no_text_is_cut_off_or_hidden_by_another(executed, stem, form):
    for figure in executed(stem, form)[1]:
        for text, _, inside, *_ in figure:
            assert inside, text
        straight = [said for said in figure if said[4] % 90 == 0]
        for i, (text, _, _, box, _) in enumerate(straight):
            for other, _, _, against, _ in straight[:i]:
                across = min(box[2], against[2]) - max(box[0], against[0])
                along = min(box[3], against[3]) - max(box[1], against[1])
                assert across < 2 or along < 2, f"{text!r} lies over {other!r}"


@pytest.mark.parametrize("form", ["npz", "zipped"])
def test_printed_tables_and_alt_texts_have_the_names(executed, form):
    names = FORMS[form][1]
    for stem in STEMS:
        notebook = nbformat.read(executed(stem, form)[0], as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        printed = "\n".join(output.text for output in outputs if output.get("name") == "stdout")
        if stem in ("01_loading", "03_model", "05_evaluation"):
            assert all(name in printed for name in names)
            assert not re.search(r"^ *\d +[01]\.\d", printed, flags=re.M), "a row of a class without its name"
        assert not re.search(r"\bclass \d|\b\d read as|read as \d", printed)
        for output in outputs:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt:
                assert not re.search(r"\bdigits?\b", alt) and not digit_labels(alt), alt


@pytest.mark.parametrize("form", FORMS)
def test_the_network_follows_the_data(executed, form):
    classes = len(FORMS[form][1])
    assert read_record(executed("01_loading", form)[0])["classes"] == classes
    assert read_record(executed("03_model", form)[0])["parameters"] == 223_744 + 129 * classes


def test_the_same_arrays_give_the_same_results_whatever_files_they_come_in(executed):
    for stem in STEMS:
        assert read_record(executed(stem, "npz")[0]) == read_record(executed(stem, "idx")[0])


def test_images_of_another_size_are_refused_in_one_sentence(place, tmp_path):
    with np.load(place / "npz" / "own.npz") as file:
        arrays = dict(file)
    arrays["x_train"] = np.pad(arrays["x_train"], ((0, 0), (2, 2), (2, 2)))
    np.savez(tmp_path / "large.npz", **arrays)
    notebook, output = ROOT / "notebooks" / "05_evaluation.ipynb", tmp_path / "out.ipynb"
    result = run_papermill(
        notebook, output, "-p", "dataset", str(tmp_path / "large.npz"), runs=tmp_path / "runs"
    )
    assert result.returncode != 0
    assert "x_train of the shape (600, 32, 32); resize the images to 28×28 pixels" in result.stderr
    cells = nbformat.read(output, as_version=4).cells
    errors = [o for cell in cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert [len(error.traceback) for error in errors] == [1]
    assert not (tmp_path / "runs").exists()
