"""Build one HTML file that runs a trained reference network where it is opened, to draw digits on.

The file holds everything: the weights as 16-bit numbers, some test images, and the code of
``pad.js`` and ``page.js``. It loads nothing. Notebook 12 shows it.
"""

import base64
import html
import json
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np
from IPython.display import display

from helpers.data import DIGITS, Dataset
from helpers.errors import TutorialError
from helpers.evaluation import predict
from helpers.models import build_reference_model

HERE = Path(__file__).parent
WEIGHTED = ("conv_1", "conv_2", "dense", "output")  # the layers that have weights
GALLERY = 10  # test images of each kind in the gallery, ordinary and hard


class PageError(TutorialError):
    """A model cannot be made into a page."""


def build_page(model: keras.Model, data: Dataset) -> str:
    """Return a page on which the network reads what is drawn.

    Args:
        model: a trained reference network (`helpers.models.build_reference_model`) with any number
            of classes and any dropout.
        data: a `helpers.data.Dataset`: its class names, and test images for the gallery, if it has any.

    Returns:
        The HTML text; the same for the same model and data.

    Raises:
        PageError: the model is not the reference network, has other classes than the data, or
            weights that are no numbers.
    """
    _check(model, data)
    chosen, hard = [], []
    if len(data.x_test) > 0:
        chosen, hard = _choose_images(predict(model, data.x_test), data.y_test)
    description = {
        "classes": data.class_names,
        "images": [{"label": int(data.y_test[i]), "hard": bool(h)} for i, h in zip(chosen, hard)],
    }
    numbers = _weights(model) + data.x_test[chosen].tobytes()
    parts = {
        "TITLE": "Draw a digit" if data.class_names == DIGITS else "Draw something to read",
        "PAD_STYLE": (HERE / "pad.css").read_text(encoding="utf-8"),
        "FOOTER": f"{model.count_params():,} trained numbers, kept here with 16 bits each. "
        f"Data: {html.escape(data.name)}.",
        "DESCRIPTION": json.dumps(description).replace("<", "\\u003c"),  # no name may end the script
        "NUMBERS": base64.b64encode(numbers).decode(),
        "PAD_SCRIPT": (HERE / "pad.js").read_text(encoding="utf-8"),
        "PAGE_SCRIPT": (HERE / "page.js").read_text(encoding="utf-8"),
    }
    page = (HERE / "page.html").read_text(encoding="utf-8")
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


def show_page(page: str, alt: str, name: str | None = None) -> None:
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
