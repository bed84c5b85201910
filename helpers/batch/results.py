"""What executed notebooks hold: read one by one, all of a folder as a table, and a sweep as a figure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from papermill.iorw import papermill_io

from helpers.batch.places import inside, is_local, list_folder, make_folder
from helpers.errors import ParameterError, StorageError, nearest, say, short
from helpers.folders import clear_errors
from helpers.parameters import PARAMETERS
from helpers.record import as_text, record_in

if TYPE_CHECKING:  # executing notebooks does without them, and they take a while to load
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Executed:
    """What an executed notebook says.

    Attributes:
        parameters, record: name → value.
        origin: what decided the result (code, versions, data); None if the file is damaged.
        problem: why it is not finished, in one line; None if it is.
        seconds: how long it took; None if it does not say.
    """

    parameters: dict
    record: dict
    origin: dict | None
    problem: str | None
    seconds: float | None = None


def read_executed(text: str) -> Executed:
    """Read an executed notebook from its JSON text, whatever state it is in."""
    try:
        notebook = json.loads(text)
        about = notebook["metadata"].get("papermill", {})
        ours = notebook["metadata"].get("tutorial", {})
        problem = ours.get("error")
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error" and not problem:
                    problem = short(f"{output['ename']}: {output['evalue']}")
        if not problem and about and not about["end_time"]:
            problem = "it was interrupted"
        parameters, record = about.get("parameters", {}), record_in(notebook)
        for value in [*parameters.values(), *record.values()]:
            if not isinstance(value, (bool, int, float, str, type(None))):
                raise TypeError(f"{value!r} is neither a number nor a text")
        origin = {name: ours[name] for name in ("code", "versions", "data") if name in ours}
        return Executed(parameters, record, origin, problem, about.get("duration"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Executed({}, {}, None, short(f"damaged file ({type(error).__name__}: {error})"))


def read_folder(folder: str | Path) -> dict[str, Executed]:
    """Read every notebook in a folder: name → `Executed`."""
    if is_local(folder) and not Path(folder).is_dir():
        raise StorageError(f"There is no folder {folder}.")
    found = {}
    for file in list_folder(folder):
        if file.endswith(".ipynb"):
            try:
                executed = read_executed(papermill_io.read(inside(folder, file)))
            except Exception as error:  # every kind of storage has errors of its own
                executed = Executed({}, {}, None, short(f"unreadable file ({error})"))
            found[file.removesuffix(".ipynb")] = executed
    return found


def print_record(record: Mapping) -> None:
    """Print a record in lines, for people."""
    for name, value in record.items():
        print(f"  {name.replace('_', ' '):28} {as_text(value)}")


def collect(folder: str | Path) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Read the executed notebooks of a folder into one table.

    Args:
        folder: of a sweep, or of notebooks that papermill executed: a path or whatever else
            papermill reads.

    Returns:
        A table with a row for each finished run, sorted by its parameters: first a column for each
        parameter that was given, then one for each value of the ``record``; and a dict of the
        notebooks that are not in it: name → reason in one line.
    """
    return tabulate(read_folder(folder))


def tabulate(found: Mapping[str, Executed]) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Make the table of `collect` from what `read_folder` returns."""
    import pandas as pd

    rows, left_out, names = {}, {}, []
    for name, executed in found.items():
        if executed.problem or not executed.record:
            left_out[name] = executed.problem or "it has no record"
        else:
            rows[name] = executed.record | executed.parameters
            names += [parameter for parameter in executed.parameters if parameter not in names]
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    table = table[names + [column for column in table if column not in names]]
    return table.sort_values([*names, "run"] if names else "run"), left_out


def swept(table: "pd.DataFrame") -> list[str]:
    """Return the names of the parameters that differ between the runs of a table, seeds aside."""
    return [
        name
        for name in PARAMETERS
        if name in table and name != "seed" and table[name].nunique(dropna=False) > 1
    ]


def choose_metric(table: "pd.DataFrame", metric: str | None = None) -> str:
    """Return the column to draw: the given one, else an accuracy, of validation images if there is one.

    What was measured on test images is drawn only if it is asked for: choices are not made by it.

    Raises:
        ParameterError: there is no such column of numbers.
    """
    numbers = [name for name in table.select_dtypes("number").dropna(axis=1, how="all")]
    numbers = [name for name in numbers if name not in PARAMETERS]
    accuracies = [name for name in numbers if "accuracy" in name and "test" not in name]
    wanted = [metric] if metric else ["validation_accuracy", *accuracies]
    for name in wanted:
        if name in numbers:
            return name
    raise ParameterError(
        f"The records hold no number {wanted[0]!r}{nearest(wanted[0], numbers)}; "
        f"they hold {', '.join(numbers) or 'none at all'}; name one with --metric."
    )


def draw_sweep(table: "pd.DataFrame", metric: str, parameters: Sequence[str]) -> "Figure":
    """Draw what a sweep measured: a chart for each swept parameter, every run a point.

    Beside the points stand the mean and its 95% interval over the runs that differ in nothing but
    their seed. Runs that differ in another parameter are apart, with a marker of their own.

    Args:
        table: as `collect` returns it.
        metric: the column to draw.
        parameters: the columns that differ between the runs, seeds aside; may be empty.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    from helpers.evaluation import mean_interval
    from helpers.plots import BLUE, GRAY, GREEN, ORANGE, PURPLE

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
                if factor == 100:  # a share; with few runs Student's interval may leave its range
                    low, high = np.clip((low, high), 0, 100)
                axis.plot(np.full(len(measured), x - width / 6), measured, ".", color=color, alpha=0.6)
                reach = None if np.isnan(low) else [[mean - low], [high - mean]]
                at = x + width / 6
                axis.errorbar(at, mean, yerr=reach, fmt=marker, color=color, capsize=4, label=label)
                label = None  # one entry in the legend for each series
        axis.set_xticks(range(len(places)), ["" if value is None else value for value in places])
        axis.set(xlim=(-0.6, len(places) - 0.4), ylabel=metric.replace("_", " ") + unit)
        axis.set_xlabel(parameter.replace("_", " ") if parameter else "all runs")
        if others:
            axis.legend(frameon=False, fontsize=9)
    title = (
        f"{_title(table, metric, list(parameters), factor)}\n(dots: runs; beside them: mean and 95% interval)"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _title(table, metric, parameters, factor):
    """Say what a figure shows; only of validation images, by which choices are made, what is highest."""
    name, unit = metric.replace("_", " "), "%" if factor == 100 else ""
    if not parameters:
        return f"Mean {name}: {factor * table[metric].mean():.4g}{unit}"
    means = factor * table.groupby(parameters)[metric].mean()
    if "accuracy" not in metric or "test" in metric:
        return f"Mean {name}: from {means.min():.4g}{unit} to {means.max():.4g}{unit}"
    best = means.idxmax() if len(parameters) > 1 else [means.idxmax()]
    place = ", ".join(f"{parameter.replace('_', ' ')} {value}" for parameter, value in zip(parameters, best))
    return f"Highest mean {name}: {means.max():.4g}{unit}, at {place}"


def write_collected(folder: str | Path, output: str | Path, metric: str | None = None) -> list[Path]:
    """Write a folder's table as CSV, as Parquet if a library for it is there, and its figure.

    Returns:
        The paths that were written.
    """
    from helpers.plots import use_style

    found = read_folder(folder)
    table, left_out = tabulate(found)
    for name, reason in left_out.items():
        say(f"Left out {name}: {reason}")
    if table.empty:
        raise StorageError(f"There is no finished run in {folder}.")
    if metric:
        choose_metric(table, metric)  # a misspelled one is refused before anything is written
    origins = [found[name].origin for name in table.index]
    if "dataset" not in swept(table) and "data" in table and table["data"].nunique() > 1:
        say(f"Careful: these runs used different data: {', '.join(sorted(table['data'].unique()))}.")
    if len({json.dumps([origin.get("code"), origin.get("versions")]) for origin in origins}) > 1:
        say("Careful: these runs were made by different notebooks, or versions of the code or of libraries.")
    make_folder(output)
    paths = [Path(output, f"collected.{ending}") for ending in ("csv", "parquet", "png")]
    with clear_errors(output):
        table.to_csv(paths[0])
        try:
            table.to_parquet(paths[1])
        except (ImportError, ValueError, TypeError):  # no pyarrow, or columns of mixed types
            del paths[1]
        try:
            metric = choose_metric(table, metric)
        except ParameterError as error:
            say(f"No figure: {error}")
            return paths[:-1]
        use_style()
        draw_sweep(table, metric, swept(table)).savefig(paths[-1], dpi=144)
    return paths
