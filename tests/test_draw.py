"""The page to draw on: what it refuses, what it computes in a real browser, and who can use it.

In Chromium, and what differs between browsers in Firefox, too.
"""

import ast
import base64
import dataclasses
import io
import json
import os
import re
import runpy
import sys
import zipfile
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from scipy import ndimage
from skimage.morphology import skeletonize

from helpers.data import ARRAYS, CLOTHES, Dataset, load_mnist
from helpers.draw import Pad
from helpers.draw.__main__ import main, read_model
from helpers.draw.page import PageError, _choose_images, build_page, show_page
from helpers.errors import DataError
from helpers.evaluation import predict
from helpers.folders import write
from helpers.models import build_dense_model, build_reference_model, build_small_dense_model
from helpers.novelty import measure_usual, of_all_layers
from helpers.preprocessing import scale
from helpers.storage import read_about, save_model
from tests.conftest import make_arrays
from tools import refresh

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning", "ignore:The structure of `inputs`:UserWarning"
)  # both in Keras

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "figures" / "draw_a_digit.html"
PAD_SIDE = 448  # the pad's own pixels
BACKSPACE, CONTROL, SHIFT = "\ue003", "\ue009", "\ue008"  # as WebDriver names them
STEPS = [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]  # to neighboring pixels


# ------------------------------------------------------------------ building and refusing


def random_model(classes=10):
    keras.utils.set_random_seed(0)
    return build_reference_model(classes)


def made_up(class_names):
    return Dataset(**make_arrays(classes=len(class_names)), name="made up", class_names=tuple(class_names))


def test_the_same_model_gives_the_same_small_page(tiny):
    page = build_page(random_model(), tiny)
    assert page == build_page(random_model(), tiny)
    assert len(page.encode()) < 900_000


def test_loads_nothing_from_elsewhere(tiny):
    page = build_page(random_model(), tiny)
    page = page.replace('<link rel="icon" href="data:', "", 1)
    assert not re.search(r"https?:|\b(?:src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(", page)


def test_no_class_name_can_end_the_script():
    page = build_page(random_model(3), made_up(["</script><script>alert(1)</script>", "<b>", "'\""]))
    assert page.count("</script") == 3 and "<b>" not in page


def test_the_datas_name_is_text_and_nothing_else(tiny):
    page = build_page(random_model(), dataclasses.replace(tiny, name="<b>mine</b> & yours"))
    assert "Data: &lt;b&gt;mine&lt;/b&gt; &amp; yours." in page and "<b>mine" not in page


def test_the_gallery_has_right_ordinary_images_and_the_hardest():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
    labels = np.array([0, 0, 1, 1, 1])
    chosen, hard = _choose_images(probabilities, labels)
    assert chosen[:2] == [0, 3] and hard[:2] == [False, False], "the first right one of each class"
    assert chosen[2:] == [1, 2, 3, 0, 4] and all(hard[2:]), "the least probable label first"


def test_sixteen_bit_numbers_change_less_than_float16(arrays):
    model = random_model()
    x = scale(arrays["x_test"])
    exact = model.predict_on_batch(x)

    def changed(rounded):
        copy = build_reference_model()
        copy.set_weights([rounded(w) if w.ndim > 1 else w for w in model.get_weights()])
        return np.abs(copy.predict_on_batch(x) - exact).max()

    def whole(kernel):
        scales = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / 32767
        return np.round(kernel / scales) * scales

    assert changed(whole) < changed(lambda kernel: kernel.astype(np.float16)) / 3


def smaller():
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def not_built():
    return keras.Sequential([keras.layers.Dense(10)])


def functional():
    inputs = keras.Input((28, 28, 1))
    return keras.Model(inputs, build_reference_model()(inputs))


def other_activation():
    config = build_reference_model().get_config()
    config["layers"][3]["config"]["activation"] = "tanh"
    return keras.Sequential.from_config(config)


def other_pooling():
    layers = build_reference_model().layers
    layers[1] = keras.layers.AveragePooling2D(2, name="pool_1")
    return keras.Sequential([keras.Input((28, 28, 1)), *layers])


@pytest.mark.parametrize("build", [smaller, not_built, functional, other_activation, other_pooling])
def test_refuses_every_other_network(build, tiny):
    with pytest.raises(PageError, match="^This model is not the reference network of notebook 03, and"):
        build_page(build(), tiny)


def test_refuses_a_model_for_other_classes(tiny):
    with pytest.raises(PageError, match="^This model has 26 classes and the data tiny has 10; give the data"):
        build_page(random_model(26), tiny)


@pytest.mark.parametrize("factor", [0, 1e9])
def test_a_network_that_learned_nothing_has_a_page(tiny, factor):
    model = random_model()
    model.set_weights([factor * weight for weight in model.get_weights()])
    page = build_page(model, tiny)
    numbers = base64.b64decode(re.search(r'id="numbers">(.*?)<', page)[1])
    start = 4 * 2 * 234 + 2 * (9 * 32 + 288 * 64 + 1600 * 128 + 128 * 10)  # what is usual comes next
    layer, tables = 2 * 224, 10 * 224 + 3 * 1001
    for count, offset in ((layer, start), (tables, start + 4 * layer + 224 * 225)):
        assert np.isfinite(np.frombuffer(numbers, "<f4", count, offset)).all()


def test_refuses_weights_that_are_no_numbers(tiny):
    model = random_model()
    model.layers[0].bias.assign(np.full(32, np.nan, np.float32))
    with pytest.raises(PageError, match="no finite numbers"):
        build_page(model, tiny)


# ------------------------------------------------------------------ files and the command


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.keras"
    random_model().save(path)
    return path


@pytest.fixture
def own(tmp_path_factory):
    """The path of a small data set of ten classes, not in the folder of the page."""
    path = tmp_path_factory.mktemp("data") / "own.npz"
    np.savez(path, **make_arrays())
    return str(path)


def test_the_command_writes_the_page_that_build_page_returns(good, own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["draw", str(good), str(tmp_path / "page.html"), "--dataset", own])
    with pytest.warns(RuntimeWarning, match="found in sys.modules"), pytest.raises(SystemExit) as ended:
        runpy.run_module("helpers.draw", run_name="__main__")  # as python -m helpers.draw does
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("Open ")
    expected = build_page(read_model(good), load_mnist(own))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == expected


def save_lambda(path):
    """A model with Python bytecode inside."""
    place = str(path.with_suffix(".attacked"))
    attack = keras.layers.Lambda(lambda x, place=place: (__import__("pathlib").Path(place).touch(), x)[1])
    keras.Sequential([keras.Input((28, 28, 1)), attack]).save(path)
    path.with_suffix(".attacked").unlink(missing_ok=True)  # building the model ran it, too


def save_function(path):
    def attack(x):
        Path(path).with_suffix(".attacked").touch()
        return x

    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Lambda(attack)]).save(path)
    path.with_suffix(".attacked").unlink(missing_ok=True)  # building the model ran it, too


def save_foreign_class(path):
    """A model whose description names a Python function instead of a layer."""
    random_model().save(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    touch = {"module": "os", "class_name": "mkdir", "config": {"path": str(path.with_suffix(".attacked"))}}
    config["config"]["layers"][1] |= touch | {"registered_name": None}
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)


def save_cut_off(path):
    random_model().save(path)
    path.write_bytes(path.read_bytes()[:5000])


def save_without_weights(path):
    random_model().save(path)
    with zipfile.ZipFile(path) as file:
        config = file.read("config.json")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config)


def save_with_broken_notes(path):
    random_model().save(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("about.json", "[]")


@pytest.mark.parametrize(
    ("save", "sentence"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.write_text("no model"), "is no complete .keras file"),
        (save_cut_off, "is no complete .keras file"),
        (save_without_weights, "is damaged"),
        (save_lambda, "holds code or layers of its own, which are never loaded"),
        (save_function, "holds code or layers of its own, which are never loaded"),
        (save_foreign_class, "holds code or layers of its own, which are never loaded"),
        (lambda path: smaller().save(path), "This model is not the reference network"),
        (lambda path: random_model(3).save(path), "This model has 3 classes and the data"),
        (save_with_broken_notes, "is damaged (about.json: "),
    ],
    ids=[
        "missing",
        "text",
        "cut-off",
        "no-weights",
        "lambda",
        "function",
        "foreign",
        "other",
        "classes",
        "notes",
    ],
)
def test_a_bad_file_ends_in_one_sentence(save, sentence, own, tmp_path, capsys):
    model, page = tmp_path / "model.keras", tmp_path / "page.html"
    save(model)
    page.write_text("an earlier page")
    before = sorted(tmp_path.iterdir())
    assert main([str(model), str(page), "--dataset", own]) == 1
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and len(err.strip().split("\n")) == 1
    assert page.read_text() == "an earlier page"
    assert sorted(tmp_path.iterdir()) == before, "nothing written, no code run"


LETTERS = made_up("ABC")


@pytest.fixture
def letters(tmp_path):
    """The file of a network for letters that knows its data, and that data's file."""
    save_model(random_model(3), tmp_path / "letters.keras", LETTERS)
    arrays = {key: getattr(LETTERS, key) for key in ARRAYS}
    np.savez(tmp_path / "letters.npz", **arrays, class_names=np.array(LETTERS.class_names))
    return tmp_path / "letters.keras", tmp_path / "letters.npz"


def test_a_saved_network_says_what_it_was_trained_on_and_opens_as_any_other(letters):
    path, _ = letters
    about = {"data": "made up", "fingerprint": LETTERS.fingerprint, "class_names": ["A", "B", "C"]}
    assert read_about(path) == about
    for loaded in (keras.saving.load_model(path), read_model(path)):
        for found, expected in zip(loaded.get_weights(), random_model(3).get_weights()):
            assert np.array_equal(found, expected)


def described(page):
    return json.loads(re.search(r'id="description">(.*?)</script>', page.read_text(encoding="utf-8"))[1])


def test_a_page_answers_in_the_networks_own_classes(letters, tmp_path):
    path, data = letters
    assert main([str(path), str(tmp_path / "page.html")]) == 0
    found = described(tmp_path / "page.html")
    assert found["classes"] == ["A", "B", "C"] and found["images"] == [] and found["usual"] == 0
    assert found["none"] == "None of these, I think"
    assert main([str(path), str(tmp_path / "page.html"), "--dataset", str(data)]) == 0
    found = described(tmp_path / "page.html")
    assert found["classes"] == ["A", "B", "C"] and len(found["images"]) > 10


def test_other_data_than_the_networks_is_refused(letters, tmp_path, capsys):
    path, data = letters
    np.savez(data, **make_arrays(classes=3, seed=1), class_names=np.array(["A", "B", "C"]))
    assert main([str(path), str(tmp_path / "page.html"), "--dataset", str(data)]) == 1
    (sentence,) = capsys.readouterr().err.strip().split("\n")
    assert "was trained on other data than" in sentence and "'made up'; give those as `--dataset`" in sentence
    assert not (tmp_path / "page.html").exists()


def test_a_network_of_unknown_data_needs_their_name(good, tmp_path, capsys):
    assert main([str(good), str(tmp_path / "page.html")]) == 1
    assert "does not say which data it was trained on; name them with `--dataset`" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_an_unwritable_place_ends_in_one_sentence(good, own, tmp_path, capsys):
    assert main([str(good), str(tmp_path / "nowhere" / "page.html"), "--dataset", own]) == 1
    assert "cannot be written (No such file or directory); free space there" in capsys.readouterr().err


# ------------------------------------------------------------------ in the notebook


def test_a_shown_page_can_be_taken_out_of_the_notebook(monkeypatch, tiny):
    shown = []
    monkeypatch.setattr(
        "helpers.draw.page.display", lambda data, metadata, raw: shown.append((data, metadata))
    )
    page = build_page(random_model(), tiny)
    show_page(page, alt="A page & more", name="a_page")
    ((data, metadata),) = shown
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert refresh.pages(notebook) == {"a_page": page}
    assert data["text/plain"] == "A page & more" and "<p>A page &amp; more</p>" in data["text/html"]
    assert 'sandbox="allow-scripts allow-downloads"' in data["text/html"]


def test_the_pad_gives_a_digit_or_none():
    pad = Pad()
    assert pad.digit is None
    pad.pixels = memoryview(bytes(range(256)) * 3 + bytes(16))  # what arrives from the browser
    assert pad.digit.shape == (28, 28) and pad.digit.dtype == np.uint8 and pad.digit[1, 0] == 28


def notebook_functions(*names):
    """Return functions that notebook 12 writes out."""
    (path,) = (ROOT / "notebooks").glob("12_*.ipynb")
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    definitions = [
        ast.unparse(statement)
        for cell in cells
        for statement in ast.parse(cell).body
        if isinstance(statement, ast.FunctionDef)
    ]
    found = {"np": np, "ndimage": ndimage, "PAD": 112}
    exec("\n".join(definitions), found)
    return [found[name] for name in names]


# ------------------------------------------------------------------ in the browser


@pytest.fixture(scope="module")
def trained():
    """The network of the committed page, which was trained on the full MNIST."""
    text = re.search(r'id="numbers">(.*?)<', COMMITTED.read_text(encoding="utf-8"))[1]
    model, numbers = build_reference_model(), io.BytesIO(base64.b64decode(text))

    def take(kind, count):
        return np.frombuffer(numbers.read(count * np.dtype(kind).itemsize), kind)

    layers = [layer for layer in model.layers if layer.weights]
    scales, biases = ([take("<f4", layer.bias.shape[0]) for layer in layers] for _ in range(2))
    for layer, scale_, bias in zip(layers, scales, biases):
        layer.set_weights(
            [take("<i2", np.prod(layer.kernel.shape)).reshape(layer.kernel.shape) * scale_, bias]
        )
    return model


@pytest.fixture(scope="module")
def built(trained, sample, tmp_path_factory):
    """The file of a page with a trained network."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write(build_page(trained, sample), path)
    return path


@pytest.fixture
def open_page(browser):
    """Open a file; at the end, check that it asked for nothing else and reported no error."""
    opened, requests, errors = [], [], []

    def open_(path, **options):
        page = browser.new_page(**options)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        opened.append((page, path.as_uri()))
        return page

    yield open_
    assert requests == [address for _, address in opened], "a request left the page"
    assert errors == []
    for page, _ in opened:
        page.close()


@pytest.fixture
def page(open_page, built):
    return open_page(built, viewport={"width": 1280, "height": 1000})


ASK_FOR_ALL = """(text) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const answers = [];
  const started = performance.now();
  for (let i = 0; i < bytes.length; i += 784) answers.push(predict(bytes.subarray(i, i + 784)));
  return [answers, (performance.now() - started) / 1000];
}"""


def ask(page, images):
    """Return the page's probabilities and its digits a second."""
    answers, seconds = page.evaluate(ASK_FOR_ALL, base64.b64encode(images.tobytes()).decode())
    return np.array(answers), len(images) / seconds


def test_answers_as_keras_does(page, trained, sample):
    images = sample.x_test[:300]
    expected = predict(trained, images)
    found, _ = ask(page, images)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(found - expected).max() <= 1e-3


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MNIST_PATH"), reason="needs the full MNIST")
def test_answers_as_keras_does_on_every_test_digit(page, trained):
    images = load_mnist("mnist").x_test
    expected = predict(trained, images)
    found, speed = ask(page, images)
    difference = np.abs(found - expected).max()
    print(f"{len(images):,} digits: largest difference {difference:.1e}, {speed:.0f} digits/s")
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert difference <= 1e-3
    assert speed >= 100  # 200 and more on an idle machine; others may be at work on this one


def test_the_committed_page_reads_digits(open_page, sample):
    """The sample's digits are from MNIST's training set: its network knows them."""
    assert COMMITTED.stat().st_size < 1_500_000
    found, _ = ask(open_page(COMMITTED), sample.x_test[:100])
    assert (found.argmax(axis=1) == sample.y_test[:100]).mean() > 0.98


def test_prepares_ink_as_the_notebook_does(page):
    (prepare,) = notebook_functions("prepare")
    random = np.random.default_rng(0)
    empty = np.zeros((60, 80), np.uint8)
    inks = [empty, random.integers(0, 256, (60, 80))]
    for _ in range(20):  # from single lines to whole pads
        rows, columns = (np.sort(random.choice(size + 1, 2, replace=False)) for size in empty.shape)
        inks.append(empty.copy())
        part = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
        inks[-1][part] = random.integers(0, 256, inks[-1][part].shape)
    for ink in inks:
        height, width = ink.shape
        call = f"(ink) => Array.from(prepare(ink, {width}, {height}))"
        found = np.array(page.evaluate(call, ink.ravel().tolist())).reshape(28, 28)
        assert np.abs(found - prepare(ink).astype(int)).max() <= 1


READ_PADS = """([text, side]) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const answers = [];
  for (let i = 0; i < bytes.length; i += side * side) {
    const answer = predict(prepare(bytes.subarray(i, i + side * side), side, side));
    answers.push(answer.indexOf(Math.max(...answer)));
  }
  return answers;
}"""


def test_reads_digits_of_every_size_place_and_thickness(open_page, sample):
    """Notebook 12's imitation of drawing, on the committed page, which prepares the ink."""
    (imitate,) = notebook_functions("draw_like_people")
    random = np.random.default_rng(1)
    images, labels = sample.x_test[:100], sample.y_test[:100]
    pads = np.array([imitate(image, random) for image in images])
    page = open_page(COMMITTED)
    text = base64.b64encode(pads.tobytes()).decode()
    prepared = page.evaluate(READ_PADS, [text, pads.shape[1]])
    plain, _ = ask(page, pads.reshape(-1, 28, 4, 28, 4).mean(axis=(2, 4)).astype(np.uint8))
    with_it, without = (np.mean(found == labels) for found in (prepared, plain.argmax(axis=1)))
    print(f"{len(pads):,} drawings: {with_it:.1%} read, {without:.1%} without the preparation")
    assert with_it >= 0.97
    assert without < 0.6


# How a hand draws the ten digits: strokes of points, in shares of the digit's box.
STROKES = {
    0: ["50,0 20,10 5,40 10,75 35,100 65,98 92,75 95,40 80,10 50,0"],
    1: ["50,0 48,50 46,100"],
    2: ["8,25 25,5 55,0 82,15 85,38 60,65 25,88 5,100 40,97 95,98"],
    3: ["10,8 50,0 85,15 80,38 40,48 80,58 90,80 60,100 8,92"],
    4: ["60,0 30,35 5,65 50,66 98,65", "75,25 72,60 70,100"],
    5: ["90,2 25,2 18,42 60,40 90,60 85,88 50,100 8,92"],
    6: ["75,2 40,20 12,55 15,85 45,100 80,88 82,62 55,50 18,68"],
    7: ["5,5 50,4 95,3 65,45 40,100"],
    8: ["80,12 50,0 22,12 30,35 70,58 85,82 50,100 15,82 32,58 72,35 80,12"],
    9: ["85,20 55,0 18,15 20,42 55,50 85,30 86,20 82,60 70,100"],
}


def points_of(page, digit, left=0.28, top=0.18, width=0.42, height=0.62):
    """Return a digit's strokes as lists of {x, y} in the page's pixels."""
    area = page.locator("#pad canvas").bounding_box()
    return [
        [
            {
                "x": area["x"] + area["width"] * (left + width * float(x) / 100),
                "y": area["y"] + area["height"] * (top + height * float(y) / 100),
            }
            for x, y in (point.split(",") for point in stroke.split())
        ]
        for stroke in STROKES[digit]
    ]


def draw(page, digit, **box):
    """Draw a digit with the mouse; the box is given in shares of the pad."""
    page.locator("#pad canvas").scroll_into_view_if_needed()
    for stroke in points_of(page, digit, **box):
        for i, point in enumerate(stroke):
            page.mouse.move(**point)
            if i == 0:
                page.mouse.down()
        page.mouse.up()


def answer(page):
    return page.locator("#answer").text_content()


def unfold(page):
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")


@pytest.mark.slow
def test_reads_what_the_mouse_draws(page):
    """Each digit twice: large, and small in a corner."""
    small = {"left": 0.08, "top": 0.08, "width": 0.26, "height": 0.38}
    wrong = []
    for digit in STROKES:
        for box in ({}, small):
            page.keyboard.press("Delete")
            draw(page, digit, **box)
            if answer(page) != str(digit):
                wrong.append((digit, answer(page), "small" if box else "large"))
    assert wrong == []


def trace(image):
    """Return the strokes of a written digit: lists of neighboring (row, column) along its middle."""
    left = {tuple(place) for place in np.argwhere(skeletonize(image > 100)).tolist()}
    strokes = []
    while left:
        near = {
            (row, column): [(row + y, column + x) for x, y in STEPS if (row + y, column + x) in left]
            for row, column in left
        }
        stroke = [min(left, key=lambda place: (len(near[place]), place))]  # the end of a line, if any
        while stroke[-1] in left:
            left.remove(stroke[-1])
            stroke += [place for place in near[stroke[-1]] if place in left][:1]
        strokes.append(stroke)
    return strokes


@pytest.mark.slow
def test_reads_real_digits_that_the_mouse_traces(open_page, sample):
    """Two test digits of each class, on the committed page, along the middle of their ink."""
    page = open_page(COMMITTED, viewport={"width": 1280, "height": 900})
    area = page.locator("#pad canvas").bounding_box()
    right = []
    for digit in range(10):
        for image in sample.x_test[sample.y_test == digit][:2]:
            page.keyboard.press("Delete")
            for stroke in trace(image):
                for i, (row, column) in enumerate(stroke):
                    x, y = ((place + 0.5) / 28 for place in (column, row))
                    page.mouse.move(area["x"] + x * area["width"], area["y"] + y * area["height"])
                    if i == 0:
                        page.mouse.down()
                page.mouse.up()
            right.append(answer(page) == str(digit))
            check_ink(page)
    print(f"{sum(right)} of {len(right)} traced digits read")
    assert np.mean(right) >= 0.9


@pytest.mark.slow
def test_answers_within_50_ms_of_every_movement(page):
    page.evaluate("""() => {
      window.taken = [];
      let started = null;
      addEventListener("pointermove", (event) => {
        if (event.buttons) started ??= performance.now();
      }, true);
      new MutationObserver(() => {
        if (started !== null) taken.push(performance.now() - started);
        started = null;
      }).observe(document.getElementById("bars"), { subtree: true, childList: true });
    }""")
    for digit in (2, 3, 8):
        draw(page, digit)
    taken = page.evaluate("taken")
    print(f"{len(taken)} updates: median {np.median(taken):.0f} ms, slowest {max(taken):.0f} ms")
    assert len(taken) > 20
    assert np.median(taken) < 50


def test_undo_and_clear_by_button_and_key(page):
    page.get_by_role("button", name="Clear").click()
    assert answer(page) == "?"
    draw(page, 1)
    assert answer(page) == "1"
    draw(page, 4)
    page.get_by_role("button", name="Undo").click()
    page.keyboard.press("Control+z")
    assert answer(page) == "1", "both strokes of the 4 are gone"
    page.keyboard.press("Delete")
    assert answer(page) == "?" and page.get_by_role("button", name="Clear").is_disabled()
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "1", "the clearing is undone"


def test_a_gallery_image_is_fed_as_it_is(page, trained, sample):
    button = page.locator("#ordinary button").nth(3)
    assert button.get_attribute("title") == "A test image, labeled 3"
    button.click()
    index = np.flatnonzero((sample.y_test == 3) & (predict(trained, sample.x_test).argmax(axis=1) == 3))[0]
    expected = sample.x_test[index] / np.float32(255)
    assert np.allclose(page.evaluate("Array.from(state.input)"), expected.ravel(), atol=1e-6)
    assert answer(page) == "3" and button.get_attribute("aria-pressed") == "true"
    draw(page, 1)
    assert answer(page) == "1", "a stroke starts a new drawing"
    assert button.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(("layer", "name", "columns", "side"), [(0, "conv_1", 8, 26), (1, "conv_2", 16, 11)])
def test_a_pixel_under_the_pointer_is_explained(page, trained, sample, layer, name, columns, side):
    """The value at the end of the arithmetic is what Keras's layer gives at this place."""
    page.locator("#ordinary button").nth(8).click()
    image = np.array(page.evaluate("Array.from(state.input)"), np.float32).reshape(1, 28, 28, 1)
    maps = keras.Model(trained.inputs, trained.get_layer(name).output)(image).numpy()[0]
    canvas = page.locator(f"#layer-{layer} canvas")
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    for chosen in (columns + 2, 3):
        row, column = np.unravel_index(maps[..., chosen].argmax(), (side, side))
        x = (chosen % columns) * (side + 2) + column + 0.5
        y = (chosen // columns) * (side + 2) + row + 0.5
        factor = area["width"] / (columns * (side + 2) - 2)
        page.mouse.move(area["x"] + factor * x, area["y"] + factor * y)
        title = f"convolution {layer + 1}, map {chosen + 1}, row {row + 1}, column {column + 1}"
        assert page.locator("#step-title").text_content() == f"One pixel: {title}"
        shown = float(page.locator("#arithmetic .result td").last.text_content())
        assert abs(shown - maps[row, column, chosen]) < 2e-3
        mark = page.locator("#field .mark").bounding_box()
        field = page.locator("#field canvas").bounding_box()
        step, reach = (1, 3) if layer == 0 else (2, 8)
        assert abs((mark["x"] - field["x"]) / field["width"] * 28 - step * column) < 0.6
        assert abs(mark["width"] / field["width"] * 28 - reach) < 0.6


def test_works_with_the_keyboard_alone(page):
    pad = page.locator("#pad canvas")
    pad.focus()
    page.keyboard.press("Space")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert answer(page) == "1"
    page.wait_for_function("document.getElementById('spoken').textContent.startsWith('The network reads 1')")

    page.locator("#hard button").first.focus()
    page.keyboard.press("Enter")
    assert "hard test image" in page.locator("#seen-note").text_content()

    page.locator("#layer-1 canvas").focus()
    for key in ("PageDown", "PageDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.locator("#step-title").text_content().endswith("convolution 2, map 3, row 5, column 7")
    page.wait_for_function("document.getElementById('step-spoken').textContent.includes('after ReLU')")


def test_every_control_can_be_reached_with_tab(page):
    unfold(page)
    page.keyboard.press("Delete")
    draw(page, 1)
    page.evaluate("keep(1)")  # so that there is something to save
    draw(page, 7)
    page.evaluate("document.activeElement.blur(); getSelection().setPosition(document.body, 0)")
    controls = "button:enabled, canvas[tabindex], input, summary"
    wanted = page.locator(controls).locator("visible=true").count()
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert "application" in "".join(reached) and len(reached) > 15


LARGER_TEXT = """() => {
  const all = [...document.querySelectorAll("body, body *")];
  const sizes = all.map((element) => parseFloat(getComputedStyle(element).fontSize));
  all.forEach((element, i) => { element.style.fontSize = `${1.5 * sizes[i]}px`; });
}"""


OUTSIDE = """() => [...document.querySelectorAll("main *")].filter((part) => {
  const { left, right, width } = part.getBoundingClientRect();
  return width > 1 && (left < 0 || right > innerWidth);
}).map((part) => part.outerHTML.slice(0, 100))"""


@pytest.mark.parametrize("names", ["0123456789", CLOTHES, "abcdefghijklmnopqrstuvwxyz"])
def test_fits_a_phone_with_text_of_any_size(open_page, tmp_path, names):
    """As it is; with 150 % as the browser's text size; and with only the text enlarged, as phones do."""
    path = tmp_path / "page.html"
    write(build_page(random_model(len(names)), made_up(names)), path)
    page = open_page(path, viewport={"width": 375, "height": 812})
    for size, larger in (("", "() => {}"), ("150%", "() => {}"), ("", LARGER_TEXT)):
        page.evaluate(f"document.documentElement.style.fontSize = '{size}'")
        page.evaluate(larger)
        unfold(page)
        for layer in (0, 1):
            page.locator(f"#layer-{layer} canvas").hover()
            assert page.evaluate("document.documentElement.scrollWidth") == 375
            assert page.evaluate(OUTSIDE) == []


def test_the_readers_text_size_counts(page):
    size = "parseFloat(getComputedStyle(document.querySelector('.lead')).fontSize)"
    before = page.evaluate(size)
    page.context.new_cdp_session(page).send("Page.setFontSizes", {"fontSizes": {"standard": 32}})
    assert page.evaluate(f"[{size}, parseFloat(getComputedStyle(document.body).fontSize)]") == [
        2 * before,
        32,
    ]


def test_says_why_it_does_nothing_without_scripts(open_page, built):
    page = open_page(built, java_script_enabled=False)
    assert "JavaScript" in page.locator("main").inner_text()
    assert not any(part.is_visible() for part in page.locator("section").all()), "empty boxes"


POORER = """
  delete window.OffscreenCanvas; // Safari before 16.4
  delete PointerEvent.prototype.getCoalescedEvents; // Safari
  CanvasRenderingContext2D.prototype.getImageData = () => { throw new Error("read back"); }; // Tor, LibreWolf
"""


def test_works_without_what_some_browsers_lack(browser, built):
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(POORER)
    page.goto(built.as_uri())
    assert page.locator("#ordinary button").count() == 10 and answer(page) == "0"
    draw(page, 7)
    assert answer(page) == "7"
    assert errors == []
    page.close()


SHOWN = """() => { // what this browser paints on the pad: from 0 to 255
  const shown = document.querySelector("#pad canvas"), { width, height } = shown;
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  return context.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 3);
}"""


def check_ink(page):
    """What the network gets is computed from the strokes; it is as what this browser paints."""
    shown = np.array(page.evaluate(f"[...prepare(({SHOWN})(), {PAD_SIDE}, {PAD_SIDE})]"))
    fed = 255 * np.array(page.evaluate("[...state.input]")).reshape(28, 28)
    shifts = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]  # as the center is rounded
    moved = [np.roll(shown.reshape(28, 28), shift, axis=(0, 1)) for shift in shifts]
    assert fed.any() and min(np.abs(fed - image).mean() for image in moved) < 1  # of 255: the edges' gray
    probabilities = page.evaluate("(pixels) => predict(pixels)", shown.tolist())
    assert page.locator("#bars .best span").first.text_content() == str(np.argmax(probabilities))


def test_the_network_gets_the_ink_that_is_shown(page):
    page.keyboard.press("Delete")
    draw(page, 4)
    check_ink(page)


def test_a_page_without_test_images_answers(open_page, tmp_path):
    empty = {key: array[:0] for key, array in make_arrays().items()}
    path = tmp_path / "page.html"
    write(build_page(random_model(3), Dataset(**empty, name="letters", class_names=("A", "B", "C"))), path)
    page = open_page(path)
    assert answer(page) == "?" and page.locator(".gallery").count() == 0
    draw(page, 7)
    assert answer(page) in "ABC"


def test_a_movement_of_length_0_draws_a_dot(page):
    page.keyboard.press("Delete")
    area = page.locator("#pad canvas").bounding_box()
    place = area["x"] + 100, area["y"] + 100
    page.mouse.move(*place)
    page.mouse.down()
    event = f"pointerId: 1, isPrimary: true, buttons: 1, clientX: {place[0]}, clientY: {place[1]}"
    page.evaluate(f"document.activeElement.dispatchEvent(new PointerEvent('pointermove', {{ {event} }}))")
    page.mouse.up()
    assert (
        answer(page) != "?"
        and page.evaluate(f"Math.max(...({SHOWN})().slice(PAD_SIDE * 50, PAD_SIDE * 200))") == 255
    )


# ------------------------------------------------------------------ other networks


def test_a_wide_dense_network_answers_as_keras_does(open_page, tmp_path, sample):
    """More of its 4,000 units than the 1,600 inputs of the reference network's widest layer are not 0."""
    keras.utils.set_random_seed(0)
    wide = build_dense_model(widths=(4000,))
    write(build_page(random_model(), made_up("0123456789"), others={"wide": wide}), tmp_path / "page.html")
    found = open_page(tmp_path / "page.html").evaluate(
        "(pixels) => predictOthers(pixels)[0]", sample.x_test[0].ravel().tolist()
    )
    assert np.abs(found - predict(wide, sample.x_test[:1])[0]).max() < 1e-3


@pytest.mark.full
@pytest.mark.parametrize("names", ["0123456789", "ABC"])
def test_other_networks_answer_as_keras_does(open_page, tmp_path, sample, names):
    """Of 3 classes and 283 units: a kernel whose length is no multiple of 4 bytes."""
    keras.utils.set_random_seed(1)
    classes = len(names)
    others = {
        "untrained <b>": build_reference_model(classes),
        "dense": build_small_dense_model(classes),
        "narrow": build_dense_model(classes, widths=(51, 33)),
    }
    data = made_up(names)
    page_text = build_page(random_model(classes), data, others=others)
    assert len(page_text.encode()) < 2_500_000 and "<b>" not in page_text
    write(page_text, tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    images = sample.x_test[:20]
    for image in images:
        found = page.evaluate("(pixels) => predictOthers(pixels)", image.ravel().tolist())
        for one, other in zip(found, others.values()):
            assert np.abs(one - predict(other, image[np.newaxis])[0]).max() < 1e-3
    assert len(page.evaluate("images")) == len(described(tmp_path / "page.html")["images"])
    page.locator("#others summary").click()
    page.keyboard.press("Delete")
    rows = "(all) => all.map((row) => [...row.cells].map((cell) => cell.textContent))"
    assert page.locator("#others tbody tr").evaluate_all(rows)[1] == ["dense", "?", "–"]
    draw(page, 7)
    expected = np.array(page.evaluate("predictOthers(current.fed)"))
    cells = page.locator("#others tbody tr").evaluate_all(rows)
    assert [cell[0] for cell in cells] == [*others]
    assert [cell[1] for cell in cells] == [names[i] for i in expected.argmax(axis=1)]


def test_other_networks_that_the_page_cannot_run_are_refused(tiny):
    tanh = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(9, activation="tanh"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    for other in (smaller(), not_built(), tanh, other_pooling()):
        with pytest.raises(PageError, match="^The network 'odd' is neither .* nor one of dense layers"):
            build_page(random_model(), tiny, others={"good": build_small_dense_model(), "odd": other})
    with pytest.raises(PageError, match="^The network 'odd' has 3 classes"):
        build_page(random_model(), tiny, others={"odd": build_small_dense_model(3)})


# ------------------------------------------------------------------ what is no digit


@pytest.fixture(scope="module")
def usual(trained, sample):
    return measure_usual(trained, sample)


ASK_WHETHER_USUAL = """(text) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const shares = [];
  for (let i = 0; i < bytes.length; i += 784) shares.push(read(bytes.subarray(i, i + 784)).share);
  return shares;
}"""


def no_digits(count, digits):
    """Return noise, and two digits side by side: images that are no digits."""
    random = np.random.default_rng(0)
    pairs = [np.hstack(digits[random.choice(len(digits), 2)]) for _ in range(count)]
    (prepare,) = notebook_functions("prepare")
    return random.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.array([*map(prepare, pairs)])


@pytest.mark.full
def test_the_page_and_python_agree_on_what_is_usual(page, trained, sample, usual):
    images = np.concatenate([sample.x_test, *no_digits(100, sample.x_test)])
    expected = usual.as_unusual(trained, images)
    text = base64.b64encode(images.tobytes()).decode()
    found = np.array(page.evaluate(ASK_WHETHER_USUAL, text))
    assert len(images) == 1200 and np.abs(found - expected).max() <= 2 / 400  # of 400 validation digits
    assert np.abs(found - expected).mean() < 1e-4
    different = (found < 0.01) != (expected < 0.01)
    assert different.mean() <= 0.002 and (np.abs(expected[different] - 0.01) < 2 / 400).all()


def test_noise_is_no_digit_and_a_digit_is_one(page, sample):
    noise, _ = no_digits(1, sample.x_test)
    show = "(pixels) => onDrawn(Uint8Array.from(pixels), null, true)"
    page.evaluate(show, noise[0].ravel().tolist())
    assert answer(page) == "Not a digit, I think"
    assert page.locator("#answer-note").text_content().startswith("if it is one: ")
    said = page.locator("#unusual").text_content()
    assert re.search(r"(None|0\.\d%) of the digits held out from training are", said), "below 1%"
    page.wait_for_function("document.getElementById('spoken').textContent === 'Not a digit, I think.'")
    page.locator("#ordinary button").nth(7).click()
    assert answer(page) == "7"
    assert re.search(r"\d% of the digits held out .* Below 1% it", page.locator("#unusual").text_content())


# ------------------------------------------------------------------ what is changed on the way


def fed(page):
    """Return the image that the network got last, from 0 to 255."""
    return np.rint(255 * np.array(page.evaluate("[...state.input]")).reshape(28, 28)).astype(int)


def set_slider(page, name, value):
    unfold(page)
    page.locator(f"#{name}").fill(str(value))


def test_sliders_change_what_the_network_sees(page, sample):
    page.locator("#ordinary button").nth(4).click()
    image = fed(page)
    set_slider(page, "turn", 90)
    turned = np.zeros_like(image)
    turned[1:, 1:] = np.rot90(image[1:, 1:], -1)  # clockwise, about row and column 14
    assert np.abs(fed(page) - turned)[1:, 1:].max() <= 1
    assert page.locator("#turn + output").text_content() == "90°"
    assert "Then changed." in page.locator("#seen-note").text_content()
    set_slider(page, "turn", 0)
    cross = ndimage.generate_binary_structure(2, 1)
    for steps, change in ((2, ndimage.grey_dilation), (-1, ndimage.grey_erosion)):
        expected = image
        for _ in range(abs(steps)):
            expected = change(expected, footprint=cross, mode="constant")
        set_slider(page, "thicken", steps)
        assert np.array_equal(fed(page), expected)
    set_slider(page, "thicken", 0)
    set_slider(page, "noise", 40)
    noisy = fed(page)
    away = (noisy - image)[image == 0]
    assert 0 <= away.min() and 90 < away.max() <= 102 and abs((away > 0).mean() - 0.5) < 0.06
    page.locator("#ordinary button").nth(3).click()
    page.locator("#ordinary button").nth(4).click()
    assert np.array_equal(fed(page), noisy), "the same noise every time"
    page.get_by_role("button", name="Back to normal").click()
    assert np.array_equal(fed(page), image)


def test_without_the_preparation_ink_is_only_shrunk(page):
    page.keyboard.press("Delete")
    draw(page, 7, left=0.05, top=0.05, width=0.2, height=0.3)
    prepared = fed(page)
    set_slider(page, "turn", 0)
    page.get_by_label("Prepare drawings like MNIST's").uncheck()
    shown = np.array(page.evaluate(f"[...({SHOWN})()]")).reshape(PAD_SIDE, PAD_SIDE)
    assert np.abs(fed(page) - shown.reshape(28, 16, 28, 16).mean(axis=(1, 3))).max() <= 6  # edges' gray
    assert "only shrunk" in page.locator("#seen-note").text_content()
    page.get_by_label("Prepare drawings like MNIST's").check()
    assert np.array_equal(fed(page), prepared)


def test_the_pen_has_a_width(page):
    def ink(width):
        page.keyboard.press("Delete")
        page.get_by_role("slider", name="Pen").fill(str(width))
        draw(page, 4)
        check_ink(page)
        return np.array(page.evaluate(f"({SHOWN})().reduce((sum, gray) => sum + gray, 0)"))

    thin, thick = ink(16), ink(48)
    assert 2.3 < thick / thin < 3.2


# ------------------------------------------------------------------ your own drawings


@pytest.fixture
def player(open_page, built):
    """A page with everything unfolded."""
    page = open_page(built, viewport={"width": 1280, "height": 1000})
    unfold(page)
    page.keyboard.press("Delete")
    return page


def mean(page, name):
    """Say what was meant."""
    page.get_by_role("button", name=f"I meant {name}: keep the drawing").click()


def table(page):
    """Return the confusion table's cells."""
    return page.locator("#confusion tr").evaluate_all(
        "(all) => all.map((r) => [...r.cells].map((c) => c.textContent))"
    )


def test_drawings_are_counted_by_what_was_meant_and_read(player):
    assert player.get_by_role("button", name="I meant 7: keep the drawing").is_disabled()
    assert not player.locator("#kept").is_visible()
    for digit, meant in ((7, "7"), (7, "1"), (4, "4"), (7, "7")):
        draw(player, digit)
        mean(player, meant)
        assert answer(player) == "?", "room for the next one"
        verdict = "It was right." if str(digit) == meant else f"It was wrong: it read {digit}."
        assert player.locator("#verdict").text_content() == f"{verdict} Kept as {meant}."
    assert table(player) == [
        ["", "1", "4", "7"],
        ["1", "·", "·", "1"],
        ["4", "·", "1", "·"],
        ["7", "·", "·", "2"],
    ]
    assert player.locator("#own-accuracy").text_content().startswith("Of 4 drawings it reads 3; if they were")
    lacking = player.locator("#lacking").text_content()
    assert "at least 5 drawings of each class. Still missing: 0 (5), 1 (4), 2 (5), 3 (5), 4 (4)," in lacking
    player.get_by_role("button", name="Drop the last one").click()
    assert table(player)[-1] == ["7", "·", "·", "1"]
    for _ in range(3):
        player.get_by_role("button", name="Drop the last one").click()
    assert not player.locator("#kept").is_visible()


def test_what_is_refused_and_what_is_too_small_counts_as_wrong(player):
    draw(player, 8, left=0.7, top=0.7, width=0.15, height=0.2)
    player.locator("#noise").fill("100")
    assert answer(player) == "Not a digit, I think"
    mean(player, "8")
    assert player.locator("#verdict").text_content() == "It was wrong: it read no digit. Kept as 8."
    assert table(player) == [["", "8", "none"], ["8", "·", "1"]]
    text = player.locator("#own-accuracy").text_content()
    assert text == "Of 1 drawing it reads 1; if they were only shrunk, without the preparation, 0."


def save(page, button):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value


@pytest.mark.full
def test_a_data_set_of_drawings_is_read_by_the_notebooks(open_page, tmp_path):
    """Five of each class, as the page asks for; of three classes, which are sooner drawn than ten."""
    write(build_page(random_model(3), made_up("012")), tmp_path / "page.html")
    page, drawings, labels = open_page(tmp_path / "page.html"), [], [0, 1, 2] * 5
    unfold(page)
    for i, digit in enumerate(labels):
        page.keyboard.press("Delete")
        draw(page, digit, width=0.1 + 0.04 * i)
        drawings.append(fed(page))
        mean(page, digit)
    assert page.locator("#lacking").text_content().startswith("Enough for the notebooks")
    download = save(page, "Data set (.npz)")
    assert download.suggested_filename == "my_drawings.npz"
    download.save_as(tmp_path / "mine.npz")
    with zipfile.ZipFile(tmp_path / "mine.npz") as file:
        assert file.testzip() is None
    with np.load(tmp_path / "mine.npz") as file:
        assert file["x"].dtype == file["y"].dtype == np.uint8
        assert np.array_equal(file["x"], drawings) and file["y"].tolist() == labels
    data = load_mnist(tmp_path / "mine.npz")
    assert len(data.x_train) == 12 and len(data.x_test) == 3 and data.class_names == ("0", "1", "2")

    download = save(page, "Pictures (PNG)")
    download.save_as(tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as file:
        assert file.testzip() is None and "1/drawing_8.png" in file.namelist()
        file.extractall(tmp_path / "mine")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mine" / "1" / "drawing_8.png")), drawings[7])
    assert load_mnist(tmp_path / "mine").class_names == ("0", "1", "2")


def test_too_few_drawings_are_refused_by_the_notebooks_as_the_page_says(player, tmp_path):
    for digit in (1, 7):
        draw(player, digit)
        mean(player, digit)
    save(player, "Data set (.npz)").save_as(tmp_path / "mine.npz")
    with pytest.raises(DataError, match="without an image of class 0"):
        load_mnist(tmp_path / "mine.npz")


def test_class_names_of_any_letters_are_kept(open_page, tmp_path):
    names = ["ä/ö", "<b>", "数字"]
    path = tmp_path / "page.html"
    write(build_page(random_model(3), made_up(names)), path)
    page = open_page(path)
    unfold(page)
    for label in range(3):
        draw(page, label)
        page.locator("#meant button").nth(label).click()
    save(page, "Data set (.npz)").save_as(tmp_path / "mine.npz")
    with np.load(tmp_path / "mine.npz") as file:
        assert file["class_names"].tolist() == names
    save(page, "Pictures (PNG)").save_as(tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as file:
        assert file.namelist() == ["ä_ö/drawing_1.png", "_b_/drawing_2.png", "数字/drawing_3.png"]


def test_a_game_asks_for_each_digit_and_counts(player):
    player.get_by_role("button", name="Start").click()
    assert player.evaluate("document.activeElement.tagName") == "CANVAS"
    assert player.get_by_role("button", name="Done").is_disabled(), "nothing is drawn yet"
    asked = []
    for i in range(10):
        wanted = player.locator("#wanted").text_content().split()[-1]
        assert player.locator("#score").text_content().startswith(f"{i + 1} of 10, {max(0, i - 1)} right, ")
        asked.append(wanted)
        draw(player, int(wanted) if i else (1 if wanted != "1" else 7))
        if i % 2:
            player.get_by_role("button", name="Done").click()
        else:
            player.locator("#pad canvas").press("Enter")
    assert sorted(asked) == [*"0123456789"]
    assert re.fullmatch(r"9 of 10 read right, in \d+ seconds\.", player.locator("#result").text_content())
    assert not player.locator("#task").is_visible() and player.evaluate("own.length") == 10
    player.get_by_role("button", name="Start").click()
    player.locator("#pad canvas").press("Enter")  # nothing is drawn
    assert player.locator("#score").text_content().startswith("1 of 10, 0 right")
    player.get_by_role("button", name="Stop the game").click()
    assert player.locator("#result").text_content() == "Stopped."


# ------------------------------------------------------------------ units, scores and softmax


def test_the_softmax_is_written_out(page, trained, sample):
    page.locator("#hard button").nth(2).click()
    image = fed(page).astype(np.uint8)[np.newaxis]
    _, scores = of_all_layers(trained, image)
    cells = np.array(
        page.locator("#softmax tbody tr").evaluate_all(
            "(all) => all.map((row) => [...row.cells].map((cell) => cell.textContent.replace('−', '-')))"
        )
    )
    assert cells[:, 0].tolist() == [*"0123456789"]
    assert np.abs(cells[:, 1].astype(float) - scores[0]).max() < 0.01
    powers = np.exp(scores[0] - scores.max())
    for found, expected in ((cells[:, 2], powers), (cells[:, 3], powers / powers.sum())):
        large = expected > 2e-4
        assert np.abs(found[large].astype(float) - expected[large]).max() < 1e-3
        assert all("·" in text for text in found[expected < 5e-5])
    total = float(page.locator("#softmax tfoot td").nth(1).text_content())
    assert abs(total - powers.sum()) < 1e-3


def test_units_and_scores_are_followed_by_pointer_and_keys(page, trained):
    page.locator("#ordinary button").nth(5).click()
    image = fed(page).astype(np.uint8)[np.newaxis]
    numbers, scores = of_all_layers(trained, image)
    units = numbers[0, -128:]
    canvas = page.locator("#units canvas")
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    shown = page.locator("#sum .result td").last
    for unit in (int(units.argmax()), int(units.argmin())):
        row, column = divmod(unit, 16)
        page.mouse.move(area["x"] + (4 * column + 1.5) / 63 * area["width"],
                        area["y"] + (4 * row + 1.5) / 31 * area["height"])  # fmt: skip
        assert page.locator("#sum-title").text_content() == f"One number: unit {unit + 1}"
        assert abs(float(shown.text_content()) - units[unit]) < 2e-3
    weights = trained.get_layer("output").kernel.numpy()[unit]
    assert f"Most for {weights.argmax()} (" in page.locator("#sum-note").text_content()
    page.get_by_role("button", name="5", exact=True).focus()
    assert page.locator("#sum-title").text_content() == "One number: the score of 5"
    assert abs(float(shown.text_content()) - scores[0, 5]) < 5e-3
    page.locator("#softmax tbody tr").nth(3).hover()
    assert page.locator("#sum-title").text_content() == "One number: the score of 3"
    assert abs(float(shown.text_content().replace("−", "-")) - scores[0, 3]) < 5e-3
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator("#sum-title").text_content() == "One number: unit 19"
    page.wait_for_function(
        "document.getElementById('sum-spoken').textContent.startsWith('One number: unit 19: ')"
    )


# ------------------------------------------------------------------ phones


def test_a_phone_shows_the_pad_and_the_answer_at_once(open_page, built):
    page = open_page(built, viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    for part in ("#pad canvas", "#answer", "#answer-note"):
        area = page.locator(part).bounding_box()
        assert 0 <= area["y"] and area["y"] + area["height"] <= 667, part
    assert page.locator("#pad canvas").bounding_box()["width"] > 250
    canvases = page.locator("#pad canvas, .layers canvas, #map canvas")
    actions = canvases.evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one.closest('#map') ?? one).touchAction)"
    )
    assert set(actions) == {"none"}, "dragging scrolls nothing"


# ------------------------------------------------------------------ fingers, palms, pens and lost mice


class Hand:
    """Touches and pens, which Playwright has only as Chromium's own commands."""

    def __init__(self, page):
        page.keyboard.press("Delete")
        page.locator("#pad canvas").scroll_into_view_if_needed()
        self.session = page.context.new_cdp_session(page)
        self.down = {}
        area = page.locator("#pad canvas").bounding_box()
        self.palm = {"x": area["x"] + 0.9 * area["width"], "y": area["y"] + 0.9 * area["height"]}

    def touch(self, name, point):
        """Put a finger on a place, or move it there."""
        kind = "touchMove" if name in self.down else "touchStart"
        self.down[name] = point | {"id": name}
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*self.down.values()]})

    def lift(self, name):
        del self.down[name]
        kind = "touchMove" if self.down else "touchEnd"  # the protocol's word for: one is missing
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*self.down.values()]})

    def cancel(self):
        self.session.send("Input.dispatchTouchEvent", {"type": "touchCancel", "touchPoints": []})
        self.down = {}

    def pen(self, points, kind="pen", lift=True):
        for i, point in enumerate(points):
            options = {"button": "left", "buttons": 1, "clickCount": 1, "pointerType": kind} | point
            name = "mouseMoved" if i else "mousePressed"
            self.session.send("Input.dispatchMouseEvent", {"type": name} | options)
        if lift:
            self.session.send(
                "Input.dispatchMouseEvent", {"type": "mouseReleased"} | options | {"buttons": 0}
            )


@pytest.fixture
def touched(open_page, built):
    return open_page(built, viewport={"width": 1280, "height": 1000}, has_touch=True)


def undone_at_once(page):
    """Whether all that is drawn is one stroke."""
    page.get_by_role("button", name="Undo").click()
    return answer(page) == "?"


def test_a_second_finger_does_not_end_the_stroke(touched):
    hand = Hand(touched)
    (stroke,) = points_of(touched, 7)
    for i, point in enumerate(stroke):
        hand.touch(0, point)
        if i == 2:
            hand.touch(1, hand.palm)
            hand.lift(1)
    hand.lift(0)
    assert answer(touched) == "7" and undone_at_once(touched)


def test_a_finger_draws_while_a_palm_rests_beside_the_pad(touched):
    hand = Hand(touched)
    hand.touch(1, {"x": 40, "y": 40})
    for point in points_of(touched, 7)[0]:
        hand.touch(0, point)
    hand.lift(0)
    hand.lift(1)
    assert answer(touched) == "7" and undone_at_once(touched)


def test_a_pen_draws_while_the_palm_rests_on_the_pad(touched):
    hand = Hand(touched)
    hand.touch(1, hand.palm)
    hand.pen(points_of(touched, 7)[0])
    hand.lift(1)
    assert answer(touched) == "7" and undone_at_once(touched)


def test_what_the_browser_takes_for_a_palm_leaves_no_ink(touched):
    hand = Hand(touched)
    hand.touch(0, hand.palm)
    hand.cancel()
    assert answer(touched) == "?"
    hand.pen(points_of(touched, 7)[0])
    assert answer(touched) == "7" and undone_at_once(touched)


def test_a_mouse_let_go_outside_ends_the_stroke(page):
    """Where a dialog or another window got the event."""
    hand = Hand(page)
    (stroke,) = points_of(page, 7)
    hand.pen(stroke, kind="mouse", lift=False)
    moved = {"type": "mouseMoved", "button": "none", "buttons": 0, "pointerType": "mouse"}
    for point in (hand.palm, stroke[0]):
        hand.session.send("Input.dispatchMouseEvent", moved | point)
    assert answer(page) == "7"


def test_ipads_scribble_swallows_no_short_stroke(touched):
    """It does unless touchmove is canceled: https://mikepk.com/2020/10/iOS-safari-scribble-bug/

    Nor does a long press select text.
    """
    hand = Hand(touched)
    touched.evaluate(
        "addEventListener('touchmove', (event) => { window.canceled = event.defaultPrevented; })"
    )
    hand.touch(0, hand.palm)
    hand.touch(0, {"x": hand.palm["x"] - 30, "y": hand.palm["y"]})
    hand.lift(0)
    assert touched.evaluate("canceled")
    assert touched.evaluate("getComputedStyle(document.querySelector('.pad-sheet')).userSelect") == "none"


# ------------------------------------------------------------------ keys

UNDO = [
    ("z", "KeyZ", "Ctrl"),
    ("z", "KeyZ", "Meta"),
    ("я", "KeyZ", "Ctrl"),
    ("z", "KeyY", "Ctrl"),
    ("z", "KeyW", "Ctrl"),
]
REDO = [
    ("Z", "KeyZ", "Ctrl+Shift"), ("Z", "KeyZ", "Meta+Shift"), ("y", "KeyY", "Ctrl"), ("н", "KeyY", "Ctrl"),
    ("Я", "KeyZ", "Ctrl+Shift"), ("y", "KeyZ", "Ctrl"), ("Z", "KeyY", "Ctrl+Shift"),
]  # fmt: skip
CLEAR = [("Delete", "Delete", ""), ("Backspace", "Backspace", "")]
OTHER = [
    ("z", "KeyZ", ""),
    ("w", "KeyZ", "Ctrl"),
    (";", "KeyZ", "Ctrl"),
    ("y", "KeyY", ""),
    ("z", "KeyZ", "Ctrl+Alt"),
]


def press(page, key, code, held):
    """Press a key of any keyboard: what it writes, where it lies, what is held with it."""
    held = "".join(f", {name.lower()}Key: true" for name in held.split("+") if name)
    options = f"{{ key: '{key}', code: '{code}', bubbles: true, cancelable: true{held} }}"
    return not page.evaluate(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {options}))")


def test_keys_work_on_every_keyboard(page):
    """Letters count, as on German and French keyboards; without Latin letters, places do."""
    page.keyboard.press("Delete")
    draw(page, 1)
    for key, back in zip(UNDO + UNDO, REDO):
        assert press(page, *key) and answer(page) == "?", f"{key} undoes"
        assert press(page, *back) and answer(page) == "1", f"{back} redoes"
    for key in CLEAR:
        assert press(page, *key) and answer(page) == "?", f"{key} clears"
        assert press(page, *UNDO[0]) and answer(page) == "1"
    for key in OTHER:
        assert not press(page, *key) and answer(page) == "1", f"{key} is the browser's"


def test_redo_by_button_until_something_new_is_drawn(page):
    undo, redo, clear = (page.get_by_role("button", name=name) for name in ("Undo", "Redo", "Clear"))
    clear.click()
    draw(page, 4)
    assert answer(page) == "4" and redo.is_disabled()
    undo.click()
    undo.click()
    assert answer(page) == "?"
    redo.click()
    redo.click()
    assert answer(page) == "4" and redo.is_disabled()
    undo.click()
    undo.click()
    draw(page, 1)
    assert answer(page) == "1" and redo.is_disabled()


# ------------------------------------------------------------------ colors of the reader's own


def colors_in(part):
    """Return the colors of a part of the page, as shown."""
    picture = Image.open(io.BytesIO(part.screenshot())).convert("RGB")
    return {color for _, color in picture.getcolors(picture.width * picture.height)}


def test_everything_is_visible_in_forced_colors(open_page, built):
    page = open_page(built, forced_colors="active", reduced_motion="reduce")
    page.locator("#hard button").nth(5).click()
    best = page.locator("#bars .best .track")
    empty = page.locator("#bars li:not(.best) .track").first
    assert len(colors_in(best) - colors_in(empty)) > 0, "the bar"
    pressed, other = (
        page.locator(f"#hard button[aria-pressed={state}]").first for state in ("true", "false")
    )
    styles = [part.evaluate("(part) => getComputedStyle(part).outlineStyle") for part in (pressed, other)]
    assert styles == ["solid", "none"], "the chosen image"
    page.locator("#layer-1 canvas").hover()
    columns = page.locator(".columns i")
    backs = columns.evaluate_all("(all) => all.map((i) => getComputedStyle(i, '::before').backgroundColor)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") not in backs, "what each map adds"
    assert len(colors_in(page.locator(".part .grid").first)) > 2, "the small grids of numbers"
    assert all(len(colors_in(ramp)) > 9 for ramp in page.locator(".ramp").all()), "the legends"


# ------------------------------------------------------------------ in Firefox


def draw_in_firefox(firefox, digit):
    box = firefox.evaluate("document.querySelector('#pad canvas').getBoundingClientRect()")
    for stroke in STROKES[digit]:
        points = [[float(number) / 100 for number in point.split(",")] for point in stroke.split()]
        firefox.draw(
            (box["x"] + box["width"] * (0.28 + 0.42 * x), box["y"] + box["height"] * (0.18 + 0.62 * y))
            for x, y in points
        )


@pytest.mark.slow
def test_firefox_that_hides_its_canvas_reads_what_is_drawn(firefox, built):
    firefox.open(built)
    answered = "document.getElementById('answer').textContent"
    assert firefox.evaluate("document.querySelectorAll('#ordinary button').length") == 10
    read = {}
    for digit in STROKES:
        firefox.press(BACKSPACE)
        assert firefox.evaluate(answered) == "?"
        draw_in_firefox(firefox, digit)
        read[digit] = firefox.evaluate(answered)
    assert read == {digit: str(digit) for digit in STROKES}
    firefox.press(CONTROL, "z")
    firefox.press(CONTROL, "z")
    firefox.press(CONTROL, SHIFT, "z")
    assert firefox.evaluate(answered) == "?"
    firefox.press(CONTROL, "z")
    assert firefox.evaluate(answered) == "8"


@pytest.mark.slow
def test_firefox_that_hides_its_canvas_keeps_drawings_and_writes_true_files(firefox, built, sample, tmp_path):
    firefox.open(built)
    firefox.evaluate("[...document.querySelectorAll('details')].map((part) => { part.open = true; })")
    firefox.press(BACKSPACE)
    draw_in_firefox(firefox, 7)
    image = np.rint(255 * np.array(firefox.evaluate("[...state.input]"))).reshape(28, 28)
    firefox.evaluate("document.querySelectorAll('#meant button')[7].click()")
    assert firefox.evaluate("document.getElementById('verdict').textContent") == "It was right. Kept as 7."
    picture = bytes(firefox.evaluate("[...png(own[0].pixels)]"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture))), image)
    array = "npy('|u1', [1, 28, 28], own[0].pixels)"
    with np.load(io.BytesIO(bytes(firefox.evaluate(f"[...zip({{ 'x.npy': {array} }})]")))) as file:
        assert np.array_equal(file["x"][0], image)
    noise, _ = no_digits(1, sample.x_test)
    firefox.evaluate(f"onDrawn(Uint8Array.from({noise[0].ravel().tolist()}), null, true)")
    assert firefox.evaluate("document.getElementById('answer').textContent") == "Not a digit, I think"
    firefox.evaluate("document.getElementById('start').click()")
    assert firefox.evaluate("document.getElementById('wanted').textContent").startswith("Draw a")
    assert firefox.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.full
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_accessible(open_page, built, scheme):
    page = open_page(built, color_scheme=scheme, reduced_motion="reduce")
    for layer in (0, 1):
        draw(page, 5)
        page.locator(f"#layer-{layer} canvas").hover()
        if layer == 1:  # everything unfolded, one drawing kept, a game going on
            unfold(page)
            page.evaluate("keep(5); document.getElementById('start').click()")
            draw(page, 5)
        found = Axe().run(page).response["violations"]
        assert [violation["id"] for violation in found] == []


def test_the_widget_sends_what_is_drawn(open_page, tmp_path):
    """The widget's code, with an object in place of the kernel's model."""
    code = Pad._esm.replace("export default", "const widget =")
    path = tmp_path / "widget.html"
    path.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><style>{Pad._css}</style>
        <div id="pad"></div><script type="module">{code}
        const model = {{
          set(name, view) {{ this[name] = view; }},
          save_changes() {{ window.sent = Array.from(new Uint8Array(this.pixels.buffer)); }},
        }};
        widget.render({{ model, el: document.getElementById("pad") }});
        </script>""",
        encoding="utf-8",
    )
    page = open_page(path)
    draw(page, 7)
    pad = Pad(pixels=bytes(page.evaluate("sent")))
    assert 14 in np.round(np.argwhere(pad.digit).mean(axis=0)).astype(int) and pad.digit.max() > 200
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate("sent") == []
