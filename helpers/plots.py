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


def draw_sweep(table, metric, parameters):
    """Draw what a sweep measured: a chart for each swept parameter, every run a point.

    Beside the points stand the mean and its 95% interval over the runs that differ in nothing but
    their seed. Runs that differ in another parameter are apart, with a marker of their own.

    Args:
        table: as `helpers.batch.collect` returns it.
        metric: the column to draw.
        parameters: the columns that differ between the runs, seeds aside; may be empty.

    Returns:
        A Matplotlib figure.
    """
    from helpers.evaluation import mean_interval  # here, as other figures need not wait for SciPy

    factor, unit = (100, " (%)") if "accuracy" in metric else (1, "")
    table = table.dropna(subset=[metric]).copy()
    for parameter in parameters:
        if table[parameter].isna().any():  # some runs were not given it
            table[parameter] = table[parameter].map(lambda value: "default" if value != value else str(value))
    panels = list(parameters) or [None]
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.2, 3.4 * len(panels)), squeeze=False, sharey="col")
    for axis, parameter in zip(axes[:, 0], panels):
        others = [name for name in parameters if name != parameter]
        series = list(table.groupby(others)) if others else [((), table)]
        places = sorted(table[parameter].unique()) if parameter else [None]
        width = 0.7 / len(series)
        for number, (values, runs) in enumerate(series):
            color = (BLUE, ORANGE, GREEN, PURPLE, GRAY)[number % 5]
            marker = "osD^v"[number % 5]
            label = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in zip(others, values))
            for place, value in enumerate(places):
                found = runs if parameter is None else runs[runs[parameter] == value]
                if found.empty:
                    continue
                x = place + width * (number - (len(series) - 1) / 2)
                measured = factor * found[metric].to_numpy(dtype=float)
                mean, low, high = mean_interval(measured)
                axis.plot(np.full(len(measured), x - width / 6), measured, ".", color=color, alpha=0.6)
                axis.errorbar(
                    x + width / 6,
                    mean,
                    yerr=None if np.isnan(low) else [[mean - low], [high - mean]],
                    fmt=marker,
                    color=color,
                    capsize=4,
                    label=label,
                )
                label = None  # one entry in the legend for each series
        axis.set_xticks(range(len(places)), ["" if value is None else value for value in places])
        axis.set(xlim=(-0.6, len(places) - 0.4), ylabel=metric.replace("_", " ") + unit)
        axis.set_xlabel(parameter.replace("_", " ") if parameter else "all runs")
        if others:
            axis.legend(frameon=False, fontsize=9)
    name = metric.replace("_", " ")
    title = f"Mean {name}: {factor * table[metric].mean():.4g}{unit.strip(' ()')}"
    if parameters:
        means = table.groupby(list(parameters))[metric].mean() * factor
        best = means.idxmax() if len(parameters) > 1 else [means.idxmax()]
        place = ", ".join(f"{p.replace('_', ' ')} {value}" for p, value in zip(parameters, best))
        title = f"Highest mean {name}: {means.max():.4g}{unit.strip(' ()')}, at {place}"
    figure.suptitle(
        f"{title}\n(dots: runs; beside them: mean and 95% interval)", x=0.01, ha="left", fontsize=12
    )
    return figure


# 00–03


def draw_patch(image, weights, row, column):
    """Draw a 28×28 image with a frame around a 3×3 patch, the patch, a filter and the nine products."""
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


def draw_architecture(image, stages, chances):
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
