"""What is to be run: notebooks, their parameters and data, all of it checked before anything starts."""

import ast
import contextlib
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import papermill

from helpers.data import load_mnist
from helpers.errors import ParameterError, nearest, short
from helpers.identity import Identity, of_notebook
from helpers.parameters import PARAMETERS, check_names, check_value

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
DATA = ("dataset", "test_dataset")  # the parameters that name data


@dataclass
class Plan:
    """A notebook and the runs to make of it; a `Search` is a plan whose runs are drawn as it goes.

    Attributes:
        notebook: its path; of the tutorial's, its stem.
        source: the notebook as JSON text, without outputs.
        identity: of its code.
        runs: the name of each output → its parameters.
        defaults: the notebook's default of each parameter that is a plain value.
    """

    notebook: str
    source: str
    identity: Identity
    runs: dict[str, dict]
    defaults: dict

    def __len__(self) -> int:
        """Return how many runs it has."""
        return len(self.runs)

    def draw(self, folder: str | Path, origins: Mapping) -> Iterable[tuple[str, dict]]:
        """Return the name and parameters of every run."""
        return self.runs.items()

    def tell(self, name: str, executed) -> None:
        """Learn the result of a run."""

    def name(self, parameters: Mapping) -> str:
        """Return the name of a run."""
        return run_name(Path(self.notebook).stem, parameters)

    def origin(self, parameters: Mapping, fingerprint: Callable[[str], str]) -> dict:
        """Return what decides a run's result: code, versions, data; and the notebook that it is of.

        ``fingerprint`` is what `fingerprints` returns; it raises DataError for data that cannot be had.
        """
        named = {name: parameters.get(name, self.defaults[name]) for name in DATA if name in self.defaults}
        data = {name: fingerprint(value) for name, value in named.items() if value != "same"}
        return {"notebook": self.notebook} | asdict(self.identity) | {"data": data}


def fingerprints() -> Callable[[str], str]:
    """Return a function that loads a data set by its name, once, and returns its fingerprint."""
    return functools.cache(lambda name: load_mnist(name).fingerprint)


def find_notebook(name: str | Path) -> Path:
    """Return the path of a notebook that is named by its path or, for the tutorial's, by its stem."""
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    path = known.get(str(name), Path(name))
    if not path.is_file():
        raise ParameterError(f"There is no notebook {str(name)!r}{nearest(str(name), known)}.")
    return path


def inspect(path: Path) -> dict[str, dict]:
    """Return the parameters that a notebook declares, as papermill reads them from its cell.

    Raises:
        ParameterError: the file is no notebook, or names no kernel.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        if not notebook.metadata.get("kernelspec", {}).get("name"):
            raise ParameterError(
                f"{path} does not say with which kernel it runs; open it in JupyterLab, choose Python 3 at "
                "the top right and save it, or set its metadata: "
                '"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}.'
            )
        return papermill.inspect_notebook(str(path))
    except ParameterError:
        raise
    except Exception as error:  # nbformat and papermill have several
        raise ParameterError(f"{path} cannot be read as a notebook ({short(error)}).") from None


def make_plan(notebook: str | Path, grid: Mapping[str, Iterable], entries: Iterable[Mapping] = ({},)) -> Plan:
    """Check the parameters of a sweep against its notebook and name every run.

    Args:
        notebook: a path, or the stem of one of the tutorial's notebooks.
        grid: name → list of values; every combination is run.
        entries: a list of dicts, each a set of values that belong together; every combination of
            the grid is run with each. A name that an entry leaves out has the notebook's default.

    Raises:
        ParameterError: the notebook does not declare a name, or a value is of the wrong type or
            out of range.
    """
    path = find_notebook(notebook)
    declared = inspect(path)
    used = [*grid, *(name for entry in entries for name in entry)]
    check_names(used, declared)
    defaults = {}
    for name, about in declared.items():
        with contextlib.suppress(ValueError, SyntaxError):  # a default that is no plain value
            defaults[name] = ast.literal_eval(about["default"])
    left_out = {name: defaults[name] for name in used if name in defaults}
    runs = {}
    for entry in entries:
        both = sorted(set(grid) & set(entry))
        if both:
            raise ParameterError(f"`{both[0]}` stands in the grid and in the list; leave it in one of them.")
        for values in itertools.product(*grid.values()):
            given = left_out | dict(zip(grid, values)) | entry
            parameters = {name: parse_value(name, value) for name, value in sorted(given.items())}
            runs[run_name(path.stem, parameters)] = parameters
    if not runs:
        raise ParameterError("There is nothing to run: a list of values is empty.")
    content = nbformat.read(path, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # made anew, so they need not travel
    place = path.resolve()
    place = path.stem if place.parent == NOTEBOOKS else str(place)
    return Plan(place, nbformat.writes(content), of_notebook(content, path.parent), runs, defaults)


def range_ends(name: str, value: object) -> list[str]:
    """Return the ends of a range such as ``"1e-5..0.1"`` of a parameter that is a number, else []."""
    number = name in PARAMETERS and PARAMETERS[name].type in (int, float)
    match = re.fullmatch(r"(.+?)\.\.(.+)", value) if number and isinstance(value, str) else None
    return list(match.groups()) if match else []


def parse_value(name: str, value):
    """Return a checked value, read from text if it is text, as command lines and YAML give it.

    ``"1e-3"`` becomes 0.001 for a parameter that is a number, ``"false"`` becomes False for one
    that is a truth value; 0 becomes 0.0 where any number is accepted.

    Raises:
        ParameterError: as `helpers.parameters.check_value`; or it is a range, which is for searches.
    """
    if range_ends(name, value):
        raise ParameterError(
            f"`{name}` is {value}, a range, and a grid cannot try every value of it; list values as 1,2,3, "
            "or draw from it with --search."
        )
    wanted = PARAMETERS[name].type if name in PARAMETERS else str
    if type(value) is str and wanted is bool:
        value = {"true": True, "false": False}.get(value.lower(), value)
    elif type(value) is str:
        with contextlib.suppress(ValueError):  # `check_value` says what is wrong
            value = wanted(value)
    check_value(name, value)
    return float(value) if wanted is float else value


def run_name(stem: str, parameters: Mapping) -> str:
    """Return the name of a run: readable parts, and a hash of the notebook's name and all values."""
    exact = json.dumps([stem, parameters], sort_keys=True)
    readable = "_".join([stem, *(f"{name}={value}" for name, value in sorted(parameters.items()))])
    readable = re.sub(r"[^\w.=-]+", "-", readable, flags=re.ASCII)[:120]
    return f"{readable}_{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
