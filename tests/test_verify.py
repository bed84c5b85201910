"""How executed notebooks are compared: what must differ does, what may differ does not."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.record import MIME
from tools import refresh, verify


def notebook(*outputs, tags=()):
    cell = new_code_cell("code", outputs=list(outputs), metadata={"tags": list(tags)})
    return new_notebook(cells=[new_markdown_cell("# Title"), cell])


def text(content):
    return notebook(new_output("stream", name="stdout", text=content))


def record(**values):
    return notebook(new_output("display_data", data={MIME: json.dumps(values), "text/plain": str(values)}))


def picture(content="iVBORw0KGgo=", alt="A bar chart."):
    about = {"image/png": {"alt": alt}}
    return notebook(
        new_output("display_data", data={"image/png": content, "text/plain": alt}, metadata=about)
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("accuracy 0.9917", "accuracy 0.9921"),
        ("99.17% of 10,000 images", "99.02% of 10,000 images"),
        ("9,917 of 10,000 test images read correctly", "9,921 of 10,000 test images read correctly"),
        ("loss 0.0351", "loss 0.0402"),
        ("a difference of +0.05 points", "a difference of -0.02 points"),
        ("largest difference 6e-05", "largest difference 1.3e-04"),
        ("accuracy  0.9917", "accuracy 0.99"),
        ("FGSM  51.2% right", "FGSM  44.0% right"),
        ("took 14.9 CPU seconds", "took 37 CPU seconds"),
        ("keras 3.15.1", "keras 3.16.0"),
        ("mixed_bfloat16 validation", "float32 validation"),
        ("the same\nlines", "the same\nlines\n"),
    ],
)
def test_texts_that_agree(before, after):
    assert verify.differences(text(before), text(after)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("accuracy 0.9917", "accuracy 0.1135"),
        ("accuracy 0.9917", "accuracy 0.9817"),
        ("accuracy 0.9917", "accuracy nan"),
        ("99.17% of 10,000 images", "89.02% of 10,000 images"),
        ("99.17% of 10,000 images", "99.17% of 1,000 images"),
        ("9,917 of 10,000 test images read correctly", "9,117 of 10,000 test images read correctly"),
        ("loss 0.0351", "loss 2.3026"),
        ("largest difference 6e-05", "largest difference 0.3"),
        ("225,034 parameters", "225,035 parameters"),
        ("shape (28, 28)", "shape (28, 27)"),
        ("12.5 gradients", "1.25 gradients"),
        ("one line", "one line\nanother line"),
        ("one line\nanother line", "one line"),
        ("accuracy 0.9917", "precision 0.9917"),
        ("0.9 0.8", "0.9"),
    ],
)
def test_texts_that_differ(before, after):
    assert len(verify.differences(text(before), text(after))) == 1


@pytest.mark.parametrize(
    ("name", "before", "after", "same"),
    [
        ("test_accuracy", 0.9917, 0.9921, True),
        ("test_accuracy", 0.9917, 0.9890, True),
        ("test_accuracy", 0.9917, 0.9880, False),
        ("test_accuracy", 0.9917, 0.1135, False),
        ("test_accuracy", 0.9917, float("nan"), False),
        ("cnn_accuracy_shifted_by_2", 0.8954, 0.8654, True),
        ("mean_pixel", 0.13066, 0.13067, False),
        ("parameters", 225034, 225035, False),
        ("data", "MNIST", "MNIST sample (5,000 digits)", False),
        ("study_speed_99_seconds", 19.7489, 19.9, False),
        ("largest_p_value", 3e-28, 2e-25, True),
        ("most_confused_pair", "2 ↔ 7", "4 ↔ 9", True),
        ("a_new_name", 0.5, 0.52, True),
        ("a_new_name", 0.5, 0.9, False),
    ],
)
def test_records(name, before, after, same):
    found = verify.differences(record(**{name: before}), record(**{name: after}))
    assert (found == []) is same, found


def test_a_record_needs_the_same_names():
    assert verify.differences(record(a=1.0), record(b=1.0)) == ["the record's names ['a'] became ['b']"]


def test_figures_are_there_with_their_alt_text_and_byte_for_byte_if_exact():
    assert verify.differences(picture(), picture("iVBORw0KGgp=")) == []
    assert len(verify.differences(picture(), picture("iVBORw0KGgp="), exact=True)) == 1
    assert len(verify.differences(picture(), picture(alt="Another chart."))) == 2
    assert len(verify.differences(picture(), text("no picture"))) == 1


def test_exact_means_every_character():
    assert verify.differences(text("accuracy 0.9917"), text("accuracy 0.9917"), exact=True) == []
    assert len(verify.differences(text("accuracy 0.9917"), text("accuracy 0.9918"), exact=True)) == 1
    assert verify.differences(record(a=1.0), record(a=1.1), exact=True) != []


def test_stderr_and_how_a_stream_is_cut_do_not_count():
    pieces = [("stdout", "a\n"), ("stderr", "epoch 1/3\r"), ("stdout", "b\n")]
    cut = notebook(*[new_output("stream", name=name, text=content) for name, content in pieces])
    assert verify.differences(cut, text("a\nb\n"), exact=True) == []


def test_a_cell_that_varies_must_still_show_something_of_the_kind():
    def cell(*contents):
        return notebook(*[new_output("stream", name="stdout", text=c) for c in contents], tags=["varies"])

    assert verify.differences(cell("index 25"), cell("index 7")) == []
    assert len(verify.differences(cell("index 25"), cell())) == 1
    assert len(verify.differences(cell("index 25"), cell("index 7"), exact=True)) == 1


def test_an_error_is_a_difference():
    error = notebook(new_output("error", ename="ValueError", evalue="no", traceback=[]))
    assert len(verify.differences(text("a"), error)) == 1


@pytest.mark.parametrize("changed", [None, "code_sha256", "constraints_sha256"])
def test_what_changed_is_executed_and_one_more_is_drawn(tmp_path, changed):
    paths = [tmp_path / f"{number:02}_x.ipynb" for number in range(6)]
    for path in paths:
        content = notebook()
        content.metadata["tutorial"] = refresh.made_with(content)
        if path.name.startswith("03") and changed:
            content.metadata["tutorial"][changed] = "another"
        nbformat.write(content, path)
    days = [verify.choose(paths, today=f"2026-01-{day}") for day in range(10, 31)]
    assert verify.choose(paths, today="2026-01-10") == days[0]
    for chosen in days:
        reasons = sorted(chosen.values())
        assert len(reasons) == (2 if changed else 1) and reasons[0].startswith("drawn for 2026-01-")
        if changed:
            assert chosen[paths[3]] == f"other {changed.removesuffix('_sha256')}"
    assert len({path for chosen in days for path in chosen}) > 3
    assert list(verify.choose(paths, everything=True)) == paths
    assert [path.stem for path in verify.choose(paths, names=["02", "00"])] == [
        "00_quickstart",
        "02_preprocessing",
    ]
    with pytest.raises(SystemExit, match="no notebook 77"):
        verify.choose(paths, names=["02", "77"])
