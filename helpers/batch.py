"""Run notebooks in batches: with checked parameters, in parallel, and so that a stop costs little.

    python -m helpers.batch run 04_training runs/trial -p epochs 3
    python -m helpers.batch run all runs/small -p dataset sample
    python -m helpers.batch sweep 05_evaluation runs/rates -p learning_rate 1e-4,1e-3 -p seed 0,1,2
    python -m helpers.batch sweep 05_evaluation runs/rates -f sweep.yml --scheduler tcp://host:8786
    python -m helpers.batch collect runs/rates --metric test_accuracy

papermill executes the notebooks and Dask spreads them over processes or machines. What is here is
what they leave open: parameters are checked before a kernel starts; an executed notebook appears in
its folder whole or not at all; a sweep that is started again does only what is not there yet.
"""

import argparse
import ast
import asyncio
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import yaml
from tqdm import tqdm

from helpers.errors import ParameterError, StorageError, TutorialError, nearest
from helpers.executed import choose_metric, one_line, read_executed, read_folder, swept, tabulate
from helpers.folders import clear_errors, inside, is_local, locked, make_folder, write
from helpers.parameters import check_names, parse_value

CONNECTION_SECONDS = 10  # how long to wait for a scheduler
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
MEMORY_OF_A_RUN = 2e9  # bytes; the reference network on the full MNIST takes about half of it


# --- What is to be run ---


@dataclass(frozen=True)
class Plan:
    """A notebook and the runs to make of it: ``runs`` maps each output's name to its parameters."""

    source: str
    code: str
    runs: dict[str, dict]


def find_notebook(name):
    """Return the path of a notebook that is named by its path or, for the tutorial's, by its stem."""
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    path = known.get(str(name), Path(name))
    if not path.is_file():
        raise ParameterError(f"There is no notebook {str(name)!r}{nearest(str(name), known)}.")
    return path


def inspect(path):
    """Return the parameters that a notebook declares, as papermill reads them from its cell.

    Raises:
        ParameterError: the file is no notebook.
    """
    try:
        nbformat.read(path, as_version=4)
        return papermill.inspect_notebook(str(path))
    except Exception as error:  # nbformat and papermill have several
        raise ParameterError(f"{path} cannot be read as a notebook ({one_line(str(error))}).") from None


def make_plan(notebook, grid, entries=({},)):
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
    for name in used:
        with contextlib.suppress(ValueError, SyntaxError):  # a default that is no plain value
            defaults[name] = ast.literal_eval(declared[name]["default"])
    runs = {}
    for entry in entries:
        both = sorted(set(grid) & set(entry))
        if both:
            raise ParameterError(f"`{both[0]}` stands in the grid and in the list; leave it in one of them.")
        for values in itertools.product(*grid.values()):
            given = defaults | dict(zip(grid, values)) | entry
            parameters = {name: parse_value(name, value) for name, value in sorted(given.items())}
            runs[run_name(path.stem, parameters)] = parameters
    if not runs:
        raise ParameterError("There is nothing to run: a list of values is empty.")
    content = nbformat.read(path, as_version=4)
    code = code_hash(content)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # made anew, so they need not travel
    content.metadata["tutorial"] = {"code_sha256": code}
    return Plan(nbformat.writes(content), code, runs)


def run_name(stem, parameters):
    """Return the name of a run: readable parts, and a hash of the notebook's name and all values."""
    exact = json.dumps([stem, parameters], sort_keys=True)
    readable = "_".join([stem, *(f"{name}={value}" for name, value in sorted(parameters.items()))])
    readable = re.sub(r"[^\w.=-]+", "-", readable, flags=re.ASCII)[:120]
    return f"{readable}_{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def code_hash(notebook):
    """Return a SHA-256 over everything that decides a notebook's outputs, data and settings aside.

    That is the notebook's code and, with all that they import in turn, the helpers it imports.
    """
    code = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    found, waiting = ({}, [imported for cell in code for imported in imported_helpers(cell)])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found[module] = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
            waiting += imported_helpers(found[module])
    here = Path(__file__).parent
    files = [file for module in sorted(found) for file in sorted(here.glob(f"{module}.*"))]
    everything = code + [file.read_text(encoding="utf-8") for file in files]  # draw.py, draw.js, …
    return hashlib.sha256("\n".join(everything).encode()).hexdigest()


def imported_helpers(source):
    """Return the names of the helpers modules that a piece of Python imports."""
    names = set()
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a notebook's own commands, such as %matplotlib
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("helpers.")}
    return {name for name in names if Path(__file__).with_name(f"{name}.py").exists()}


# --- One run ---


def execute(source, parameters, progress_bar=False):
    """Execute a notebook with papermill in a new kernel.

    Args:
        source: the notebook as JSON text.
        parameters: name → value.

    Returns:
        The executed notebook as JSON text. If it failed, it is there as far as it got, and
        ``metadata.tutorial.error`` says in one line why.
    """
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
            )
        except papermill.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        except Exception as failure:  # such as a kernel that was killed
            error = f"{type(failure).__name__}: {failure}"
        try:
            text = nbformat.writes(nbformat.read(output, as_version=4))
        except (OSError, ValueError):  # not written, or only in part
            text, error = source, error or "the executed notebook could not be kept"
    return with_error(text, error) if error else text


def with_error(text, error):
    """Return a notebook, as JSON text, that says in its metadata why its run failed."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata.setdefault("tutorial", {})["error"] = one_line(error)
    return nbformat.writes(notebook)


def run(names, folder, parameters):
    """Execute notebooks one after another into a folder, with progress; print a line for each.

    Args:
        names: paths or stems. Each notebook gets those parameters that it declares; each parameter
            must be declared by one of them at least.
        folder: the folder of the executed notebooks: a path or whatever else papermill writes to.
        parameters: name → value.

    Returns:
        How many failed.

    Raises:
        ParameterError: as `make_plan`, before anything is executed.
        StorageError: the folder cannot be written to.
    """
    paths = [find_notebook(name) for name in names]
    if not paths:
        raise ParameterError("There is no notebook to run.")
    outputs = {path: inside(folder, path.name) for path in paths}
    if len(set(outputs.values())) < len(paths):
        raise ParameterError("Two of the notebooks have the same name; run them into different folders.")
    for path, output in outputs.items():
        if is_local(folder) and Path(output).resolve() == path.resolve():
            raise ParameterError(f"{path} would be overwritten by its own result; choose another folder.")
    declared = {path: inspect(path) for path in paths}
    check_names(parameters, dict.fromkeys(name for found in declared.values() for name in found))
    plans = {
        path: make_plan(path, {name: [parameters[name]] for name in parameters if name in declared[path]})
        for path in paths
    }
    make_folder(folder)
    failed = 0
    for path, plan in plans.items():
        (values,) = plan.runs.values()
        text = execute(plan.source, values, progress_bar={"desc": path.stem})
        write(text, outputs[path])
        problem = read_executed(text).problem
        failed += problem is not None
        state = f"failed: {problem}" if problem else "finished"
        print(f"{path.stem}: {state} -> {outputs[path]}", flush=True)
    return failed


# --- Sweeps ---


def sweep(plan, folder, scheduler=None, workers=None, retry=False, execute=execute):
    """Make all runs of a plan that a folder does not hold yet, in parallel, with a progress bar.

    A run counts as finished if its executed notebook is in the folder, whole and made by the same
    code. So a sweep that was stopped in any way goes on when it is started again. A failed run is
    kept, with the error in it, and not repeated unless ``retry`` is set.

    Args:
        plan: a `Plan`.
        folder: where the executed notebooks go. Two sweeps at once cannot have the same local one.
        scheduler: the address of a Dask scheduler; None starts a cluster on this machine.
        workers: how many processes to start on this machine; None fits them to cores and memory.
        retry: repeat failed runs.
        execute: the function that executes one run, for tests.

    Returns:
        The failed runs: name → reason in one line.

    Raises:
        StorageError: the folder cannot be written to, or another sweep uses it.
        TutorialError: the scheduler cannot be reached, or was lost.
    """
    make_folder(folder)
    with _only_sweep(folder):
        failed = {}
        waiting = dict(plan.runs)
        for name, executed in read_folder(folder).items():
            if name not in plan.runs:
                continue
            if executed.code is None:
                _say(f"{name}: {executed.problem}; it runs again.")
            elif executed.code != plan.code:
                _say(f"{name}: made by another version of the code; it runs again.")
            elif executed.problem is None:
                del waiting[name]
            elif not retry:
                failed[name] = executed.problem
                del waiting[name]
        if waiting:
            with _client(scheduler, workers, len(waiting)) as client:
                failed |= _run_all(client, plan, waiting, folder, failed, execute)
    return {name: failed[name] for name in plan.runs if name in failed}


def _run_all(client, plan, waiting, folder, failed, execute):
    """Send runs to a cluster and write what comes back; return the failed ones."""
    from dask.distributed import as_completed

    source = client.submit(str, plan.source, pure=False)  # a task: Dask can make it again if it is lost
    once = uuid.uuid4().hex  # another sweep on the same scheduler has other keys
    futures = {
        client.submit(_task, source, parameters, execute, key=f"{name}-{once}"): name
        for name, parameters in waiting.items()
    }
    new = {}
    started = len(plan.runs) - len(waiting)

    def state(done):
        running = min(len(plan.runs) - done, sum(client.nthreads().values()))
        bad = len(failed) + len(new)
        return f"{done - bad} of {len(plan.runs)} finished, {running} running, {bad} failed"

    with tqdm(
        desc=state(started),
        total=len(plan.runs),
        initial=started,
        file=sys.stderr,
        bar_format="|{bar:16}| {desc}, {elapsed}, {remaining} left",
    ) as bar:
        try:
            for future in as_completed(list(futures), loop=client.loop):
                name = futures.pop(future)
                if future.status == "error":  # not the notebook but its worker failed
                    error = future.exception()
                    text = with_error(plan.source, f"{type(error).__name__}: {error}")
                else:
                    text = future.result()
                write(text, inside(folder, f"{name}.ipynb"))
                problem = read_executed(text).problem
                if problem is not None:
                    new[name] = problem
                del future  # frees its result on the cluster
                bar.set_description_str(state(bar.n + 1), refresh=False)
                bar.update()
        except (OSError, asyncio.CancelledError, concurrent.futures.CancelledError):
            raise TutorialError("The Dask scheduler was lost; start the sweep again to continue.") from None
    return new


def _task(source, parameters, execute):
    """Execute one run on a worker; unless the cluster says otherwise, a run has one core."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return execute(source, parameters)


@contextlib.contextmanager
def _client(scheduler, workers, runs):
    """Connect to a Dask scheduler, or to a new cluster on this machine that ends with the sweep."""
    import dask
    import distributed
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is reported by `sweep`
    if scheduler:
        try:
            client = distributed.Client(scheduler, timeout=CONNECTION_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise TutorialError(f"There is no Dask scheduler at {scheduler} ({error}).") from None
        with client:
            yield client
        return
    workers = workers or max(1, min(CPU_COUNT, int(MEMORY_LIMIT / MEMORY_OF_A_RUN), runs))
    with (
        # no run waits on a worker: if that dies, only the run that it executes is in doubt
        dask.config.set({"distributed.scheduler.worker-saturation": 1}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # the kernels use the memory, not the workers
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            env=dict.fromkeys(THREADS, str(max(1, CPU_COUNT // workers))),
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


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


def _say(text):
    print(text, file=sys.stderr, flush=True)


# --- The command line ---


def write_collected(folder, output, metric=None):
    """Write a folder's table as CSV, as Parquet if a library for it is there, and its figure.

    Returns:
        The paths that were written.
    """
    from helpers.plots import draw_sweep, use_style

    found = read_folder(folder)
    table, left_out = tabulate(found)
    for name, reason in left_out.items():
        _say(f"Left out {name}: {reason}")
    if table.empty:
        raise StorageError(f"There is no finished run in {folder}.")
    if metric:
        choose_metric(table, metric)  # a misspelt one is refused before anything is written
    if "data" in table and "dataset" not in swept(table) and table["data"].nunique() > 1:
        _say(f"Careful: these runs used different data: {', '.join(sorted(table['data'].unique()))}.")
    if len({found[name].code for name in table.index}) > 1:
        _say("Careful: these runs were made by different notebooks or versions of the code.")
    make_folder(output)
    paths = [Path(output, f"collected.{ending}") for ending in ("csv", "parquet", "png")]
    with clear_errors(output):
        table.to_csv(paths[0])
        try:
            table.to_parquet(paths[1])
        except (ImportError, ValueError, TypeError):  # no pyarrow, or columns of mixed types
            del paths[1]
        try:
            metric = choose_metric(table, metric)
        except ParameterError as error:
            _say(f"No figure: {error}")
            return paths[:-1]
        use_style()
        draw_sweep(table, metric, swept(table)).savefig(paths[-1], dpi=144)
    return paths


def main(arguments=None):
    """Run the command line; return the exit status: 0, or 1 if a run failed, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except TutorialError as error:
        _say(f"{type(error).__name__}: {error}")
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what waits for the kernel complains
        _say("Interrupted. What is finished is kept; a sweep continues with the same command.")
        return 130


def _run_command(options):
    names = options.notebooks
    if names == ["all"]:
        names = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    return 1 if run(names, options.folder, _read_file(options.file) | _pairs(options)) else 0


def _sweep_command(options):
    written = _read_file(options.file)
    unknown = set(written) - {"grid", "list"}
    if unknown:
        raise ParameterError(
            f"{options.file} has {', '.join(sorted(map(str, unknown)))}; a sweep's file has `grid`, "
            "a mapping from names to lists, and `list`, a list of mappings from names to values."
        )
    grid, entries = written.get("grid", {}), written.get("list", [{}])
    if not isinstance(grid, dict) or not isinstance(entries, list) or not all(map(_is_dict, entries)):
        raise ParameterError(
            f"In {options.file}, write `grid` as a mapping from names to lists, and `list` as a list "
            "of mappings from names to values."
        )
    grid = grid | {name: text.split(",") for name, text in _pairs(options).items()}
    grid = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    plan = make_plan(options.notebook, grid, entries)
    failed = sweep(plan, options.folder, options.scheduler, options.workers, options.retry)
    print(f"{len(plan.runs)} runs: {len(plan.runs) - len(failed)} finished, {len(failed)} failed.")
    for name, reason in failed.items():
        print(f"  {name}: {reason}")
    if failed:
        print("Give the same command with --retry to repeat what failed.")
    return 1 if failed else 0


def _collect_command(options):
    if not options.output and not is_local(options.folder):
        raise ParameterError(f"{options.folder} is no local folder; say with --output where the table goes.")
    for path in write_collected(options.folder, options.output or options.folder, options.metric):
        print(path)
    return 0


def _pairs(options):
    """Return the -p options as a dict."""
    names = [name for name, _ in options.parameters]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(f"`{name}` is given twice; a sweep takes several values as 1,2,3.")
    return dict(options.parameters)


def _is_dict(value):
    return isinstance(value, dict)


def _workers(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)


def _read_file(path):
    """Return the mapping that a YAML file holds; {} without a file."""
    if not path:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"{path} cannot be read: {one_line(str(error))}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} holds a {type(content).__name__}; write one `name: value` a line.")
    return content


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m helpers.batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    one = commands.add_parser("run", help="execute notebooks one after another")
    one.add_argument("notebooks", nargs="+", help="paths, or names such as 04_training, or all")
    one.add_argument("folder", help="where the executed notebooks go")
    one.set_defaults(command=_run_command)

    many = commands.add_parser("sweep", help="execute a notebook with many parameters, in parallel")
    many.add_argument("notebook", help="a path, or a name such as 04_training")
    many.add_argument("folder", help="where the executed notebooks go")
    many.add_argument("--scheduler", help="address of a Dask scheduler (default: this machine's cores)")
    many.add_argument("--workers", type=_workers, help="processes on this machine (default: what fits)")
    many.add_argument("--retry", action="store_true", help="repeat failed runs")
    many.set_defaults(command=_sweep_command)

    for command, value in ((one, "VALUE"), (many, "VALUE,VALUE,…")):
        command.add_argument(
            "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", value)
        )
        command.add_argument("-f", dest="file", help="a YAML file of the same")

    table = commands.add_parser("collect", help="make a table and a figure of executed notebooks")
    table.add_argument("folder", help="the executed notebooks")
    table.add_argument("--metric", help="what to draw (default: test_accuracy)")
    table.add_argument("--output", help="where the table goes (default: the same folder)")
    table.set_defaults(command=_collect_command)
    return parser


if __name__ == "__main__":
    from helpers import batch  # under its own name, so that Dask's workers find its functions

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal or file that lacks a letter
    sys.exit(batch.main())
