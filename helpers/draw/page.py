"""Write one HTML file that runs a trained reference network where it is opened, to draw digits on.

    python -m helpers.draw MODEL.keras PAGE.html

The file holds everything: the weights as 16-bit numbers, some test images, and the code of
``pad.js`` and ``draw.js``. It loads nothing. Notebook 12 shows it.
"""

import argparse
import base64
import html
import json
import sys
import zipfile
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np
from IPython.display import display

from helpers import pad
from helpers.data import DIGITS, load_mnist
from helpers.errors import TutorialError
from helpers.evaluation import predict
from helpers.folders import write
from helpers.models import build_reference_model

HERE = Path(__file__).parent
WEIGHTED = ("conv_1", "conv_2", "dense", "output")  # the layers that have weights
GALLERY = 10  # test images of each kind in the gallery, ordinary and hard


class PageError(TutorialError):
    """A model cannot be made into a page."""


def build_page(model, data):
    """Return a page on which the network reads what is drawn.

    Args:
        model: a trained reference network (`helpers.models.build_reference_model`) with any number
            of classes and any dropout.
        data: a `helpers.data.Dataset`: its class names, and test images for the gallery.

    Returns:
        The HTML text; the same for the same model and data.

    Raises:
        PageError: the model is not the reference network, has other classes than the data, or
            weights that are no numbers.
    """
    _check(model, data)
    chosen, hard = _choose_images(predict(model, data.x_test), data.y_test)
    description = {
        "classes": data.class_names,
        "images": [{"label": int(data.y_test[i]), "hard": bool(h)} for i, h in zip(chosen, hard)],
    }
    numbers = _weights(model) + data.x_test[chosen].tobytes()
    parts = {
        "TITLE": "Draw a digit" if data.class_names == DIGITS else "Draw something to read",
        "PAD_STYLE": pad.STYLE.read_text(encoding="utf-8"),
        "FOOTER": f"{model.count_params():,} trained numbers, kept here with 16 bits each. "
        f"Test images: {html.escape(data.name)}.",
        "DESCRIPTION": json.dumps(description).replace("<", "\\u003c"),  # no name may end the script
        "NUMBERS": base64.b64encode(numbers).decode(),
        "PAD_SCRIPT": pad.SCRIPT.read_text(encoding="utf-8"),
        "PAGE_SCRIPT": (HERE / "draw.js").read_text(encoding="utf-8"),
    }
    page = (HERE / "draw.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        page = page.replace(f"@@{name}@@", part)
    return page


def _check(model, data):
    classes = model.output_shape[-1] if isinstance(model, keras.Sequential) and model.built else None
    if not isinstance(classes, int) or _architecture(model) != _architecture(build_reference_model(classes)):
        raise PageError(
            "This model is not the reference network of notebook 03, and the page can run no other; "
            "give one that `helpers.models.build_reference_model` built."
        )
    if classes != data.classes:
        raise PageError(
            f"This model has {classes} classes and the data {data.name} has {data.classes}; "
            "give the data that it was trained on."
        )
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise PageError("This model has weights that are no finite numbers; train it again.")


def _architecture(model):
    """Return what decides a network's computation: every layer's type and settings, in order."""
    settings = (
        "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups",
        "pool_size", "units", "activation", "use_bias",
    )  # fmt: skip
    layers = [
        (type(layer), layer.name, [layer.get_config().get(name) for name in settings])
        for layer in model.layers
    ]
    return model.input_shape, layers


def _weights(model):
    """Return all scales, then all biases (float32), then all kernels (int16, in Keras's order).

    A kernel is kept as whole numbers from −32,767 to 32,767 with one scale per output, which
    changes the probabilities less than float16 does.
    """
    layers = [model.get_layer(name) for name in WEIGHTED]
    kernels = [np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1]) for layer in layers]
    biases = [np.asarray(layer.bias) for layer in layers]
    scales = [np.maximum(np.abs(kernel).max(axis=0), 1e-30) / 32767 for kernel in kernels]
    whole = [np.round(kernel / scale).astype("<i2") for kernel, scale in zip(kernels, scales)]
    return b"".join(array.astype("<f4").tobytes() for array in scales + biases) + b"".join(
        array.tobytes() for array in whole
    )


def _choose_images(probabilities, labels):
    """Choose test images: the first right one of each class, and those whose label gets least.

    Returns:
        Their indices, and for each whether it is one of the hard ones.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    right = probabilities.argmax(axis=1) == labels
    ordinary = [
        np.flatnonzero(right & (labels == label))[0]
        for label in range(probabilities.shape[1])
        if (right & (labels == label)).any()
    ][:GALLERY]
    hard = np.argsort(of_label, kind="stable")[:GALLERY]
    return [*ordinary, *hard], [False] * len(ordinary) + [True] * len(hard)


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


def show_page(page, alt, name=None):
    """Display a page inside a notebook, in a frame of its own that can reach nothing outside it.

    Args:
        page: HTML text.
        alt: the text above it, and all that is shown where frames are not (as on GitHub).
        name: the file name, without ending, under which ``make refresh`` copies the page to
            ``figures/``.
    """
    frame = (
        '<iframe sandbox="allow-scripts" style="width: 100%; height: 60rem; border: 0" '
        f'title="{html.escape(alt)}" srcdoc="{html.escape(page)}"></iframe>'
    )
    about = {"alt": alt} | ({"name": name} if name else {})
    display(
        {"text/html": f"<p>{html.escape(alt)}</p>{frame}", "text/plain": alt},
        metadata={"text/html": about},
        raw=True,
    )


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


if __name__ == "__main__":
    sys.exit(main())
