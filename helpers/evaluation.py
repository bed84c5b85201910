"""Measure a trained network. Notebook 05 teaches the measures."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t
from sklearn.metrics import confusion_matrix

from helpers.preprocessing import scale

IMAGES_PER_CALL = 500  # keeps memory small: the images are scaled a piece at a time


def predict(model: Callable, images: np.ndarray) -> np.ndarray:
    """Return the network's probabilities (or what else the last layer of a model gives).

    Args:
        model: a Keras model from ``(n, 28, 28, 1)`` to ``(n, classes)``.
        images: ``(n, 28, 28)`` uint8.

    Returns:
        ``(n, classes)`` float32; every row sums to 1.
    """
    if len(images) > IMAGES_PER_CALL:
        import tensorflow as tf

        model = tf.function(model, reduce_retracing=True)  # one program: takes half the time
    pieces = [
        model(scale(images[start : start + IMAGES_PER_CALL]), training=False).numpy()
        for start in range(0, len(images), IMAGES_PER_CALL)
    ]
    return np.concatenate(pieces)


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval (low, high) of a proportion, as shares from 0 to 1.

    Source: Wilson 1927; recommended by Brown, Cai, DasGupta 2001, Statistical Science 16(2).

    Raises:
        ValueError: unless 0 ≤ ``correct`` ≤ ``total`` and ``total`` ≥ 1.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} correct of {total} is no proportion.")
    interval = binomtest(int(correct), int(total)).proportion_ci(confidence, method="wilson")
    return interval.low, interval.high


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, within: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float, float]:
    """Return the mean of repeated measurements and Student's interval for it: (mean, low, high).

    ``within`` is what can be measured at all, as (0, 1) for shares: with few values the interval may
    be wider, and ends there. With a single value it is not known: nan.

    Source: Student 1908, Biometrika 6(1).
    """
    values = np.asarray(values, dtype=float)
    mean, count = values.mean(), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    margin = t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, *np.clip((mean - margin, mean + margin), *within)


def confusion_table(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Count how often each class (row) was read as each class (column).

    Args:
        labels: true classes, ``(n,)`` integers.
        predicted: predicted classes, ``(n,)`` integers.
        class_names: the classes' names, in order.

    Returns:
        A pandas table of shape ``(classes, classes)``; a row sums to the class's images.
    """
    counts = confusion_matrix(labels, predicted, labels=range(len(class_names)))
    names = list(class_names)
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))
