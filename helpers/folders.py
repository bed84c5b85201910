"""Where generated files go, and writing them so that a half-written one is never seen."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from helpers.errors import StorageError

PROJECT = Path(__file__).resolve().parent.parent


def runs_folder() -> Path:
    """Return the folder for generated files: ``MNIST_RUNS`` if set, else ``runs`` in the project.

    Where the project is installed without its folder (as in Colab), it is ``runs`` in the working
    directory.
    """
    if os.environ.get("MNIST_RUNS"):
        return Path(os.environ["MNIST_RUNS"]).expanduser()
    home = PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()
    return home / "runs"


def make_folder(folder: str | Path, otherwise: str = "choose another folder") -> None:
    """Make a folder and see that it can be used, before any work is done for it.

    Raises:
        StorageError: it cannot be made or written to, as in `clear_errors`; or it is an address.
    """
    if "://" in str(folder):
        raise StorageError(f"{folder} is an address; give a folder of this machine, and copy it there later.")
    with clear_errors(folder, otherwise=otherwise):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write(text: str, path: str | Path) -> None:
    """Write a text file that is seen whole or not at all.

    Raises:
        StorageError: it cannot be written. A file that was there before stays as it was.
    """
    partial = Path(f"{path}.{os.getpid()}.partial")
    with clear_errors(path):
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, busy: Callable[[], None], otherwise: str = "choose another folder") -> Iterator[None]:
    """Hold a lock file, which the system frees if this process dies.

    ``busy`` is called if another process holds it; if it raises nothing, wait.

    Raises:
        StorageError: the file cannot be written, or its file system has no locks.
    """
    lock = filelock.FileLock(path)
    with clear_errors(path.parent, otherwise=otherwise):
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
def clear_errors(
    place: str | Path, done: str = "written", otherwise: str = "choose another folder", kinds=OSError
) -> Iterator[None]:
    """Turn an error about a place (of the file system, or of ``kinds``) into a `StorageError`.

    ``done`` is what cannot be done to it, ``otherwise`` the reader's last way out.
    """
    try:
        yield
    except (NotImplementedError, kinds) as error:
        if isinstance(error, StorageError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{place} cannot be {done} ({reason}); free space there, make it accessible, or {otherwise}."
        ) from None
