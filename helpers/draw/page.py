"""Build one HTML file that runs a trained reference network where it is opened, to draw digits on.

The file holds everything: the weights as 16-bit numbers, what is usual for the network, some test
images, and all code. It loads nothing. Notebook 12 shows it.
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
from helpers.errors import TutorialError, shown
from helpers.evaluation import predict
from helpers.models import build_reference_model
from helpers.novelty import KEPT, measure_usual

HERE = Path(__file__).parent
SCRIPTS = ("pad.js", "network.js", "inside.js", "files.js", "own.js", "page.js")  # in this order
GALLERY = 10  # test images of each kind in the gallery, ordinary and hard


class PageError(TutorialError):
    """A model cannot be made into a page."""


def build_page(
    model: keras.Model,
    data: Dataset,
    validation_split: float = 0.1,
    others: dict[str, keras.Model] | None = None,
) -> str:
    """Return a page on which the network reads what is drawn.

    Args:
        model: a trained reference network (`helpers.models.build_reference_model`) with any number
            of classes and any dropout.
        data: the `helpers.data.Dataset` that it was trained on: its class names; test images for the
            gallery, if it has any; and training images, from which the page knows what is usual.
        validation_split: the share of the training images that was held out.
        others: networks to compare by their names: reference networks or networks of dense layers only,
            such as `helpers.models.build_small_dense_model`.

    Returns:
        The HTML text; the same for the same model and data.

    Raises:
        PageError: the model is not the reference network, another one is of no kind that the page
            can run, or a network has other classes than the data, or weights that are no numbers.
    """
    others = others or {}
    shapes = [_dense_shapes(other) for other in others.values()]
    build = "give one of `helpers.models.build_reference_model`"
    fault = f"not the reference network of notebook 03, and the page can run no other; {build}"
    _check("This model", model, data, _is_reference(model), fault)
    fault = f"neither notebook 03's nor one of dense layers, ReLU and softmax; {build} or `build_dense_model`"
    for (name, other), shape in zip(others.items(), shapes):
        can_run = shape is not None or _is_reference(other)
        _check(f"The network {shown(name)}", other, data, can_run, fault)
    there = len(data.x_test) > 0
    chosen, hard = _choose_images(predict(model, data.x_test), data.y_test) if there else ([], [])
    usual = measure_usual(model, data, validation_split)
    digits = data.class_names == DIGITS
    description = {
        "classes": data.class_names,
        "what": "digit" if digits else "image",
        "none": "Not a digit, I think" if digits else "None of these, I think",
        "usual": 0 if usual is None else len(usual.means),
        "refused": 1 - KEPT,
        "others": [{"name": name, "shapes": shape} for name, shape in zip(others, shapes)],
        "images": [{"label": int(data.y_test[i]), "hard": bool(h)} for i, h in zip(chosen, hard)],
    }
    numbers = b"".join([_weights(model), _usual(usual), *map(_weights, others.values())])
    numbers += data.x_test[chosen].tobytes()
    parts = {
        "TITLE": "Draw a digit" if digits else "Draw something to read",
        "PAD_STYLE": (HERE / "pad.css").read_text(encoding="utf-8"),
        "FOOTER": f"{model.count_params():,} trained numbers, kept here with 16 bits each. "
        f"Data: {html.escape(data.name)}.",
        "DESCRIPTION": json.dumps(description).replace("<", "\\u003c"),  # no name may end the script
        "NUMBERS": base64.b64encode(numbers).decode(),
        "SCRIPTS": "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        page = page.replace(f"@@{name}@@", part)
    return page


def _is_reference(model):
    """Return whether a network computes as the reference network does, with any number of classes."""
    if not isinstance(model, keras.Sequential) or not model.built:
        return False
    classes = model.output_shape[-1]
    return isinstance(classes, int) and _architecture(model) == _architecture(build_reference_model(classes))


def _check(what, model, data, can_run, fault):
    """Refuse a network that the page cannot run, of other classes than the data, or of no numbers."""
    if not can_run:
        raise PageError(f"{what} is {fault}.")
    classes = model.output_shape[-1]
    if classes != data.classes:
        raise PageError(
            f"{what} has {classes} classes and the data {data.name} has {data.classes}; "
            "give the data that it was trained on."
        )
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise PageError(f"{what} has weights that are no finite numbers; train it again.")


def _dense_shapes(model):
    """Return the shapes of the layers of a network of dense layers only, or None for any other."""
    kinds = keras.layers.Flatten, keras.layers.Dense, keras.layers.Dropout
    is_dense = isinstance(model, keras.Sequential) and all(isinstance(layer, kinds) for layer in model.layers)
    if not is_dense or not model.built or model.input_shape[1:] != (28, 28, 1):
        return None
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    activations = [layer.activation.__name__ for layer in dense]
    if activations != ["relu"] * (len(dense) - 1) + ["softmax"] or not all(x.use_bias for x in dense):
        return None
    return [list(layer.kernel.shape) for layer in dense]


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
    """Return the numbers of the network's layers."""
    layers = [layer for layer in model.layers if layer.weights]
    kernels = [np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1]) for layer in layers]
    return _stored(*zip(*map(_rounded, kernels)), [np.asarray(layer.bias) for layer in layers])


def _rounded(kernel):
    """Return whole numbers from −32,767 to 32,767, and one scale per output.

    They change the probabilities less than float16 does.
    """
    scales = np.maximum(np.abs(kernel).max(axis=0), 1e-30) / 32767
    return np.round(kernel / scales).astype("<i2"), scales


def _stored(kernels, scales, biases):
    """Return layers as bytes: all scales, all biases (float32), then all kernels (in Keras's order)."""
    arrays = [array.astype("<f4") for array in (*scales, *biases)] + list(kernels)
    numbers = b"".join(array.tobytes() for array in arrays)
    return numbers + bytes(-len(numbers) % 4)  # JavaScript reads float32 at multiples of 4


def _usual(usual):
    """Return what is usual as a layer after which plain distances are Mahalanobis distances.

    The inverse covariance is L·Lᵀ, so the squared distance of x and y is that of x·L and y·L. Of L,
    only the lower left triangle is kept: the rest is 0.
    """
    if usual is None:
        return b""
    whole, scales = _rounded(np.linalg.cholesky(usual.inverse))
    kernel, center = whole * scales, usual.means.mean(axis=0)
    layer = _stored([whole[np.tril_indices(len(whole))]], [scales], [-center @ kernel])
    tables = [(usual.means - center) @ kernel, usual.tables]
    return layer + b"".join(table.astype("<f4").tobytes() for table in tables)


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
        '<iframe sandbox="allow-scripts allow-downloads" style="width: 100%; height: 60rem; border: 0" '
        f'title="{html.escape(alt)}" srcdoc="{html.escape(page)}"></iframe>'
    )
    about = {"alt": alt} | ({"name": name} if name else {})
    display(
        {"text/html": f"<p>{html.escape(alt)}</p>{frame}", "text/plain": alt},
        metadata={"text/html": about},
        raw=True,
    )
