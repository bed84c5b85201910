"""Importing: fast without TensorFlow; silent with it, and set up as the tutorial needs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def python(code, **variables):
    """Run code in a new Python in the project's folder; return what it printed to stdout and stderr."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"} | variables
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


LOADED = """
import os, sys
import helpers.quiet
assert "tensorflow" in sys.modules
import helpers.storage
from keras import config
helpers.models.build_reference_model()
print(config.backend(), config.floatx(), config.image_data_format(), config.epsilon())
print(os.environ["TF_FORCE_GPU_ALLOW_GROWTH"])
print("after", file=sys.stderr)
"""


def test_tensorflow_loads_in_silence_and_is_set_whatever_the_users_files_say(tmp_path):
    """Two notebooks share a graphics card only if neither takes all its memory at the start."""
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    variables = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch", "TF_FORCE_GPU_ALLOW_GROWTH": "false"}
    assert python(LOADED, **variables) == ("tensorflow float32 channels_last 1e-07\ntrue\n", "after\n")


def test_keras_that_runs_on_another_backend_already_is_named():
    """Keras itself is not needed for it: a module that answers as it would."""
    code = (
        "import sys, types\n"
        "config = types.SimpleNamespace(backend=lambda: 'torch')\n"
        "sys.modules['keras'] = types.SimpleNamespace(config=config)\n"
        "try:\n"
        "    import helpers.quiet\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    said, _ = python(code)
    assert "torch" in said and "before keras" in said and said.count("\n") == 1


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
