"""What several test files share: tiny, made-up data of the right form, and real browsers."""

import gzip
import os
import shutil
import struct

import numpy as np
import pytest
from playwright.sync_api import Error, sync_playwright

from helpers.data import ARRAYS, IDX_FILES, Dataset, load_mnist
from tests.firefox import Firefox

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


def as_idx(array):
    """Return an array of bytes as the content of an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def save_idx(folder, arrays, names=IDX_FILES, zipped=False):
    """Write arrays as IDX files of these names into a folder, gzipped with the ending .gz; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in names.items():
        content = as_idx(arrays[key])
        (folder / f"{name}{'.gz' * zipped}").write_bytes(gzip.compress(content) if zipped else content)
    return folder


def assert_holds(dataset, arrays):
    """A data set's arrays are these, as bytes."""
    for key in ARRAYS:
        assert getattr(dataset, key).dtype == np.uint8
        np.testing.assert_array_equal(getattr(dataset, key), arrays[key])


def same(model, other):
    """Return whether two networks have the same weights."""
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


LONGEST = ("13_", "11_", "10_", "09_", "07_", "04_", "12_", "02_", "08_")  # notebooks, by their CPU seconds


def pytest_collection_modifyitems(items):
    """Put the longest tests first, so that no core waits for another at the end: machines, then notebooks."""

    def place(item):
        if item.get_closest_marker("machine"):
            return -2, 0
        if item.name.startswith("test_runs_on_the_sample"):
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


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder for runs; return the place of the models in it."""
    monkeypatch.setenv("MNIST_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / "models"


@pytest.fixture(scope="session")
def sample():
    """The 5,000 digits that need no network, loaded once."""
    return load_mnist("sample")


@pytest.fixture(scope="module")
def browser():
    """Chromium; without one, the tests are skipped, except on CI, where they fail."""
    installed = shutil.which("chromium") or shutil.which("google-chrome")  # None: Playwright's own
    quiet = ["no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update"]
    with sync_playwright() as playwright:
        try:
            yield playwright.chromium.launch(executable_path=installed, args=[f"--{flag}" for flag in quiet])
        except Error as error:
            needs(f"Chromium ({str(error).splitlines()[0]})")


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    """Firefox as its most careful users set it: no page can read a canvas back."""
    installed = shutil.which("firefox-esr") or shutil.which("firefox") or needs("Firefox")
    private = {"privacy.resistFingerprinting": True}
    with Firefox(installed, tmp_path_factory.mktemp("firefox"), private) as opened:
        yield opened


def needs(browser):
    if os.environ.get("CI"):
        pytest.fail(f"needs the browser {browser}")
    pytest.skip(f"needs the browser {browser}")
