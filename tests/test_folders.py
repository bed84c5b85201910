"""Where generated files go, and that they are written whole or not at all."""

from pathlib import Path

import pytest

from helpers import folders
from helpers.errors import StorageError
from helpers.folders import make_folder, runs_folder, write

PROJECT = Path(__file__).resolve().parent.parent


def test_runs_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MNIST_RUNS", "~/models of mine")
    assert runs_folder() == tmp_path / "models of mine"
    monkeypatch.delenv("MNIST_RUNS")
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == PROJECT / "runs", "wherever the notebook runs"
    monkeypatch.setattr(folders, "PROJECT", tmp_path / "site-packages")
    assert runs_folder() == tmp_path / "runs", "installed without the project's folder"


def test_an_address_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="s3://bucket/runs is an address; give a folder of this machine"):
        make_folder("s3://bucket/runs")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write("first", path)

    def full(self, text, **options):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="a.txt cannot be written .No space left on device."):
        write("second", path)
    monkeypatch.undo()
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="make it accessible, or choose another folder"):
        make_folder(tmp_path / "file" / "folder")
    make_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
