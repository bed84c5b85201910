"""Measures: Wilson's interval, confusion, predictions."""

import numpy as np
import pytest

from helpers import evaluation
from helpers.evaluation import (
    IMAGES_PER_CALL,
    confusion_table,
    mean_interval,
    predict,
    wilson_interval,
)
from helpers.preprocessing import scale
from tests.conftest import make_arrays

# An asymmetric example: class a is read as b twice, b as a never, b as c once.
NAMES = ("a", "b", "c")
TRUE = np.array([0, 0, 0, 1, 1, 2], np.uint8)
READ = np.array([1, 1, 0, 1, 2, 2])


@pytest.mark.parametrize(
    "correct, total, low, high",
    [
        (9900, 10000, 0.9879, 0.9918),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17, Table I
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 20, 0.0, 0.1611),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
        (20, 20, 1 - 0.1611, 1.0),
        (0, 1, 0.0, 0.7935),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson_interval(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=0.5e-4)
    assert wilson_interval(np.int64(correct), np.uint16(total)) == wilson_interval(correct, total)


def test_wilson_interval_stays_within_0_and_1():
    for total in (1, 7, 10000):
        low, high = wilson_interval(0, total)
        assert low == 0 and 0 < high < 1
        low, high = wilson_interval(total, total)
        assert 0 < low < 1 and high == 1


def test_wilson_interval_by_its_formula():
    correct, total, z = 87, 100, 2.5758293035489004  # 99 %
    share = correct / total
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    assert wilson_interval(correct, total, 0.99) == pytest.approx((center - half, center + half))


@pytest.mark.parametrize("correct, total", [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_of_nonsense(correct, total):
    with pytest.raises(ValueError):
        wilson_interval(correct, total)


def test_confusion_table_has_true_rows_and_predicted_columns():
    table = confusion_table(TRUE, READ, NAMES)
    np.testing.assert_array_equal(table, [[1, 2, 0], [0, 1, 1], [0, 0, 1]])
    assert table.loc["a", "b"] == 2 and table.loc["b", "a"] == 0
    assert (table.index.name, table.columns.name) == ("true", "predicted")
    assert tuple(table.index) == tuple(table.columns) == NAMES
    np.testing.assert_array_equal(table.sum(axis=1), np.bincount(TRUE))


def test_confusion_table_keeps_classes_that_do_not_occur():
    table = confusion_table(TRUE, READ, (*NAMES, "d"))
    assert table.shape == (4, 4)
    assert table.loc["d"].sum() == table["d"].sum() == 0


@pytest.mark.parametrize("count", [1, IMAGES_PER_CALL, 2 * IMAGES_PER_CALL + 1])
def test_predict_in_pieces_and_in_order(monkeypatch, count):
    import keras

    pixels = keras.Input((28, 28, 1))
    means_and_peaks = [
        keras.layers.GlobalAveragePooling2D()(pixels),
        keras.layers.GlobalMaxPooling2D()(pixels),
    ]
    network = keras.Model(pixels, keras.layers.Concatenate()(means_and_peaks))
    pieces = []
    monkeypatch.setattr(evaluation, "scale", lambda images: pieces.append(len(images)) or scale(images))
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    answers = predict(network, images)
    assert isinstance(answers, np.ndarray) and answers.dtype == np.float32
    expected = np.stack([images.mean(axis=(1, 2)), images.max(axis=(1, 2))], axis=1) / 255
    np.testing.assert_allclose(answers, expected, rtol=1e-5)
    assert max(pieces) <= IMAGES_PER_CALL and sum(pieces) == count


def test_predict_with_the_reference_network():
    from helpers.models import build_reference_model

    images = make_arrays()["x_test"]
    model = build_reference_model()
    probabilities = predict(model, images)
    assert probabilities.shape == (20, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities[:1], predict(model, images[:1]), atol=1e-6)


@pytest.mark.parametrize("network", ["reference", "deep"])
def test_many_images_in_one_program_get_the_answers_of_the_model(network):
    from helpers.models import build_model

    model = build_model(network)
    images = make_arrays(train=IMAGES_PER_CALL + 100)["x_train"]
    pieces = np.array_split(scale(images), 10)
    expected = np.concatenate([model(piece, training=False) for piece in pieces])
    np.testing.assert_allclose(predict(model, images), expected, atol=1e-5)
    np.testing.assert_array_equal(predict(model, images), predict(model, images))


def test_mean_interval_of_a_worked_example():
    """Five values with mean 3 and standard deviation sqrt(2.5); t for 4 degrees of freedom is 2.776445."""
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert high - 3 == pytest.approx(2.776445 * (2.5 / 5) ** 0.5, abs=1e-5)
    assert 3 - low == pytest.approx(high - 3)
    _, narrow, _ = mean_interval([1, 2, 3, 4, 5], confidence=0.5)
    assert low < narrow < 3


def test_mean_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    intervals = [mean_interval(random.normal(7, 2, 4)) for _ in range(2000)]
    assert 0.93 < np.mean([low <= 7 <= high for _, low, high in intervals]) < 0.97


def test_interval_of_shares_ends_where_shares_end():
    mean, low, high = mean_interval([0.9, 1.0], within=(0, 1))
    assert (mean, low, high) == pytest.approx((0.95, 0.95 - 0.05 * 12.7062, 1), abs=1e-4)
    assert mean_interval([0.5, 0.6], within=(0, 1))[1] == 0
    assert np.isnan(mean_interval([0.5], within=(0, 1))[1])


def test_one_value_has_no_interval():
    mean, low, high = mean_interval([0.5])
    assert mean == 0.5 and np.isnan(low) and np.isnan(high)
