"""Train a network: by default the reference network with the recipe of notebook 04, fast and lean.

Keras builds the network and gets it back; in between, an epoch is one TensorFlow program, compiled by
XLA where there is a graphics card. The images lie on the device as bytes and are shuffled, gathered,
scaled, distorted and learned from there. It computes what Keras computes, in another order here and
there: the last digits differ. More differs with ``precision="auto"``, which multiplies in bfloat16
where the device can: numbers are then rounded to 8 bits between the layers, as Keras's
``mixed_bfloat16`` does.
"""

import functools
import math
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import helpers.quiet  # isort: skip (must come before Keras)

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state  # of no public name
from tqdm import tqdm

from helpers.augmentation import distort
from helpers.data import Dataset
from helpers.models import build_model
from helpers.preprocessing import split_validation

SECONDS_PER_CALL = 0.3  # how long TensorFlow trains, about, before it returns to Python
VALIDATED_AT_ONCE = 256  # images
BETA_1, BETA_2, EPSILON = (0.9, 0.999, 1e-7)  # of Adam, as in Keras


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


def make_reproducible(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, and make every operation deterministic."""
    keras.utils.set_random_seed(seed)
    global_state.set_global_attribute("global_seed_generator", None)  # as Keras 3.13 does itself
    tf.config.experimental.enable_op_determinism()


def choose_precision(precision: str = "auto") -> str:
    """Turn ``"auto"`` into ``"mixed_bfloat16"`` on a device that multiplies bfloat16, else float32.

    Devices are graphics cards of compute capability 8.0 and higher and CPUs with AVX512-BF16 or AMX.
    """
    if precision != "auto":
        return precision
    cards = tf.config.list_physical_devices("GPU")
    if cards:
        details = tf.config.experimental.get_device_details(cards[0])
        has_bfloat16 = details.get("compute_capability", (0, 0)) >= (8, 0)
    else:
        cpu = Path("/proc/cpuinfo")  # Linux only; elsewhere float32 is the safe answer
        flags = cpu.read_text().split() if cpu.exists() else []
        has_bfloat16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if has_bfloat16 else "float32"


def uses_xla() -> bool:
    """Say whether XLA compiles the training: where there is a graphics card. oneDNN serves CPUs better."""
    return bool(tf.config.list_physical_devices("GPU"))


def describe_device(precision: str = "auto") -> str:
    """Say in one line on which device, and in which precision, a training runs."""
    precision = choose_precision(precision)
    cards = tf.config.list_physical_devices("GPU")
    if not cards:
        return f"CPU with {os.cpu_count()} cores, {precision}"
    name = tf.config.experimental.get_device_details(cards[0]).get("device_name", "graphics card")
    tf32 = "on" if tf.config.experimental.tensor_float_32_execution_enabled() else "off"
    return f"{name}, {precision}" + (f" (TF32 {tf32})" if precision == "float32" else "")


def one_cycle(highest: float, steps: int) -> np.ndarray:
    """Return the learning rate of each step: up along a cosine, then down along another, almost to zero.

    Source: Smith, Topin 2017, arXiv:1708.07120; the cosines are fast.ai's.
    """
    rising, start, end = 0.3, 0.04, 0.001
    done = np.arange(steps) / steps
    up = start + (1 - start) * (1 - np.cos(math.pi * done / rising)) / 2
    down = end + (1 - end) * (1 - np.cos(math.pi * (1 - done) / (1 - rising))) / 2
    return (highest * np.where(done < rising, up, down)).astype(np.float32)


def operations(model: keras.Sequential, xla: bool = False) -> tuple:
    """Return what a model computes, up to the softmax: for each operation its name and settings.

    Pooling moves before the addition of biases and ReLU, which have less to do then. The results
    are the same: adding the same number to all, or replacing all below 0, leaves the largest the largest.

    Raises:
        TypeError: the model has a layer of another kind than `helpers.models` uses.
    """
    found = []
    for layer in model.layers:
        match layer:
            case keras.layers.Conv2D():
                own = (layer.strides, layer.padding.upper(), layer.dilation_rate)
                found.append(("convolve", *own, layer.filters))
            case keras.layers.Dense():
                found.append(("multiply", layer.units))
            case keras.layers.MaxPooling2D():
                found.append(("pool by slices" if xla else "pool", layer.pool_size, layer.strides))
            case keras.layers.GlobalMaxPooling2D():
                found.append(("pool all",))
            case keras.layers.BatchNormalization():
                found.append(("normalize", layer.momentum, layer.epsilon))
            case keras.layers.Dropout():
                found.append(("drop", layer.rate))
            case keras.layers.Flatten():
                found.append(("flatten",))
            case keras.layers.ReLU():
                found.append(("relu",))
            case _:
                raise TypeError(
                    f"The training cannot do {type(layer).__name__}; see helpers.training.operations."
                )
        if getattr(layer, "use_bias", False):
            found.append(("add",))
        if getattr(layer, "activation", None) is keras.activations.relu:
            found.append(("relu",))
    for place in range(1, len(found)):
        while place and found[place][0].startswith("pool") and found[place - 1][0] in ("add", "relu"):
            found[place - 1 : place + 1] = found[place], found[place - 1]
            place -= 1
    return tuple(found)


def compute(plan: tuple, weights, x: tf.Tensor, seed=None) -> tf.Tensor:
    """Do the operations of a plan, in the number format of ``x``; those of the last layer in float32.

    Args:
        plan: what `operations` returned.
        weights: the model's variables, in its order.
        x: images, ``(n, 28, 28, 1)`` in [0, 1].
        seed: in training two integers, for the dropout; None in prediction.

    Returns:
        ``(n, classes)`` float32, of which the softmax are the probabilities.
    """
    weights = iter(weights)
    last = max(place for place, (name, *_) in enumerate(plan) if name == "multiply")
    for place, (name, *settings) in enumerate(plan):
        if place == last:
            x = tf.cast(x, tf.float32)
        if name == "convolve":
            x = tf.nn.conv2d(x, tf.cast(next(weights), x.dtype), *settings[:2], dilations=settings[2])
        elif name == "multiply":
            x = tf.matmul(x, tf.cast(next(weights), x.dtype))
        elif name == "add":
            x = tf.nn.bias_add(x, tf.cast(next(weights), x.dtype))
        elif name == "relu":
            x = tf.nn.relu(x)
        elif name == "pool":
            x = tf.nn.max_pool2d(x, *settings, "VALID")
        elif name == "pool by slices":
            x = pool(x, *settings)
        elif name == "pool all":
            x = tf.reduce_max(x, (1, 2))
        elif name == "flatten":
            x = tf.reshape(x, (-1, math.prod(x.shape[1:])))
        elif name == "normalize":
            x = normalize(x, *(next(weights) for _ in range(4)), *settings, training=seed is not None)
        elif seed is not None and settings[0]:  # drop
            own = (seed[0] + (place + 2 << 32), seed[1])
            x = tf.nn.experimental.stateless_dropout(x, settings[0], own, rng_alg="philox")
    return x


def pool(x, size, strides):
    """Max pooling of which XLA knows a deterministic gradient: the first of equals gets it, as in Keras."""
    (down, across), (high, wide) = strides, ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, strides))
    places = [(i, j) for i in range(size[0]) for j in range(size[1])]
    slices = [x[:, i : i + high * down : down, j : j + wide * across : across] for i, j in places]
    return functools.reduce(tf.maximum, slices)


def normalize(x, scale, shift, mean, variance, momentum, epsilon, training):
    """Batch normalization (Ioffe, Szegedy 2015, arXiv:1502.03167) in one operation, as Keras does it."""
    maps = x if len(x.shape) == 4 else x[:, tf.newaxis, tf.newaxis]
    result = tf.raw_ops.FusedBatchNormV3(
        x=maps,
        scale=scale,
        offset=shift,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=training,
    )
    if training:
        # The operation returns the variance of a sample; Keras keeps that of the batch itself.
        count = tf.cast(tf.size(maps) // maps.shape[-1], tf.float32)
        mean.assign(momentum * mean + (1 - momentum) * result.batch_mean)
        variance.assign(momentum * variance + (1 - momentum) * result.batch_variance * (count - 1) / count)
    return tf.reshape(result.y, tf.shape(x))


def measure(logits, labels, smoothing):
    """Return the number of right answers and the sum of the losses, each value by its image."""
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    right = tf.cast(tf.argmax(logits, axis=1) == tf.cast(labels, tf.int64), tf.float32)
    return right, tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def train_steps(plan, settings, state, data, epoch, size, first, last, sums):
    """Train on some batches of an epoch: the steps from ``first`` to before ``last``.

    Args:
        plan: what `operations` returned.
        settings: the number format and the augmentation.
        state: variables: the weights; Adam's means; the averaged weights, if any.
        data: images, labels.
        epoch: what belongs to this epoch: the order of the images, the learning rates of its steps,
            the number of steps before it, and the seed, decay, smoothing and averaging.
        size: images in a batch.
        sums: right answers and losses so far, which those of these steps are added to.
    """
    precision, augmentation = settings
    weights, means, averages = state
    images, labels = data
    trained = [variable for variable in weights if variable.trainable]

    def step(number, sums):
        chosen = tf.slice(epoch["order"], [number * epoch["batch_size"]], [size])
        x, y = tf.gather(images, chosen), tf.gather(labels, chosen)
        done = epoch["done"] + number
        seed = (epoch["seed"], tf.cast(done, tf.int64))
        x = (
            tf.cast(x, tf.float32) / 255
            if augmentation == "none"
            else distort(x, seed, augmentation == "elastic")
        )
        with tf.GradientTape() as tape:
            logits = compute(plan, weights, tf.cast(x[..., tf.newaxis], precision), seed)
            right, losses = measure(logits, y, epoch["smoothing"])
            loss = tf.reduce_mean(losses)
        rate = epoch["rates"][number]
        for variable, gradient, (mean, square) in zip(trained, tape.gradient(loss, trained), means):
            if epoch["decay"] is not None and len(variable.shape) > 1:
                variable.assign_sub(variable * epoch["decay"] * rate)
            tf.raw_ops.ResourceApplyAdam(  # Kingma, Ba 2014, arXiv:1412.6980
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=tf.pow(BETA_1, tf.cast(done + 1, tf.float32)),
                beta2_power=tf.pow(BETA_2, tf.cast(done + 1, tf.float32)),
                lr=rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
        for variable, average in zip(trained, averages):
            keep = epoch["averaging"] * tf.cast(done > 0, tf.float32)
            average.assign(keep * average + (1 - keep) * variable)
        return number + 1, sums + tf.stack([tf.reduce_sum(right), tf.reduce_sum(losses)])

    return tf.while_loop(lambda number, _: number < last, step, (first, sums))[1]


def validate(plan, precision, weights, images, labels, smoothing):
    """Return the shares of right answers and the mean loss on images that are not learned from."""
    count = tf.size(labels)

    def batch(start, sums):
        places = start + tf.range(VALIDATED_AT_ONCE)
        x = tf.gather(images, tf.minimum(places, count - 1))  # the last batch is filled up,
        real = tf.cast(places < count, tf.float32)  # and what is filled up does not count
        x = tf.cast(tf.cast(x, tf.float32)[..., tf.newaxis] / 255, precision)
        both = measure(compute(plan, weights, x), tf.gather(labels, tf.minimum(places, count - 1)), smoothing)
        return start + VALIDATED_AT_ONCE, sums + tf.reduce_sum(real * tf.stack(both), axis=1)

    sums = tf.while_loop(lambda start, _: start < count, batch, (0, tf.zeros(2)))[1]
    return sums / tf.cast(count, tf.float32)


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


# Compiled once for each plan, kind of recipe and shape of data. Nothing of a training stays in here.
# XLA takes seconds to compile a program, so it compiles the one that nearly all time is spent in.
TRAIN, TRAIN_XLA, VALIDATE = (
    tf.function(work, autograph=False, reduce_retracing=True, jit_compile=xla)
    for work, xla in ((train_steps, False), (train_steps, True), (validate, False))
)


def train(
    data: Dataset, recipe: Recipe = Recipe(), callbacks: Iterable[keras.callbacks.Callback] = ()
) -> tuple[keras.Sequential, dict[str, list[float]]]:
    """Train a network on a data set.

    Python's, NumPy's and TensorFlow's random numbers start from the recipe's seed afterwards.

    Args:
        data: a `helpers.data.Dataset`; its test part is not touched.
        recipe: a `Recipe`.
        callbacks: Keras callbacks, to look on or to stop (``model.stop_training = True``). They are
            called at the begin and the end of the training and of each epoch, and at the end of a
            batch about three times a second.

    Returns:
        The trained float32 model and its history: a dict of the lists ``accuracy``, ``loss``,
        ``val_accuracy`` and ``val_loss``, one value per epoch. Training values are means over the
        epoch with dropout on, as Keras reports them.
    """
    make_reproducible(recipe.seed)
    model = build_model(recipe.network, data.classes, recipe.dropout)
    xla = uses_xla()
    plan = operations(model, xla)
    precision = tf.bfloat16 if choose_precision(recipe.precision) == "mixed_bfloat16" else tf.float32
    learned, held_out = (
        [tf.constant(array) for array in part] for part in split_validation(data, recipe.validation_split)
    )
    weights = [variable.value for variable in model.weights]
    trained = [variable for variable in weights if variable.trainable]
    means = [[tf.Variable(tf.zeros_like(variable)) for _ in range(2)] for variable in trained]
    averages = [tf.Variable(variable) for variable in trained] if recipe.averaging else []

    count = len(learned[0])
    steps = -(-count // recipe.batch_size)  # rounded up
    rates = np.full(recipe.epochs * steps, recipe.learning_rate, np.float32)
    if recipe.schedule == "one_cycle":
        rates = one_cycle(recipe.learning_rate, recipe.epochs * steps)
    given = {
        "seed": tf.constant(recipe.seed, tf.int64),
        "batch_size": tf.constant(recipe.batch_size),
        "smoothing": tf.constant(recipe.label_smoothing),
        "averaging": tf.constant(recipe.averaging),
        "decay": tf.constant(recipe.weight_decay) if recipe.weight_decay else None,
    }
    validated = list(weights)
    if averages:
        average_of = {id(variable): average for variable, average in zip(trained, averages)}
        validated = [average_of.get(id(variable), variable) for variable in weights]

    history, at_once = {}, 1
    watching = keras.callbacks.CallbackList(
        [Progress(), *callbacks], model=model, epochs=recipe.epochs, steps=steps
    )
    model.stop_training = False
    watching.on_train_begin()
    for number in range(recipe.epochs):
        watching.on_epoch_begin(number)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), (recipe.seed + (1 << 32), number), alg="philox"
        )
        epoch = given | {
            "order": order,
            "rates": tf.constant(rates[number * steps :][:steps]),
            "done": tf.constant(number * steps),
        }
        first, sums = 0, tf.zeros(2)
        while first < steps:
            whole = count // recipe.batch_size
            last = min(first + at_once, whole) if first < whole else steps
            size = min(recipe.batch_size, count - first * recipe.batch_size)
            program = TRAIN_XLA if xla and size == recipe.batch_size else TRAIN
            begun = time.monotonic()
            sums = program(
                plan,
                (precision, recipe.augmentation),
                (weights, means, averages),
                learned,
                epoch,
                tf.constant(size),
                tf.constant(first),
                tf.constant(last),
                sums,
            )
            seen = min(last * recipe.batch_size, count)
            accuracy, loss = sums.numpy() / seen
            watching.on_train_batch_end(last - 1, {"accuracy": float(accuracy), "loss": float(loss)})
            at_once = max(1, round((last - first) * SECONDS_PER_CALL / (time.monotonic() - begun)))
            first = last
        val_accuracy, val_loss = VALIDATE(plan, precision, validated, *held_out, given["smoothing"]).numpy()
        logs = {
            "accuracy": float(accuracy),
            "loss": float(loss),
            "val_accuracy": float(val_accuracy),
            "val_loss": float(val_loss),
        }
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
        watching.on_epoch_end(number, logs)
        if model.stop_training:
            break
    for variable, average in zip(trained, averages):
        variable.assign(average)
    watching.on_train_end()
    make_reproducible(recipe.seed)
    return model, history
