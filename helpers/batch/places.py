"""Folders of any kind: of this machine, or whatever else papermill writes to, such as ``s3://bucket/runs``."""

import re
from pathlib import Path

from helpers import folders
from helpers.errors import StorageError


def is_local(folder: str | Path) -> bool:
    """Return whether a folder is one of this machine, rather than an address."""
    return "://" not in str(folder)


def inside(folder: str | Path, name: str) -> str:
    """Return the path of a file in a folder."""
    return str(Path(folder, name)) if is_local(folder) else f"{str(folder).rstrip('/')}/{name}"


def list_folder(folder: str | Path) -> list[str]:
    """Return the names of the files in a folder, sorted.

    Raises:
        StorageError: the folder cannot be read.
    """
    from papermill.iorw import LocalHandler, papermill_io

    if not is_local(folder) and isinstance(papermill_io.get_handler(str(folder)), LocalHandler):
        raise StorageError(f"{folder} is an address of a kind that papermill does not know.")
    with _clear_errors(folder, "read"):
        found = papermill_io.listdir(str(folder))
    paths = [re.split(r"[/\\]", str(getattr(path, "name", path))) for path in found]  # Azure's are objects
    last = re.split(r"[/\\]", str(folder).rstrip("/\\"))[-1]
    # Object stores list what is in folders within, too.
    return sorted(path[-1] for path in paths if is_local(folder) or len(path) == 1 or path[-2] == last)


def make_folder(folder: str | Path) -> None:
    """Make a folder and see that it can be used, before any work is done for it.

    Raises:
        StorageError: it cannot be made or written to.
    """
    folders.make_folder(folder) if is_local(folder) else list_folder(folder)


def write(text: str, path: str) -> None:
    """Write a text file that is seen whole or not at all.

    Raises:
        StorageError: it cannot be written. A file that was there before stays as it was.
    """
    if is_local(path):
        folders.write(text, path)
        return
    from papermill.iorw import papermill_io

    with _clear_errors(path):
        papermill_io.write(text, path)  # object stores write whole files only


def _clear_errors(place, done="written"):
    kinds = OSError if is_local(place) else Exception  # every kind of storage has errors of its own
    return folders.clear_errors(place, done, kinds=kinds)
