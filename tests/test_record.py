"""The record of a notebook's headline numbers: written, shown, and read back from the file."""

import json

import nbformat
import numpy as np
import pytest

from helpers import record as module
from helpers.record import MIME, read_record, record

VALUES = {
    "dataset": "MNIST <sample> & “more”",
    "test_accuracy": 0.98765432,
    "images": 10000,
    "full": False,
    "epochs": 3,
}


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as a list of MIME bundles."""
    bundles = []

    def display(bundle, raw):
        assert raw
        bundles.append(bundle)

    monkeypatch.setattr(module, "display", display)
    return bundles


def notebook_file(path, *cells):
    """Write a valid notebook whose code cells have the given bundles as outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title")])
    for bundles in cells:
        outputs = [nbformat.v4.new_output("stream", text="training\n")]
        outputs += [nbformat.v4.new_output("display_data", data=bundle) for bundle in bundles]
        notebook.cells.append(nbformat.v4.new_code_cell("record(...)", outputs=outputs))
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def test_one_output_for_people_and_programs(shown):
    record(**VALUES)
    (bundle,) = shown
    assert set(bundle) == {MIME, "text/html", "text/plain"}
    assert all(isinstance(content, str) for content in bundle.values())
    assert json.loads(bundle[MIME]) == VALUES
    assert list(json.loads(bundle[MIME])) == list(VALUES), "the order"


def test_table_for_people(shown):
    record(**VALUES)
    lines = shown[0]["text/plain"].splitlines()
    assert lines == [
        "dataset        MNIST <sample> & “more”",
        "test accuracy  0.9877",
        "images         10,000",
        "full           False",
        "epochs         3",
    ]
    table = shown[0]["text/html"]
    assert table.count("<tr>") == len(VALUES)
    assert "test accuracy</th>" in table and ">0.9877</td>" in table
    assert "MNIST &lt;sample&gt; &amp; “more”" in table and "<sample>" not in table


def test_round_trip_through_a_notebook_file(shown, tmp_path):
    record(**VALUES)
    assert read_record(notebook_file(tmp_path / "a.ipynb", [], shown)) == VALUES


def test_last_record_wins(shown, tmp_path):
    record(a=1)
    record(b=2)
    assert read_record(notebook_file(tmp_path / "one cell.ipynb", shown)) == {"b": 2}
    assert read_record(notebook_file(tmp_path / "two cells.ipynb", shown[1:], shown[:1])) == {"a": 1}


def test_no_record(tmp_path):
    assert read_record(notebook_file(tmp_path / "a.ipynb", [], [{"text/plain": "7"}])) == {}


@pytest.mark.parametrize(
    "value, plain",
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(3), 3),
    ],
)
def test_numpy_values_become_plain(shown, value, plain):
    record(value=value)
    found = json.loads(shown[0][MIME])["value"]
    assert found == plain and type(found) is type(plain)


@pytest.mark.parametrize(
    "value, plain, text",
    [
        ([0.91, 0.95, 0.99], [0.91, 0.95, 0.99], "0.9100 … 0.9900, 3 values"),
        ((1, 2), [1, 2], "1 … 2, 2 values"),
        (np.arange(3), [0, 1, 2], "0 … 2, 3 values"),
        ([np.float64(0.5), np.float32(0.25)], [0.5, 0.25], "0.5000 … 0.2500, 2 values"),
        ([0.5], [0.5], "0.5000, 1 value"),
    ],
)
def test_a_curve_is_shown_by_its_ends_and_kept_whole(shown, value, plain, text):
    record(accuracy_by_epoch=value)
    assert json.loads(shown[0][MIME]) == {"accuracy_by_epoch": plain}
    assert shown[0]["text/plain"] == f"accuracy by epoch  {text}" and f">{text}</td>" in shown[0]["text/html"]


@pytest.mark.parametrize(
    "value",
    [None, [], [[0.5]], ["0.5"], [True], [0.5, None], {"a": 1}, {1, 2}, np.eye(2), 1j, [1j], b"text", ...],
)
def test_other_types_are_refused(shown, value):
    with pytest.raises(TypeError, match="accuracy"):
        record(epochs=3, accuracy=value)
    assert shown == []
