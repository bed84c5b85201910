"""Scaling and one-hot labels."""

import numpy as np
import pytest

from helpers.preprocessing import one_hot, scale


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
