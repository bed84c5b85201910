"""Execute notebooks: one here, many on a Dask cluster; of a plan those that a folder does not hold yet."""

import asyncio
import collections
import concurrent.futures
import itertools
import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
from tqdm import tqdm

from helpers.batch.plans import Plan, digest, find_notebook, fingerprints, make_plan
from helpers.batch.results import CHOSEN_BY, interval, number_in, read_executed, read_folder, refuse_test
from helpers.errors import ParameterError, StorageError, TutorialError, say, short
from helpers.folders import clear_errors, locked, make_folder, write
from helpers.parameters import PARAMETERS, check_names
from helpers.record import as_text

CONNECTION_SECONDS = 10  # how long to wait for a scheduler
LOCK = ".sweep.lock"  # held in a sweep's folder
MEMORY_OF_A_RUN = 2e9  # bytes; the reference network on the full MNIST takes about half of it
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def execute(source: str, parameters: dict, limit: float | None = None, bar: bool | dict = False) -> str:
    """Execute a notebook, given as JSON text, with papermill in a new kernel; return the executed one.

    After ``limit`` minutes it is stopped, and has failed. If it failed, it is there as far as it got,
    and ``metadata.tutorial.error`` says why if no cell does. ``bar`` is papermill's, in cells.
    """
    end = time.monotonic() + 60 * (limit or 0)
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder, "output.ipynb"), None
        try:
            _start(
                nbformat.reads(source, as_version=4),
                str(output),
                parameters,
                progress_bar=bar,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its warnings break the bar
                timeout_func=lambda cell: max(0.1, end + 0.1 - time.monotonic()) if limit else None,
            )
        except Exception as failure:  # of a cell, which shows it, or such as a kernel that was killed
            if limit and time.monotonic() > end:
                error = f"it was stopped at its limit of {limit:g} minutes"
            elif not isinstance(failure, papermill.PapermillExecutionError):
                error = f"{type(failure).__name__}: {failure}"
        try:
            text = nbformat.writes(nbformat.read(output, as_version=4))
        except (OSError, ValueError):  # not written, or only in part
            text, error = source, error or "the executed notebook could not be kept"
    return _note(text, error=short(error)) if error else text


def _start(*notebook, **options):
    """Execute as papermill does; a kernel that dies while it starts (two took one port) is started again."""
    try:
        papermill.execute_notebook(*notebook, **options)
    except RuntimeError as failure:
        if "before replying" not in str(failure):
            raise
        papermill.execute_notebook(*notebook, **options)


def run(
    names: Sequence,
    folder: str | Path,
    parameters: Mapping,
    workers: int | None = None,
    limit: float | None = None,
) -> int:
    """Execute notebooks (paths or stems) side by side into a folder; print the result of each as it comes.

    Each gets those of the ``parameters`` (name → value) that it declares. ``workers`` and ``limit`` are
    as in `sweep`. Returns how many failed. Raises ParameterError, DataError or StorageError before
    anything is executed.
    """
    paths = {path.stem: path for path in map(find_notebook, names)}
    if len(paths) < len(names):
        raise ParameterError("Two of the notebooks have the same name; run them into different folders.")
    for path in paths.values():
        if Path(folder, path.name).resolve() == path.resolve():
            raise ParameterError(f"{path} would be overwritten by its own result; choose another folder.")
    declared = {name: make_plan(path, {}).defaults for name, path in paths.items()}
    check_names(parameters, dict.fromkeys(itertools.chain(*declared.values())))
    tasks, done, fingerprint = [], {}, fingerprints()
    for name, path in paths.items():
        plan = make_plan(path, {key: [parameters[key]] for key in parameters if key in declared[name]})
        (values,) = plan.runs.values()
        tasks.append((name, _note(plan.source, **plan.origin(values, fingerprint)), values))
    make_folder(folder)

    def finish(name, executed):
        done[name] = executed
        state = f"failed: {executed.problem}" if executed.problem else f"finished in {executed.seconds:.0f} s"
        lines = [f"  {key.replace('_', ' '):28} {as_text(value)}" for key, value in executed.record.items()]
        tqdm.write("\n".join([f"{name}: {state} -> {Path(folder, name)}.ipynb", *lines]))

    if len(tasks) > 1:
        _run_all(tasks, len(tasks), folder, done, finish, workers=workers, limit=limit)
    for name, source, values in tasks if len(tasks) == 1 else []:  # without a cluster, its cells as progress
        finish(name, _keep(execute(source, values, limit, {"desc": name}), folder, name))
    return sum(bool(executed.problem) for executed in done.values())


def sweep(
    plan: Plan,
    folder: str | Path,
    scheduler: str | None = None,
    workers: int | None = None,
    retry: bool = False,
    execute: Callable = execute,
    limit: float | None = None,
) -> dict[str, str]:
    """Make all runs of a plan that a folder does not hold yet, in parallel, with a progress bar.

    A run counts as finished if its executed notebook is in the folder, whole and made by the same
    code, with the same data and library versions. So a sweep that was stopped in any way goes on
    when it is started again. A failed run is kept, with the error in it, and not repeated unless
    ``retry`` is set. A finished run that has to be made anew moves to ``archive/`` in the folder.

    Args:
        plan: what `make_plan` or `make_search` returns.
        folder: where the executed notebooks go. Two sweeps at once cannot have the same one.
        scheduler: the address of a Dask scheduler; None starts a cluster on this machine.
        workers: how many runs at a time on this machine; None fits them to cores and memory.
        retry: repeat failed runs.
        execute: the function that executes one run, for tests.
        limit: the minutes after which a run is stopped, and has failed; None for no limit.

    Returns:
        The failed runs: name → reason in one line.

    Raises:
        DataError: a data set is missing or wrong; nothing was started.
        StorageError: the folder cannot be written to, or another sweep uses it.
        TutorialError: the scheduler cannot be reached, or was lost.
    """
    fingerprint = fingerprints()
    origins = [plan.origin(parameters, fingerprint) for parameters in plan.runs.values()]
    make_folder(folder)
    done = {}  # name → Executed, and None while the run is being made

    def refuse():
        raise StorageError(f"Another sweep is writing to {folder}; wait for it or choose another folder.")

    def finish(name, executed):
        done[name] = executed
        with clear_errors(folder):
            plan.tell(name, executed)

    def missing():  # a search draws its next run here, once a worker is free
        found, kept = read_folder(folder), 0
        for name, parameters in plan.draw(folder, origins):
            origin = plan.origin(parameters, fingerprint)
            if name not in done and (reason := _why(found.get(name), origin, retry)):
                done[name] = None
                if name in found:
                    say(f"{name}: {reason}; it runs again.")
                if name in found and not found[name].problem:
                    place = Path(folder, "archive", digest(found[name].origin)[:12])
                    make_folder(place)
                    with clear_errors(place):
                        Path(folder, f"{name}.ipynb").replace(place / f"{name}.ipynb")
                    kept += 1
                yield name, _note(plan.source, **origin), parameters
            elif executed := done.get(name, found.get(name)):  # else it is being made, and not drawn again
                finish(name, executed)
        if kept:
            say(f"{kept} finished runs of other code or data are kept in {Path(folder, 'archive')}.")

    with locked(Path(folder, LOCK), busy=refuse):
        for partial in Path(folder).glob("*.ipynb.*.partial"):  # of a sweep that was killed
            partial.unlink(missing_ok=True)
        how = scheduler, workers, limit, not plan.space
        _run_all(missing(), len(plan), folder, done, finish, execute, *how)
    return {name: executed.problem for name, executed in done.items() if executed.problem}


def describe(
    plan: Plan, folder: str | Path, workers: int | None = None, retry: bool = False
) -> Iterator[str]:
    """Yield in lines what would run: of a sweep also why, and about how long it takes on this machine."""
    if plan.space:
        yield f"{len(plan)} runs, by {plan.method}:"
        yield from (f"  {name}: {distribution}" for name, distribution in plan.space.items())
        return
    fingerprint = fingerprints()
    there = read_folder(folder) if Path(folder).is_dir() else {}
    found = {name: there[name] for name in plan.runs if name in there}
    origins = {name: plan.origin(parameters, fingerprint) for name, parameters in plan.runs.items()}
    reasons = {name: _why(found.get(name), origin, retry) for name, origin in origins.items()}
    todo = {name: reason for name, reason in reasons.items() if reason}
    failed = sum(bool(run.problem) for name, run in found.items() if name not in todo)
    yield f"{len(plan)} runs: {len(plan) - len(todo) - failed} finished, {failed} failed, {len(todo)} to run."
    for name, reason in todo.items():
        kept = "; what is there moves to archive/" if name in found and not found[name].problem else ""
        yield f"  {name}: {reason}{kept}"
    seconds = [run.seconds for run in found.values() if run.seconds and not run.problem]
    if todo and seconds:
        mean, beside = np.mean(seconds), _at_a_time(workers, len(todo))
        minutes = mean * math.ceil(len(todo) / beside) / 60
        yield f"About {minutes:.1f} minutes: a run took {mean:.0f} s, and {beside} run at a time here."
    elif todo:
        yield "How long that takes is not known: no run in this folder is finished."


def confirm(
    folder: str | Path, top: int = 3, seeds: int = 5, metric: str = CHOSEN_BY, **options
) -> pd.DataFrame:
    """Train the best settings of a sweep or search again, with seeds that had no part in the choice.

    The runs go to ``confirmed/`` in the folder, as a sweep's; ``options`` are those of `sweep`. Raises
    ParameterError if the metric is of test images or in no record, and StorageError if the folder does
    not hold finished runs of one notebook.

    Returns:
        A table with a row for each of the ``top`` settings, that with the highest mean of ``metric``
        first: its values, ``searched`` (that mean), ``fresh`` (the mean of the fresh ``seeds``) with
        its interval ``low`` to ``high``, and ``runs``, the number of fresh runs that have finished.
    """
    refuse_test(metric)
    runs = [run for run in read_folder(folder).values() if run.origin and not run.problem]
    notebooks = {run.origin["notebook"] for run in runs if "notebook" in run.origin}
    if len(notebooks) != 1:
        raise StorageError(f"{folder} holds no finished sweep of one notebook; make one by `sweep` first.")
    defaults = make_plan(*notebooks, {}).defaults
    names = sorted({name for run in runs for name in run.parameters} - {"seed"})

    def by_settings(runs):
        found = collections.defaultdict(list)
        for run in runs:
            settings = {name: run.parameters.get(name, defaults.get(name)) for name in names}
            found[json.dumps(settings)].append(number_in(run.record, metric))
        return found

    searched = by_settings(runs)
    best = sorted(searched, key=lambda settings: -np.mean(searched[settings]))[:top]
    used = [run.parameters.get("seed", defaults.get("seed")) or 0 for run in runs]
    apart = PARAMETERS["seeds"].high  # a notebook may train several networks, with this seed and the next
    fresh = [(max(used) + apart * number) % 2**32 for number in range(1, seeds + 1)]
    plan = make_plan(*notebooks, {"seed": fresh}, list(map(json.loads, best)))
    if any(run.origin["code"] != plan.identity.code for run in runs):
        say("Careful: the code has changed since; what is trained now is not what was searched.")
    place = Path(folder, "confirmed")
    for name, reason in sweep(plan, place, **options).items():
        say(f"{name} failed: {reason}")
    found, rows = read_folder(place), []
    confirmed = by_settings(found[name] for name in plan.runs if not found[name].problem)
    for settings in best:
        mean, low, high = interval(confirmed[settings] or [math.nan], metric)
        about = {"searched": np.mean(searched[settings]), "fresh": mean, "low": low, "high": high}
        rows.append(json.loads(settings) | about | {"runs": len(confirmed[settings])})
    return pd.DataFrame(rows)


def _why(found, origin, retry):
    """Say why a run has to be made, given what a folder holds of it, or return nothing: it is done."""
    if found is None:
        return "new"
    if found.origin is None:
        return found.problem
    old, new = (known.get("versions", {}) | known for known in (found.origin, origin))
    changed = [name for name in ("code", "data", *new["versions"]) if old.get(name) != new[name]]
    if changed:
        return f"made with other {', '.join(changed)}"
    return f"failed before: {found.problem}" if found.problem and retry else ""


def _note(text, **about):
    """Return a notebook, as JSON text, with something to remember in its metadata."""
    notebook = json.loads(text)
    notebook["metadata"].setdefault("tutorial", {}).update(about)
    return json.dumps(notebook, indent=1, ensure_ascii=False)


def _keep(text, folder, name):
    write(text, Path(folder, f"{name}.ipynb"))
    return read_executed(Path(folder, f"{name}.ipynb"))


def _run_all(
    tasks, total, folder, done, finish, execute=execute, scheduler=None, workers=None, limit=None, ahead=True
):
    """Have tasks (name, notebook as JSON text, parameters) executed on a cluster; keep what comes back.

    ``finish`` is told what became of each. If not ``ahead``, the next task is asked for after that, when
    a worker is free. The bar shows what is ``done`` of the ``total``.
    """
    from dask.distributed import as_completed

    tasks = iter(tasks)
    first = list(itertools.islice(tasks, 1))
    if not first:
        return  # no cluster is needed
    tasks, running = itertools.chain(first, tasks), {}

    def send():
        threads = sum(client.nthreads().values())
        for task in itertools.islice(tasks, None if ahead else max(0, (threads or 1) - len(running))):
            future = client.submit(_work, execute, *task[1:], limit, pure=False)
            running[future] = task
            completed.add(future)
        there = [executed for executed in done.values() if executed]
        failed, busy, bar.n = sum(bool(one.problem) for one in there), min(len(running), threads), len(there)
        bar.set_description_str(f"{bar.n - failed} of {total} finished, {busy} running, {failed} failed")

    look = {"file": sys.stderr, "bar_format": "|{bar:16}| {desc}, {elapsed}, {remaining} left"}
    with _connect(scheduler, workers, total) as client, tqdm(total=total, **look) as bar:
        try:
            completed = as_completed(loop=client.loop)
            send()
            bar.initial = bar.n  # those took no time
            for future in completed:
                name, source, _ = running.pop(future)
                error = future.exception()  # not of the notebook, but of its worker
                text = _note(source, error=f"{type(error).__name__}: {error}") if error else future.result()
                finish(name, _keep(text, folder, name))
                send()
        except (OSError, asyncio.CancelledError, concurrent.futures.CancelledError):
            raise TutorialError("The Dask scheduler was lost; start the sweep again to continue.") from None


def _work(execute, source, parameters, limit):
    """Execute one run on a worker; unless the cluster says otherwise, a run has one core."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return execute(source, parameters, limit)


def _connect(scheduler, workers, runs):
    """Return a client of a Dask scheduler, or of a new cluster on this machine that ends with it."""
    import dask
    import distributed
    from dask.system import CPU_COUNT

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is reported by `_run_all`
    workers = _at_a_time(workers, runs)
    how = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": 0,  # the kernels use the memory, not the workers
        "dashboard_address": ":0",  # any free port: another cluster may have the usual one
        "silence_logs": logging.CRITICAL,
        "env": dict.fromkeys(THREADS, str(max(1, CPU_COUNT // workers))),
    }
    if scheduler:
        how = {"address": scheduler, "timeout": CONNECTION_SECONDS}
    # no run waits on a worker: if that dies, only the run that it executes is in doubt
    with dask.config.set({"distributed.scheduler.worker-saturation": 1}):
        try:
            return distributed.Client(**how, set_as_default=False)
        except (OSError, ValueError, RuntimeError) as error:
            if scheduler:
                raise TutorialError(f"There is no Dask scheduler at {scheduler} ({error}).") from None
            raise TutorialError(
                f"No Dask cluster starts on this machine ({short(error)}); try again, with fewer workers."
            ) from None


def _at_a_time(workers, runs):
    """Return how many runs this machine makes at a time: as given, or what cores and memory allow."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return workers or max(1, min(CPU_COUNT, int(MEMORY_LIMIT / MEMORY_OF_A_RUN), runs))
