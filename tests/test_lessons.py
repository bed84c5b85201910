"""What notebooks compute by code of their own: held to libraries, to the helpers, to worked examples.

Definitions are taken out of a notebook and run here, without a kernel and without training. What
loads TensorFlow is imported by the tests that need it.
"""

import ast
import functools
import types
from dataclasses import asdict, replace
from math import comb
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.ndimage import map_coordinates
from scipy.stats import binomtest

from helpers.data import Dataset
from helpers.evaluation import mean_interval, wilson_interval
from helpers.exercises import Check
from helpers.parameters import PARAMETERS
from helpers.plots import BLUE, ORANGE, draw_architecture, draw_digits, draw_patch
from tests.conftest import make_arrays

PATHS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
CELLS = {
    path: [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for path in PATHS
}


def names_of(statement):
    """The names that a statement defines: a function's, or those that it assigns to."""
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def common(variables):
    """Return what every notebook has: NumPy, and the data's class names under a name of their own."""
    return {"np": np, "class_names": getattr(variables.get("data"), "class_names", None)}


def define(number, *names, **variables):
    """Run the first definition of each name in a notebook with some variables; return all variables."""
    body = [statement for cell in CELLS[PATHS[number]] for statement in ast.parse(cell.source).body]
    first = {next(i for i, statement in enumerate(body) if name in names_of(statement)) for name in names}
    variables |= common(variables)
    for i in sorted(first):
        exec(ast.unparse(body[i]), variables)
    return variables


@pytest.fixture
def data():
    return Dataset(**make_arrays(classes=3), name="made up", class_names=("ant", "bear", "cat"))


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


# 00 to 03: what a beginner meets first


# 00: the quickstart


def test_the_quickstart_scales_training_and_test_images_alike(data):
    found = define(0, "x_train", "x_test", data=data)
    for part in ("train", "test"):
        images = getattr(data, f"x_{part}")
        np.testing.assert_allclose(found[f"x_{part}"], images[..., np.newaxis] / 255.0, rtol=1e-6)


def test_the_quickstart_never_shows_the_test_set_to_fit():
    """One epoch, then the others, on the training images with a part of them held out."""
    given = []
    model = types.SimpleNamespace(
        fit=lambda *arrays, **options: given.append((arrays, options)) or types.SimpleNamespace(history={})
    )
    names = ("options", "first_epoch", "more", "history")
    define(0, *names, model=model, x_train="x", y_train="y", Progress=lambda: None, epochs=7)
    assert [arrays for arrays, _ in given] == 2 * [("x", "y")]
    first, rest = (options for _, options in given)
    assert first["validation_split"] == rest["validation_split"] == 0.1
    assert first["epochs"] == rest["initial_epoch"] == 1 and rest["epochs"] == 7
    assert set(first) == set(rest) - {"initial_epoch"}
    assert set(first) == {"epochs", "batch_size", "validation_split", "verbose", "callbacks"}


def test_the_quickstart_titles_say_what_was_read_and_what_is_true(data):
    predicted = data.y_test.copy()
    predicted[:2] = (data.y_test[:2] + 1) % 3
    found = define(0, "draw", data=data, predicted=predicted, draw_digits=draw_digits)
    titles = [axis.get_title() for axis in found["draw"](np.arange(8), "some").axes]
    names = data.class_names
    for i, title in enumerate(titles):
        read, true = names[predicted[i]], names[data.y_test[i]]
        assert title == (f"✗ {read}, is {true}" if i < 2 else f"✓ {read}")


# 01: the ladder of simple methods


def test_the_nearest_average_is_scikit_learns():
    from sklearn.neighbors import NearestCentroid

    random = np.random.default_rng(0)
    x_known, y_known = random.normal(size=(60, 5)).astype("float32"), random.permutation(60) % 3 * 2
    new = random.normal(size=(50, 5))
    answers = define(1, "nearest_average", x_known=x_known, y_known=y_known)["nearest_average"](new)
    np.testing.assert_array_equal(answers, NearestCentroid().fit(x_known, y_known).predict(new))


def test_the_ladder_learns_from_no_validation_image(data):
    found = define(1, "flatten", "cut", "chosen", "x_known", "x_validation", data=data, seed=0)
    known = {row.tobytes() for row in found["x_known"]}
    assert len(known) == found["cut"] == int(0.9 * len(data.x_train))
    assert len(found["x_validation"]) == len(data.x_train) - found["cut"]
    assert not known & {row.tobytes() for row in found["x_validation"]}


# 03: one digit followed


def test_the_patch_adds_up_to_the_response_at_its_place():
    from scipy.signal import correlate2d

    random = np.random.default_rng(0)
    image, weights = random.random((28, 28)), random.normal(size=(3, 3))
    convolve = define(3, "convolve")["convolve"]
    np.testing.assert_allclose(convolve(image, weights), correlate2d(image, weights, "valid"), rtol=1e-4)
    figure = draw_patch(image, weights, row=5, column=7)
    said = figure.axes[3].get_xlabel().removeprefix("their sum: ").replace("−", "-")
    assert float(said) == pytest.approx(convolve(image, weights)[5, 7], abs=0.006)
    assert figure.axes[0].patches[0].get_xy() == (6.5, 4.5)


def test_the_frames_of_the_architecture_hold_what_a_number_depends_on():
    from helpers.models import build_reference_model

    random = np.random.default_rng(0)
    image, stages = random.random((28, 28)).astype("float32"), {}
    passed_on = image.reshape(1, 28, 28, 1)
    layers = build_reference_model(10).layers[:4]
    for layer in layers:
        passed_on = layer(passed_on)
        stages[layer.name] = passed_on.numpy()[0]
    figure = draw_architecture(image, stages, np.full(10, 0.1))
    frames = [patch for patch in figure.axes[0].patches if patch.get_linewidth() == 1.5]
    assert [frame.get_width() for frame in frames[:1]] == [10] and len(frames) == 5
    left, top = frames[0].get_x(), frames[0].get_y() + 14

    def corner(row, column):
        changed = image.copy()
        changed[row, column] += 50
        changed = changed.reshape(1, 28, 28, 1)
        for layer in layers:
            changed = layer(changed)
        return changed.numpy()[0][2, 2]

    last = stages["pool_2"][2, 2]
    first_row, first_column = round(top), round(left)
    assert not np.allclose(corner(first_row, first_column), last)
    assert not np.allclose(corner(first_row + 9, first_column + 9), last)
    np.testing.assert_array_equal(corner(first_row - 1, first_column), last)
    np.testing.assert_array_equal(corner(first_row + 9, first_column + 10), last)


# The checks of the exercises: right answers, typical mistakes, and what nobody should get through with


NEVER_RIGHT = (0.1, -1, None, "a text", "", [], (), np.ones(3), lambda *given: None, float("nan"))


def checks_of(number, **variables):
    """Run the folded checks of a notebook with what it has computed by then; return them."""
    variables |= common(variables) | {"Check": Check}
    for cell in CELLS[PATHS[number]]:
        if "check" in cell.metadata.get("tags", []):
            exec(cell.source, variables)
    return [check for name, check in sorted(variables.items()) if name.startswith("check_")]


def says(capsys, check, answer):
    check(answer)
    return capsys.readouterr().out


def examine(capsys, check, right, wrong, advised=()):
    for answer in right:
        assert says(capsys, check, answer) == "Right!\n", answer
    for answer in (*wrong, *NEVER_RIGHT):
        assert says(capsys, check, answer).startswith("Not yet. "), answer
    hint = says(capsys, check, "nonsense")
    for answer in advised:
        said = says(capsys, check, answer)
        assert said.startswith("Not yet. ") and said != hint, answer


def test_checks_of_00(capsys, data):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), len(data.y_test))
    probabilities[[2, 5]] = [[0.34, 0.33, 0.33], [0.99, 0.01, 0.0]]
    predicted = (data.y_test + 1) % 3
    wrong = np.flatnonzero(data.y_test == 2)
    given = {"data": data, "probabilities": probabilities, "predicted": predicted, "wrong": wrong}
    first, second, third = checks_of(0, **given)
    examine(capsys, first, [2, np.int64(2)], [0, 1, 5, 0.34, 3], [5, 0.34])
    examine(capsys, second, [2, np.int64(2)], [0, 1, 3, len(wrong), "cat"], [0, len(wrong), "cat"])
    turns = (lambda x: x[:, ::-1, ::-1], lambda x: np.rot90(x, 2, axes=(1, 2)), lambda x: np.flip(x, (1, 2)))
    wrong_turns = (lambda x: x[::-1, ::-1], lambda x: x[:, ::-1], lambda x: x, lambda x: 0 * x)
    examine(capsys, third, turns, [0, 1, *wrong_turns])
    assert says(capsys, third, lambda x: ...).startswith("Replace the ...")


def test_checks_of_01(capsys, data):
    means = np.stack([data.x_train[data.y_train == label].mean(axis=0) for label in range(3)])
    means[2] += 20
    pixels, counts = data.x_train.astype(float), np.array([1, 9, 2])
    pixels[5, :, :] = 255 - means[data.y_train[5]]
    overall = means.mean(axis=0)
    first, second, third = checks_of(1, data=data, means=means, pixels=pixels, counts=counts, overall=overall)
    advised = [means.mean(axis=(1, 2)).argmin(), 1, means[2].mean(), "cat"]
    examine(capsys, first, [2, np.int64(2)], [0, 1, 3, *advised], advised)
    right = (
        lambda image, known, labels: labels[((known - image) ** 2).sum(axis=1).argmin()],
        lambda image, known, labels: labels[np.argmin([np.sum((row - image) ** 2) for row in known])],
    )
    wrong = (
        lambda image, known, labels: ((known - image) ** 2).sum(axis=1).argmin(),
        lambda image, known, labels: labels[((known - image) ** 2).sum(axis=1).argmax()],
        lambda image, known, labels: labels[((known - image) ** 2).sum(axis=0).argmin()],
        lambda image, known, labels: labels[(known - image).sum(axis=1).argmin()],
        lambda image, known, labels: labels[np.abs(known - image).sum(axis=1).argmin()],
        lambda image, known, labels: labels[0],
    )
    examine(capsys, second, right, [0, 1, *wrong])
    assert says(capsys, second, lambda image, known, labels: ...).startswith("Replace the ...")
    distances = [((pixels[i] - means[data.y_train[i]]) ** 2).sum() for i in range(len(pixels))]
    place = int(np.argmax(distances))
    advised = [int(np.argmin(distances)), max(distances)]
    examine(capsys, third, [place], [place + 1, place - 1, *advised], advised)


def test_checks_of_02(capsys):
    random = np.random.default_rng(0)
    scaled = random.random((20, 28, 28)).astype("float32")
    labels = random.integers(0, 3, 20)

    def cross_entropy(true, probabilities):
        return -np.log((true * probabilities).sum(axis=1)).mean()

    def train(factor, seed, optimizer):
        return None, {"val_accuracy": [0.0, {0.01: 0.9, 0.1: 0.1125}[optimizer] if factor == 255 else 0.5]}

    first, second, third, fourth = checks_of(
        2,
        scaled=scaled,
        y=np.eye(3, dtype="float32")[labels],
        labels=labels,
        seed=0,
        data=types.SimpleNamespace(classes=3),
        cross_entropy=cross_entropy,
        train=train,
        keras=types.SimpleNamespace(optimizers=types.SimpleNamespace(SGD=lambda rate: rate)),
    )
    standard = (scaled - scaled.mean()) / scaled.std()
    by_pixel = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)
    halves = (scaled, scaled - scaled.mean(), scaled / scaled.std(), by_pixel, standard[:5], standard.mean())
    examine(capsys, first, [standard], [0, 1, *halves])
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 20).astype("float32")
    loss = cross_entropy(np.eye(3)[labels], probabilities)
    examine(capsys, second, [loss, np.float32(loss)], [0, 1, 20 * loss, loss / 20], [1, 20 * loss])

    (cell,) = [
        cell
        for cell in CELLS[PATHS[2]]
        if "exercise" in cell.metadata.get("tags", []) and "def prepare" in cell.source
    ]
    given = {"np": np, "Check": Check, "check_3": third}
    exec(cell.source, given)
    assert capsys.readouterr().out.startswith("Not yet. "), "it is given with its mistakes"
    right = (
        lambda images: images.astype("float32")[..., np.newaxis] / 255,
        lambda images: (images / 255).astype("float32").reshape(-1, 28, 28, 1),
        lambda images: images[..., np.newaxis] * np.float32(1 / 255),
    )
    wrong = (
        given["prepare"],
        lambda images: images.astype("float32") / 255,
        lambda images: images[..., np.newaxis].astype("float32"),
        lambda images: (images / 255).astype("uint8")[..., np.newaxis],
        lambda images: (images.reshape(28, 28, 1, -1).transpose(3, 0, 1, 2) / 255).astype("float32"),
    )
    examine(capsys, third, right, [0, 1, *wrong])
    assert "float32" in says(capsys, third, lambda images: images[..., np.newaxis] / 255)
    pairs = [(0.5, 0.5), (0.1125, 0.9), (0.9, 0.1), (0.9,), (0.9, 0.1125, 0.5), ("a", "b"), 0.9]
    examine(capsys, fourth, [(0.9, 0.1125), [0.9, 0.1125], np.array([0.9, 0.1125])], [0, 1, *pairs])


def test_checks_of_03(capsys):
    def pool(image):
        n = len(image) // 2
        return image[: 2 * n, : 2 * n].reshape(n, 2, n, 2).max(axis=(1, 3))

    def build_reference_model(classes):
        return types.SimpleNamespace(count_params=lambda: 223_744 + 129 * classes)

    first, second, third, fourth = checks_of(3, pool=pool, build_reference_model=build_reference_model)
    advised = [225_034, 223_744 + 128 * 26, 129 * 26, 128 * 26]
    examine(capsys, first, [227_098, np.int64(227_098)], [0, 1, *advised], advised)
    wrong = (
        lambda image: image[::2, ::2],
        lambda image: np.maximum(pool(image), 0),
        lambda image: -pool(-image),
        lambda image: image.reshape(13, 2, 13, 2).max(axis=(1, 3)),
        lambda image: pool(image) + 1,
    )
    examine(capsys, second, [pool, lambda image: pool(image).tolist()], [0, 1, *wrong])
    assert says(capsys, second, lambda image: ...).startswith("Replace the ...")
    advised = [(5, 5, 64), (7, 7, 64), (4, 4, 32), (8, 8, 64), (4, 4)]
    examine(capsys, third, [(4, 4, 64), [4, 4, 64]], [0, 1, *advised], advised)
    examine(capsys, fourth, ["conv_2"], [0, 1, "dense", "conv_1", "output"], ["dense", "conv_1", "output"])


# Every notebook with a recipe


@pytest.mark.parametrize("number", [4, 5, 6, 9, 12])
def test_a_notebooks_parameters_reach_its_recipe_under_their_names(number):
    names = ["epochs", "batch_size", "validation_split", "learning_rate", "dropout", "seed"]
    from helpers.training import Recipe

    given = {name: f"the {name}" for name in names}
    assert define(number, "recipe", Recipe=Recipe, **given)["recipe"] == Recipe(**given)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_with_the_reference_recipe_has_its_defaults(path):
    """The same name means the same thing everywhere; the others train shorter, and say so."""
    from helpers.training import Recipe

    (cell,) = [cell for cell in CELLS[path] if "parameters" in cell.metadata.get("tags", [])]
    declared = {s.target.id: ast.literal_eval(s.value) for s in ast.parse(cell.source).body}
    assert set(declared) <= set(PARAMETERS) and declared["seed"] == 0
    others = {"dataset", "seed", "seeds"} | (set() if "learning_rate" in declared else {"epochs"})
    for name in set(declared) - others:
        assert declared[name] == getattr(Recipe(), name), name


# 04 to 06: training, evaluation, visualization


def answers_to(number, exercise, capsys, answers, **variables):
    """Put answers to the check of an exercise; return what it says to each."""
    (cell,) = [cell for cell in CELLS[PATHS[number]] if f"check_{exercise} = Check(" in cell.source]
    variables |= {"np": np, "plt": plt, "Check": Check, "wilson_interval": wilson_interval}
    exec(cell.source, variables)
    capsys.readouterr()
    said = []
    for answer in answers:
        variables[f"check_{exercise}"](answer)
        said.append(capsys.readouterr().out)
    return said


def test_typical_mistakes_get_an_advice_of_their_own(capsys):
    def rows(p, labels):
        return p[np.arange(len(labels)), labels]

    losses = [
        lambda p, labels: ...,
        lambda p, labels: np.log(rows(p, labels)).mean(),
        lambda p, labels: -np.log(rows(p, labels)).sum(),
        lambda p, labels: -np.log(p.max(axis=1)).mean(),
        lambda p, labels: -np.log10(rows(p, labels)).mean(),
        lambda p, labels: -np.log(rows(p, labels)).mean(),
    ]
    with np.errstate(divide="ignore"):
        said = answers_to(4, 1, capsys, losses)
    assert said[0].startswith("Replace the ...")
    for text, word in zip(said[1:], ("sign", "sum", "largest", "base 10", "clip")):
        assert text.startswith("Not yet. ") and word in text
    counting_from_0 = answers_to(4, 2, capsys, [lambda losses, patience: int(np.argmin(losses))])
    assert "counts from 0" in counting_from_0[0]
    ordinary = answers_to(5, 2, capsys, [lambda p, labels: (p.argmax(axis=1) == labels).mean()])
    assert "ordinary accuracy" in ordinary[0]

    def without_labels(history):
        figure, axis = plt.subplots()
        axis.plot(history["loss"], "o-")
        axis.plot(history["val_loss"], "s--")
        axis.set(xlabel="epoch", ylabel="loss")
        axis.legend([])
        return figure

    assert "Give each a label" in answers_to(6, 3, capsys, [without_labels])[0]


def run_cell(number, marker, **variables):
    """Run the one cell of a notebook that holds a text; return all variables."""
    (cell,) = [cell for cell in CELLS[PATHS[number]] if marker in cell.source]
    variables |= {"np": np, "pd": pd}
    exec(cell.source, variables)
    return variables


def test_steps_of_gradient_descent_are_drawn_where_they_go():
    line, shown = np.linspace(-3, 3, 9), []
    paths = {2: ([-2, -1, 0], [4, 1, 0]), 50: ([-2, 7, -9], [4, 49, 81])}
    given = {"line": line, "curve": line**2, "slope_at": lambda value: 2 * value, "start": -2, "paths": paths}
    run_cell(4, "Three steps down a slope", **given, show=lambda figure, alt: shown.append(figure))
    for axis, (rate, (visited, reached)) in zip(shown[0].axes, paths.items(), strict=True):
        curve, tangent, steps = axis.lines
        np.testing.assert_allclose(curve.get_xydata(), np.stack([line, line**2], axis=1))
        np.testing.assert_allclose(tangent.get_xydata(), [(-3, 8), (-1, 0)])
        np.testing.assert_allclose(steps.get_xydata(), np.stack([visited, reached], axis=1))
        numbered = {text.get_text(): text.xy for text in axis.texts}
        assert numbered == {str(step): place for step, place in enumerate(zip(visited, reached))}
        titles = [axis.get_title(loc=place) for place in ("left", "center")]  # the style decides where
        assert "".join(titles) == f"rate {rate}: loss 4.00 → {reached[-1]:.2f}"


def test_the_most_confused_pairs_come_first_and_ties_are_not_cut_off(capsys):
    names = ("ant", "bear", "cat", "dog")
    confusion = np.array([[9, 2, 2, 0], [2, 9, 5, 2], [1, 2, 9, 2], [0, 0, 0, 9]])
    run_cell(5, "nlargest(5", confusion=confusion, class_names=names)
    first, *tied = capsys.readouterr().out.splitlines()
    assert first == "bear read as cat: 5 times" and len(tied) == 6
    assert all(line.endswith(": 2 times") for line in tied)
    run_cell(5, "nlargest(5", confusion=np.diag([9, 0, 9, 9]), class_names=names)
    assert capsys.readouterr().out == "", "no errors, no pairs"


def test_precision_reads_columns_and_recall_rows():
    confusion = np.array([[1, 2, 0], [0, 1, 1], [0, 1, 0]])
    table = run_cell(5, '"recall": right_ones', confusion=confusion, class_names=("ant", "bear", "cat"))[
        "by_class"
    ]
    np.testing.assert_allclose(table["precision"], [1 / 1, 1 / 4, 0])
    np.testing.assert_allclose(table["recall"], [1 / 3, 1 / 2, 0])
    assert list(table["images"]) == [3, 2, 1] and list(table.index) == ["ant", "bear", "cat"]


def test_a_p_value_may_be_rounded_but_is_two_sided(capsys):
    said = answers_to(7, 2, capsys, [22 / 1024, 0.0215, 0.022, 11 / 1024, 20 / 1024], binomtest=binomtest)
    assert [text.split()[0] for text in said] == ["Right!"] * 3 + ["Not"] * 2


def test_the_loss_of_the_solution_is_keras(capsys):
    import keras

    loss = define_last(4, "loss")
    p = np.array([[0.7, 0.2, 0.1], [0.0, 0.4, 0.6], [0.3, 0.3, 0.4]], np.float32)
    labels = np.array([0, 0, 2])
    assert loss(p, labels) == pytest.approx(
        float(keras.losses.SparseCategoricalCrossentropy()(labels, p)), rel=1e-4
    )


@pytest.mark.parametrize("patience", [1, 2, 3, 9])
def test_early_stopping_of_the_solution_is_keras(patience):
    import keras

    losses = [5.0, 3.0, 4.0, 2.0, 2.5, 2.2, 1.0, 1.5, 1.4, 1.3, 0.5]
    stopping = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
    stopping.set_model(types.SimpleNamespace(stop_training=False, get_weights=list, set_weights=list))
    stopping.on_train_begin()
    for epoch, loss in enumerate(losses):
        stopping.on_epoch_end(epoch, {"val_loss": loss})
        if stopping.model.stop_training:
            break
    assert define_last(4, "best_epoch")(losses, patience) == stopping.best_epoch + 1


def define_last(number, name):
    """Return the last function of this name in a notebook: the solution's, not the reader's."""
    body = [statement for cell in CELLS[PATHS[number]] for statement in ast.parse(cell.source).body]
    variables = common({})
    exec(ast.unparse([s for s in body if name in names_of(s)][-1]), variables)
    return variables[name]


def test_steps_go_down_the_slope():
    """Where the loss is (w − 3)², a rate of 0.5 goes straight to the bottom, a rate of 1 to and fro."""
    three_steps = define(
        4,
        "three_steps",
        start=-2.0,
        slope_at=lambda w: 2 * (w - 3),
        loss_at=lambda w: (w - 3) ** 2,
    )["three_steps"]
    assert three_steps(0.5) == ([-2, 3, 3, 3], [25, 0, 0, 0])
    assert three_steps(1)[0] == [-2, 8, -2, 8]


def test_ten_intervals_together_are_as_strict_as_one(data):
    """All ten miss the truth in 1 of 20 test sets; a class is called harder only if it is by far."""
    random, misses, alarms = np.random.default_rng(0), 0, 0
    interval = functools.cache(wilson_interval)

    def judged(hits):
        return define(
            5,
            "level",
            "bounds",
            "harder",
            data=types.SimpleNamespace(classes=10, class_names=list("0123456789")),
            confusion=np.diag(hits),
            by_class={"images": np.full(10, 1000)},
            wilson_interval=interval,
            low=interval(int(hits.sum()), 10_000)[0],
        )

    for _ in range(400):
        found = judged(random.binomial(1000, 0.99, 10))
        misses += (found["bounds"][:, 1] < 0.99).any()
        alarms += bool(found["harder"])
    assert misses / 400 < 0.08 and alarms / 400 < 0.02
    assert judged(np.array([990] * 9 + [960]))["harder"] == ["9"]


def drawn(number, name, *before, **variables):
    """Run the cell that shows a named figure, after some definitions; return the figure."""
    shown = {}
    (cell,) = [cell for cell in CELLS[PATHS[number]] if f'name="{name}"' in cell.source]
    variables |= {"np": np, "plt": plt, "BLUE": BLUE, "ORANGE": ORANGE, "draw_digits": draw_digits}
    variables |= {"LogLocator": LogLocator, "NullFormatter": NullFormatter}
    variables = define(number, *before, **variables)
    exec(cell.source, variables | {"show": lambda figure, alt, name=None: shown.update({name: figure})})
    return shown[name]


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_the_curves_are_what_their_labels_say(measure):
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    history = {key: [0.1 * i + 0.3, 0.1 * i + 0.4] for i, key in enumerate(keys)}
    given = {"history": history, "epochs": 2, "off_error": 5, "off_loss": 0.05}
    before = ("make_readable", "draw_curves", "training", "validation", "ends", "title")
    (axis,) = drawn(6, measure, *before, **given).axes
    curves = {line.get_label().split(" (")[0]: line.get_ydata() for line in axis.lines}
    for label, key in (("training", measure), ("validation", f"val_{measure}")):
        values = np.array(history[key])
        np.testing.assert_allclose(curves[label], 100 * (1 - values) if measure == "accuracy" else values)
    assert list(curves["training, dropout off"]) == [5 if measure == "accuracy" else 0.05]
    unit = {"accuracy": "error (%)", "loss": "cross-entropy loss"}
    assert axis.get_xlabel() == "epoch" and axis.get_ylabel() == unit[measure]
    assert axis.get_yscale() == "log", "so that the last points of accuracy are not squeezed"


def test_an_answer_has_a_bar_for_each_class_and_the_true_one_is_hatched(data):
    shares, names = np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]]), data.class_names
    given = {"data": data, "probabilities": shares, "predicted": shares.argmax(axis=1), "true": [1, 2]}
    draw_answer = define(6, "draw_answer", **given, names=names, BLUE=BLUE, GRAY="gray")["draw_answer"]
    for i, row in enumerate(shares):
        _, (left, right) = plt.subplots(1, 2)
        draw_answer(left, right, i)
        np.testing.assert_allclose([bar.get_height() for bar in right.patches], 100 * row)
        assert [bool(bar.get_hatch()) for bar in right.patches] == [label == (1, 2)[i] for label in range(3)]
        np.testing.assert_array_equal(left.images[0].get_array(), data.x_test[i])
        titles = [right.get_title(loc=place) for place in ("left", "center")]  # the style decides where
        assert "".join(titles) == f"read {names[row.argmax()]}, true {names[(1, 2)[i]]}"


def test_random_digits_come_with_a_row_of_errors_and_say_predicted_then_true(data):
    true, names = np.tile(data.y_test, 3), np.array(data.class_names)
    data = types.SimpleNamespace(x_test=np.tile(data.x_test, (3, 1, 1)))
    predicted = np.where(np.arange(len(true)) % 5 == 0, (true + 1) % 3, true)
    given = {"data": data, "predicted": predicted, "true": true, "names": names, "seed": 0}
    counted = ("random", "chosen", "wrong", "errors", "shown", "count", "first", "second", "heading")
    found = define(6, *counted, **given)
    figure = drawn(6, "predictions", *counted, **given)
    titles = [axis.get_title() for axis in figure.axes[:24]]
    for title, i in zip(titles, found["shown"]):
        mark = "✓" if predicted[i] == true[i] else "✗"
        assert title == f"{mark} {names[predicted[i]]}\ntrue {names[true[i]]}"
    assert all(title.startswith("✗") for title in titles[16:])
    right = sum(title.startswith("✓") for title in titles)
    assert f"16 random test images, {right} of them" in figure.get_suptitle()
    assert f"8 of the {(predicted != true).sum()} that it misreads" in figure.get_suptitle()


# 07: McNemar's test, and the interval with two sources of chance


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 1), (1, 9), (5, 5), (0, 3), (0, 0), (40, 21)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    mcnemar = define(7, "discordant", "mcnemar", comb=comb)["mcnemar"]
    a = np.repeat([True, False, True, False], [only_a, only_b, 30, 4])
    b = np.repeat([False, True, True, False], [only_a, only_b, 30, 4])
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert mcnemar(a, b) == pytest.approx(expected)


def test_the_bootstrap_covers_digits_and_seeds():
    """Where only the seeds differ it is Student's interval; where only the digits, the normal one."""
    names = ("other_digits", "other_seeds", "middle_95", "chance_intervals")
    chance_intervals = define(7, *names, seed=0)["chance_intervals"]
    random = np.random.default_rng(1)
    accuracies = 0.5 + random.normal(0, 0.05, 5)
    a = np.array([np.arange(20_000) < 20_000 * accuracy for accuracy in accuracies])
    a = random.permuted(a, axis=1)
    over_digits, both = chance_intervals(a, np.zeros_like(a), draws=20_000)
    mean, low, high = mean_interval(a.mean(axis=1))
    assert np.ptp(both) == pytest.approx(high - low, rel=0.05) and np.mean(both) == pytest.approx(
        mean, abs=0.01
    )
    assert np.ptp(over_digits) < 0.1 * np.ptp(both)

    b = np.tile(random.random(1000) < 0.3, (5, 1))
    over_digits, both = chance_intervals(b, np.zeros_like(b), draws=20_000)
    assert np.ptp(over_digits) == pytest.approx(2 * 1.96 * b[0].std() / np.sqrt(1000), rel=0.05)
    assert both == pytest.approx(over_digits, abs=1e-9), "the seeds did not differ"


# 08: calibration


def test_expected_calibration_error_of_a_worked_example():
    ece = define(8, "bin_of", "ece")["ece"]
    # Bin 0.6 to 0.7: confidence 0.65, 1 of 4 right. Bin 0.9 to 1: confidence 0.95, 5 of 6 right.
    sureness = np.array([0.65] * 4 + [0.95] * 6)
    hits = np.array([1, 0, 0, 0] + [1] * 5 + [0], bool)
    p = np.stack([sureness, 1 - sureness], axis=1)
    expected = 0.4 * abs(1 / 4 - 0.65) + 0.6 * abs(5 / 6 - 0.95)
    assert ece(p, np.where(hits, 0, 1)) == pytest.approx(expected)
    certain = np.tile([1.0, 0.0], (3, 1))
    assert ece(certain, np.zeros(3, int)) == 0 and ece(certain, np.ones(3, int)) == 1


def test_the_temperatures_are_fitted_on_validation_images():
    found = define(
        8,
        "temperatures",
        fit_temperature=lambda *given: given,
        on_validation=["validation a", "validation b"],
        y_validation="labels of validation",
        on_test=["test a", "test b"],
        labels="labels of test",
    )
    labels = "labels of validation"
    assert found["temperatures"] == [("validation a", labels), ("validation b", labels)]


# 09: occlusion


def test_the_occlusion_map_has_the_places_of_the_image():
    """A network that looks at one pixel: only covers over this pixel count, and they lie around it."""
    image = np.full((28, 28), 200, np.uint8)
    row, column = 3, 20

    def look(network, images):
        return (images[:, row, column] / 255.0)[:, np.newaxis]

    heat = define(9, "occlusion", predict=look)["occlusion"](None, image, 0)
    expected = np.zeros((24, 24))
    expected[: row + 1, column - 4 : column + 1] = 200 / 255
    np.testing.assert_allclose(heat, expected, rtol=1e-6)


# 10: the study


def test_the_study_keeps_ensembles_and_recipes_apart():
    from helpers.training import Recipe

    runs_of = define(10, "runs_of", asdict=asdict)["runs_of"]
    rows = [
        asdict(replace(Recipe(), dropout=dropout, seed=seed)) | {"ensemble": ensemble}
        for dropout in (0.2, 0.5)
        for ensemble in (1, 10)
        for seed in range(3)
    ]
    table = pd.DataFrame(rows)
    for ensemble in (1, 10):
        found = runs_of(table, Recipe(), ensemble)
        assert set(found["ensemble"]) == {ensemble} and set(found["dropout"]) == {0.5}
        assert list(found["seed"]) == [0, 1, 2]


# 10: distorted images


@pytest.mark.parametrize("elastic", [False, True])
def test_the_lesson_and_the_helper_distort_alike(sample, elastic):
    import tensorflow as tf

    from helpers import augmentation as a

    images, number = sample.x_train[:4], (3, 1)
    amounts = tf.random.stateless_uniform((6, 4, 1, 1), number, -1, 1, alg="philox").numpy()[:, :, 0, 0]
    noise = tf.random.stateless_normal((2, 4, 28, 28), (4, 2), alg="philox").numpy()
    strengths = dict(ELASTIC=a.ELASTIC, SMOOTHING=a.SMOOTHING, map_coordinates=map_coordinates)
    hand = define(10, "source_places", "read_at", "elastic_places", **strengths)
    none, most = np.array([0, 1, 1, 0, 0, 0]), [a.ROTATION, a.ZOOM, a.ZOOM, a.SHEAR, a.SHIFT, a.SHIFT]
    theirs = a.distort(tf.constant(images), number, elastic=elastic).numpy()
    row, column = np.mgrid[:28, :28]
    for i, image in enumerate(images):
        x, y = hand["source_places"](*(none + most * amounts[:, i]))
        if elastic:  # the pull, from the same noise
            dealt = types.SimpleNamespace(standard_normal=lambda shape, i=i: noise[:, i])
            right, down = hand["elastic_places"](dealt)
            x, y = x + right - column, y + down - row
        np.testing.assert_allclose(theirs[i], hand["read_at"](image, x, y), atol=1e-3)


# What networks without variety and few seeds do to the formulas


@pytest.mark.parametrize("features", ["zeros", "equal", "tiny", "three", "five"])
def test_a_map_of_equal_rows_ends_with_a_sentence_or_a_map(features, capsys):
    """t-SNE of equal rows ended the kernel, or never ended (scikit-learn's issue 29127)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(0)
    kinds = {"zeros": 0 * random.random((1, 128)), "equal": random.random((1, 128))}
    kinds |= {"tiny": 1e-30 * random.random((40, 128)), "three": random.random((3, 128))}
    kinds |= {"five": random.random((5, 128))}
    rows = kinds[features].astype("float32")
    rows = rows[np.arange(1000) % len(rows)]
    used = {"PCA": PCA, "TSNE": TSNE, "threadpool_limits": threadpool_limits}
    flat, embedded, share = define(9, "in_two_dimensions", **used)["in_two_dimensions"](rows)
    assert flat.shape == embedded.shape == (1000, 2)
    assert np.isfinite(flat).all() and np.isfinite(embedded).all() and 0 <= share <= 1
    assert ("there is no map" in capsys.readouterr().out) == (features != "five")


def test_correlations_without_variety_are_zero():
    correlation_of = define(9, "correlation_of")["correlation_of"]
    assert correlation_of(np.zeros((8, 8)), np.eye(8)) == 0 == correlation_of(np.eye(8), np.ones((8, 8)))
    assert correlation_of(np.eye(8), 2 * np.eye(8)) == pytest.approx(1)


def test_dead_units_have_no_favorites():
    numbers = np.random.default_rng(0).random((50, 6)).astype("float32")
    numbers[:, [1, 4]] = 0
    given = {"dense_outputs": lambda network, images: numbers, "x_validation": None}
    found = define(9, "favorites", **given)["favorites"](None, count=3)
    assert list(found) == [0, 2, 3, 5]
    assert all(set(row) == set(np.argsort(-numbers[:, unit])[:3]) for unit, row in found.items())
    purity_of = define(9, "purity_of", y_validation=np.arange(50) % 2)["purity_of"]
    assert purity_of([]) == 0 and purity_of([[0, 2, 4]]) == 1


def test_the_gain_of_a_step_is_paired_by_seed_on_one_machine():
    gain_of = define(10, "gain_of", most=define(10, "most")["most"])["gain_of"]

    def runs(**accuracy):
        rows = [(device, seed, value) for device, found in accuracy.items() for seed, value in found.items()]
        return pd.DataFrame(rows, columns=["device", "seed", "test_accuracy"])

    before = runs(card={0: 0.98, 1: 0.97, 2: 0.99, 7: 0.1}, cpu={0: 0.5, 1: 0.5, 3: 0.5, 4: 0.5})
    after = runs(card={2: 0.992, 1: 0.971, 0: 0.983, 3: 0.5}, cpu={0: 0.6, 1: 0.6, 9: 0.9, 8: 0.9, 5: 0.9})
    np.testing.assert_allclose(sorted(gain_of(after, before)), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(gain_of(after[after["device"] == "cpu"], before), [10, 10])


def test_the_winners_gain_where_it_was_chosen_is_never_negative():
    random = np.random.default_rng(0)
    halves = random.permuted(np.tile(np.arange(200) < 100, (50, 1)), axis=1)
    halves = np.concatenate([halves, ~halves]).astype("float32")
    gains_of_choosing = define(8, "gains_of_choosing", halves=halves, cuts=50)["gains_of_choosing"]
    chosen, elsewhere = gains_of_choosing(random.random((7, 200)) < 0.9)
    assert chosen.min() >= 0 and chosen.mean() > elsewhere.mean()
    chosen, elsewhere = gains_of_choosing(np.ones((3, 200), bool))
    assert not chosen.any() and not elsewhere.any()
