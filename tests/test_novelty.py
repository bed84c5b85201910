"""What is usual for a network: as notebook 13 computes it, and what follows from it."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import logsumexp

from helpers.data import Dataset
from helpers.evaluation import predict
from helpers.models import build_model
from helpers.novelty import KEPT, measure_usual
from tests.conftest import make_arrays
from tests.test_lessons import define


@pytest.fixture(scope="module")
def few(sample):
    part = sample.x_train[:1000], sample.y_train[:1000], sample.x_test[:200], sample.y_test[:200]
    return Dataset(*part, name="few")


@pytest.fixture(scope="module", params=["reference", "deep", "dense"])
def network(request):
    """Networks of every kind of layer; untrained ones measure, too."""
    keras.utils.set_random_seed(0)
    return build_model(request.param)


def test_measures_what_notebook_13_measures(network, few):
    known = {"keras": keras, "layers": layers, "predict": predict, "logsumexp": logsumexp}
    known |= {"x_learned": few.x_train[:900], "y_learned": few.y_train[:900]}
    found = define(13, "of_all_layers", "nearness", "before_last", "energy", **known)
    of_all_layers, nearness, energy = (found[name] for name in ("of_all_layers", "nearness", "energy"))
    distances, energies = measure_usual(network, few).measures(network, few.x_test)
    expected = nearness(network, of_all_layers)(network, few.x_test)
    assert np.allclose(-distances, expected, rtol=1e-3)
    assert np.allclose(-energies, energy(network, few.x_test), atol=1e-4)


def test_accepts_the_promised_share_of_validation_images(network, few):
    usual = measure_usual(network, few, 0.4)
    shares = usual.as_unusual(network, few.x_train[600:])
    assert abs((shares >= 1 - KEPT).mean() - KEPT) <= 1 / 400
    assert abs(shares.mean() - 0.5) < 0.01, "the share of the validation images that are as unusual"
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    assert (usual.as_unusual(network, noise) < 1 - KEPT).all()


def test_data_without_enough_images_tells_nothing(network):
    assert measure_usual(network, Dataset(**make_arrays(train=12), name="few")) is None
