"""Train a network: by default the reference network with the recipe of notebook 04, fast and lean.

The recipe is the notebook's. Four things differ, and none of them changes what is learned: images
stay uint8 in memory and are scaled batch by batch; Adam's update runs as one operation per weight
array, and a batch normalization as one per layer, instead of a dozen each; and
``precision="auto"`` multiplies in bfloat16 where the CPU can.
"""

import functools
import math
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import tensorflow as tf
from tqdm import tqdm

from helpers.augmentation import distort
from helpers.models import build_model

BATCHES_PER_CALL = 32  # how many batches TensorFlow trains on before it returns to Python


@dataclass(frozen=True)
class Recipe:
    """How to train: everything beside the data that decides the result.

    ``learning_rate`` is Adam's, or the highest one of the schedule ``"one_cycle"``;
    ``validation_split`` is the share of the training images, taken from their end, that is held
    out; ``precision`` is ``"auto"``, ``"float32"`` or ``"mixed_bfloat16"``. Notebook 10 explains
    the other ways to train: ``augmentation`` is ``"none"``, ``"affine"`` or ``"elastic"``, and
    ``averaging`` the share of the running mean of the weights that a step keeps (0: no mean).
    ``network`` is a name in `helpers.models.NETWORKS`.
    """

    epochs: int = 10
    batch_size: int = 128
    validation_split: float = 0.1
    learning_rate: float = 0.001
    dropout: float = 0.5
    precision: str = "auto"
    seed: int = 0
    network: str = "reference"
    schedule: str = "constant"
    augmentation: str = "none"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    averaging: float = 0.0


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


def batches(images, labels, classes, batch_size, shuffle_seed=None, augmentation="none"):
    """Return a ``tf.data.Dataset`` of scaled, one-hot batches, made as they are needed.

    Args:
        images: ``(n, 28, 28)`` uint8.
        labels: ``(n,)`` uint8.
        classes: the number of classes.
        batch_size: images per batch; the last batch may be smaller.
        shuffle_seed: seed of a new order in every epoch; None keeps the order.
        augmentation: ``"none"``, or how the images are distorted, anew in every epoch:
            ``"affine"`` or ``"elastic"``.

    Returns:
        Batches of ``(batch, 28, 28, 1)`` float32 in [0, 1] and ``(batch, classes)`` float32.
    """
    images, labels = tf.constant(images), tf.constant(labels)
    count = len(images)

    def prepare(indices, seed):
        x = tf.gather(images, indices)
        if augmentation == "none":
            x = tf.cast(x, tf.float32) / 255
        else:
            x = distort(x, seed, elastic=augmentation == "elastic")
        return x[..., tf.newaxis], tf.one_hot(tf.gather(labels, indices), classes)

    def epoch(number):  # the order of all images at once, from the epoch's random number
        order = tf.range(count)
        if shuffle_seed is not None:
            order = tf.random.experimental.stateless_shuffle(order, seed=[number, shuffle_seed])
        starts = tf.data.Dataset.range(0, count, batch_size, output_type=tf.int32)
        return starts.map(
            lambda start: prepare(order[start : start + batch_size], [number, tf.cast(start, tf.int64)])
        )

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


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization (Ioffe, Szegedy 2015, arXiv:1502.03167) in one operation."""

    def call(self, inputs, training=None, mask=None):
        shape = tf.shape(inputs)
        images = inputs if len(inputs.shape) == 4 else inputs[:, tf.newaxis, tf.newaxis]
        result = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=self.moving_mean.value,
            variance=self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The operation returns the variance of a sample; Keras keeps that of the batch itself.
            count = tf.cast(tf.size(images) // images.shape[-1], tf.float32)
            for kept, new in (
                (self.moving_mean, result.batch_mean),
                (self.moving_variance, result.batch_variance * (count - 1) / count),
            ):
                kept.assign(self.momentum * kept.value + (1 - self.momentum) * new)
        return tf.reshape(result.y, shape)


def fuse(model):
    """Return a model that computes the same, with every batch normalization in its fused form."""
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        return model

    def copy(layer):
        fused = isinstance(layer, keras.layers.BatchNormalization)
        return (FusedBatchNormalization if fused else type(layer)).from_config(layer.get_config())

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


@dataclass(frozen=True)
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate rises along a cosine, then falls along another, almost to zero.

    Source: Smith, Topin 2017, arXiv:1708.07120; the cosines are fast.ai's.
    """

    highest: float
    steps: int
    rising: float = 0.3
    start: float = 0.04
    end: float = 0.001

    def __call__(self, step):
        done = tf.cast(step, tf.float32) / self.steps
        up = self.start + (1 - self.start) * (1 - tf.cos(math.pi * done / self.rising)) / 2
        left = (1 - done) / (1 - self.rising)
        down = self.end + (1 - self.end) * (1 - tf.cos(math.pi * left)) / 2
        return self.highest * tf.where(done < self.rising, up, down)

    def get_config(self):
        return dict(vars(self))


def _handle(variable):
    """Return the TensorFlow resource behind a Keras or TensorFlow variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class Progress(keras.callbacks.Callback):
    """One live line on stderr: epoch, time left, training and validation accuracy.

    Its clock ticks from the start, also in the seconds in which TensorFlow prepares the training.
    """

    def on_train_begin(self, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        self.bar = tqdm(
            total=total,
            file=sys.stderr,
            mininterval=0.5,
            bar_format="{desc} |{bar:16}| {elapsed_s:.1f} s, {remaining} left{postfix}",
        )
        self.validation = ""
        self.ended, self.latest = threading.Event(), time.monotonic()
        self.clock = threading.Thread(target=self._tick, daemon=True)
        self.clock.start()

    def _tick(self):
        """Show the time, until the training ends or has been silent for a minute (interrupted)."""
        while not self.ended.wait(0.5) and time.monotonic() < self.latest + 60:
            self.bar.refresh()

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)
        self.start = epoch * self.params["steps"]

    def on_train_batch_end(self, batch, logs=None):
        text = f"accuracy {logs['accuracy']:.4f}{self.validation}"
        self.bar.set_postfix_str(text, refresh=False)
        done = self.start + min(batch + 1, self.params["steps"])
        self.bar.update(done - self.bar.n)
        self.latest = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self.validation = f", validation {logs['val_accuracy']:.4f}"

    def on_train_end(self, logs=None):
        self.ended.set()
        self.clock.join()
        self.bar.close()
        sys.stderr.flush()  # before anything that the notebook prints next


@functools.lru_cache(maxsize=3)
def _compiled(network, learning_rate, weight_decay, averaging, label_smoothing):
    """Return a compiled model, and the values of its optimizer's variables before the first step.

    The first training of a model builds its TensorFlow graph, which takes longer than an epoch on a
    few thousand digits. So the latest models are kept, and `train` starts them from new values.
    """
    model = fuse(build_model(*network))
    optimizer = FusedAdam(
        learning_rate,
        weight_decay=weight_decay or None,
        use_ema=averaging > 0,
        ema_momentum=averaging or 0.99,
    )
    if weight_decay:
        biases = [weights for weights in model.trainable_variables if len(weights.shape) == 1]
        optimizer.exclude_from_weight_decay(var_list=biases)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=BATCHES_PER_CALL,
    )
    optimizer.build(model.trainable_variables)
    return model, [variable.numpy() for variable in optimizer.variables]


def train(data, recipe=Recipe(), callbacks=()):
    """Train a network on a data set.

    Args:
        data: a `helpers.data.Dataset`; its test part is not touched.
        recipe: a `Recipe`.
        callbacks: Keras callbacks, to look on.

    Returns:
        The trained float32 model and its history: a dict of the lists ``accuracy``, ``loss``,
        ``val_accuracy`` and ``val_loss``, one value per epoch. Training values are means over the
        epoch with dropout on, as Keras reports them.
    """
    make_reproducible(recipe.seed)
    precision = choose_precision(recipe.precision)
    (x, y), (x_validation, y_validation) = split_validation(data, recipe.validation_split)
    training = batches(
        x, y, data.classes, recipe.batch_size, shuffle_seed=recipe.seed, augmentation=recipe.augmentation
    )
    validation = batches(x_validation, y_validation, data.classes, 512)

    fresh = fuse(build_model(recipe.network, data.classes, recipe.dropout, precision))
    one_cycle = recipe.schedule == "one_cycle"
    model, start = _compiled(
        (recipe.network, data.classes, recipe.dropout, precision),
        OneCycle(recipe.learning_rate, recipe.epochs * len(training)) if one_cycle else 0.001,
        recipe.weight_decay,
        recipe.averaging,
        recipe.label_smoothing,
    )
    # Everything that an earlier training may have changed: weights, dropout's random numbers, Adam's means.
    for variable, value in zip([*model.variables, *model.optimizer.variables], [*fresh.variables, *start]):
        variable.assign(value)
    if not one_cycle:
        model.optimizer.learning_rate = recipe.learning_rate
    averaged = [keras.callbacks.SwapEMAWeights()] if recipe.averaging else []  # for the validation
    history = model.fit(
        training,
        validation_data=validation,
        epochs=recipe.epochs,
        shuffle=False,  # `batches` has shuffled already
        verbose=0,
        callbacks=[Progress(), *averaged, *callbacks],
    ).history
    trained = build_model(recipe.network, data.classes, recipe.dropout)
    trained.set_weights(model.get_weights())
    return trained, {name: [float(value) for value in values] for name, values in sorted(history.items())}
