"""The parameters of the notebooks: one table of names, types, defaults and ranges, and the check.

The same name means the same thing in every notebook. papermill itself accepts any name and any
value (an unknown name is only a warning), so each notebook checks its own in its set-up cell.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from helpers.errors import ParameterError, nearest, shown


@dataclass(frozen=True)
class Parameter:
    """A parameter's ``default``, whose type is its own, and either bounds (inclusive) or ``choices``."""

    default: int | float | bool | str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def type(self) -> type:
        """The type that values have; a whole number is a number, too."""
        return type(self.default)

    def accepted(self) -> str:
        """Return the accepted values in words."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        bounds = f" from {self.low} to {self.high}" if self.low is not None else ""
        return KINDS[self.type] + bounds


KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}

NETWORKS = ("reference", "dense", "dense_same_size", "normalized", "deep", "wide", "tiny", "dense_wide")
PARAMETERS = {
    "dataset": Parameter("auto"),
    "seed": Parameter(0, 0, 2**32 - 1),
    "seeds": Parameter(5, 2, 100),
    "epochs": Parameter(10, 1, 1000),
    "batch_size": Parameter(128, 1, 10000),
    "validation_split": Parameter(0.1, 0.01, 0.5),
    "learning_rate": Parameter(0.001, 1e-6, 0.5),
    "dropout": Parameter(0.5, 0, 0.95),
    "precision": Parameter("auto", choices=("auto", "float32", "mixed_bfloat16")),
    "network": Parameter("reference", choices=NETWORKS),
    "schedule": Parameter("constant", choices=("constant", "one_cycle")),
    "augmentation": Parameter("none", choices=("none", "affine", "elastic")),
    "weight_decay": Parameter(0.0, 0, 1),
    "label_smoothing": Parameter(0.0, 0, 0.5),
    "averaging": Parameter(0.0, 0, 0.9999),
}


def check_value(name: str, value: Any) -> None:
    """Raise `ParameterError` unless ``value`` is acceptable for the parameter ``name``."""
    if name not in PARAMETERS:
        raise ParameterError(f"`{name}` is no parameter of this tutorial{nearest(name, PARAMETERS)}.")
    wanted, given = PARAMETERS[name], f"`{name}` is {shown(value)}"
    # True and False count as integers in Python; here they never do.
    if type(value) is not wanted.type and not (wanted.type is float and type(value) is int):
        kind = KINDS.get(type(value), f"a {type(value).__name__}")
        raise ParameterError(f"{given}, {kind}; give {wanted.accepted()}{_hint(wanted, value)}.")
    if wanted.choices and value not in wanted.choices:
        raise ParameterError(f"{given}; give {wanted.accepted()}{nearest(value, wanted.choices)}.")
    if wanted.low is not None and not wanted.low <= value <= wanted.high:  # nan is not either
        raise ParameterError(f"{given}, out of range; give {wanted.accepted()}.")
    if wanted.type is str and not value.strip():
        raise ParameterError(f"`{name}` is empty; give {wanted.accepted()}.")


def check_names(given: Iterable[str], declared: Iterable[str]) -> None:
    """Raise `ParameterError` unless a notebook that declares some parameters has all the given ones."""
    for name in given:
        if name not in declared:
            raise ParameterError(
                f"This notebook has no parameter `{name}`{nearest(name, declared)}; "
                f"it has {', '.join(f'`{known}`' for known in declared)}."
            )


def check_parameters(**declared: Any) -> None:
    """Check a notebook's parameters: ``check_parameters(seed=seed, epochs=epochs)``.

    Every keyword is a name that the notebook declares. A name that papermill injected and the
    notebook does not declare is an error too.

    Raises:
        ParameterError: in one sentence, with what was given, what is accepted and, for a
            misspelled name, the nearest correct spelling.
    """
    check_names(_injected_names(), declared)
    for name, value in declared.items():
        check_value(name, value)


def _injected_names():
    """Return the names that papermill's injected cell sets in this kernel, [] outside papermill.

    papermill puts the values that it was given into a cell of their own, which starts with the
    comment ``# Parameters``; IPython keeps the source of every executed cell in ``In``.
    """
    from IPython import get_ipython

    shell = get_ipython()
    history = shell.user_ns.get("In", []) if shell else []
    injected = [cell for cell in history if cell.startswith("# Parameters\n")]
    names = [
        n.id for n in ast.walk(ast.parse("".join(injected[-1:]))) if type(getattr(n, "ctx", 0)) is ast.Store
    ]
    return [name for name in names if not name.startswith("PAPERMILL_")]  # its --inject-paths


def _hint(parameter, value):
    """Explain the two traps of the command line: quoted numbers and quoted truth values."""
    if type(value) is str and parameter.type in (int, float):
        return ', without quotes (in YAML, write 1.0e-3 or 0.001, as "1e-3" is read as text)'
    if type(value) is str and parameter.type is bool:
        return " (papermill's -y reads true and false as truth values, -p reads True and False)"
    return ""
