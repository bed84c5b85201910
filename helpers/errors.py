"""The errors that this project raises on purpose, one sentence with the cause and the cure; and messages."""

import difflib
import sys
from collections.abc import Iterable


class TutorialError(Exception):
    """A problem that the reader can solve. Its message says what happened and what to do."""

    def _render_traceback_(self):
        """Let IPython show the sentence alone, without the stack that led to it."""
        return [f"{type(self).__name__}: {self}"]


class DataError(TutorialError):
    """The images or labels are missing, unreadable or not what they should be."""


class ParameterError(TutorialError):
    """A notebook parameter is unknown, has the wrong type or is out of range."""


class StorageError(TutorialError):
    """A file or folder cannot be written or read."""


def nearest(given: object, known: Iterable[str]) -> str:
    """Return " (did you mean `…`?)" for the closest known spelling, or nothing if none is close."""
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def short(text: object) -> str:
    """Return a text on one line, and not without end."""
    line = " ".join(str(text).split())
    return line if len(line) <= 500 else f"{line[:100]}…{line[-20:]}"


def shown(value: object) -> str:
    """Return any value as Python writes it, for a message."""
    try:
        return short(repr(value))
    except Exception:  # Python refuses to write out whole numbers of thousands of digits
        return f"a {type(value).__name__} that cannot be shown"


def say(text: str) -> None:
    """Print a message to stderr at once: stdout is for results."""
    print(text, file=sys.stderr, flush=True)
