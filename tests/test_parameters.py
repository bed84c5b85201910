"""Checking parameters: bounds, types, spelling, and names that papermill injects."""

import ast
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import papermill
import pytest

from helpers.batch.plans import parse_value
from helpers.errors import ParameterError
from helpers.parameters import PARAMETERS, Parameter, check_parameters, check_value

ROOT = Path(__file__).resolve().parent.parent


def assert_refused(name, value, *mentions):
    """The value is refused in one sentence that names the parameter and all of `mentions`."""
    with pytest.raises(ParameterError) as caught:
        check_value(name, value)
    message = str(caught.value)
    assert message.startswith(f"`{name}` is ") and message.endswith(".") and "\n" not in message
    for text in mentions:
        assert text in message
    return message


# Bounds and choices

ACCEPTED = {
    "dataset": ["auto", "my digits.npz", "~/x"],
    "seed": [0, 1, 2**32 - 1],
    "seeds": [2, 5, 100],
    "epochs": [1, 10, 1000],
    "batch_size": [1, 128, 10000],
    "validation_split": [0.01, 0.1, 0.5],
    "learning_rate": [1e-6, 0.001, 0.5],
    "dropout": [0.0, 0, 0.5, 0.95],
    "precision": ["auto", "float32", "mixed_bfloat16"],
    "network": ["reference", "dense", "deep", "tiny", "dense_wide"],
    "schedule": ["constant", "one_cycle"],
    "augmentation": ["none", "affine", "elastic"],
    "weight_decay": [0, 0.01, 1.0],
    "label_smoothing": [0.0, 0.1, 0.5],
    "averaging": [0.0, 0.9, 0.9999],
}
OUT_OF_RANGE = {
    "seed": [-1, 2**32, 10**400],
    "seeds": [1, 101],
    "epochs": [0, -3, 1001],
    "batch_size": [0, 10001],
    "validation_split": [0.0099, 0.5001, 0, 1, -0.1],
    "learning_rate": [0.99e-6, 0, 0.5001, 1, 2, -0.001, 10**400],
    "dropout": [-0.0001, 0.9501, 1],
    "weight_decay": [-0.01, 1.01],
    "label_smoothing": [-0.1, 0.51],
    "averaging": [-0.1, 0.99991, 1],
}


def pairs(table):
    return [pytest.param(name, value, id=f"{name}={value!r:.20}") for name in table for value in table[name]]


def test_every_parameter_is_tested():
    assert set(ACCEPTED) == set(PARAMETERS)
    assert set(OUT_OF_RANGE) == {name for name, parameter in PARAMETERS.items() if parameter.low is not None}


@pytest.mark.parametrize("name, value", pairs(ACCEPTED))
def test_accepted(name, value):
    check_value(name, value)


@pytest.mark.parametrize("name, value", pairs(OUT_OF_RANGE))
def test_out_of_range(name, value):
    low, high = PARAMETERS[name].low, PARAMETERS[name].high
    assert_refused(name, value, "out of range", f"from {low} to {high}")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if PARAMETERS[name].type is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(name, value):
    assert_refused(name, value, repr(value), "out of range")


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_empty_text(value):
    assert_refused("dataset", value, "empty")
    assert_refused("precision", value, '"auto"')


# Defaults

# Where a notebook's subject is many trainings, or a quick one, and its own default says so.
QUICKER = {
    "02_preprocessing": {"epochs"},
    "07_cnn_vs_dense": {"epochs", "seeds"},
    "08_error_analysis": {"epochs", "seeds"},
    "10_beyond_99": {"epochs", "seeds"},
    "11_batch_runs": {"dataset", "epochs", "seeds"},
}


def test_a_recipe_has_the_defaults_of_the_table():
    from helpers.training import Recipe

    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    assert defaults == {name: PARAMETERS[name].default for name in defaults}


def test_every_parameter_is_of_a_notebook_or_of_a_recipe():
    from helpers.training import Recipe

    found = {field.name for field in dataclasses.fields(Recipe)}
    found.update(*(papermill.inspect_notebook(str(path)) for path in (ROOT / "notebooks").glob("*.ipynb")))
    assert found == set(PARAMETERS)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_has_the_defaults_of_the_table(path):
    for name, about in papermill.inspect_notebook(str(path)).items():
        default = ast.literal_eval(about["default"])
        check_value(name, default)
        if name not in QUICKER.get(path.stem, ()):
            assert default == PARAMETERS[name].default, name
        assert about["inferred_type_name"] == PARAMETERS[name].type.__name__


def test_the_table_itself_is_sound():
    from helpers.models import NETWORKS

    for name, parameter in PARAMETERS.items():
        check_value(name, parameter.default)
    assert PARAMETERS["network"].choices == tuple(NETWORKS)


# Types

WRONG_TYPES = {
    int: [True, False, "3", "three", 3.0, 3.5, math.nan, math.inf, None, [3], (3,), {}, np.int64(3), b"3"],
    float: [True, False, "0.1", "1e-3", "nan", None, [0.1], {}, np.float64(0.1), 0.1j],
    str: [True, 3, 0.5, None, ["auto"], b"auto", {"auto"}],
}
WRONG_VALUES = {name: WRONG_TYPES[PARAMETERS[name].type] for name in PARAMETERS}


@pytest.mark.parametrize("name, value", pairs(WRONG_VALUES))
def test_wrong_type(name, value):
    assert_refused(name, value, repr(value), f"give {PARAMETERS[name].accepted()}")


@pytest.mark.parametrize(
    "name, value, kind",
    [
        ("epochs", 3.0, "a number"),
        ("epochs", True, "True or False"),
        ("epochs", "3", "a text"),
        ("epochs", [3], "a list"),
        ("dropout", None, "a NoneType"),
        ("dataset", 3, "a whole number"),
    ],
)
def test_what_was_given_is_named(name, value, kind):
    assert_refused(name, value, f"`{name}` is {value!r}, {kind}; ")


@pytest.mark.parametrize("name, value", [("epochs", "3"), ("learning_rate", "1e-3")])
def test_hint_for_quoted_numbers(name, value):
    assert_refused(name, value, "without quotes", "1.0e-3")


def test_hint_for_quoted_truth_values(monkeypatch):
    from helpers import parameters

    monkeypatch.setitem(PARAMETERS, "augment", parameters.Parameter(False))
    check_value("augment", True)
    check_value("augment", False)
    for text in ("false", "true", "False", ""):
        assert_refused("augment", text, "True or False", "-y reads true and false")
    for number in (0, 1):
        assert_refused("augment", number, "a whole number", "True or False")


# Spelling


@pytest.mark.parametrize(
    "value, nearest", [("float23", "float32"), ("mixed_float16", "mixed_bfloat16"), ("atuo", "auto")]
)
def test_nearest_choice(value, nearest):
    assert_refused("precision", value, f"did you mean `{nearest}`?", '"auto", "float32", "mixed_bfloat16"')


def test_no_choice_is_near():
    assert "did you mean" not in assert_refused("precision", "zzz")


@pytest.mark.parametrize("name, nearest", [("epoch", "epochs"), ("batchsize", "batch_size"), ("sed", "seed")])
def test_unknown_parameter(name, nearest):
    with pytest.raises(ParameterError, match=rf"`{name}` .*did you mean `{nearest}`\?"):
        check_value(name, 1)
    with pytest.raises(ParameterError, match=name):
        check_parameters(**{name: 1})


def test_all_declared_parameters_are_checked():
    check_parameters(seed=0, epochs=3)
    with pytest.raises(ParameterError, match="epochs"):
        check_parameters(seed=0, epochs=0)
    with pytest.raises(ParameterError, match="seed"):
        check_parameters(seed=-1, epochs=3)


# Names that papermill injects, in a real IPython shell


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """An IPython shell like a notebook's, gone after the test."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "displayhook", sys.displayhook)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    InteractiveShell.clear_instance()


DEFAULTS = "epochs = 10  # passes over the data\nseed = 0  # start of the random numbers"
CHECK = "from helpers.parameters import check_parameters\ncheck_parameters(epochs=epochs, seed=seed)"


def run(shell, *cells):
    """Execute the cells of a notebook; return the error of the last."""
    for cell in cells[:-1]:
        shell.run_cell(cell, store_history=True).raise_error()
    return shell.run_cell(cells[-1], store_history=True).error_in_exec


@pytest.mark.parametrize("injected", ["", "epochs = 3\n", "epochs = 3\nseed = 1\n"])
def test_declared_names_may_be_injected(shell, injected):
    assert run(shell, DEFAULTS, "# Parameters\n" + injected, CHECK) is None


@pytest.mark.parametrize(
    "injected, mention",
    [
        ("epoch = 3\n", "no parameter `epoch` (did you mean `epochs`?)"),
        ("epochs = 3\nsede = 1\n", "no parameter `sede` (did you mean `seed`?)"),
        ("dropout = 0.1\n", "no parameter `dropout`"),  # known, but not to this notebook
        ("xyz = [1, 2]\n", "no parameter `xyz`; it has `epochs`, `seed`."),
    ],
)
def test_undeclared_name_is_refused(shell, injected, mention, capsys):
    error = run(shell, DEFAULTS, "# Parameters\n" + injected, CHECK)
    assert isinstance(error, ParameterError)
    assert mention in str(error)
    shown = "".join(capsys.readouterr())
    assert mention in shown and "Traceback" not in shown, "the reader sees the sentence alone"


def test_injected_value_is_checked(shell):
    error = run(shell, DEFAULTS, '# Parameters\nepochs = "3"\n', CHECK)
    assert isinstance(error, ParameterError) and "without quotes" in str(error)


def test_stale_injected_cell_does_not_matter(shell):
    stale, fresh = "# Parameters\nepoch = 3\n", "# Parameters\nepochs = 3\n"
    assert isinstance(run(shell, DEFAULTS, stale, CHECK), ParameterError)
    assert run(shell, DEFAULTS, fresh, CHECK) is None


def test_paths_that_papermill_injects_by_itself_are_not_parameters(shell):
    injected = (
        '# Parameters\nPAPERMILL_INPUT_PATH = "a.ipynb"\nPAPERMILL_OUTPUT_PATH = "b.ipynb"\nepochs = 3\n'
    )
    assert run(shell, DEFAULTS, injected, CHECK) is None


def test_other_cells_do_not_matter(shell):
    assert run(shell, "# Settings\nepoch = 3", "x = 1  # Parameters", DEFAULTS, CHECK) is None


def test_no_shell_no_injection():
    from IPython.core.interactiveshell import InteractiveShell

    assert not InteractiveShell.initialized()
    check_parameters(epochs=3)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", 0.001, 0.001),
        ("dropout", "0", 0.0),
        ("dropout", 0, 0.0),
        ("epochs", "3", 3),
        ("dataset", "3", "3"),
        ("precision", "auto", "auto"),
    ],
)
def test_texts_are_read_as_the_type_of_the_parameter(name, given, value):
    parsed = parse_value(name, given)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [("epochs", "3.0"), ("epochs", 3.0), ("epochs", "1e3"), ("epochs", "0"), ("learning_rate", "inf")]
    + [("learning_rate", "1,5"), ("dropout", True), ("seed", "-1"), ("dataset", ""), ("epohcs", "1")],
)
def test_texts_that_do_not_fit_are_refused(name, given):
    with pytest.raises(ParameterError):
        parse_value(name, given)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("FALSE", False)])
def test_truth_values_are_read(monkeypatch, text, value):
    monkeypatch.setitem(PARAMETERS, "flag", Parameter(False))
    assert parse_value("flag", text) is value
    with pytest.raises(ParameterError):
        parse_value("flag", "0")
