"""Importing: fast without TensorFlow, and silent with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def python(code):
    """Run code in a new Python in the project's folder; return what it printed to stdout and stderr."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # as on a reader's machine
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


LIGHT = """
import sys, time
start = time.process_time()
import helpers, helpers.data, helpers.errors, helpers.parameters, helpers.preprocessing
print(time.process_time() - start)
heavy = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "matplotlib", "IPython"} & set(sys.modules)
print(sorted(heavy))
"""


def test_what_needs_no_tensorflow_loads_without_anything_heavy():
    assert python(LIGHT)[0].splitlines()[1] == "[]"


@pytest.mark.timed
def test_what_needs_no_tensorflow_loads_in_half_a_second():
    assert min(float(python(LIGHT)[0].splitlines()[0]) for _ in range(3)) < 0.5


def test_measures_and_figures_load_without_tensorflow():
    code = (
        "import helpers.batch, helpers.evaluation, helpers.exercises, helpers.plots, helpers.record, sys\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    assert python(code)[0] == "set()\n"


def test_tensorflow_loads_and_works_in_silence():
    code = (
        "import helpers.quiet, sys\n"
        "assert 'tensorflow' in sys.modules\n"
        "import helpers.storage\n"
        "helpers.models.build_reference_model()\n"
        "print('after', file=sys.stderr)"
    )
    assert python(code) == ("", "after\n")


def test_error_in_loading_tensorflow_is_seen(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no TensorFlow here')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "try:\n"
        "    import helpers.quiet\n"
        "except ImportError as error:\n"
        "    print(error, file=sys.stderr)\n"
    )
    assert python(code) == ("", "no TensorFlow here\n")
