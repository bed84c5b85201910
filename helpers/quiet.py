"""Import TensorFlow quietly and fast: ``import helpers.quiet`` before ``import keras``.

TensorFlow reports on graphics cards and CPU features as it loads. The messages are harmless, but
they worry beginners. They come from C++ code, some before any log level is read, so the process's
stderr itself is set aside while TensorFlow loads. Python errors are not affected.

While its hundreds of thousands of objects are made, Python would look through them again and again
for some that are no longer used. There are none; not looking saves a third of the time.

Keras is set to what the tutorial is written for, whatever the user's environment and ``keras.json``
say, and a graphics card is shared: each process takes of its memory only what it needs.
"""

import gc
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the messages after loading
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
os.environ["KERAS_BACKEND"] = "tensorflow"
_other = sys.modules["keras"].config.backend() if "keras" in sys.modules else "tensorflow"
if _other != "tensorflow":
    raise ImportError(f"Keras runs on {_other}; restart Python and import helpers.quiet before keras.")

_stderr = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
_looking = gc.isenabled()
gc.disable()
try:
    import keras
    import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
    gc.freeze()  # nor later: what is loaded stays
    if _looking:
        gc.enable()

tf.get_logger().setLevel("ERROR")  # no warning where several networks are trained, each with a graph
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
