"""The headline numbers of a notebook: shown as a table and kept as JSON in the same output."""

import html
import json
import sys
from pathlib import Path

from IPython.display import display

MIME = "application/vnd.mnist-tutorial.record"  # its content is JSON text


def record(**values):
    """Display a notebook's headline numbers, for people and for programs.

    Names become the table's rows ("test_accuracy" is shown as "test accuracy"). Values are
    numbers, texts or truth values; shares stay shares (0.991, not 99.1).

    Raises:
        TypeError: a value is of another type.
    """
    plain = {name: _plain(name, value) for name, value in values.items()}
    shown = {name.replace("_", " "): _format(value) for name, value in plain.items()}
    width = max(map(len, shown))
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>\n"
        for name, value in shown.items()
    )
    display(
        {
            MIME: json.dumps(plain, indent=1, ensure_ascii=False),
            "text/html": f"<table>\n{rows}</table>",
            "text/plain": "\n".join(f"{name:{width}}  {value}" for name, value in shown.items()),
        },
        raw=True,
    )


def _plain(name, value):
    """Turn NumPy's numbers into Python's."""
    value = value.item() if getattr(value, "ndim", None) == 0 else value
    if not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"record: {name} is a {type(value).__name__}; give a number or a text.")
    return value


def _format(value):
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3g}"
    return f"{value:,}" if type(value) is int else str(value)


def read_record(path):
    """Return the record in an executed notebook as a dict, or {} if it has none.

    Args:
        path: an ``.ipynb`` file. If it holds several records, the last wins.
    """
    return record_in(json.loads(Path(path).read_text(encoding="utf-8")))


def record_in(notebook):
    """Return the record in an executed notebook that is read already, as a dict, or {}."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            content = output.get("data", {}).get(MIME)
            if content:
                found = json.loads("".join(content))
    return found


def main(folder):
    """Print the records of all notebooks in a folder."""
    for path in sorted(Path(folder).glob("*.ipynb")):
        print(f"\n{path.stem}")
        for name, value in read_record(path).items():
            print(f"  {name.replace('_', ' '):28} {_format(value)}")


if __name__ == "__main__":
    main(sys.argv[1])
