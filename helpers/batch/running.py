"""Execute notebooks: one in this process, many on a Dask cluster, each as soon as a core is free."""

import asyncio
import concurrent.futures
import contextlib
import functools
import json
import logging
import math
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from tqdm import tqdm

from helpers.batch.plans import find_notebook, fingerprints, inspect, make_plan
from helpers.batch.results import Executed, print_record, read_executed
from helpers.errors import ParameterError, TutorialError, short
from helpers.folders import make_folder, write
from helpers.parameters import check_names

CONNECTION_SECONDS = 10  # how long to wait for a scheduler
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
MEMORY_OF_A_RUN = 2e9  # bytes; the reference network on the full MNIST takes about half of it


@dataclass(frozen=True)
class Task:
    """One run: a notebook as JSON text, its parameters, what decides its result, and where it goes."""

    source: str
    parameters: dict
    origin: dict
    output: str


def execute(
    source: str, parameters: dict, progress_bar: bool | dict = False, limit: float | None = None
) -> str:
    """Execute a notebook with papermill in a new kernel.

    Args:
        source: the notebook as JSON text.
        parameters: name → value.
        progress_bar: papermill's, in cells.
        limit: the minutes after which it is stopped, and has failed; None for no limit.

    Returns:
        The executed notebook as JSON text. If it failed, it is there as far as it got, and
        ``metadata.tutorial.error`` says in one line why.
    """
    end = time.monotonic() + 60 * limit if limit else math.inf
    left = {"timeout_func": lambda cell: max(0.1, end + 0.1 - time.monotonic())} if limit else {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output.ipynb")
        error = None
        try:
            papermill.execute_notebook(
                nbformat.reads(source, as_version=4),
                str(output),
                parameters,
                progress_bar=progress_bar,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its warnings break the bar
                **left,  # nbclient's: seconds for each cell
            )
        except papermill.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        except Exception as failure:  # such as a kernel that was killed
            error = f"{type(failure).__name__}: {failure}"
            if time.monotonic() > end:
                error = f"it was stopped at its limit of {limit:g} minutes"
        try:
            text = nbformat.writes(nbformat.read(output, as_version=4))
        except (OSError, ValueError):  # not written, or only in part
            text, error = source, error or "the executed notebook could not be kept"
    return _note(text, error=short(error)) if error else text


def run(
    names: Sequence,
    folder: str | Path,
    parameters: Mapping,
    workers: int | None = None,
    limit: float | None = None,
) -> int:
    """Execute notebooks side by side into a folder; print the result of each as it comes.

    Args:
        names: paths or stems. Each notebook gets those parameters that it declares; each parameter
            must be declared by one of them at least.
        folder: where the executed notebooks go.
        parameters: name → value.
        workers: how many at a time; None fits them to cores and memory.
        limit: the minutes that each may take; None for no limit.

    Returns:
        How many failed.

    Raises:
        ParameterError, DataError: as `make_plan` and `Plan.origin`, before anything is executed.
        StorageError: the folder cannot be written to.
    """
    paths = [find_notebook(name) for name in names]
    if not paths:
        raise ParameterError("There is no notebook to run.")
    if len({path.name for path in paths}) < len(paths):
        raise ParameterError("Two of the notebooks have the same name; run them into different folders.")
    for path in paths:
        if Path(folder, path.name).resolve() == path.resolve():
            raise ParameterError(f"{path} would be overwritten by its own result; choose another folder.")
    declared = {path: inspect(path) for path in paths}
    check_names(parameters, dict.fromkeys(name for found in declared.values() for name in found))
    tasks, fingerprint = {}, fingerprints()
    for path in paths:
        plan = make_plan(path, {name: [parameters[name]] for name in parameters if name in declared[path]})
        ((name, values),) = plan.runs.items()
        origin = plan.origin(values, fingerprint)
        tasks[path.stem] = Task(plan.source, values, origin, str(Path(folder, path.name)))
    make_folder(folder)
    failed = 0
    with contextlib.closing(_all_or_one(tasks, workers, limit)) as results:
        for name, executed in results:
            failed += executed.problem is not None
            state = f"finished in {executed.seconds:.0f} s" if not executed.problem else "failed: "
            with tqdm.external_write_mode(sys.stdout):  # the bar on stderr makes room
                print(f"{name}: {state}{executed.problem or ''} -> {tasks[name].output}")
                print_record(executed.record)
                sys.stdout.flush()
    return failed


def _all_or_one(tasks, workers, limit):
    limited = functools.partial(execute, limit=limit)
    if len(tasks) > 1:
        with connect(None, workers, len(tasks)) as client:
            yield from run_all(client, tasks.items(), len(tasks), limited)
        return
    for name, task in tasks.items():  # without a cluster, with its cells as progress
        source = _note(task.source, **task.origin)
        yield name, _keep(task, limited(source, task.parameters, {"desc": name}))


def run_all(
    client,
    tasks: Iterable[tuple[str, Task]],
    total: int,
    execute: Callable = execute,
    finished: int = 0,
    failed: int = 0,
    ahead: bool = True,
) -> Iterator[tuple[str, Executed]]:
    """Send runs to a cluster, keep what comes back and yield it, with a progress bar.

    ``total``, ``finished`` and ``failed`` count earlier runs too, for the bar. If not ``ahead``, the
    next task is asked for when a worker is free and what came back before it has been yielded.

    Raises:
        StorageError: an output cannot be written.
        TutorialError: the scheduler was lost.
    """
    from dask.distributed import as_completed

    tasks, sources, running = iter(tasks), {}, {}
    once = uuid.uuid4().hex  # another sweep on the same scheduler has other keys
    completed = as_completed(loop=client.loop)

    def send():
        while ahead or len(running) < max(1, sum(client.nthreads().values())):
            name, task = next(tasks, (None, None))
            if task is None:
                return
            if task.source not in sources:  # a task of its own: it travels once to each worker,
                sources[task.source] = client.submit(str, task.source, pure=False)  # also if it is lost
            given = sources[task.source], task.parameters, task.origin, execute
            future = client.submit(_work, *given, key=f"{name}-{once}")
            running[future.key] = name, task
            completed.add(future)

    def state():
        busy = min(len(running), sum(client.nthreads().values()))
        return f"{finished} of {total} finished, {busy} running, {failed} failed"

    with tqdm(
        total=total,
        initial=finished + failed,
        file=sys.stderr,
        bar_format="|{bar:16}| {desc}, {elapsed}, {remaining} left",
    ) as bar:
        try:
            send()
            bar.set_description_str(state())
            for future in completed:
                name, task = running.pop(future.key)
                if future.status == "error":  # not the notebook but its worker failed
                    error = future.exception()
                    told = short(f"{type(error).__name__}: {error}")
                    text = _note(task.source, **task.origin, error=told)
                else:
                    text = future.result()
                executed = _keep(task, text)
                del future  # frees its result on the cluster
                failed += executed.problem is not None
                finished += executed.problem is None
                bar.set_description_str(state(), refresh=False)
                bar.update()
                yield name, executed
                send()
        except (OSError, asyncio.CancelledError, concurrent.futures.CancelledError):
            raise TutorialError("The Dask scheduler was lost; start the sweep again to continue.") from None


def _work(source, parameters, origin, execute):
    """Execute one run on a worker; unless the cluster says otherwise, a run has one core."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return execute(_note(source, **origin), parameters)


def _note(text, **about):
    """Return a notebook, as JSON text, with something to remember in its metadata."""
    notebook = json.loads(text)
    notebook["metadata"].setdefault("tutorial", {}).update(about)
    return json.dumps(notebook, indent=1, ensure_ascii=False)


def _keep(task, text):
    write(text, task.output)
    return read_executed(text)


@contextlib.contextmanager
def connect(scheduler: str | None, workers: int | None, runs: int) -> Iterator:
    """Connect to a Dask scheduler, or to a new cluster on this machine that ends with the context."""
    import dask
    import distributed
    from dask.system import CPU_COUNT

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is reported by `run_all`
    if scheduler:
        try:
            client = distributed.Client(scheduler, timeout=CONNECTION_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise TutorialError(f"There is no Dask scheduler at {scheduler} ({error}).") from None
        with client:
            yield client
        return
    workers = at_a_time(workers, runs)
    with (
        # no run waits on a worker: if that dies, only the run that it executes is in doubt
        dask.config.set({"distributed.scheduler.worker-saturation": 1}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # the kernels use the memory, not the workers
            dashboard_address=":0",  # any free port: another cluster may have the usual one
            silence_logs=logging.CRITICAL,
            env=dict.fromkeys(THREADS, str(max(1, CPU_COUNT // workers))),
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def at_a_time(workers: int | None, runs: int) -> int:
    """Return how many runs this machine makes at a time: as given, or what cores and memory allow."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return workers or max(1, min(CPU_COUNT, int(MEMORY_LIMIT / MEMORY_OF_A_RUN), runs))
