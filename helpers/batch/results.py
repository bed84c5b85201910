"""What executed notebooks hold: read one by one, all of a folder as a table, and compared."""

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import ParameterError, StorageError, nearest, say, short
from helpers.folders import clear_errors
from helpers.parameters import PARAMETERS
from helpers.record import is_value, record_in

CHOSEN_BY = "validation_accuracy"


@dataclass(frozen=True)
class Executed:
    """What an executed notebook says."""

    parameters: dict
    record: dict
    origin: dict | None  # what decided the result (code, versions, data); None if the file is damaged
    problem: str | None  # why it is not finished, in one line; None if it is
    seconds: float | None = None


def read_executed(path: str | Path) -> Executed:
    """Read an executed notebook, whatever state it is in."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        about, ours = (notebook["metadata"].get(name, {}) for name in ("papermill", "tutorial"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        problems = [ours["error"]] if "error" in ours else []
        problems += [f"{one['ename']}: {one['evalue']}" for one in outputs if one["output_type"] == "error"]
        problems += ["it was interrupted"] if about and not about["end_time"] else []
        parameters, record = about.get("parameters", {}), record_in(notebook)
        lists = [value for value in parameters.values() if isinstance(value, list)]
        if lists or not all(value is None or is_value(value) for value in (parameters | record).values()):
            raise TypeError("a value is neither a number nor a text")
        origin = {name: ours[name] for name in ("notebook", "code", "versions", "data") if name in ours}
        problem = short(problems[0]) if problems else None
        return Executed(parameters, record, origin, problem, about.get("duration"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Executed({}, {}, None, short(f"damaged file ({type(error).__name__}: {error})"))


def read_folder(folder: str | Path) -> dict[str, Executed]:
    """Read every notebook in a folder: name → `Executed`."""
    if not Path(folder).is_dir():
        raise StorageError(f"There is no folder {folder}.")
    with clear_errors(folder, "read"):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".ipynb"))
    return {name.removesuffix(".ipynb"): read_executed(Path(folder, name)) for name in names}


def collect(folder: str | Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read the notebooks that a sweep or papermill executed into a folder; say if they do not fit together.

    Returns:
        A table with a row for each finished run, sorted by its parameters: first a column for each
        parameter that was given, then one for each value of the ``record`` (a curve is its list as
        JSON); and a dict of the notebooks that are not in it: name → reason in one line.
    """
    found = read_folder(folder)
    finished = {name: run for name, run in found.items() if run.record and not run.problem}
    names = list(dict.fromkeys(name for run in finished.values() for name in run.parameters))
    rows = [run.record | run.parameters for run in finished.values()]
    table = pd.DataFrame(rows, pd.Index(finished, name="run"))
    table = table[names + [column for column in table if column not in names]]
    table = table.map(lambda value: json.dumps(value) if isinstance(value, list) else value)
    if "dataset" not in swept(table) and "data" in table and table["data"].nunique() > 1:
        say(f"Careful: these runs used different data: {', '.join(sorted(table['data'].dropna().unique()))}.")
    made_by = [[run.origin.get("code"), run.origin.get("versions")] for run in finished.values()]
    if any(other != made_by[0] for other in made_by):
        say("Careful: these runs were made by different notebooks, or versions of the code or of libraries.")
    left_out = {name: run.problem or "no record" for name, run in found.items() if name not in finished}
    return table.sort_values([*names, "run"]), left_out


def swept(table: pd.DataFrame) -> list[str]:
    """Return the names of the parameters that differ between the runs of a table, seeds aside."""
    names = [name for name in PARAMETERS if name in table and name != "seed"]
    return [name for name in names if table[name].nunique(dropna=False) > 1]


def measured(table: pd.DataFrame) -> list[str]:
    """Return the names of a table's columns of numbers, parameters aside."""
    numbers = table.select_dtypes("number").dropna(axis=1, how="all")
    return [name for name in numbers if name not in PARAMETERS]


def choose_metric(numbers: Collection[str], metric: str | None = None) -> str:
    """Return the given one of these names, else an accuracy, of validation images if there is one.

    What was measured on test images is only for those who ask for it: choices are not made by it.
    Raises ParameterError if there is no such name.
    """
    usual = [CHOSEN_BY, *filter(is_chosen_by, numbers)]
    metric = metric or next((name for name in usual if name in numbers), CHOSEN_BY)
    if metric not in numbers:
        raise ParameterError(
            f"The records hold no number {metric!r}{nearest(metric, numbers)}; "
            f"they hold {', '.join(numbers) or 'none at all'}; name one with --metric."
        )
    return metric


def number_in(record: Mapping, metric: str) -> float:
    """Return a number of a record; ParameterError if it holds no such number."""
    numbers = {name: value for name, value in record.items() if type(value) in (int, float)}
    return numbers[choose_metric(numbers, metric)]


def is_chosen_by(metric: str) -> bool:
    """Return whether a metric is one by which choices are made: accuracy, but not of test images."""
    return "accuracy" in metric and "test" not in metric


def refuse_test(metric: str) -> None:
    """Raise ParameterError for a metric of test images: nothing is chosen by them."""
    if "test" in metric:
        raise ParameterError(f"`{metric}` is of test images, by which nothing is chosen; name another.")


def interval(values: Sequence[float], metric: str) -> tuple[float, float, float]:
    """Return a mean with its 95% interval: (mean, low, high); of a share, within its range."""
    from helpers.evaluation import mean_interval

    return mean_interval(values, within=(0, 1) if "accuracy" in metric else (-math.inf, math.inf))


def compare(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compare the settings of a table, as `collect` returns it, with the best of them, seed by seed.

    Settings are the values of the swept parameters. The best is that with the highest mean on
    validation images; by another metric nothing is chosen, and all are compared with the first.

    Returns:
        A row for each of the other settings that has at least two seeds in common with the best:
        the swept parameters, ``than`` (the best, in words), ``difference`` (the mean of the
        differences to it), its 95% interval ``low`` to ``high``, and ``seeds``, how many.
    """
    from helpers.evaluation import mean_interval

    names = swept(table)
    keys = table.filter([*names, "seed"])
    table = table.assign(**keys.astype(object).where(keys.notna(), "default"))  # pandas would drop nan
    by_seed = table.pivot_table(metric, names, "seed", sort=False) if names and "seed" in table else table[:0]
    if by_seed.empty:
        return pd.DataFrame()
    best = by_seed.mean(axis=1).argmax() if is_chosen_by(metric) else 0
    differences = by_seed - by_seed.iloc[best]
    differences = differences[(differences.count(axis=1) > 1) & (np.arange(len(by_seed)) != best)]
    than = in_words(by_seed.index.to_frame().iloc[best])
    rows = [(than, *mean_interval(row.dropna()), row.count()) for _, row in differences.iterrows()]
    columns = ["than", "difference", "low", "high", "seeds"]
    return pd.DataFrame(rows, differences.index, columns).reset_index()


def in_words(settings: Mapping) -> str:
    """Return settings, name → value, as people read them; a value that a run was not given is nan."""
    texts = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in settings.items()}
    texts = {name: "default" if text == "nan" else text for name, text in texts.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in texts.items())
