"""The command line: ``python -m helpers.batch``."""

import argparse
import contextlib
import csv
import logging
import math
import sys
from pathlib import Path

import yaml

import helpers.batch
from helpers.batch.plans import NOTEBOOKS, make_plan
from helpers.batch.results import CHOSEN_BY, write_collected
from helpers.batch.running import run
from helpers.batch.searching import METHODS, confirm, make_search
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
    return 1 if run(names, options.folder, given, options.workers, options.limit) else 0


def _sweep_command(options):
    written = {"grid": {}, "list": [{}]} | _read_file(options.file)
    grid, entries = written["grid"], written["list"]
    unknown = ", ".join(sorted(map(str, written.keys() - {"grid", "list"})))
    mappings = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if unknown or not isinstance(grid, dict) or not mappings:
        what = f"has {unknown}" if unknown else "is of another form"
        raise ParameterError(
            f"{options.file} {what}; a sweep's file has `grid` and `list`: write `grid` as a mapping from "
            "names to lists, and `list` as a list of mappings from names to values."
        )
    grid = grid | {name: _values(name, text) for name, text in _pairs(options).items()}
    grid = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    if options.search:
        if entries != [{}]:
            raise ParameterError(
                f"{options.file} has a `list`, from which a search draws nothing; remove it."
            )
        trials, metric = options.trials or 20, options.metric or CHOSEN_BY
        plan = make_search(options.notebook, grid, trials, options.search, metric)
    elif options.trials or options.metric:
        raise ParameterError("--trials and --metric are for a search; add --search tpe, or leave them out.")
    else:
        plan = make_plan(options.notebook, grid, entries)
    if options.dry_run and options.search:
        print(f"{len(plan)} runs, by {plan.method}:")
        print(*(f"  {name}: {distribution}" for name, distribution in plan.space.items()), sep="\n")
        return 0
    if options.dry_run:
        print(*describe(plan, options.folder, options.workers, options.retry), sep="\n")
        return 0
    failed = sweep(plan, options.folder, **_how(options))
    print(f"{len(plan)} runs: {len(plan) - len(failed)} finished, {len(failed)} failed.")
    for name, reason in failed.items():
        print(f"  {name}: {reason}")
    if failed:
        print("Give the same command with --retry to repeat what failed.")
    return 1 if failed else 0


def _how(options):
    return {name: getattr(options, name) for name in ("scheduler", "workers", "retry", "limit")}


def _confirm_command(options):
    table = confirm(options.folder, options.top, options.seeds, options.metric or CHOSEN_BY, **_how(options))
    _print_table(table)
    return 0 if (table["runs"] == options.seeds).all() else 1


def _collect_command(options):
    paths, differences = write_collected(options.folder, options.output or options.folder, options.metric)
    print(*paths, sep="\n")
    if not differences.empty:
        print("Differences seed by seed, with 95% intervals:")
        _print_table(differences)
    return 0


def _print_table(table):
    print(table.to_string(index=False, float_format="{:.4g}".format))


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


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; give 1 or more")
    return int(text)


def _minutes(text):
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no time in minutes; give a number above 0")


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
    many = commands.add_parser("sweep", help="execute a notebook with many parameters, in parallel")
    many.add_argument("notebook", help="a path, or a name such as 04_training")
    best = commands.add_parser("confirm", help="train the best of a sweep or search again, with fresh seeds")
    table = commands.add_parser("collect", help="make a table and figures of executed notebooks")
    for command in (best, table):
        command.add_argument("folder", help="the executed notebooks")
    for command, value in ((some, "VALUE"), (many, "VALUE,VALUE,…")):
        command.add_argument("folder", help="where the executed notebooks go")
        about = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", value)}
        command.add_argument("-p", dest="parameters", **about)
        command.add_argument("-f", dest="file", help="a YAML file of the same")
    many.add_argument("--search", choices=METHODS, help="draw trials from ranges such as 1e-5..0.1")
    many.add_argument("--trials", type=_count, help="how many to draw (default: 20)")
    many.add_argument("--dry-run", action="store_true", help="say what would run, why, and about how long")
    best.add_argument("--top", type=_count, default=3, help="how many settings (default: 3)")
    best.add_argument("--seeds", type=_count, default=5, help="how many seeds for each (default: 5)")
    for command in (many, best):
        command.add_argument("--scheduler", help="address of a Dask scheduler (default: this machine)")
        command.add_argument("--retry", action="store_true", help="repeat failed runs")
    for command in (some, many, best):
        command.add_argument("--workers", type=_count, help="how many at a time (default: what fits)")
        command.add_argument("--limit", type=_minutes, metavar="MINUTES", help="stop a run that takes longer")
    for command in (many, best, table):
        command.add_argument("--metric", help=f"what to search by, or to draw (default: {CHOSEN_BY})")
    table.add_argument("--output", help="where the table goes (default: the same folder)")
    actions = (_run_command, _sweep_command, _confirm_command, _collect_command)
    for command, action in zip((some, many, best, table), actions):
        command.set_defaults(command=action)
    return parser


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal or file that lacks a letter
    sys.exit(main())
