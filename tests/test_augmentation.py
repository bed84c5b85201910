"""Distorted images: exactly what SciPy computes, within the bounds, and decided by the seed."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import center_of_mass, map_coordinates

from helpers import augmentation
from helpers.augmentation import distort

STRENGTHS = ["ROTATION", "ZOOM", "SHEAR", "SHIFT"]


@pytest.fixture(scope="module")
def images(sample):
    return sample.x_train[:100]


@pytest.fixture
def only(monkeypatch):
    """Call ``only(SHIFT=2)``: every other strength is 0."""

    def set_strengths(**chosen):
        for name in STRENGTHS:
            monkeypatch.setattr(augmentation, name, chosen.get(name, 0.0))

    return set_strengths


def test_sample_is_bilinear_interpolation(images):
    draw = np.random.default_rng(0)
    x, y = draw.uniform(-3, 31, (2, 100, 28, 28)).astype("float32")
    x[0, 0, :2], y[0, 0, :2] = (0, 27), (27, 27)  # exactly on corners
    found = augmentation.sample(tf.constant(images), tf.constant(x), tf.constant(y)).numpy()
    for image, columns, rows, result in zip(images, x, y, found):
        wanted = map_coordinates(image / 255, [rows, columns], order=1, mode="grid-constant")
        np.testing.assert_allclose(result, wanted, atol=2e-5)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() < 1.00001


def test_no_strength_leaves_the_images_as_they_are(images, only):
    only()
    np.testing.assert_allclose(distort(tf.constant(images), [1, 2]), images / 255, atol=1e-5)


def test_shift_moves_every_image_differently_within_its_bound(images, only):
    only(SHIFT=2.0)
    found = distort(tf.constant(images), [1, 2]).numpy()
    moves = np.array([center_of_mass(b) for b in found]) - [center_of_mass(a) for a in images / 255.0]
    assert np.abs(moves).max() <= 2.01 and np.abs(moves).max() > 1.9, "two pixels at the most"
    assert np.std(moves, axis=0) == pytest.approx(2 / np.sqrt(3), rel=0.2), "evenly spread"
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.3, "down and across are independent"


@pytest.mark.parametrize(("name", "strength"), [("ROTATION", 30.0), ("ZOOM", 0.3), ("SHEAR", 0.4)])
def test_linear_distortions_are_those_of_a_matrix(images, only, monkeypatch, name, strength):
    """With the random amount 1 everywhere, each result is what the matrix by hand gives."""
    only(**{name: strength})
    monkeypatch.setattr(tf.random, "stateless_uniform", lambda shape, *args, **options: tf.ones(shape))
    angle = np.deg2rad(strength)
    from_matrix = {
        "ROTATION": [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]],
        "ZOOM": [[1.3, 0], [0, 1.3]],
        "SHEAR": [[1, 0.4], [0, 1]],
    }[name]  # from (x, y) of the result to (x, y) of the image, around the center
    y, x = np.mgrid[:28, :28] - 13.5
    columns, rows = np.tensordot(from_matrix, [x, y], axes=1) + 13.5
    found = distort(tf.constant(images[:5]), [1, 2]).numpy()
    for image, result in zip(images, found):
        wanted = map_coordinates(image / 255, [rows, columns], order=1, mode="grid-constant")
        np.testing.assert_allclose(result, wanted, atol=1e-4)


def test_the_seed_decides(images):
    first, again, other = (
        distort(tf.constant(images), seed, elastic=True) for seed in ([1, 2], [1, 2], [1, 3])
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.02


def test_elastic_displacement_is_smooth_and_of_the_given_size():
    noise = tf.random.stateless_normal((2000, 28, 28), [0, 0])
    smoothing = augmentation.SMOOTHING.numpy()
    field = smoothing @ noise.numpy() @ smoothing.T
    assert field.std(axis=0) == pytest.approx(1, abs=0.1), "at every pixel, also at the border"
    inner = field[:, :, 10:18]  # where the Gaussian is whole
    steps = np.diff(inner, axis=2).std() / inner.std()
    assert steps == pytest.approx(1 / (np.sqrt(2) * augmentation.SMOOTHNESS), rel=0.05)


def test_elastic_changes_more_than_affine_alone(images, only):
    only()
    changed = np.abs(distort(tf.constant(images), [1, 2], elastic=True).numpy() - images / 255.0)
    assert changed.mean() > 0.02
    assert not changed[:, 0, 0].any(), "background stays background"


def places(monkeypatch, images, seed, **options):
    """Return where `distort` reads: columns and rows, relative to the center."""
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(augmentation, "sample", lambda images, x, y: read.append((x, y)))
        distort(tf.constant(images), seed, **options)
    return np.array(read[0]) - 13.5


def test_the_six_amounts_are_independent_evenly_spread_and_within_their_bounds(monkeypatch, images):
    x, y = places(monkeypatch, np.repeat(images[:1], 1000, axis=0), [1, 2])
    right, down = x.mean((1, 2)), y.mean((1, 2))
    a, c = x[:, 0, 1] - x[:, 0, 0], y[:, 0, 1] - y[:, 0, 0]  # one column to the right
    b, d = x[:, 1, 0] - x[:, 0, 0], y[:, 1, 0] - y[:, 0, 0]  # one row down
    angle, wide = np.arctan2(c, a), np.hypot(a, c)
    across, high = b * np.cos(angle) + d * np.sin(angle), d * np.cos(angle) - b * np.sin(angle)
    amounts = {
        "ROTATION": np.rad2deg(angle) / augmentation.ROTATION,
        "ZOOM, wide": (wide - 1) / augmentation.ZOOM,
        "ZOOM, high": (high - 1) / augmentation.ZOOM,
        "SHEAR": across / augmentation.SHEAR,
        "SHIFT, right": right / augmentation.SHIFT,
        "SHIFT, down": down / augmentation.SHIFT,
    }
    for name, amount in amounts.items():
        assert -1.001 <= amount.min() < -0.98 and 0.98 < amount.max() <= 1.001, name
        assert amount.std() == pytest.approx(1 / np.sqrt(3), rel=0.1), name
    assert np.abs(np.corrcoef([*amounts.values()]) - np.eye(6)).max() < 0.15


def test_elastic_fields_are_others_for_each_image_direction_batch_and_seed(monkeypatch, images, only):
    only()
    y, x = np.mgrid[:28, :28] - 13.5
    fields = []
    for seed in ([1, 2], [1, 3], [2, 2], [2, 3]):
        read = places(monkeypatch, images[:20], seed, elastic=True)
        fields += [*(read[0] - x), *(read[1] - y)]
    together = np.corrcoef([field[::9, ::9].ravel() for field in fields]) - np.eye(len(fields))
    assert np.abs(together).max() < 0.98, "no field twice"
    assert together.std() == pytest.approx(1 / 4, abs=0.06), "as independent as 16 numbers each can be"
    assert np.std(fields) == pytest.approx(augmentation.ELASTIC, rel=0.1)
