"""The errors that this project raises on purpose: one sentence with the cause and the cure."""

import difflib


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
    """A trained model cannot be written or read."""


def nearest(given, known):
    """Return " (did you mean `…`?)" for the closest known spelling, or nothing if none is close."""
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def shown(value):
    """Return any value as text for a message: on one line, and not without end."""
    try:
        text = " ".join(line.strip() for line in repr(value).splitlines())
    except Exception:  # Python refuses to write out whole numbers of thousands of digits
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 500 else f"{text[:100]}…{text[-20:]}"
