"""The headline numbers of a notebook: shown as a table and kept as JSON in the same output."""

import html
import json
from collections.abc import Mapping
from pathlib import Path

from IPython.display import display

MIME = "application/vnd.mnist-tutorial.record"  # its content is JSON text
Value = float | int | str | bool | list[float | int]


def record(**values: Value) -> None:
    """Display a notebook's headline numbers, for people and for programs.

    Names become the table's rows ("test_accuracy" is shown as "test accuracy"). Values are
    numbers, texts, truth values, or a curve: a list of numbers, shown by its ends and kept whole.
    Shares stay shares (0.991, not 99.1).

    Raises:
        TypeError: a value is of another type.
    """
    plain = {name: _plain(name, value) for name, value in values.items()}
    shown = {name.replace("_", " "): as_text(value) for name, value in plain.items()}
    width = max(map(len, shown))
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>\n"
        for name, value in shown.items()
    )
    bundle = {
        MIME: json.dumps(plain, indent=1, ensure_ascii=False),
        "text/html": f"<table>\n{rows}</table>",
        "text/plain": "\n".join(f"{name:{width}}  {value}" for name, value in shown.items()),
    }
    display(bundle, raw=True)


def _plain(name, value):
    """Turn NumPy's numbers and arrays, and tuples, into Python's numbers and lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple)):
        value = [item.tolist() if hasattr(item, "tolist") else item for item in value]
    if not is_value(value):
        kind = type(value).__name__
        raise TypeError(f"record: {name} is a {kind}; give a number, a text, or a list of numbers.")
    return value


def is_value(value: object) -> bool:
    """Return whether a record can hold this: a number, a text, a truth value, a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(type(item) in (int, float) for item in value)
    return isinstance(value, (bool, int, float, str))


def as_text(value: Value) -> str:
    """Return a value of a record as people read it."""
    if isinstance(value, list):
        ends = " … ".join(as_text(end) for end in value[:1] + value[1:][-1:])
        return f"{ends}, {len(value)} value{'s' * (len(value) > 1)}"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3g}"
    return f"{value:,}" if type(value) is int else str(value)


def read_record(path: str | Path) -> dict:
    """Return the record in an executed notebook's file; if it holds several, the last; {} if none."""
    return record_in(json.loads(Path(path).read_text(encoding="utf-8")))


def record_in(notebook: Mapping) -> dict:
    """Return the record in an executed notebook that is read already."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    found = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    return json.loads("".join(found[-1])) if found else {}
