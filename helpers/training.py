"""Train the reference network: the recipe of notebook 04, made fast and lean.

The recipe is the notebook's. Three things differ, and none of them changes what is learned:
images stay uint8 in memory and are scaled batch by batch; Adam's update runs as one operation per
weight array instead of a dozen; and ``precision="auto"`` multiplies in bfloat16 where the CPU can.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import tensorflow as tf
from tqdm import tqdm

from helpers.models import build_reference_model

BATCHES_PER_CALL = 32  # how many batches TensorFlow trains on before it returns to Python


@dataclass(frozen=True)
class Recipe:
    """How to train: everything beside the data that decides the result.

    ``learning_rate`` is Adam's; ``validation_split`` is the share of the training images, taken
    from their end, that is held out; ``precision`` is ``"auto"``, ``"float32"`` or
    ``"mixed_bfloat16"``.
    """

    epochs: int = 10
    batch_size: int = 128
    validation_split: float = 0.1
    learning_rate: float = 0.001
    dropout: float = 0.5
    precision: str = "auto"
    seed: int = 0


def make_reproducible(seed):
    """Seed Python, NumPy and TensorFlow, and make every operation deterministic."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def choose_precision(precision="auto"):
    """Turn ``"auto"`` into ``"mixed_bfloat16"`` on a CPU that multiplies bfloat16, else float32."""
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "float32"
    cpu = Path("/proc/cpuinfo")  # Linux only; elsewhere float32 is the safe answer
    flags = cpu.read_text().split() if cpu.exists() else []
    has_bfloat16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if has_bfloat16 else "float32"


def split_validation(data, validation_split):
    """Split the training part as Keras does: the last images, in order, are for validation.

    Returns:
        ``(x, y), (x_validation, y_validation)``, all uint8.
    """
    cut = int(len(data.x_train) * (1 - validation_split))
    return (data.x_train[:cut], data.y_train[:cut]), (data.x_train[cut:], data.y_train[cut:])


def batches(images, labels, classes, batch_size, shuffle_seed=None):
    """Return a ``tf.data.Dataset`` of scaled, one-hot batches, made as they are needed.

    Args:
        images: ``(n, 28, 28)`` uint8.
        labels: ``(n,)`` uint8.
        classes: the number of classes.
        batch_size: images per batch; the last batch may be smaller.
        shuffle_seed: seed of a new order in every epoch; None keeps the order.

    Returns:
        Batches of ``(batch, 28, 28, 1)`` float32 in [0, 1] and ``(batch, classes)`` float32.
    """
    images, labels = tf.constant(images), tf.constant(labels)
    count = len(images)

    def prepare(indices):
        x = tf.cast(tf.gather(images, indices), tf.float32)[..., tf.newaxis] / 255
        return x, tf.one_hot(tf.gather(labels, indices), classes)

    def epoch(number):  # the order of all images at once, from the epoch's random number
        order = tf.range(count)
        if shuffle_seed is not None:
            order = tf.random.experimental.stateless_shuffle(order, seed=[number, shuffle_seed])
        starts = tf.data.Dataset.range(0, count, batch_size, output_type=tf.int32)
        return starts.map(lambda start: prepare(order[start : start + batch_size]))

    numbers = tf.data.Dataset.random(seed=shuffle_seed, rerandomize_each_iteration=True).take(1)
    length = tf.data.experimental.assert_cardinality(-(-count // batch_size))  # rounded up
    # Without autotuning: its thread wakes at growing intervals, and the end of an epoch waits for it.
    options = tf.data.Options()
    options.autotune.enabled = False
    return numbers.flat_map(epoch).apply(length).prefetch(2).with_options(options)


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam (Kingma, Ba 2014, arXiv:1412.6980) in one TensorFlow operation per variable."""

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def _handle(variable):
    """Return the TensorFlow resource behind a Keras or TensorFlow variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class Progress(keras.callbacks.Callback):
    """One live line on stderr: epoch, time left, training and validation accuracy."""

    def on_train_begin(self, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        self.bar = tqdm(
            total=total,
            file=sys.stderr,
            mininterval=0.5,
            bar_format="{desc} |{bar:16}| {elapsed}, {remaining} left{postfix}",
        )
        self.validation = ""

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)
        self.start = epoch * self.params["steps"]

    def on_train_batch_end(self, batch, logs=None):
        text = f"accuracy {logs['accuracy']:.4f}{self.validation}"
        self.bar.set_postfix_str(text, refresh=False)
        done = self.start + min(batch + 1, self.params["steps"])
        self.bar.update(done - self.bar.n)

    def on_epoch_end(self, epoch, logs=None):
        self.validation = f", validation {logs['val_accuracy']:.4f}"

    def on_train_end(self, logs=None):
        self.bar.close()
        sys.stderr.flush()  # before anything that the notebook prints next


def train(data, recipe=Recipe()):
    """Train the reference network on a data set.

    Args:
        data: a `helpers.data.Dataset`; its test part is not touched.
        recipe: a `Recipe`.

    Returns:
        The trained float32 model and its history: a dict of the lists ``accuracy``, ``loss``,
        ``val_accuracy`` and ``val_loss``, one value per epoch. Training values are means over the
        epoch with dropout on, as Keras reports them.
    """
    make_reproducible(recipe.seed)
    precision = choose_precision(recipe.precision)
    (x, y), (x_validation, y_validation) = split_validation(data, recipe.validation_split)
    training = batches(x, y, data.classes, recipe.batch_size, shuffle_seed=recipe.seed)
    validation = batches(x_validation, y_validation, data.classes, 512)

    model = build_reference_model(data.classes, recipe.dropout, precision)
    model.compile(
        optimizer=FusedAdam(recipe.learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=BATCHES_PER_CALL,
    )
    history = model.fit(
        training,
        validation_data=validation,
        epochs=recipe.epochs,
        shuffle=False,  # `batches` has shuffled already
        verbose=0,
        callbacks=[Progress()],
    ).history
    trained = build_reference_model(data.classes, recipe.dropout)
    trained.set_weights(model.get_weights())
    return trained, {name: [float(value) for value in values] for name, values in sorted(history.items())}
