"""Augmentation: new training images by distorting the given ones. Notebook 10 teaches it."""

import helpers.quiet  # isort: skip (must come before TensorFlow)

import numpy as np
import tensorflow as tf

SIZE = 28
ROTATION, ZOOM, SHEAR, SHIFT = (12.0, 0.10, 0.15, 2.5)  # degrees, share, share, pixels: at most
ELASTIC, SMOOTHNESS = (0.5, 4.0)  # pixels: standard deviation of the displacement, and of its smoothing


def distort(images: tf.Tensor, seed, elastic: bool = False) -> tf.Tensor:
    """Rotate, zoom, shear and shift every image at random, each differently, at once.

    Args:
        images: ``(n, 28, 28)`` uint8 tensor.
        seed: two integers; the same seed gives the same distortions.
        elastic: also displace every pixel by a smooth random field, as in Simard, Steinkraus,
            Platt 2003, ICDAR.

    Returns:
        ``(n, 28, 28)`` float32 in [0, 1]; what comes from outside an image is 0.
    """
    count = tf.shape(images)[0]
    amounts = tf.random.stateless_uniform((6, count, 1, 1), seed, -1, 1, alg="philox")
    angle = amounts[0] * (ROTATION * np.pi / 180)
    wide, high = 1 + ZOOM * amounts[1], 1 + ZOOM * amounts[2]
    across = SHEAR * amounts[3]
    cosine, sine = tf.cos(angle), tf.sin(angle)
    x = tf.range(SIZE, dtype=tf.float32)[tf.newaxis, tf.newaxis, :] - (SIZE - 1) / 2
    y = tf.range(SIZE, dtype=tf.float32)[tf.newaxis, :, tf.newaxis] - (SIZE - 1) / 2
    # Where each pixel of the result comes from, relative to the image's center.
    x_from = wide * cosine * x + (across * cosine - high * sine) * y + SHIFT * amounts[4]
    y_from = wide * sine * x + (across * sine + high * cosine) * y + SHIFT * amounts[5]
    if elastic:
        noise = tf.random.stateless_normal((2, count, SIZE, SIZE), tf.stack(seed) + 1, alg="philox")
        field = ELASTIC * (SMOOTHING @ noise @ tf.transpose(SMOOTHING))
        x_from, y_from = x_from + field[0], y_from + field[1]
    return sample(images, x_from + (SIZE - 1) / 2, y_from + (SIZE - 1) / 2)


def sample(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Read images between their pixels, by bilinear interpolation.

    Args:
        images: ``(n, 28, 28)`` uint8 tensor.
        x, y: ``(n, 28, 28)`` float32, columns and rows; outside the image everything is 0.

    Returns:
        ``(n, 28, 28)`` float32 in [0, 1].
    """
    # In a frame of zeros every pixel has a right, a lower and a lower right neighbor.
    width = SIZE + 3
    framed = tf.reshape(tf.pad(images, [[0, 0], [1, 2], [1, 2]]), [-1])
    x, y = (tf.clip_by_value(position, -1, SIZE) + 1 for position in (x, y))
    left, top = tf.floor(x), tf.floor(y)
    right, down = x - left, y - top
    place = tf.cast(top * width + left, tf.int32) + width**2 * tf.range(tf.shape(images)[0])[:, None, None]
    corners = [tf.cast(tf.gather(framed, place + k), tf.float32) for k in (0, 1, width, width + 1)]
    above, below = (a + right * (b - a) for a, b in (corners[:2], corners[2:]))
    return (above + down * (below - above)) / 255


def _smoothing():
    """Return the matrix that smooths a row by a Gaussian and keeps white noise's variance at 1."""
    place = np.arange(SIZE)
    matrix = np.exp(-((place[:, None] - place) ** 2) / (2 * SMOOTHNESS**2))
    return tf.constant(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), tf.float32)


SMOOTHING = _smoothing()
