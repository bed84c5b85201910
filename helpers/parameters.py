"""The parameters of the notebooks: one table of names, types and ranges, and the check.

The same name means the same thing in every notebook. papermill itself accepts any name and any
value (an unknown name is only a warning), so each notebook checks its own parameters in the cell
after its ``parameters`` cell.
"""

import ast
from dataclasses import dataclass

from helpers.errors import ParameterError, nearest, shown


@dataclass(frozen=True)
class Parameter:
    """What one parameter accepts: its ``type`` and either bounds (inclusive) or ``choices``."""

    type: type
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def accepted(self):
        """Return the accepted values in words."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if self.low is not None:
            return f"{KINDS[self.type]} from {self.low} to {self.high}"
        return KINDS[self.type]


KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}

PARAMETERS = {
    "dataset": Parameter(str),
    "test_dataset": Parameter(str),
    "seed": Parameter(int, 0, 2**32 - 1),
    "seeds": Parameter(int, 2, 100),
    "epochs": Parameter(int, 1, 1000),
    "batch_size": Parameter(int, 1, 10000),
    "validation_split": Parameter(float, 0.01, 0.5),
    "learning_rate": Parameter(float, 1e-6, 0.5),
    "dropout": Parameter(float, 0, 0.95),
    "precision": Parameter(str, choices=("auto", "float32", "mixed_bfloat16")),
    "ensemble": Parameter(int, 1, 100),
    "network": Parameter(
        str, choices=("reference", "dense", "dense_same_size", "normalized", "deep", "tiny", "dense_wide")
    ),
    "schedule": Parameter(str, choices=("constant", "one_cycle")),
    "augmentation": Parameter(str, choices=("none", "affine", "elastic")),
    "weight_decay": Parameter(float, 0, 1),
    "label_smoothing": Parameter(float, 0, 0.5),
    "averaging": Parameter(float, 0, 0.9999),
}


def check_value(name, value):
    """Raise `ParameterError` unless ``value`` is acceptable for the parameter ``name``."""
    if name not in PARAMETERS:
        raise ParameterError(f"`{name}` is no parameter of this tutorial{nearest(name, PARAMETERS)}.")
    parameter = PARAMETERS[name]
    # True and False count as integers in Python; here they never do.
    right_type = type(value) is parameter.type or (parameter.type is float and type(value) is int)
    if not right_type:
        raise ParameterError(
            f"`{name}` is {shown(value)}, {_kind_of(value)}; "
            f"give {parameter.accepted()}{_hint(parameter, value)}."
        )
    if parameter.choices and value not in parameter.choices:
        raise ParameterError(
            f"`{name}` is {shown(value)}; give {parameter.accepted()}{nearest(value, parameter.choices)}."
        )
    if parameter.low is not None and not parameter.low <= value <= parameter.high:  # nan is not either
        raise ParameterError(f"`{name}` is {shown(value)}, out of range; give {parameter.accepted()}.")
    if parameter.type is str and not value.strip():
        raise ParameterError(f"`{name}` is empty; give {parameter.accepted()}.")


def parse_value(name, value):
    """Return a checked value, read from text if it is text, as command lines and YAML give it.

    ``"1e-3"`` becomes 0.001 for a parameter that is a number, ``"false"`` becomes False for one
    that is a truth value; 0 becomes 0.0 where any number is accepted.

    Raises:
        ParameterError: as `check_value`.
    """
    wanted = PARAMETERS[name].type if name in PARAMETERS else str
    try:
        if type(value) is str and wanted in (int, float):
            value = wanted(value)
        elif type(value) is str and wanted is bool:
            value = {"true": True, "false": False}.get(value.lower(), value)
    except ValueError:
        pass  # `check_value` says what is wrong
    check_value(name, value)
    return float(value) if wanted is float else value


def check_names(given, declared):
    """Raise `ParameterError` unless a notebook that declares some parameters has all the given ones."""
    for name in given:
        if name not in declared:
            raise ParameterError(
                f"This notebook has no parameter `{name}`{nearest(name, declared)}; "
                f"it has {', '.join(f'`{known}`' for known in declared)}."
            )


def check_parameters(**declared):
    """Check a notebook's parameters: ``check_parameters(seed=seed, epochs=epochs)``.

    Every keyword is a name that the notebook declares. A name that papermill injected and the
    notebook does not declare is an error too.

    Raises:
        ParameterError: in one sentence, with what was given, what is accepted and, for a
            misspelt name, the nearest correct spelling.
    """
    check_names(_injected_names(), declared)
    for name, value in declared.items():
        check_value(name, value)


def _injected_names():
    """Return the names that papermill's injected cell sets in this kernel, [] outside papermill.

    papermill puts the values that it was given into a cell of their own, which starts with the
    comment ``# Parameters``; IPython keeps the source of every executed cell in ``In``.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    history = shell.user_ns.get("In", []) if shell else []
    injected = [cell for cell in history if cell.startswith("# Parameters\n")]
    if not injected:
        return []
    return [
        target.id
        for statement in ast.parse(injected[-1]).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and not target.id.startswith("PAPERMILL_")  # its --inject-paths
    ]


def _kind_of(value):
    return KINDS.get(type(value), f"a {type(value).__name__}")


def _hint(parameter, value):
    """Explain the two traps of the command line: quoted numbers and quoted truth values."""
    if type(value) is str and parameter.type in (int, float):
        return ', without quotes (in YAML, write 1.0e-3 or 0.001, as "1e-3" is read as text)'
    if type(value) is str and parameter.type is bool:
        return " (papermill's -y reads true and false as truth values, -p reads True and False)"
    return ""
