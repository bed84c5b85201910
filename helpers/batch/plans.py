"""What is to be run: a notebook and its parameters, given or drawn, all checked before anything starts."""

import ast
import collections
import contextlib
import functools
import hashlib
import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill

from helpers.batch.results import CHOSEN_BY, Executed, number_in, refuse_test
from helpers.data import load_mnist
from helpers.errors import ParameterError, nearest, short
from helpers.folders import clear_errors
from helpers.identity import Identity, of_notebook
from helpers.parameters import PARAMETERS, check_names, check_value

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SAMPLERS = {"random": "RandomSampler", "tpe": "TPESampler"}  # Optuna's


@dataclass
class Plan:
    """A notebook and the runs to make of it: all that `make_plan` checked, or what a search draws."""

    notebook: str  # its path; of the tutorial's, its stem
    source: str  # the notebook as JSON text, without outputs
    identity: Identity  # of its code
    runs: dict[str, dict]  # the name of each output → its parameters; of a search, those that check it
    defaults: dict  # each name that the notebook declares → its own value, None if that is no plain one
    space: dict = field(default_factory=dict)  # of a search: name → Optuna's distribution
    trials: int = 0  # how many to draw, with those of an earlier start of the same search
    method: str = ""  # random, or tpe: after ten trials at random it draws where it expects more
    metric: str = ""  # the value of the record that is to be high

    def __len__(self) -> int:
        """Return how many runs it has, or draws."""
        return self.trials or len(self.runs)

    def origin(self, parameters: Mapping, fingerprint: Callable[[str], str]) -> dict:
        """Return what decides a run: notebook, code, versions, data by its ``fingerprint``, or DataError."""
        name = parameters.get("dataset", self.defaults.get("dataset"))
        data = {"dataset": fingerprint(name)} if name is not None else {}
        return {"notebook": self.notebook} | asdict(self.identity) | {"data": data}

    def draw(self, folder: str | Path, origins: Iterable[Mapping]) -> Iterator[tuple[str, dict]]:
        """Yield the name and parameters of every run; of a search first those that the folder's study has.

        The study goes by all that decides it, so other code, data or ranges start another. Its random
        numbers start anew with each run: a search that was stopped goes on as it would have. StorageError
        if it cannot be read or written.
        """
        if not self.space:
            yield from self.runs.items()
            return
        import optuna
        from optuna.storages import JournalStorage, journal

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = str(Path(folder, "study.log"))
        seed = next(iter(self.runs.values())).get("seed", self.defaults.get("seed")) or 0
        decided = [self.method, self.metric, seed, sorted(map(str, self.space.items())), *origins]
        with clear_errors(path, "read", "delete it: finished runs stay", Exception):
            backend = journal.JournalFileBackend(path, threading.Lock())  # `sweep` keeps others out
            how = {"storage": JournalStorage(backend), "direction": "maximize", "load_if_exists": True}
            self.study = optuna.create_study(study_name=digest(decided)[:12], **how)
        self.waiting = collections.defaultdict(list)  # name → the numbers of its trials
        drawn = [trial for trial in self.study.trials if trial.params.keys() == self.space.keys()]
        for number in range(self.trials):
            if number >= len(drawn):
                start = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
                self.study.sampler = getattr(optuna.samplers, SAMPLERS[self.method])(seed=start)
                with clear_errors(path):
                    drawn.append(self.study.ask(self.space))
            parameters = dict(sorted(drawn[number].params.items()))
            name = run_name(Path(self.notebook).stem, parameters)
            self.waiting[name].append(drawn[number].number)
            yield name, parameters

    def tell(self, name: str, executed: Executed) -> None:
        """Let a search learn a result, or ParameterError. After a failure its trial stays open."""
        if self.space and not executed.problem:
            value = number_in(executed.record, self.metric)
            for number in self.waiting.pop(name, []) if math.isfinite(value) else []:
                self.study.tell(number, value, skip_if_finished=True)


def make_plan(notebook: str | Path, grid: Mapping[str, Iterable], entries: Iterable[Mapping] = ({},)) -> Plan:
    """Check the parameters of a sweep against its notebook and name every run.

    Args:
        notebook: a path, or the stem of one of the tutorial's notebooks.
        grid: name → list of values; every combination is run.
        entries: a list of dicts, each a set of values that belong together; every combination of
            the grid is run with each. A name that an entry leaves out has the notebook's default.

    Raises ParameterError for a name that the notebook does not declare, or a wrong type or value.
    """
    path = find_notebook(notebook)
    try:
        content = nbformat.read(path, as_version=4)
        declared = papermill.inspect_notebook(str(path))
    except Exception as error:  # nbformat and papermill have several
        raise ParameterError(
            f"{path} cannot be read as a notebook ({short(error)}); open it in JupyterLab, choose Python 3 "
            "as its kernel at the top right, and save it."
        ) from None
    used = [*grid, *itertools.chain(*entries)]
    check_names(used, declared)
    defaults, runs = dict.fromkeys(declared), {}
    for name, about in declared.items():
        with contextlib.suppress(ValueError, SyntaxError):  # a default that is no plain value
            defaults[name] = ast.literal_eval(about["default"])
    left_out = {name: defaults[name] for name in used if defaults[name] is not None}
    for entry in entries:
        for name in sorted(grid.keys() & entry.keys()):
            raise ParameterError(f"`{name}` stands in the grid and in the list; leave it in one of them.")
        for values in itertools.product(*grid.values()):
            given = left_out | dict(zip(grid, values)) | entry
            parameters = {name: parse_value(name, value) for name, value in sorted(given.items())}
            runs[run_name(path.stem, parameters)] = parameters
    if not runs:
        raise ParameterError("There is nothing to run: a list of values is empty.")
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # made anew, so they need not travel
    place = path.stem if path.resolve().parent == NOTEBOOKS else str(path.resolve())
    return Plan(place, nbformat.writes(content), of_notebook(content, path.parent), runs, defaults)


def make_search(
    notebook: str | Path,
    values: Mapping[str, Any],
    trials: int = 20,
    method: str = "tpe",
    metric: str = CHOSEN_BY,
) -> Plan:
    """Check the space of a search against its notebook.

    Args:
        notebook: as in `make_plan`.
        values: name → what to draw from: a range as text, ``"1e-5..0.1"``, log-uniform if its upper
            end is at least ten times the lower one, else uniform; or a list of values, or one value.
        trials, method, metric: as in `Plan`.

    Raises ParameterError, as `make_plan`, or if nothing can be drawn so, or chosen by the metric.
    """
    if method not in SAMPLERS:
        raise ParameterError(f"There is no search {method!r}{nearest(method, SAMPLERS)}; give random or tpe.")
    refuse_test(metric)
    space = {name: _distribution(name, value) for name, value in values.items() if value != []}
    if "seed" in space and not space["seed"].single():
        raise ParameterError("A search draws settings, not luck; give one `seed`, and confirm what it finds.")
    if len(space) < len(values) or all(some.single() for some in space.values()):
        raise ParameterError("There is nothing to draw; give a range, such as learning_rate 1e-5..0.1.")
    tried = {name: getattr(some, "choices", None) or [some.low] for name, some in space.items()}
    first = {name: some[0] for name, some in tried.items()}
    plan = make_plan(notebook, {}, [first | {name: value} for name, some in tried.items() for value in some])
    return replace(plan, space=space, trials=trials, method=method, metric=metric)


def _distribution(name, value):
    """Return Optuna's distribution for a range, a list of values or one value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = value if isinstance(value, list) else [value]
    ends = range_ends(name, values[0]) if len(values) == 1 else []
    values = list(dict.fromkeys(parse_value(name, value) for value in ends or values))
    if not ends:
        return CategoricalDistribution(values)
    low, high = values[0], values[-1]
    if low >= high:
        raise ParameterError(f"`{name}` is {low}..{high}; write the lower end first, then a higher one.")
    kind = IntDistribution if PARAMETERS[name].type is int else FloatDistribution
    return kind(low, high, log=0 < 10 * low <= high)


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


def range_ends(name: str, value: object) -> list[str]:
    """Return the ends of a range such as ``"1e-5..0.1"`` of a parameter that is a number, else []."""
    low, _, high = value.partition("..") if isinstance(value, str) else ("", "", "")
    number = name in PARAMETERS and PARAMETERS[name].type in (int, float)
    return [low, high] if number and low and high else []


def parse_value(name: str, value):
    """Return a checked value, read from text if it is text, as command lines and YAML give it.

    ``"1e-3"`` becomes 0.001 for a parameter that is a number, ``"false"`` becomes False for one
    that is a truth value; 0 becomes 0.0 where any number is accepted. Or it raises ParameterError.
    """
    if range_ends(name, value):
        raise ParameterError(f"`{name}` is {value}, a range; list values as 1,2,3, or draw with --search.")
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
    readable = "_".join([stem, *(f"{name}={value}" for name, value in sorted(parameters.items()))])
    readable = re.sub(r"[^\w.=-]+", "-", readable, flags=re.ASCII)[:120]
    return f"{readable}_{digest([stem, parameters])[:8]}"


def digest(value: object) -> str:
    """Return a hash of what can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
