"""What several test files share: tiny, made-up data of the right form, the same on every call."""

import os

import numpy as np
import pytest

from helpers.data import Dataset

os.environ.setdefault("MPLBACKEND", "Agg")


def make_arrays(train=40, test=20, classes=10, seed=0):
    """Return the four arrays of a valid data set: noise, and a bright row whose height is the class."""
    random = np.random.default_rng(seed)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        labels = random.permutation(np.arange(count) % classes).astype(np.uint8)
        images = random.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), labels % 28] = 255
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    return arrays


LONGEST = ("09_", "04_", "07_", "02_", "10_", "12_", "08_")  # notebooks, in the order of CPU seconds


def pytest_collection_modifyitems(items):
    """Put the longest tests first, so that no core waits for another at the end: machines, then notebooks."""

    def place(item):
        if item.get_closest_marker("machine"):
            return -2, 0
        if item.name.startswith("test_two_executions_agree"):
            notebook = item.name.partition("[")[2][:3]
            return -1, LONGEST.index(notebook) if notebook in LONGEST else len(LONGEST)
        return 0, 0

    items.sort(key=place)


@pytest.fixture
def arrays():
    """The arrays of a data set of 40 training and 20 test images in 10 classes."""
    return make_arrays()


@pytest.fixture
def tiny():
    """The same as a `Dataset`."""
    return Dataset(**make_arrays(), name="tiny")
