"""The figures' common style, and the drawings that more than one notebook makes."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from PIL import Image

# Okabe and Ito's palette: told apart with any kind of color vision (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, PURPLE, GRAY = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666")
DOTS_PER_INCH = 144  # twice what a page needs, so that figures stay sharp on dense screens


def use_style():
    """Give all figures of a notebook the same look."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PURPLE, GRAY]),
            "image.cmap": "gray_r",  # ink is dark, as on paper
            "lines.linewidth": 2,
        }
    )


def show(figure, alt, name=None):
    """Display a figure with a text that says what it shows, and close it.

    Args:
        figure: a Matplotlib figure.
        alt: the text for those who cannot see the figure.
        name: the file name, without ending, under which ``make refresh`` copies the figure to
            ``figures/``; None for figures that stay in their notebook.
    """
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    # 256 colors, the nearest for each pixel: looks the same and takes less than half the space.
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(buffer, format="png", optimize=True)
    width = round(figure.get_figwidth() * DOTS_PER_INCH / 1.5)
    plt.close(figure)
    about = {"alt": alt, "width": width} | ({"name": name} if name else {})
    display(
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        metadata={"image/png": about},
        raw=True,
    )


def draw_digits(images, titles, columns=8, wrong=None, title=None):
    """Draw a grid of images with a title over each.

    Args:
        images: ``(n, 28, 28)`` uint8.
        titles: n texts.
        columns: images per row.
        wrong: n truth values; True marks a wrong prediction with a heavy dashed frame and a cross
            before its title, False a right one with a thin frame and a tick. None draws no marks.
        title: a text above the grid, or None.

    Returns:
        A Matplotlib figure.
    """
    rows = max(1, -(-len(images) // columns))
    lines = max((text.count("\n") for text in titles), default=0) + 1
    figure, axes = plt.subplots(
        rows, columns, figsize=(7.2, rows * (7.2 / columns + 0.19 * lines)), squeeze=False
    )
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image, text) in enumerate(zip(axes.flat, images, titles)):
        axis.imshow(image, vmin=0, vmax=255)
        mark = "" if wrong is None else "✗ " if wrong[i] else "✓ "
        axis.set_title(mark + text, fontsize=10, loc="center")
        if wrong is not None:
            axis.axis("on")
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(
                    visible=True,
                    color=ORANGE if wrong[i] else GRAY,
                    linewidth=3 if wrong[i] else 0.8,
                    linestyle=(0, (3, 1.5)) if wrong[i] else "-",
                )
    place = 0.96 * figure.bbox.width / columns
    widest = max(axis.title.get_window_extent().width for axis in axes.flat)
    if widest > place:  # long class names
        for axis in axes.flat:
            axis.title.set_fontsize(10 * place / widest)
    return figure


def draw_history(history, title):
    """Draw training against validation accuracy and loss, side by side, over the epochs.

    Args:
        history: a dict with the lists ``accuracy``, ``val_accuracy``, ``loss`` and ``val_loss``,
            one value per epoch.
        title: a text above both charts.

    Returns:
        A Matplotlib figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    epochs = range(1, len(history["loss"]) + 1)
    for axis, key, label in zip(axes, ("accuracy", "loss"), ("accuracy (%)", "cross-entropy loss")):
        factor = 100 if key == "accuracy" else 1
        axis.plot(epochs, factor * np.array(history[key]), "o-", color=BLUE, label="training")
        axis.plot(epochs, factor * np.array(history[f"val_{key}"]), "s--", color=ORANGE, label="validation")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.legend(frameon=False)
    return figure


def draw_confusion(table):
    """Draw a confusion table as a heat map of the errors, with every count written in its cell.

    The diagonal (right answers) stays white, so that the color shows the errors.

    Args:
        table: as `helpers.evaluation.confusion_table` returns it.

    Returns:
        A Matplotlib figure.
    """
    counts = table.to_numpy()
    errors = counts * (1 - np.eye(len(table), dtype=int))
    size = max(5.4, 0.48 * len(table))
    figure, axis = plt.subplots(figsize=(size + 0.6, size))
    colored = np.where(errors > 0, errors, np.nan)  # cells without errors stay white
    axis.imshow(colored, cmap="Oranges", vmin=0, vmax=1.3 * max(1, errors.max()))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            weight = "bold" if row == column else "normal"
            axis.text(column, row, count, ha="center", va="center", fontsize=9, weight=weight)
    long_names = max(map(len, table.index)) > 2
    axis.set_xticks(
        range(len(table)),
        table.columns,
        rotation=60 if long_names else 0,
        ha="right" if long_names else "center",
    )
    axis.set_yticks(range(len(table)), table.index)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.spines[:].set_visible(False)
    return figure
