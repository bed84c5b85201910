"""`make edit`: a notebook as it is and as it was committed, side by side."""

import shutil
import subprocess
import sys

import pytest

from tools import edit, refresh


def test_letters_that_several_names_start_with_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["edit", "1"])
    with pytest.raises(SystemExit, match="^1 may be 10_beyond_99, 11_.*; give both digits"):
        edit.main()


def test_a_notebook_that_stops_leaves_nothing_running(monkeypatch):
    started = []

    def start(project, path, output):
        code = "import time; time.sleep(60)" if started else "raise SystemExit('no')"
        started.append(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True))
        return started[-1]

    notebooks = refresh.ROOT / "notebooks"
    monkeypatch.setattr(edit, "committed", lambda folder: shutil.copytree(notebooks, folder / "notebooks"))
    monkeypatch.setattr(edit, "start", start)
    monkeypatch.setattr(sys, "argv", ["edit", "04"])
    with pytest.raises(SystemExit, match="^after: 04_training.ipynb stopped"):
        edit.main()
    assert len(started) == 2 and all(process.poll() is not None for process in started)
