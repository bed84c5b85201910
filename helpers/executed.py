"""Read executed notebooks: what each was given and measured, and all of a folder as one table."""

import json
from dataclasses import dataclass
from pathlib import Path

from papermill.iorw import papermill_io

from helpers.errors import ParameterError, StorageError, nearest
from helpers.folders import inside, is_local, list_folder
from helpers.parameters import PARAMETERS
from helpers.record import record_in


@dataclass(frozen=True)
class Executed:
    """What an executed notebook says: its parameters and record, the code that made it (a hash, or
    None if the file is damaged), and why it is not finished (None if it is)."""

    parameters: dict
    record: dict
    code: str | None
    problem: str | None


def read_executed(text):
    """Read an executed notebook from its JSON text, whatever state it is in."""
    try:
        notebook = json.loads(text)
        about = notebook["metadata"].get("papermill", {})
        ours = notebook["metadata"].get("tutorial", {})
        problem = ours.get("error")
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error" and not problem:
                    problem = one_line(f"{output['ename']}: {output['evalue']}")
        if not problem and about and not about["end_time"]:
            problem = "it was interrupted"
        parameters, record = about.get("parameters", {}), record_in(notebook)
        for value in [*parameters.values(), *record.values()]:
            if not isinstance(value, (bool, int, float, str, type(None))):
                raise TypeError(f"{value!r} is neither a number nor a text")
        return Executed(parameters, record, ours.get("code_sha256", ""), problem)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Executed({}, {}, None, one_line(f"damaged file ({type(error).__name__}: {error})"))


def read_folder(folder):
    """Read every notebook in a folder: name → `Executed`."""
    if is_local(folder) and not Path(folder).is_dir():
        raise StorageError(f"There is no folder {folder}.")
    found = {}
    for file in list_folder(folder):
        if file.endswith(".ipynb"):
            try:
                executed = read_executed(papermill_io.read(inside(folder, file)))
            except Exception as error:  # every kind of storage has errors of its own
                executed = Executed({}, {}, None, one_line(f"unreadable file ({error})"))
            found[file.removesuffix(".ipynb")] = executed
    return found


def one_line(text):
    return " ".join(text.split())[:500]


def collect(folder):
    """Read the executed notebooks of a folder into one table.

    Args:
        folder: of a sweep, or of notebooks that papermill executed: a path or whatever else
            papermill reads.

    Returns:
        A pandas table with a row for each finished run, sorted by its parameters: first a column
        for each parameter that was given, then one for each value of the ``record``; and a dict of
        the notebooks that are not in it: name → reason in one line.
    """
    return tabulate(read_folder(folder))


def tabulate(found):
    """Make the table of `collect` from what `read_folder` returns."""
    import pandas as pd  # here: executing notebooks does without it, and it takes a while to load

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


def swept(table):
    """Return the names of the parameters that differ between the runs of a table, seeds aside."""
    return [
        name
        for name in PARAMETERS
        if name in table and name != "seed" and table[name].nunique(dropna=False) > 1
    ]


def choose_metric(table, metric=None):
    """Return the column to draw: the given one, else a test accuracy, else any accuracy.

    Raises:
        ParameterError: there is no such column of numbers.
    """
    numbers = [name for name in table.select_dtypes("number").dropna(axis=1, how="all")]
    numbers = [name for name in numbers if name not in PARAMETERS]
    wanted = [metric] if metric else ["test_accuracy", *(name for name in numbers if "accuracy" in name)]
    for name in wanted:
        if name in numbers:
            return name
    raise ParameterError(
        f"The records hold no number {wanted[0]!r}{nearest(wanted[0], numbers)}; "
        f"they hold {', '.join(numbers) or 'none at all'}."
    )
