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
from helpers.batch.charts import draw_heat_map, draw_sweep
from helpers.batch.plans import NOTEBOOKS, SAMPLERS, make_plan, make_search
from helpers.batch.results import CHOSEN_BY, choose_metric, collect, compare, measured, swept
from helpers.batch.running import confirm, describe, run, sweep
from helpers.errors import ParameterError, StorageError, TutorialError, say, short
from helpers.folders import clear_errors

SHOWN = {"index": False, "float_format": "{:.4g}".format}  # how tables are printed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, or 1 if a run failed, or 2 for bad input."""
    options = vars(_parser().parse_args(arguments))
    try:
        return int(options.pop("command")(**options) or 0)
    except TutorialError as error:
        say(f"{type(error).__name__}: {error}")
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what waits for the kernel complains
        say("Interrupted. What is finished is kept; a sweep continues with the same command.")
        return 130


def _run(notebooks, folder, given, file, **how):
    """execute notebooks side by side, and print what they measured"""
    everything = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")) if notebooks == ["all"] else []
    return run(everything or notebooks, folder, _read_file(file) | dict(given), **how) > 0


def _sweep(notebook, folder, given, file, search, trials, metric, dry_run, **how):
    """execute a notebook with many parameters, in parallel"""
    written = {"grid": {}, "list": [{}]} | _read_file(file)
    grid, entries = written["grid"], written["list"]
    mappings = isinstance(entries, list) and all(isinstance(entry, dict) for entry in [grid, *entries])
    if not mappings or len(written) > 2:
        raise ParameterError(
            f"{file} has {', '.join(map(str, written))}; write `grid` as a mapping from names to lists, "
            "`list` as a list of mappings from names to values, and nothing else."
        )
    grid = grid | {name: [] for name, _ in given}
    for name, text in given:
        grid[name] += next(csv.reader([text]), [])  # a value with a comma stands in double quotes
    grid = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    if search and entries != [{}]:
        raise ParameterError(f"{file} has a `list`, from which a search draws nothing; remove it.")
    if (trials or metric) and not search:
        raise ParameterError("--trials and --metric are for a search; add --search tpe, or leave them out.")
    if search:
        plan = make_search(notebook, grid, trials or 20, search, metric or CHOSEN_BY)
    else:
        plan = make_plan(notebook, grid, entries)
    if dry_run:
        print(*describe(plan, folder, how["workers"], how["retry"]), sep="\n")
        return False
    failed = sweep(plan, folder, **how)
    print(f"{len(plan)} runs: {len(plan) - len(failed)} finished, {len(failed)} failed.")
    if failed:
        print(*(f"  {name}: {reason}" for name, reason in failed.items()), sep="\n")
        print("Give the same command with --retry to repeat what failed.")
    return bool(failed)


def _confirm(folder, top, seeds, metric, **how):
    """train the best of a sweep or search again, with fresh seeds"""
    table = confirm(folder, top, seeds, metric or CHOSEN_BY, **how)
    print(table.to_string(**SHOWN))
    return (table["runs"] < seeds).any()


def _collect(folder, metric):
    """make a table and figures of executed notebooks, and compare them seed by seed"""
    from helpers.plots import use_style

    table, left_out = collect(folder)
    for name, reason in left_out.items():
        say(f"Left out {name}: {reason}")
    if table.empty:
        raise StorageError(f"There is no finished run in {folder}.")
    use_style()
    with clear_errors(folder):
        table.to_csv(path := Path(folder, "collected.csv"))
        print(path)
        metric = choose_metric(measured(table), metric)
        draw_sweep(table, metric, swept(table)).savefig(path := Path(folder, "collected.png"), dpi=144)
        print(path)
        numbers = list(table[swept(table)].select_dtypes("number"))
        if len(numbers) == 2:
            draw_heat_map(table, metric, numbers).savefig(path := Path(folder, "heat_map.png"), dpi=144)
            print(path)
    differences = compare(table, metric)
    if not differences.empty:
        print("Differences seed by seed, with 95% intervals:")
        print(differences.to_string(**SHOWN))


def _read_file(path):
    """Return the mapping that a YAML file holds; {} without a file."""
    try:
        return dict((yaml.safe_load(Path(path).read_text(encoding="utf-8")) if path else {}) or {})
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ParameterError(f"{path} cannot be read as `name: value` lines: {short(error)}.") from None


def _above_0(kind, what):
    def read(text):
        with contextlib.suppress(ValueError):
            if 0 < kind(text) < math.inf:
                return kind(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}; give a number above 0")

    return read


def _parser():
    count, minutes = _above_0(int, "whole number"), _above_0(float, "time in minutes")
    given = {"dest": "given", "nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    options = {
        "notebooks": {"nargs": "+", "help": "paths, or names such as 04_training, or all"},
        "notebook": {"help": "a path, or a name such as 04_training"},
        "folder": {"help": "where the executed notebooks are, or go"},
        "-p": given | {"help": "a parameter; of a sweep, its values as 1,2,3"},
        "-f": {"dest": "file", "help": "a YAML file of the same"},
        "--search": {"choices": SAMPLERS, "help": "draw trials from ranges such as 1e-5..0.1"},
        "--trials": {"type": count, "help": "how many to draw (default: 20)"},
        "--dry-run": {"action": "store_true", "help": "say what would run, why, and about how long"},
        "--top": {"type": count, "default": 3, "help": "how many settings (default: 3)"},
        "--seeds": {"type": count, "default": 5, "help": "how many seeds for each (default: 5)"},
        "--metric": {"help": f"what a search makes as high as it can, or to draw (default: {CHOSEN_BY})"},
        "--scheduler": {"help": "address of a Dask scheduler (default: this machine)"},
        "--retry": {"action": "store_true", "help": "repeat failed runs"},
        "--workers": {"type": count, "help": "how many at a time (default: what fits)"},
        "--limit": {"type": minutes, "metavar": "MINUTES", "help": "stop a run that takes longer"},
    }
    many = "--scheduler --retry --workers --limit"
    words = {
        _run: "notebooks folder -p -f --workers --limit",
        _sweep: f"notebook folder -p -f --search --trials --dry-run --metric {many}",
        _confirm: f"folder --top --seeds --metric {many}",
        _collect: "folder --metric",
    }
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m helpers.batch", None, helpers.batch.__doc__, formatter_class=plain
    )
    commands = parser.add_subparsers(required=True)
    for command, its in words.items():
        added = commands.add_parser(command.__name__[1:], help=command.__doc__)
        added.set_defaults(command=command)
        for name in its.split():
            added.add_argument(name, **options[name])
    return parser


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal or file that lacks a letter
    sys.exit(main())
