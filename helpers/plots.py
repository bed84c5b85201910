"""The figures' common style, and the longer drawings of the lesson."""

import base64
import contextlib
import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib import font_manager, ticker
from PIL import Image

# Okabe and Ito's palette: told apart with any kind of color vision (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, PURPLE, GRAY = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666")
# For classes: Paul Tol's "muted" and black (https://sronpersonalpages.nl/~pault/), each with a form of
# its own. With 10 colors and 9 forms, no two of the first 90 classes look the same.
CLASS_COLORS = ("#332288", "#88CCEE", "#117733", "#CC6677", "#DDCC77", "#882255", "#44AA99", "#999933")
CLASS_COLORS += ("#AA4499", "#000000")
CLASS_MARKERS = "osD^v<>ph"
DOTS_PER_INCH = 144  # 1.5 times what a page needs, so that figures stay sharp on dense screens


def use_style() -> None:
    """Give all figures of a notebook the same look, whatever the user's own Matplotlib settings say."""
    matplotlib.rcdefaults()
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
            "text.parse_math": False,  # a name with a dollar sign is a name, not a formula
        }
    )


def drawable(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as figures can show them: the names if an installed font has all their letters.

    If none has, the names become numbers, and a sentence says which is which.
    """
    usual = font_manager.findfont("DejaVu Sans")  # Matplotlib's own
    letters = {ord(letter) for letter in "".join(names) if not letter.isspace()}
    missing = letters - set(font_manager.get_font(usual).get_charmap())
    if not missing:
        return tuple(names)
    for font in font_manager.fontManager.ttflist:
        if "Last Resort" in font.name or "Emoji" in font.name:  # boxes; colors that Matplotlib cannot draw
            continue
        with contextlib.suppress(OSError, RuntimeError):  # the list is kept in a file: a font may be gone
            if missing <= set(font_manager.get_font(font.fname).get_charmap()):
                plt.rcParams["font.family"] = ["DejaVu Sans", font.name]
                return tuple(names)
    legend = ", ".join(f"{number} is {name}" for number, name in enumerate(names))
    print(f"No font on this machine has the letters of all class names, so figures show numbers: {legend}.")
    return tuple(map(str, range(len(names))))


class _PlainLogFormatter(ticker.LogFormatter):
    """The labels of a logarithmic axis as numbers: 0.1, 1, 10, without TeX."""

    def __call__(self, x, pos=None):
        return super().__call__(x, pos) and f"{x:,.10g}"


def show(figure: plt.Figure, alt: str, name: str | None = None) -> None:
    """Display a figure with a text that says what it shows, and close it.

    Args:
        figure: a Matplotlib figure.
        alt: the text for those who cannot see the figure.
        name: the file name, without ending, under which ``make refresh`` copies the figure to
            ``figures/``; None for figures that stay in their notebook.
    """
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        if isinstance(axis.get_major_formatter(), ticker.LogFormatterMathtext):
            axis.set_major_formatter(_PlainLogFormatter())
        if isinstance(axis.get_minor_formatter(), ticker.LogFormatterMathtext):
            axis.set_minor_formatter(_PlainLogFormatter())
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    # 256 colors, rare ones too, the nearest for each pixel: looks the same in less than half the space.
    cover, none = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    image = Image.open(drawn).convert("RGB").quantize(256, method=cover, dither=none)
    image.save(buffer, format="png", optimize=True)
    width = round(figure.get_figwidth() * DOTS_PER_INCH / 1.5)
    plt.close(figure)
    about = {"alt": alt, "width": width} | ({"name": name} if name else {})
    display(
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        metadata={"image/png": about},
        raw=True,
    )


def draw_digits(
    images: np.ndarray,
    titles: Sequence[str],
    columns: int = 8,
    wrong: Sequence[bool] | None = None,
    title: str | None = None,
) -> plt.Figure:
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
    rows = max(1, math.ceil(len(images) / columns))
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


def draw_history(history: Mapping[str, Sequence[float]], title: str) -> plt.Figure:
    """Draw the error and the loss over the epochs, side by side, on logarithmic axes.

    Args:
        history: a dict with the lists ``accuracy``, ``val_accuracy``, ``loss`` and ``val_loss``, one
            value per epoch, and perhaps ``off_accuracy`` and ``off_loss``: training, dropout off.
        title: a text above both charts.

    Returns:
        A Matplotlib figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    lines = {
        "training": ("", "o-", BLUE),
        "training, dropout off": ("off_", "^:", GREEN),
        "validation": ("val_", "s--", ORANGE),
    }
    for axis, key, label in zip(axes, ("accuracy", "loss"), ("error (%)", "cross-entropy loss")):
        for name, (prefix, style, color) in lines.items():
            if prefix + key in history:
                values = np.array(history[prefix + key])
                shown = 100 * (1 - values) if key == "accuracy" else values
                every = max(1, len(values) // 10)
                axis.plot(range(1, len(values) + 1), shown, style, color=color, label=name, markevery=every)
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    # Linear below 0.1 %, so that 0 is on the axis.
    axes[0].set_yscale("symlog", linthresh=0.1, linscale=0.3, subs=range(2, 10))
    axes[1].set_yscale("log")
    from_0 = ticker.SymmetricalLogLocator(base=10, linthresh=0.1, subs=(1, 2, 5))
    for axis, places in zip(axes, (from_0, ticker.LogLocator(subs=(1, 3)))):
        axis.yaxis.set(major_locator=places, major_formatter="{x:g}", minor_formatter=ticker.NullFormatter())
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_confusion(table: pd.DataFrame) -> plt.Figure:
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
    long_names = {"rotation": 60, "ha": "right"} if max(map(len, table.index)) > 2 else {}
    axis.set_xticks(range(len(table)), table.columns, **long_names)
    axis.set_yticks(range(len(table)), table.index)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.spines[:].set_visible(False)
    return figure


# 00–03


def draw_patch(image: np.ndarray, weights: np.ndarray, row: int, column: int) -> plt.Figure:
    """Draw a 28×28 image with a frame around a 3×3 patch, the patch, a filter and the nine products.

    ``row`` and ``column`` are the patch's first ones.
    """
    patch = image[row : row + 3, column : column + 3]
    tables = {"its pixels": patch, "× the filter": weights, "= nine products": patch * weights + 0.0}
    figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.3))
    axes[0].imshow(image, vmin=0, vmax=1)
    corner = (column - 0.5, row - 0.5)
    axes[0].add_patch(plt.Rectangle(corner, 3, 3, fill=False, color=ORANGE, linewidth=2.5))
    for axis, table in zip(axes[1:], tables.values()):
        axis.imshow(table, cmap="PuOr", vmin=-2, vmax=2)
        for (i, j), number in np.ndenumerate(table):
            axis.text(j, i, f"{number:.2f}".replace("-", "−"), ha="center", va="center", fontsize=10)
    for axis, title in zip(axes, ("a patch", *tables)):
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[3].set_xlabel(f"their sum: {(patch * weights).sum():.2f}".replace("-", "−"))
    return figure


def draw_architecture(image: np.ndarray, stages: Mapping[str, np.ndarray], chances: np.ndarray) -> plt.Figure:
    """Draw the reference network with an image in it, and what one number of the last maps sees.

    Args:
        image: ``(28, 28)``, 0 to 1.
        stages: a dict from the names of its four layers with maps to their outputs, ``(n, n, maps)``.
        chances: its output, a probability for each class.
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.4))
    words = {"ha": "center", "va": "top", "fontsize": 9}
    left, seen = 0, []  # left corner, top and side of what number (2, 2) of the last maps depends on
    boxes = {"input": image[..., np.newaxis], **stages}
    for (name, maps), start, side in zip(boxes.items(), (8, 8, 4, 4, 2), (10, 8, 4, 2, 1)):
        count, large = maps.shape[-1], 28 * (len(maps) / 28) ** 0.6  # not to scale, so that small ones show
        for i, one in reversed(list(enumerate(maps.mean(axis=(0, 1)).argsort()[::-1][:3]))):  # strongest
            x, y = left + 2 * i, -large / 2 - 2 * i
            extent = (x, x + large, y + large, y)
            axis.imshow(maps[..., one], extent=extent, vmin=0, vmax=max(maps.max(), 1e-9))
            axis.add_patch(plt.Rectangle((x, y), large, large, fill=False, color=GRAY, linewidth=0.8))
        unit = large / len(maps)
        seen.append((left + unit * start, unit * start - large / 2, unit * side))
        axis.text(left + large / 2, 17, f"{name}\n{len(maps)}×{len(maps)}×{count}", **words)
        left += large + 2 * min(2, count - 1) + 7
    for (x, y, side), (next_x, next_y, next_side) in zip(seen, seen[1:]):
        for top, next_top in ((y, next_y), (y + side, next_y + next_side)):
            axis.plot([x + side, next_x], [top, next_top], color=ORANGE, linewidth=0.8)
    for x, y, side in seen:
        axis.add_patch(plt.Rectangle((x, y), side, side, fill=False, color=ORANGE, linewidth=1.5))
    for name, half, count in (("flatten", 15, stages["pool_2"].size), ("dense", 9, 128), ("", 0, 0)):
        axis.annotate("", (left, 0), (left - 7, 0), arrowprops={"arrowstyle": "->", "color": GRAY})
        axis.add_patch(plt.Rectangle((left + 1, -half), 3 if half else 0, 2 * half, color=BLUE))
        axis.text(left + 2, 17, f"{name}\n{count}" if name else "", **words)
        left += 13 if name else 1
    axis.barh(np.linspace(-12, 12, len(chances)), 11 * chances / chances.max(), 16 / len(chances), left=left)
    axis.text(left + 6, 17, f"output\n{len(chances)}", **words)
    axis.set(xlim=(-1, left + 13), ylim=(25, -20), aspect="equal")
    axis.axis("off")
    return figure
