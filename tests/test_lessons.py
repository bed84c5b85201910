"""What notebooks compute by code of their own: held to libraries, to the helpers, to worked examples.

Definitions are taken out of a notebook and run here, without a kernel and without training. What
loads TensorFlow is imported by the tests that need it.
"""

import ast
import types
from dataclasses import asdict, replace
from math import comb
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from helpers.data import Dataset
from helpers.evaluation import mean_interval
from helpers.parameters import PARAMETERS
from helpers.plots import BLUE, GRAY, ORANGE, draw_digits
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


def define(number, *names, **variables):
    """Run the first definition of each name in a notebook with some variables; return all variables."""
    body = [statement for cell in CELLS[PATHS[number]] for statement in ast.parse(cell.source).body]
    first = {next(i for i, statement in enumerate(body) if name in names_of(statement)) for name in names}
    variables["np"] = np
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


# 00: the quickstart


def test_the_quickstart_scales_training_and_test_images_alike(data):
    found = define(0, "x_train", "x_test", data=data)
    for part in ("train", "test"):
        images = getattr(data, f"x_{part}")
        np.testing.assert_allclose(found[f"x_{part}"], images[..., np.newaxis] / 255.0, rtol=1e-6)


def test_the_quickstart_never_shows_the_test_set_to_fit():
    given = []
    model = types.SimpleNamespace(
        fit=lambda *arrays, **options: given.append((arrays, options)) or types.SimpleNamespace(history={})
    )
    settings = {"batch_size": 7, "epochs": 2, "validation_split": 0.25}
    define(0, "history", model=model, x_train="x", y_train="y", Progress=lambda: None, **settings)
    ((arrays, options),) = given
    assert arrays == ("x", "y") and settings.items() <= options.items()
    assert set(options) == {*settings, "verbose", "callbacks"}


def test_the_quickstart_titles_say_what_was_read_and_what_is_true(data):
    predicted = data.y_test.copy()
    predicted[:2] = (data.y_test[:2] + 1) % 3
    found = define(0, "draw", data=data, predicted=predicted, plt=plt)
    titles = [axis.get_title() for axis in found["draw"](range(16), "some").axes]
    names = data.class_names
    for i, title in enumerate(titles):
        read, true = names[predicted[i]], names[data.y_test[i]]
        assert title == (f"✗ {read}, is {true}" if i < 2 else f"✓ {read}")


# Every notebook with a recipe


@pytest.mark.parametrize("number", [4, 5, 6, 9, 12])
def test_a_notebooks_parameters_reach_its_recipe_under_their_names(number):
    names = ["epochs", "batch_size", "validation_split", "learning_rate", "dropout", "precision", "seed"]
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


# 06: visualization


def drawn(number, name, **variables):
    """Run the cell that shows a named figure; return the figure."""
    shown = {}
    (cell,) = [cell for cell in CELLS[PATHS[number]] if f'name="{name}"' in cell.source]
    variables |= {"np": np, "plt": plt, "BLUE": BLUE, "ORANGE": ORANGE, "GRAY": GRAY}
    exec(cell.source, variables | {"show": lambda figure, alt, name=None: shown.update({name: figure})})
    return shown[name]


@pytest.mark.parametrize(("measure", "factor"), [("accuracy", 100), ("loss", 1)])
def test_the_curves_are_what_their_labels_say(measure, factor):
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    history = {key: [0.1 * i + 0.3, 0.1 * i + 0.4] for i, key in enumerate(keys)}
    (axis,) = drawn(6, measure, history=history, epochs=2, counted=np.array([1, 2])).axes
    curves = {line.get_label().split(" (")[0]: line.get_ydata() for line in axis.lines}
    np.testing.assert_allclose(curves["training"], factor * np.array(history[measure]))
    np.testing.assert_allclose(curves["validation"], factor * np.array(history[f"val_{measure}"]))
    assert axis.get_xlabel() == "epoch" and measure in axis.get_ylabel()


def test_titles_of_random_digits_say_predicted_then_true(data):
    predicted, true, names = (data.y_test + 1) % 3, data.y_test, np.array(data.class_names)
    found = define(
        6, "draw_predictions", data=data, predicted=predicted, true=true, names=names, draw_digits=draw_digits
    )
    indices = np.array([4, 0, 7])
    titles = [axis.get_title() for axis in found["draw_predictions"](indices, "some").axes[:3]]
    assert titles == [f"✗ {names[predicted[i]]}\ntrue {names[true[i]]}" for i in indices]


# 07: McNemar's test, and the interval with two sources of chance


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 1), (1, 9), (5, 5), (0, 3), (0, 0), (40, 21)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    mcnemar = define(7, "discordant", "mcnemar", comb=comb)["mcnemar"]
    a = np.repeat([True, False, True, False], [only_a, only_b, 30, 4])
    b = np.repeat([False, True, True, False], [only_a, only_b, 30, 4])
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert mcnemar(a, b) == pytest.approx(expected)


def test_the_bootstrap_covers_digits_and_starts():
    """Where only the starts differ it is Student's interval; where only the digits, the normal one."""
    bootstrap = define(7, "middle_95", "bootstrap", seed=0)["bootstrap"]
    random = np.random.default_rng(1)
    accuracies = 0.5 + random.normal(0, 0.05, 5)
    a = np.array([np.arange(20_000) < 20_000 * accuracy for accuracy in accuracies])
    a = random.permuted(a, axis=1)
    over_digits, both = bootstrap(a, np.zeros_like(a), draws=20_000)
    mean, low, high = mean_interval(a.mean(axis=1))
    assert np.ptp(both) == pytest.approx(high - low, rel=0.05) and np.mean(both) == pytest.approx(
        mean, abs=0.01
    )
    assert np.ptp(over_digits) < 0.1 * np.ptp(both)

    b = np.tile(random.random(1000) < 0.3, (5, 1))
    over_digits, both = bootstrap(b, np.zeros_like(b), draws=20_000)
    assert np.ptp(over_digits) == pytest.approx(2 * 1.96 * b[0].std() / np.sqrt(1000), rel=0.05)
    assert both == pytest.approx(over_digits, abs=1e-9), "the starts did not differ"


# 08: calibration


def test_expected_calibration_error_of_a_worked_example():
    ece = define(8, "ece")["ece"]
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


def test_the_gain_of_a_step_is_paired_by_seed():
    gain_of = define(10, "gain_of", mean_interval=mean_interval)["gain_of"]
    before = pd.DataFrame({"seed": [0, 1, 2], "test_accuracy": [0.98, 0.97, 0.99]})
    after = pd.DataFrame({"seed": [2, 1, 0, 3], "test_accuracy": [0.992, 0.971, 0.983, 0.5]})
    np.testing.assert_allclose(gain_of(after, before), mean_interval([0.3, 0.1, 0.2]))


def test_the_winners_gain_where_it_was_chosen_is_never_negative():
    random = np.random.default_rng(0)
    halves = random.permuted(np.tile(np.arange(200) < 100, (50, 1)), axis=1)
    halves = np.concatenate([halves, ~halves]).astype("float32")
    gains_of_choosing = define(8, "gains_of_choosing", halves=halves, cuts=50)["gains_of_choosing"]
    chosen, elsewhere = gains_of_choosing(random.random((7, 200)) < 0.9)
    assert chosen.min() >= 0 and chosen.mean() > elsewhere.mean()
    chosen, elsewhere = gains_of_choosing(np.ones((3, 200), bool))
    assert not chosen.any() and not elsewhere.any()


@pytest.mark.parametrize("number", [7, 8, 9, 10])
def test_wrong_answers_and_stubs_are_refused_with_a_sentence(number, capsys):
    """Checks that need nothing of their notebook's run; the others are met by its execution."""
    from scipy.stats import norm

    from helpers.exercises import Check

    for cell in CELLS[PATHS[number]]:
        if "check" not in cell.metadata.get("tags", []):
            continue
        variables = {"np": np, "Check": Check, "binomtest": binomtest, "norm": norm}
        try:
            exec(cell.source, variables)
        except NameError:  # its mistakes are computed from the run
            continue
        (check,) = [value for value in variables.values() if isinstance(value, Check)]
        for wrong in (0, 0.1, 1, -1, None, "a text", lambda *given: None):
            check(wrong)
            assert capsys.readouterr().out.startswith("Not yet. "), (cell.source, wrong)
