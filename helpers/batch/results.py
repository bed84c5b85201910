"""What executed notebooks hold: read one by one, and all of a folder as a table."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import ParameterError, StorageError, nearest, say, short
from helpers.folders import clear_errors, make_folder
from helpers.parameters import PARAMETERS
from helpers.record import as_text, is_value, record_in

if TYPE_CHECKING:  # executing notebooks does without them, and they take a while to load
    import pandas as pd

CHOSEN_BY = "validation_accuracy"


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
        if any(isinstance(value, list) for value in parameters.values()):
            raise TypeError("a parameter is a list")
        for value in [*parameters.values(), *record.values()]:
            if not is_value(value) and value is not None:
                raise TypeError(f"{value!r} is neither a number nor a text")
        origin = {name: ours[name] for name in ("notebook", "code", "versions", "data") if name in ours}
        return Executed(parameters, record, origin, problem, about.get("duration"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Executed({}, {}, None, short(f"damaged file ({type(error).__name__}: {error})"))


def read_folder(folder: str | Path) -> dict[str, Executed]:
    """Read every notebook in a folder: name → `Executed`."""
    if not Path(folder).is_dir():
        raise StorageError(f"There is no folder {folder}.")
    found = {}
    with clear_errors(folder, "read"):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".ipynb"))
    for name in names:
        try:
            executed = read_executed(Path(folder, name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            executed = Executed({}, {}, None, short(f"unreadable file ({error})"))
        found[name.removesuffix(".ipynb")] = executed
    return found


def print_record(record: Mapping) -> None:
    """Print a record in lines, for people."""
    for name, value in record.items():
        print(f"  {name.replace('_', ' '):28} {as_text(value)}")


def collect(folder: str | Path) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Read the executed notebooks of a folder into one table.

    Args:
        folder: of a sweep, or of notebooks that papermill executed.

    Returns:
        A table with a row for each finished run, sorted by its parameters: first a column for each
        parameter that was given, then one for each value of the ``record``; and a dict of the
        notebooks that are not in it: name → reason in one line. A curve is a text: its list as JSON.
    """
    return tabulate(read_folder(folder))


def tabulate(found: Mapping[str, Executed]) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Make the table of `collect` from what `read_folder` returns."""
    import pandas as pd

    def flat(values):
        return {
            name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()
        }

    finished = {name: run for name, run in found.items() if run.record and not run.problem}
    names = list(dict.fromkeys(name for run in finished.values() for name in run.parameters))
    rows = {name: flat(run.record | run.parameters) for name, run in finished.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    table = table[names + [column for column in table if column not in names]]
    left_out = {name: run.problem or "it has no record" for name, run in found.items() if name not in rows}
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
    numbers = table.select_dtypes("number").dropna(axis=1, how="all")
    numbers = [name for name in numbers if name not in PARAMETERS]
    wanted = [metric] if metric else [CHOSEN_BY, *filter(is_chosen_by, numbers)]
    for name in wanted:
        if name in numbers:
            return name
    raise no_metric(wanted[0], numbers)


def number_in(record: Mapping, metric: str) -> float:
    """Return a number of a record.

    Raises:
        ParameterError: it holds no such number.
    """
    if type(record.get(metric)) not in (int, float):
        raise no_metric(metric, record)
    return record[metric]


def no_metric(metric: str, names: Iterable[str]) -> ParameterError:
    """Return the error for a metric that is not among these names of a record."""
    return ParameterError(
        f"The records hold no number {metric!r}{nearest(metric, names)}; "
        f"they hold {', '.join(names) or 'none at all'}; name one with --metric."
    )


def is_chosen_by(metric: str) -> bool:
    """Return whether a metric is one by which choices are made: accuracy, but not of test images."""
    return "accuracy" in metric and "test" not in metric


def interval(values: Sequence[float], metric: str) -> tuple[float, float, float]:
    """Return a mean with its 95% interval: (mean, low, high); of a share, within its range."""
    from helpers.evaluation import mean_interval

    return mean_interval(values, within=(0, 1) if "accuracy" in metric else (-math.inf, math.inf))


def compare(table: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """Compare settings with the best of them, seed by seed.

    Settings are the values of the swept parameters. The best is that with the highest mean on
    validation images; by another metric nothing is chosen, and all are compared with the first.

    Args:
        table: as `collect` returns it.
        metric: the column to compare.

    Returns:
        A row for each of the other settings that has at least two seeds in common with the best:
        the swept parameters, ``than`` (the best, in words), ``difference`` (the mean of the
        differences to it), its 95% interval ``low`` to ``high``, and ``seeds``, how many.
    """
    import pandas as pd

    from helpers.evaluation import mean_interval

    names = swept(table)
    if not names or "seed" not in table:
        return pd.DataFrame()
    by_seed = table.pivot_table(metric, "seed", names, sort=False)
    best = by_seed.mean().idxmax() if is_chosen_by(metric) else by_seed.columns[0]
    rows = []
    for settings in by_seed.columns.drop(best):
        differences = (by_seed[settings] - by_seed[best]).dropna()
        if len(differences) > 1:
            mean, low, high = mean_interval(differences)
            about = {"difference": mean, "low": low, "high": high, "seeds": len(differences)}
            rows.append(named(names, settings) | {"than": in_words(named(names, best))} | about)
    return pd.DataFrame(rows)


def named(names, settings):
    return dict(zip(names, settings if len(names) > 1 else [settings]))


def in_words(settings: Mapping) -> str:
    """Return settings as people read them."""
    short = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in settings.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in short.items())


def write_collected(
    folder: str | Path, output: str | Path, metric: str | None = None
) -> "tuple[list[Path], pd.DataFrame]":
    """Write a folder's table as CSV, as Parquet if a library for it is there, and its figures.

    Returns:
        The paths that were written, and what `compare` returns.
    """
    import pandas as pd

    from helpers.batch.charts import draw_heat_map, draw_sweep
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
    names = ("collected.csv", "collected.parquet", "collected.png", "heat_map.png")
    csv, parquet, chart, heat_map = paths = [Path(output, name) for name in names]
    with clear_errors(output):
        table.to_csv(csv)
        try:
            table.to_parquet(parquet)
        except (ImportError, ValueError, TypeError):  # no pyarrow, or columns of mixed types
            paths.remove(parquet)
        try:
            metric = choose_metric(table, metric)
        except ParameterError as error:
            say(f"No figure: {error}")
            return paths[:-2], pd.DataFrame()
        use_style()
        draw_sweep(table, metric, swept(table)).savefig(chart, dpi=144)
        numbers = list(table[swept(table)].select_dtypes("number"))
        if len(numbers) == 2:
            draw_heat_map(table, metric, numbers).savefig(heat_map, dpi=144)
        else:
            paths.remove(heat_map)
    return paths, compare(table, metric)
