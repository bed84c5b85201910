"""What a sweep or search measured, as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.batch.results import in_words, interval, is_chosen_by
from helpers.parameters import PARAMETERS

if TYPE_CHECKING:  # executing notebooks does without figures, which take a while to load
    from matplotlib.figure import Figure


def draw_sweep(table: pd.DataFrame, metric: str, parameters: Sequence[str]) -> "Figure":
    """Draw every run as a point.

    A sweep's lie in a row for each setting, and beside them its mean and 95% interval over the runs that
    differ in nothing but their seed. For a search there is a chart for each parameter, with an axis of
    numbers, a logarithmic one if they spread widely.

    Args:
        table: as `collect` returns it.
        metric: the column to draw.
        parameters: the columns that differ between the runs, seeds aside; may be empty.
    """
    import matplotlib.pyplot as plt

    from helpers.plots import BLUE, ORANGE

    table, parameters = table.dropna(subset=[metric]), list(parameters)
    texts = table[parameters].select_dtypes(exclude="number")
    table = table.fillna(dict.fromkeys(texts, "default"))  # an axis of texts takes no nan
    factor, label = _unit(metric)
    if drawn := any(_is_drawn(table[parameter]) for parameter in parameters):
        size = (7.2, 3.4 * len(parameters))
        figure, axes = plt.subplots(len(parameters), 1, figsize=size, squeeze=False, sharey="col")
        for axis, parameter in zip(axes.flat, parameters):
            axis.plot(table[parameter], factor * table[metric], "o", color=BLUE, alpha=0.6)
            axis.set(xlabel=parameter.replace("_", " "), ylabel=label)
            _spread(axis, "x", table[parameter])
    else:
        groups = table.groupby(parameters, dropna=False) if parameters else [((), table)]
        settings = {in_words(dict(zip(parameters, values))) or "all runs": runs for values, runs in groups}
        figure, axis = plt.subplots(figsize=(7.2, 1.6 + 0.6 * len(settings)))
        for place, runs in enumerate(settings.values()):
            mean, low, high = factor * np.array(interval(runs[metric], metric))
            axis.plot(factor * runs[metric], np.full(len(runs), place - 0.12), ".", color=BLUE, alpha=0.6)
            reach = [[mean - low], [high - mean]]
            axis.errorbar(mean, place + 0.12, xerr=reach, fmt="o", color=ORANGE, capsize=4)
        axis.set_yticks(range(len(settings)), settings)
        axis.set_xlabel(label)
    dots = "each dot is a run" if drawn else "dots: runs; beside them: mean and 95% interval"
    figure.suptitle(f"{_title(table, metric, parameters)}\n({dots})", x=0.01, ha="left", fontsize=12)
    return figure


def draw_heat_map(table: pd.DataFrame, metric: str, parameters: Sequence[str]) -> "Figure":
    """Draw the mean of the runs at each pair of values of two parameters that are numbers, as color.

    The values of a sweep make a grid; those of a search lie on axes of numbers. ``table`` and
    ``metric`` are as in `draw_sweep`, ``parameters`` two columns of numbers: to the right, and upward.
    """
    import matplotlib.pyplot as plt

    factor, label = _unit(metric)
    x, y = parameters
    figure, axis = plt.subplots(figsize=(7.2, 4.8))
    if _is_drawn(table[x]) or _is_drawn(table[y]):
        shown = axis.scatter(table[x], table[y], c=factor * table[metric], s=80, cmap="viridis")
        _spread(axis, "x", table[x])
        _spread(axis, "y", table[y])
    else:
        means = factor * table.pivot_table(metric, y, x)
        shown = axis.imshow(means, origin="lower", aspect="auto", cmap="viridis")
        axis.set_xticks(range(means.shape[1]), means.columns)
        axis.set_yticks(range(means.shape[0]), means.index)
        for (row, column), value in np.ndenumerate(means):
            color = "white" if shown.norm(value) < 0.6 else "black"
            axis.text(column, row, f"{value:.4g}", ha="center", va="center", color=color)
    axis.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    figure.colorbar(shown, label=label)
    figure.suptitle(_title(table, metric, [x, y]), x=0.01, ha="left", fontsize=12)
    return figure


def _unit(metric):
    """Return by what to multiply a metric to draw it, and the label of its axis."""
    name = metric.replace("_", " ")
    return (100, f"{name} (%)") if "accuracy" in metric else (1, name)


def _is_drawn(column):
    """Return whether values are numbers that hardly repeat, as those drawn from a range."""
    return column.dtype.kind in "if" and column.nunique() > len(column) / 2


def _spread(axes, side, column):
    """Make an axis logarithmic for a parameter that is above 0 and spreads over a power of ten."""
    above = PARAMETERS[column.name].low  # None of texts
    if above and column.dtype.kind in "if" and 10 * column.min() <= column.max():
        axes.set(**{f"{side}scale": "log"})
        getattr(axes, f"{side}axis").set_major_formatter("{x:g}")
        getattr(axes, f"{side}axis").set_minor_formatter("")


def _title(table, metric, parameters):
    """Say what a figure shows; only of validation images, by which choices are made, what is highest."""
    factor, _ = _unit(metric)
    name, unit = metric.replace("_", " "), "%" if factor == 100 else ""
    if not parameters:
        return f"Mean {name}: {factor * table[metric].mean():.4g}{unit}"
    means = factor * table.groupby(parameters, dropna=False)[metric].mean()
    if not is_chosen_by(metric):
        return f"Mean {name}: from {means.min():.4g}{unit} to {means.max():.4g}{unit}"
    best = in_words(means.index.to_frame().iloc[means.argmax()])
    mean = "mean " if len(means) < len(table) else ""  # of several runs
    return f"Highest {mean}{name}: {means.max():.4g}{unit}, at {best}"
