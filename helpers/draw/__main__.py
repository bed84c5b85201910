"""Write a page to draw on that holds a trained reference network.

python -m helpers.draw MODEL.keras PAGE.html
"""

import argparse
import sys
import zipfile
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np

from helpers.data import Dataset, load_mnist
from helpers.draw.page import PageError, build_page
from helpers.errors import TutorialError, say, shown
from helpers.folders import write
from helpers.storage import ABOUT, read_about


def main(arguments=None):
    """Write a page from the shell; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.draw", description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a reference network, as a .keras file")
    parser.add_argument("page", help="the HTML file to write")
    parser.add_argument(
        "--dataset", help="the data that the network was trained on: the page shows test images"
    )
    options = parser.parse_args(arguments)
    try:
        model = read_model(options.model)
        write(build_page(model, read_data(options.model, options.dataset)), options.page)
    except TutorialError as error:
        say(str(error))
        return 1
    print(f"Open {options.page} in a browser.")
    return 0


def read_data(path, dataset):
    """Return the data that a network was trained on; without its images if `dataset` is None.

    Raises:
        PageError: the network was trained on other data, or its file does not say on which.
    """
    try:
        about = read_about(path)
        names = None if about is None else tuple(str(name) for name in about["class_names"])
        name, fingerprint = ("", "") if about is None else (str(about["data"]), str(about["fingerprint"]))
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise PageError(f"{path} is damaged ({ABOUT}: {error}); save the model again.") from None
    if dataset is None:
        if names is None:
            raise PageError(
                f"{path} does not say which data it was trained on; name them with `--dataset`, or save the "
                "model with `helpers.storage.save_model`, which writes it down."
            )
        images, labels = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)
        return Dataset(images, labels, images, labels, name=name, class_names=names)
    data = load_mnist(dataset)
    if names is not None and data.fingerprint != fingerprint:
        raise PageError(
            f"{path} was trained on other data than {shown(dataset)}, namely {shown(name)}; give those as "
            "`--dataset`, or leave it out for a page without test images."
        )
    return data


def read_model(path):
    """Read a ``.keras`` file without running any code that it may hold.

    Raises:
        PageError: there is no such file, it is damaged, or it holds code of its own.
    """
    path = Path(path)
    if not path.is_file():
        raise PageError(f"There is no file {path}; correct the path.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise PageError(
            f"{path} is no complete .keras file (truncated, or of another format); "
            "save the model again with model.save, under a name that ends in .keras."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged or hostile file makes its decoder raise nearly anything
        reason = " ".join(str(error).split())
        if any(word in reason for word in ("safe_mode", "unsafe", "Could not locate", "not allowed")):
            raise PageError(
                f"{path} holds code or layers of its own, which are never loaded because they could do "
                "anything to your computer; give a model that is made of Keras's own layers."
            ) from None
        raise PageError(
            f"{path} is damaged ({type(error).__name__}: {reason[:120]}); save the model again."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
