"""Scaling, one-hot labels, and the split."""

import numpy as np
import pytest

from helpers.data import Dataset
from helpers.preprocessing import SHUFFLE, in_order, one_hot, scale, split_validation
from tests.conftest import make_arrays


def test_scale_maps_0_to_255_onto_0_to_1_and_adds_a_channel():
    images = np.arange(256, dtype=np.uint8).repeat(784).reshape(256, 28, 28)
    scaled = scale(images)
    assert scaled.shape == (256, 28, 28, 1) and scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[:, 5, 7, 0], np.arange(256, dtype=np.float32) / 255)
    assert scaled.min() == 0 and scaled.max() == 1


def test_scale_leaves_its_argument_alone_and_keeps_places(arrays):
    images = arrays["x_train"]
    before = images.copy()
    np.testing.assert_array_equal(np.rint(scale(images)[..., 0] * 255), before)
    np.testing.assert_array_equal(images, before)


def test_scale_of_no_images():
    assert scale(np.empty((0, 28, 28), np.uint8)).shape == (0, 28, 28, 1)


@pytest.mark.parametrize("label_type", [np.uint8, np.int64])
def test_one_hot(label_type):
    rows = one_hot(np.array([2, 0, 2], label_type), classes=3)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("classes", [10, 26, 256])
def test_one_hot_shape_and_back(classes):
    labels = np.arange(classes, dtype=np.uint8)[::-1]
    rows = one_hot(labels, classes)
    assert rows.shape == (classes, classes)
    np.testing.assert_array_equal(rows.argmax(axis=1), labels)


def test_one_hot_is_for_ten_classes_unless_told_otherwise():
    assert one_hot(np.array([9])).shape == (1, 10)
    with pytest.raises(IndexError):
        one_hot(np.array([10]))


# The split


def make(labels, classes=10, names=tuple("0123456789")):
    arrays = make_arrays(train=len(labels), classes=classes)
    return Dataset(
        **arrays | {"y_train": np.array(labels, np.uint8)}, name="tiny", class_names=names[:classes]
    )


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_split_takes_the_last_images_as_keras_does(share, capsys):
    data = make(np.arange(400) % 10)
    (x, y), (x_validation, y_validation) = split_validation(data, share)
    cut = int(400 * (1 - share))
    for part, whole in ((x, data.x_train[:cut]), (x_validation, data.x_train[cut:])):
        np.testing.assert_array_equal(part, whole)
    np.testing.assert_array_equal(np.append(y, y_validation), data.y_train)
    warned = capsys.readouterr().out
    assert bool(warned) == (share == 0.01), "four images do not show ten classes"


def test_split_of_sorted_classes_warns_with_a_cure_that_cures(capsys):
    data = make(np.arange(400) // 40)
    split_validation(data, 0.1)
    out = capsys.readouterr().out
    assert out.startswith("Warning: ") and out.count("\n") == 1
    assert "no training image shows 9; " in out and SHUFFLE in out
    scope = {"np": np, "x_train": data.x_train, "y_train": data.y_train}
    exec(SHUFFLE, scope)
    split_validation(make(scope["y_train"]), 0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("side", ["training", "validation"])
def test_split_names_the_class_that_is_missing_on_one_side(side, capsys):
    labels = np.arange(200) % 4
    part = slice(0, 180) if side == "training" else slice(180, 200)
    labels[part] = np.where(labels[part] == 2, 0, labels[part])
    split_validation(make(labels, 4, ("ant", "bee", "cat", "dog")), 0.1)
    out = capsys.readouterr().out
    assert f"no {side} image shows cat; use more images" in out and SHUFFLE not in out


def test_split_never_lists_names_without_end(capsys):
    split_validation(make(np.arange(256), 256, tuple(map(str, range(256)))), 0.1)
    assert "and 16 more" in capsys.readouterr().out


def test_order_of_classes():
    assert in_order(np.array([0, 0, 1, 1, 2, 2])) and in_order(np.array([5, 5, 3, 3], np.uint8))
    assert not in_order(np.array([0, 1, 0, 1])) and not in_order(np.array([0, 0, 0]))
    assert not in_order(np.array([0, 1, 2])), "one image of each: no order to speak of"
