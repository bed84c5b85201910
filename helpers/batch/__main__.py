"""The command line: ``python -m helpers.batch``."""

import argparse
import csv
import logging
import sys
from pathlib import Path

import yaml

import helpers.batch
from helpers.batch.places import is_local
from helpers.batch.plans import NOTEBOOKS, make_plan
from helpers.batch.results import write_collected
from helpers.batch.running import run
from helpers.batch.sweeping import describe, sweep
from helpers.errors import ParameterError, TutorialError, say, short


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, or 1 if a run failed, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except TutorialError as error:
        say(f"{type(error).__name__}: {error}")
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what waits for the kernel complains
        say("Interrupted. What is finished is kept; a sweep continues with the same command.")
        return 130


def _run_command(options):
    names = options.notebooks
    if names == ["all"]:
        names = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    given = _read_file(options.file) | _pairs(options)
    return 1 if run(names, options.folder, given, options.workers) else 0


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
    grid = grid | {name: _values(name, text) for name, text in _pairs(options).items()}
    grid = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    plan = make_plan(options.notebook, grid, entries)
    if options.dry_run:
        print(*describe(plan, options.folder, options.workers, options.retry), sep="\n")
        return 0
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


def _values(name, text):
    """Split values at commas, as CSV does: one with a comma in it stands in double quotes."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        raise ParameterError(
            f"`{name}` is {text!r}; write values as 1,2,3, and one with a comma as '\"a,b.npz\",c.npz'."
        ) from None


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
        raise ParameterError(f"{path} cannot be read: {short(error)}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} holds a {type(content).__name__}; write one `name: value` a line.")
    return content


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m helpers.batch",
        description=helpers.batch.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    some = commands.add_parser("run", help="execute notebooks side by side, and print what they measured")
    some.add_argument("notebooks", nargs="+", help="paths, or names such as 04_training, or all")
    some.add_argument("folder", help="where the executed notebooks go")
    some.set_defaults(command=_run_command)

    many = commands.add_parser("sweep", help="execute a notebook with many parameters, in parallel")
    many.add_argument("notebook", help="a path, or a name such as 04_training")
    many.add_argument("folder", help="where the executed notebooks go")
    many.add_argument("--scheduler", help="address of a Dask scheduler (default: this machine's cores)")
    many.add_argument("--retry", action="store_true", help="repeat failed runs")
    many.add_argument("--dry-run", action="store_true", help="say what would run, why, and about how long")
    many.set_defaults(command=_sweep_command)

    for command, value in ((some, "VALUE"), (many, "VALUE,VALUE,…")):
        command.add_argument("--workers", type=_workers, help="how many at a time (default: what fits)")
        command.add_argument(
            "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", value)
        )
        command.add_argument("-f", dest="file", help="a YAML file of the same")

    table = commands.add_parser("collect", help="make a table and a figure of executed notebooks")
    table.add_argument("folder", help="the executed notebooks")
    table.add_argument("--metric", help="what to draw (default: validation_accuracy)")
    table.add_argument("--output", help="where the table goes (default: the same folder)")
    table.set_defaults(command=_collect_command)
    return parser


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal or file that lacks a letter
    sys.exit(main())
