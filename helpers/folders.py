"""Where generated files go, and writing them so that a half-written one is never seen.

For executed notebooks a folder may be anything that papermill writes to, such as ``s3://bucket/runs``.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path

import filelock

from helpers.errors import StorageError

PROJECT = Path(__file__).resolve().parent.parent


def runs_folder():
    """Return the folder for generated files: ``MNIST_RUNS`` if set, else ``runs`` in the project.

    Where the project is installed without its folder (as in Colab), it is ``runs`` in the working
    directory.
    """
    if os.environ.get("MNIST_RUNS"):
        return Path(os.environ["MNIST_RUNS"]).expanduser()
    home = PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()
    return home / "runs"


def is_local(folder):
    """Return whether a folder is one of this machine, rather than an address."""
    return "://" not in str(folder)


def inside(folder, name):
    """Return the path of a file in a folder of any kind, as text."""
    return str(Path(folder, name)) if is_local(folder) else f"{str(folder).rstrip('/')}/{name}"


def list_folder(folder):
    """Return the names of the files in a folder of any kind, sorted.

    Raises:
        StorageError: the folder cannot be read.
    """
    from papermill.iorw import LocalHandler, papermill_io

    if not is_local(folder) and isinstance(papermill_io.get_handler(str(folder)), LocalHandler):
        raise StorageError(f"{folder} is an address of a kind that papermill does not know.")
    with clear_errors(folder, "read"):
        found = papermill_io.listdir(str(folder))
    paths = [str(getattr(path, "name", path)) for path in found]  # Azure's are objects
    return sorted(re.split(r"[/\\]", path)[-1] for path in paths)


def make_folder(folder, otherwise="choose another folder"):
    """Make a folder and see that it can be used, before any work is done for it.

    Args:
        folder: of any kind.
        otherwise: as in `clear_errors`.

    Raises:
        StorageError: it cannot be made or written to.
    """
    if not is_local(folder):
        list_folder(folder)
        return
    with clear_errors(folder, otherwise=otherwise):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write(text, path):
    """Write a text file that is seen whole or not at all; papermill writes what is not local.

    Raises:
        StorageError: it cannot be written. A file that was there before stays as it was.
    """
    with clear_errors(path):
        if not is_local(path):
            from papermill.iorw import papermill_io

            papermill_io.write(text, path)  # object stores write whole files only
            return
        partial = Path(f"{path}.{os.getpid()}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path, busy, otherwise="choose another folder"):
    """Hold a lock file, which the system frees if this process dies.

    Args:
        path: the lock file, in a folder that exists.
        busy: called if another process holds it; if it raises nothing, wait.
        otherwise: as in `clear_errors`.

    Raises:
        StorageError: the file cannot be written, or its file system has no locks.
    """
    lock = filelock.FileLock(path)
    with clear_errors(Path(path).parent, otherwise=otherwise):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            busy()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def clear_errors(place, done="written", otherwise="choose another folder"):
    """Turn an error of the file system, or any of a remote one, into a `StorageError`.

    Args:
        place: the file or folder that the code in the ``with`` block reads or writes.
        done: what cannot be done to it.
        otherwise: the reader's last way out, if the place cannot be made accessible.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, StorageError) or (
            is_local(place) and not isinstance(error, (OSError, NotImplementedError))
        ):
            raise
        raise StorageError(
            f"{place} cannot be {done} ({getattr(error, 'strerror', None) or error}); free space "
            f"there, make it accessible, or {otherwise}."
        ) from None
