"""Write a page to draw on that holds a trained reference network.

python -m helpers.draw MODEL.keras PAGE.html
"""

import argparse
import sys
import zipfile
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras

from helpers.data import load_mnist
from helpers.draw.page import PageError, build_page
from helpers.errors import TutorialError
from helpers.folders import write


def main(arguments=None):
    """Write a page from the shell; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.draw", description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a reference network, as a .keras file")
    parser.add_argument("page", help="the HTML file to write")
    parser.add_argument("--dataset", default="sample", help="where the class names and test images are from")
    options = parser.parse_args(arguments)
    try:
        write(build_page(read_model(options.model), load_mnist(options.dataset)), options.page)
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {options.page} in a browser.")
    return 0


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
