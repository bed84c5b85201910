"""Whether an image is like those that a network learned, so that it can answer "none of these".

Notebook 13 teaches both measures; the page of `helpers.draw` uses them together.
"""

from dataclasses import dataclass, replace

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np
from keras import layers

from helpers.data import Dataset
from helpers.evaluation import predict

KEPT = 0.99  # the share of the validation images that is accepted
STEPS = np.linspace(0, 1, 1001)  # the shares of which a table of quantiles tells the values
IMAGES = 5000  # so many training images are enough for the means and the spread


def of_all_layers(network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network makes of images.

    Returns:
        The mean output of every map and unit of its pooling, dense and ReLU layers, ``(n, numbers)``;
        and the inputs of its softmax, ``(n, classes)``.
    """
    kinds = (layers.ReLU, layers.MaxPooling2D, layers.GlobalMaxPooling2D, layers.Dense)
    hidden = [layer.output for layer in network.layers[:-1] if isinstance(layer, kinds)]
    means = [layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x for x in hidden]
    before = network.layers[-1].input
    inner = keras.Model(network.inputs[0], layers.Concatenate()([*means, before]))
    numbers, last = np.split(predict(inner, images).astype(float), [-before.shape[-1]], axis=1)
    weights, bias = network.layers[-1].get_weights()
    return numbers, last @ weights + bias


@dataclass(frozen=True)
class Usual:
    """What is usual for a network: `measure_usual` measures it."""

    means: np.ndarray  # of each class, (classes, numbers)
    inverse: np.ndarray  # of the numbers' covariance within a class
    tables: np.ndarray  # of validation images: quantiles of both measures and of the higher rank

    def measures(self, network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return two numbers for each image that are high if it is unusual.

        They are the squared Mahalanobis distance to the nearest class mean, and minus the energy: the
        logarithm of the sum of the exponentials of the softmax's inputs.
        """
        numbers, scores = of_all_layers(network, images)
        away = [numbers - mean for mean in self.means]
        distances = np.min([((x @ self.inverse) * x).sum(axis=1) for x in away], axis=0)
        return distances, -np.logaddexp.reduce(scores, axis=1)

    def as_unusual(self, network: keras.Model, images: np.ndarray) -> np.ndarray:
        """Return the share of the validation images that are at least as unusual as each image.

        What counts is the measure by which the image is the more unusual one. With a share below
        1 − `KEPT`, refuse the image: it is none of the classes.
        """
        ranks = _higher_rank(self.measures(network, images), self.tables)
        return 1 - np.interp(ranks, self.tables[2], STEPS)


def measure_usual(network: keras.Model, data: Dataset, validation_split: float = 0.1) -> Usual | None:
    """Measure what is usual for a network on the images that it learned, and on validation images.

    Args:
        network: a trained network that ends in a dense layer with a softmax.
        data: the `helpers.data.Dataset` that it was trained on.
        validation_split: the share that was held out. From these images come the tables, and so the
            threshold.

    Returns:
        A `Usual`, or None if the data has too few images to tell.
    """
    if len(data.x_train) < 20:
        return None
    cut = int(len(data.x_train) * (1 - validation_split))  # as `split_validation`, which warned before
    learned = slice(min(cut, IMAGES))
    numbers, _ = of_all_layers(network, data.x_train[learned])
    found, place = np.unique(data.y_train[learned], return_inverse=True)
    means = np.array([numbers[place == i].mean(axis=0) for i in range(len(found))])
    spread = np.cov((numbers - means[place]).T)
    # A little more on the diagonal, so that the table can be inverted.
    spread += (0.01 * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
    usual = Usual(means, np.linalg.inv(spread), np.zeros((0, len(STEPS))))
    measures = usual.measures(network, data.x_train[cut:])
    tables = [np.quantile(measure, STEPS) for measure in measures]
    tables.append(np.quantile(_higher_rank(measures, tables), STEPS))
    return replace(usual, tables=np.array(tables))


def _higher_rank(measures, tables):
    """Return which share of the validation images is below each image, by the measure where that is more."""
    return np.max([np.interp(x, table, STEPS) for x, table in zip(measures, tables)], axis=0)
