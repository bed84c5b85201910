"""What `helpers.quiet` sets, whatever the user's environment and keras.json say."""

import json
import os
import subprocess
import sys
from pathlib import Path

CODE = """
import os
import helpers.quiet
import keras, tensorflow
from helpers.models import build_reference_model
from keras import config
build_reference_model()
print(config.backend(), config.floatx(), config.image_data_format(), config.epsilon())
print(os.environ["TF_FORCE_GPU_ALLOW_GROWTH"])
"""


def run(code, tmp_path, **variables):
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    variables |= {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True
    )


def test_keras_and_graphics_cards_are_set_whatever_the_users_files_say(tmp_path):
    """Two notebooks share a graphics card only if neither takes all its memory at the start."""
    done = run(CODE, tmp_path, KERAS_BACKEND="torch", TF_FORCE_GPU_ALLOW_GROWTH="false")
    assert done.stdout == "tensorflow float32 channels_last 1e-07\ntrue\n", done.stderr
    assert done.stderr == ""


def test_keras_that_runs_on_another_backend_already_is_named(tmp_path):
    """Keras itself is not needed for it: a module that answers as it would."""
    code = (
        "import sys, types\n"
        "config = types.SimpleNamespace(backend=lambda: 'torch')\n"
        "sys.modules['keras'] = types.SimpleNamespace(config=config)\n"
        "import helpers.quiet"
    )
    error = run(code, tmp_path).stderr.strip().splitlines()[-1]
    assert error.startswith("ImportError: ") and "torch" in error and "before keras" in error
