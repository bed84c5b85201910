"""Sweeps: many runs of a notebook, of which those that a folder does not hold yet are made."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from papermill.iorw import papermill_io

from helpers.batch.places import inside, is_local, make_folder, write
from helpers.batch.plans import Plan
from helpers.batch.results import Executed, read_folder
from helpers.batch.running import Task, at_a_time, connect, execute, run_all
from helpers.errors import StorageError, say
from helpers.folders import locked


@dataclass(frozen=True)
class Outlook:
    """What a sweep has to do: the runs to make and why, those that failed before and why, and the
    finished ones that other code, versions or data made: name → text, and for the last → `Executed`."""

    reasons: dict[str, str]
    failed: dict[str, str]
    outdated: dict[str, Executed]
    seconds: list[float]  # of the runs that are there


def look(plan: Plan, origins: Mapping[str, dict], folder: str | Path, retry: bool = False) -> Outlook:
    """Compare a plan with what a folder holds."""
    there = is_local(folder) is False or Path(folder).is_dir()
    found = {name: run for name, run in (read_folder(folder) if there else {}).items() if name in plan.runs}
    reasons, failed, outdated = {}, {}, {}
    for name in plan.runs:
        if name not in found:
            reasons[name] = "new"
        elif found[name].origin is None:
            reasons[name] = found[name].problem
        elif changed := _changed(found[name].origin, origins[name]):
            reasons[name] = changed
            if found[name].problem is None:
                outdated[name] = found[name]
        elif found[name].problem is not None and retry:
            reasons[name] = f"failed before: {found[name].problem}"
        elif found[name].problem is not None:
            failed[name] = found[name].problem
    seconds = [run.seconds for run in found.values() if run.seconds and run.problem is None]
    return Outlook(reasons, failed, outdated, seconds)


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
) -> dict[str, str]:
    """Make all runs of a plan that a folder does not hold yet, in parallel, with a progress bar.

    A run counts as finished if its executed notebook is in the folder, whole and made by the same
    code, with the same data and library versions. So a sweep that was stopped in any way goes on
    when it is started again. A failed run is kept, with the error in it, and not repeated unless
    ``retry`` is set. A finished run that has to be made anew moves to ``archive/`` in the folder.

    Args:
        plan: what `make_plan` returns.
        folder: where the executed notebooks go. Two sweeps at once cannot have the same local one.
        scheduler: the address of a Dask scheduler; None starts a cluster on this machine.
        workers: how many processes to start on this machine; None fits them to cores and memory.
        retry: repeat failed runs.
        execute: the function that executes one run, for tests.

    Returns:
        The failed runs: name → reason in one line.

    Raises:
        DataError: a data set is missing or wrong; nothing was started.
        StorageError: the folder cannot be written to, or another sweep uses it.
        TutorialError: the scheduler cannot be reached, or was lost.
    """
    origins = plan.origins()
    make_folder(folder)
    with _only_sweep(folder):
        outlook = look(plan, origins, folder, retry)
        _archive(outlook.outdated, folder)
        for name, reason in outlook.reasons.items():
            if reason != "new" and not reason.startswith("failed before"):
                say(f"{name}: {reason}; it runs again.")
        failed = dict(outlook.failed)
        tasks = {
            name: Task(plan.source, plan.runs[name], origins[name], inside(folder, f"{name}.ipynb"))
            for name in outlook.reasons
        }
        if tasks:
            finished = len(plan.runs) - len(tasks) - len(failed)
            with connect(scheduler, workers, len(tasks)) as client:
                for name, executed in run_all(client, tasks, execute, finished, len(failed)):
                    if executed.problem is not None:
                        failed[name] = executed.problem
    return {name: failed[name] for name in plan.runs if name in failed}


def describe(
    plan: Plan, folder: str | Path, workers: int | None = None, retry: bool = False
) -> Iterator[str]:
    """Yield in lines what a sweep would run, why, and about how long it takes on this machine."""
    outlook = look(plan, plan.origins(), folder, retry)
    count = len(outlook.reasons)
    finished = len(plan.runs) - count - len(outlook.failed)
    yield f"{len(plan.runs)} runs: {finished} finished, {len(outlook.failed)} failed, {count} to run."
    for name, reason in outlook.reasons.items():
        kept = "; what is there moves to archive/" if name in outlook.outdated else ""
        yield f"  {name}: {reason}{kept}"
    if count and outlook.seconds:
        mean, beside = sum(outlook.seconds) / len(outlook.seconds), at_a_time(workers, count)
        total = mean * -(-count // beside)
        time = f"{total:.0f} seconds" if total < 120 else f"{total / 60:.0f} minutes"
        yield f"About {time}: a run took {mean:.0f} s, and {beside} run at a time on this machine."
    elif count:
        yield "How long that takes is not known: no run in this folder is finished."


def _archive(outdated, folder):
    """Move finished runs out of the way, into a folder named by a hash of what decided them."""
    for name, executed in outdated.items():
        text = papermill_io.read(inside(folder, f"{name}.ipynb"))
        hashes = [hashlib.sha256(part.encode()).hexdigest() for part in (json.dumps(executed.origin), text)]
        place = inside(folder, f"archive/{hashes[0][:12]}")
        if is_local(folder):
            make_folder(place)
        # Its content is in its name, so that nothing is overwritten.
        write(text, inside(place, f"{name}_{hashes[1][:8]}.ipynb"))
        if is_local(folder):
            Path(folder, f"{name}.ipynb").unlink()
    if outdated:
        say(f"{len(outdated)} finished runs of other code or data are kept in {inside(folder, 'archive')}.")


@contextlib.contextmanager
def _only_sweep(folder):
    """Refuse a second sweep into a local folder, and tidy up after one that was killed."""

    def refuse():
        raise StorageError(f"Another sweep is writing to {folder}; wait for it or choose another folder.")

    if not is_local(folder):
        yield
        return
    with locked(Path(folder, ".sweep.lock"), busy=refuse):
        for abandoned in Path(folder).glob("*.ipynb.*.partial"):
            abandoned.unlink(missing_ok=True)
        yield
