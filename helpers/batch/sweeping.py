"""Sweeps: many runs of a notebook, of which those that a folder does not hold yet are made."""

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from helpers.batch.plans import Plan, fingerprints
from helpers.batch.results import Executed, read_folder
from helpers.batch.running import Task, at_a_time, connect, execute, run_all
from helpers.errors import StorageError, say
from helpers.folders import locked, make_folder


def why(found: Executed | None, origin: Mapping, retry: bool = False) -> str:
    """Say why a run has to be made, given what a folder holds of it, or return nothing: it is done."""
    if found is None:
        return "new"
    if found.origin is None:
        return found.problem
    changed = _changed(found.origin, origin)
    return changed or (f"failed before: {found.problem}" if found.problem and retry else "")


def _changed(old, new):
    """Say how what decided a run differs from what would decide it now, or return nothing."""
    if old.get("code") != new["code"]:
        return "made by another version of the code"
    if old.get("data") != new["data"]:
        return "made with other data of the same name"
    before, now = old.get("versions", {}), new["versions"]
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            return f"made with {name} {before.get(name, '(none)')}, now {now.get(name, '(none)')}"
    return ""


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
        workers: how many processes to start on this machine; None fits them to cores and memory.
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
    origins = {name: plan.origin(parameters, fingerprint) for name, parameters in plan.runs.items()}
    make_folder(folder)
    done = {}  # name → Executed, and None while the run is being made

    def finish(name, executed):
        done[name] = executed
        plan.tell(name, executed)

    def missing():  # a search draws its next run here, once a worker is free
        found, kept = read_folder(folder), 0
        for name, parameters in plan.draw(folder, origins):
            origin = plan.origin(parameters, fingerprint)
            reason = "" if name in done else why(found.get(name), origin, retry)
            if not reason:
                executed = done.get(name, found.get(name))
                if executed:  # and not drawn a second time while it is being made
                    finish(name, executed)
                continue
            if reason != "new" and not reason.startswith("failed before"):
                say(f"{name}: {reason}; it runs again.")
            if is_kept(found.get(name)):
                _archive(name, found[name], folder)
                kept += 1
            done[name] = None
            yield name, Task(plan.source, parameters, origin, str(Path(folder, f"{name}.ipynb")))
        if kept:
            say(f"{kept} finished runs of other code or data are kept in {Path(folder, 'archive')}.")

    with _only_sweep(folder):
        at_once = type(plan) is Plan
        tasks = iter(list(missing())) if at_once else missing()
        first = list(itertools.islice(tasks, 1))
        if first:
            failed = sum(bool(run and run.problem) for run in done.values())
            finished = sum(run is not None for run in done.values()) - failed
            execute = functools.partial(execute, limit=limit) if limit else execute
            with connect(scheduler, workers, len(plan) - finished - failed) as client:
                tasks = itertools.chain(first, tasks)
                for result in run_all(client, tasks, len(plan), execute, finished, failed, at_once):
                    finish(*result)
    return {name: run.problem for name, run in done.items() if run.problem}


def describe(
    plan: Plan, folder: str | Path, workers: int | None = None, retry: bool = False
) -> Iterator[str]:
    """Yield in lines what a sweep would run, why, and about how long it takes on this machine."""
    fingerprint = fingerprints()
    there = read_folder(folder) if Path(folder).is_dir() else {}
    found = {name: run for name, run in there.items() if name in plan.runs}
    reasons = {
        name: why(found.get(name), plan.origin(parameters, fingerprint), retry)
        for name, parameters in plan.runs.items()
    }
    count = sum(map(bool, reasons.values()))
    failed = sum(bool(run.problem) for name, run in found.items() if not reasons[name])
    finished = len(plan.runs) - count - failed
    yield f"{len(plan.runs)} runs: {finished} finished, {failed} failed, {count} to run."
    for name, reason in reasons.items():
        if reason:
            kept = "; what is there moves to archive/" if is_kept(found.get(name)) else ""
            yield f"  {name}: {reason}{kept}"
    seconds = [run.seconds for run in found.values() if run.seconds and run.problem is None]
    if count and seconds:
        mean, beside = sum(seconds) / len(seconds), at_a_time(workers, count)
        total = mean * -(-count // beside)
        time = f"{total:.0f} seconds" if total < 120 else f"{total / 60:.0f} minutes"
        yield f"About {time}: a run took {mean:.0f} s, and {beside} run at a time on this machine."
    elif count:
        yield "How long that takes is not known: no run in this folder is finished."


def is_kept(found: Executed | None) -> bool:
    """Return whether a run that is made anew is one that was finished, and moves to the archive."""
    return found is not None and found.problem is None


def _archive(name, executed, folder):
    """Move a finished run out of the way, into a folder named by a hash of what decided it."""
    path = Path(folder, f"{name}.ipynb")
    origin, content = json.dumps(executed.origin).encode(), path.read_bytes()
    place = Path(folder, "archive", hashlib.sha256(origin).hexdigest()[:12])
    make_folder(place)
    # Its content is in its name, so that nothing is overwritten.
    path.replace(place / f"{name}_{hashlib.sha256(content).hexdigest()[:8]}.ipynb")


@contextlib.contextmanager
def _only_sweep(folder):
    """Refuse a second sweep into a folder, and tidy up after one that was killed."""

    def refuse():
        raise StorageError(f"Another sweep is writing to {folder}; wait for it or choose another folder.")

    with locked(Path(folder, ".sweep.lock"), busy=refuse):
        for abandoned in ("*.ipynb.*.partial", "study.log.lock*"):
            for path in Path(folder).glob(abandoned):
                path.unlink(missing_ok=True)
        yield
