"""What a sweep or search measured, as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.batch.results import in_words, interval, is_chosen_by, named
from helpers.parameters import PARAMETERS

if TYPE_CHECKING:  # executing notebooks does without them, and they take a while to load
    import pandas as pd
    from matplotlib.figure import Figure


def draw_sweep(table: "pd.DataFrame", metric: str, parameters: Sequence[str]) -> "Figure":
    """Draw what was measured: a chart for each swept parameter, every run a point.

    Beside the points of a sweep stand the mean and its 95% interval over the runs that differ in
    nothing but their seed. Runs that differ in another parameter are apart, with a marker of their
    own. The values of a search lie on an axis of numbers, a logarithmic one if they spread widely.

    Args:
        table: as `collect` returns it.
        metric: the column to draw.
        parameters: the columns that differ between the runs, seeds aside; may be empty.
    """
    import matplotlib.pyplot as plt

    from helpers.plots import BLUE, GRAY, GREEN, ORANGE, PURPLE

    factor, unit = _unit(metric)
    table = table.dropna(subset=[metric]).copy()
    drawn = any(_is_drawn(table[parameter]) for parameter in parameters)
    for parameter in parameters:
        if table[parameter].isna().any():  # some runs were not given it
            table[parameter] = table[parameter].map(lambda value: "default" if value != value else str(value))
    panels = list(parameters) or [None]
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.2, 3.4 * len(panels)), squeeze=False, sharey="col")
    for axis, parameter in zip(axes[:, 0], panels):
        axis.set_ylabel(metric.replace("_", " ") + unit)
        axis.set_xlabel(parameter.replace("_", " ") if parameter else "all runs")
        if drawn:
            axis.plot(table[parameter], factor * table[metric], "o", color=BLUE, alpha=0.6)
            _spread(axis, "x", table[parameter])
            continue
        others = [name for name in parameters if name != parameter]
        series = list(table.groupby(others)) if others else [((), table)]
        places = sorted(table[parameter].unique()) if parameter else [""]
        width = 0.7 / len(series)
        for number, (values, runs) in enumerate(series):
            color = (BLUE, ORANGE, GREEN, PURPLE, GRAY)[number % 5]
            label = in_words(dict(zip(others, values)))
            for value, measured in runs.groupby(parameter)[metric] if parameter else [("", runs[metric])]:
                x = places.index(value) + width * (number - (len(series) - 1) / 2)
                mean, low, high = (factor * number for number in interval(measured, metric))
                dots = np.full(len(measured), x - width / 6), factor * measured
                axis.plot(*dots, ".", color=color, alpha=0.6)
                reach = None if np.isnan(low) else [[mean - low], [high - mean]]
                style = {"fmt": "osD^v"[number % 5], "color": color, "capsize": 4, "label": label}
                axis.errorbar(x + width / 6, mean, yerr=reach, **style)
                label = None  # one entry in the legend for each series
        axis.set_xticks(range(len(places)), places)
        axis.set_xlim(-0.6, len(places) - 0.4)
        if others:
            axis.legend(frameon=False, fontsize=9)
    dots = "each dot is a run" if drawn else "dots: runs; beside them: mean and 95% interval"
    title = f"{_title(table, metric, list(parameters))}\n({dots})"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def draw_heat_map(table: "pd.DataFrame", metric: str, parameters: Sequence[str]) -> "Figure":
    """Draw the mean of the runs at each pair of values of two parameters that are numbers, as color.

    The values of a sweep make a grid; those of a search lie on axes of numbers.

    Args:
        table, metric: as in `draw_sweep`.
        parameters: two columns of numbers: to the right, and upward.
    """
    import matplotlib.pyplot as plt

    factor, unit = _unit(metric)
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
    figure.colorbar(shown, label=metric.replace("_", " ") + unit)
    figure.suptitle(_title(table, metric, [x, y]), x=0.01, ha="left", fontsize=12)
    return figure


def _unit(metric):
    return (100, " (%)") if "accuracy" in metric else (1, "")


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
    means = factor * table.groupby(parameters)[metric].mean()
    if not is_chosen_by(metric):
        return f"Mean {name}: from {means.min():.4g}{unit} to {means.max():.4g}{unit}"
    best = in_words(named(parameters, means.idxmax()))
    mean = "mean " if len(means) < len(table) else ""  # of several runs
    return f"Highest {mean}{name}: {means.max():.4g}{unit}, at {best}"
