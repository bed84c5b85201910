"""Searches: sweeps whose settings Optuna draws; and the best of a sweep or search, with fresh seeds."""

import collections
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.batch.plans import Plan, make_plan, parse_value, range_ends
from helpers.batch.results import CHOSEN_BY, Executed, interval, number_in, read_folder
from helpers.batch.sweeping import sweep
from helpers.errors import ParameterError, StorageError, nearest, say
from helpers.folders import clear_errors
from helpers.parameters import PARAMETERS

if TYPE_CHECKING:
    import pandas as pd

METHODS = {"random": "RandomSampler", "tpe": "TPESampler"}  # Optuna's


@dataclasses.dataclass
class Search(Plan):
    """A plan that draws its runs, each when `sweep` asks for it, and learns how they did.

    Attributes:
        runs: what was tried to check the search: every value, and the ends of ranges.
        space: name → Optuna's distribution.
        trials: how many to draw, with those of an earlier start of the same search.
        method: "random", or "tpe" (tree-structured Parzen estimator: after ten trials at random it
            draws where it expects more).
        metric: the value of the record that is to be high.
    """

    space: dict
    trials: int
    method: str
    metric: str

    def __len__(self) -> int:
        """Return how many runs it draws."""
        return self.trials

    def draw(self, folder: str | Path, origins: Mapping) -> Iterator[tuple[str, dict]]:
        """Yield the name and parameters of every run: first those that the folder's study has.

        The study goes by all that decides it, so other code, data or ranges start another. Its
        random numbers start anew with each run: a search that was stopped goes on as it would have.

        Raises:
            StorageError: the study cannot be read or written.
        """
        import optuna
        from optuna.storages import JournalStorage, journal

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = str(Path(folder, "study.log"))
        seed = next(iter(self.runs.values())).get("seed", self.defaults.get("seed", 0))
        decided = [self.method, self.metric, seed, sorted(map(str, self.space.items())), *origins.values()]
        with clear_errors(path, "read", "delete it: finished runs stay", Exception):
            lock = journal.JournalFileOpenLock(path)
            self.study = optuna.create_study(
                storage=JournalStorage(journal.JournalFileBackend(path, lock)),
                study_name=hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:12],
                direction="maximize",
                load_if_exists=True,
            )
        self.waiting = collections.defaultdict(list)  # the numbers of the trials of a run
        drawn = [trial for trial in self.study.trials if trial.params.keys() == self.space.keys()]
        yield from map(self._run, drawn[: self.trials])
        for number in range(len(drawn), self.trials):
            start = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            self.study.sampler = getattr(optuna.samplers, METHODS[self.method])(seed=start)
            yield self._run(self.study.ask(self.space))

    def _run(self, trial):
        parameters = dict(sorted(trial.params.items()))
        name = self.name(parameters)
        self.waiting[name].append(trial.number)
        return name, parameters

    def tell(self, name: str, executed: Executed) -> None:
        """Learn the result of a run. If it failed, its trial stays open: it may be repeated.

        Raises:
            ParameterError: its record lacks the metric.
        """
        if executed.problem is None and math.isfinite(value := number_in(executed.record, self.metric)):
            for number in self.waiting.pop(name, []):
                self.study.tell(number, value, skip_if_finished=True)


def make_search(
    notebook: str | Path,
    values: Mapping[str, Any],
    trials: int = 20,
    method: str = "tpe",
    metric: str = CHOSEN_BY,
) -> Search:
    """Check the space of a search against its notebook.

    Args:
        notebook: a path, or the stem of one of the tutorial's notebooks.
        values: name → what to draw from: a range as text, ``"1e-5..0.1"``, log-uniform if its upper
            end is at least ten times the lower one, else uniform; or a list of values, or one value.
        trials, method, metric: as in `Search`.

    Raises:
        ParameterError: as `make_plan`; or what is given is no space, method or metric to search by.
    """
    if method not in METHODS:
        raise ParameterError(f"There is no search {method!r}{nearest(method, METHODS)}; give random or tpe.")
    refuse_test(metric)
    given = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
    ranges = {name: range_ends(name, value[0]) for name, value in given.items() if len(value) == 1}
    tried = given | {name: ends for name, ends in ranges.items() if ends}
    if len(tried.get("seed", [])) > 1:
        raise ParameterError("A search draws settings, not luck; give one `seed`, and confirm what it finds.")
    if not all(tried.values()):
        raise ParameterError("There is nothing to draw: a list of values is empty.")
    longest = max(map(len, tried.values()), default=1)
    rows = zip(*([*each, *each[-1:] * (longest - len(each))] for each in tried.values()))
    plan = make_plan(notebook, {}, [dict(zip(tried, row)) for row in rows] or [{}])
    if len(plan.runs) < 2:
        raise ParameterError("There is nothing to draw; give a range, such as learning_rate 1e-5..0.1.")
    space = {name: _distribution(name, tried[name], bool(ranges.get(name))) for name in tried}
    return Search(**vars(plan), space=space, trials=trials, method=method, metric=metric)


def _distribution(name, values, is_range):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [parse_value(name, value) for value in values]
    if not is_range:
        return CategoricalDistribution(list(dict.fromkeys(values)))
    low, high = values
    if low >= high:
        raise ParameterError(f"`{name}` is {low}..{high}; write the lower end first, then a higher one.")
    kind = IntDistribution if PARAMETERS[name].type is int else FloatDistribution
    return kind(low, high, log=0 < 10 * low <= high)


def confirm(
    folder: str | Path, top: int = 3, seeds: int = 5, metric: str = CHOSEN_BY, **options
) -> "pd.DataFrame":
    """Train the best settings of a sweep or search again, with seeds that had no part in the choice.

    The runs go to ``confirmed/`` in the folder, as a sweep's; ``options`` are those of `sweep`.

    Args:
        folder: of a finished sweep or search.
        top: how many settings, those with the highest mean of ``metric``.
        seeds: how many fresh seeds each gets.

    Returns:
        A table with a row for each of the settings, the best first: their values, ``searched`` (the
        mean by which they were chosen), ``fresh`` (the mean of the fresh seeds) with its interval
        ``low`` to ``high``, and ``runs``, the number of fresh runs that have finished.

    Raises:
        ParameterError: the metric is of test images, or in no record.
        StorageError: the folder holds no finished run, or those of several notebooks.
    """
    import pandas as pd

    refuse_test(metric)
    runs = [run for run in read_folder(folder).values() if run.problem is None and run.origin]
    notebooks = {run.origin["notebook"] for run in runs if "notebook" in run.origin}
    if len(notebooks) != 1:
        raise StorageError(f"{folder} holds no finished sweep of one notebook; make one by `sweep` first.")
    seed = make_plan(*notebooks, {}).defaults.get("seed")
    chosen = collections.defaultdict(list)
    for run in runs:
        settings = {name: value for name, value in run.parameters.items() if name != "seed"}
        chosen[json.dumps(settings, sort_keys=True)].append(number_in(run.record, metric))
    best = sorted(chosen, key=lambda settings: -np.mean(chosen[settings]))[:top]
    used = {run.parameters.get("seed", seed) for run in runs}
    fresh = list(itertools.islice((number for number in itertools.count() if number not in used), seeds))
    plans = [make_plan(*notebooks, {"seed": fresh}, [json.loads(settings)]) for settings in best]
    if any(run.origin["code"] != plans[0].identity.code for run in runs):
        say("Careful: the code has changed since; what is trained now is not what was searched.")
    everything = {name: values for plan in plans for name, values in plan.runs.items()}
    place = Path(folder, "confirmed")
    for name, reason in sweep(dataclasses.replace(plans[0], runs=everything), place, **options).items():
        say(f"{name} failed: {reason}")
    found, rows = read_folder(place), []
    for settings, plan in zip(best, plans):
        values = [number_in(found[name].record, metric) for name in plan.runs if found[name].problem is None]
        mean, low, high = interval(values or [math.nan], metric)
        about = {"searched": np.mean(chosen[settings]), "fresh": mean, "low": low, "high": high}
        rows.append(json.loads(settings) | about | {"runs": len(values)})
    return pd.DataFrame(rows)


def refuse_test(metric: str) -> None:
    """Raise ParameterError for a metric of test images: nothing is chosen by them."""
    if "test" in metric:
        raise ParameterError(f"`{metric}` is of test images, by which nothing is chosen; name another.")
