"""Import TensorFlow quietly and fast: ``import helpers.quiet`` before ``import keras``.

TensorFlow reports on graphics cards and CPU features as it loads. The messages are harmless, but
they worry beginners. They come from C++ code, some before any log level is read, so the process's
stderr itself is set aside while TensorFlow loads. Python errors are not affected.

While its hundreds of thousands of objects are made, Python would look through them again and again
for some that are no longer used. There are none; not looking saves a third of the time.
"""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the messages after loading

_stderr = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
_looking = gc.isenabled()
gc.disable()
try:
    import tensorflow as tf  # noqa: F401
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
    gc.freeze()  # nor later: what is loaded stays
    if _looking:
        gc.enable()

tf.get_logger().setLevel("ERROR")  # no warning where several networks are trained, each with a graph
