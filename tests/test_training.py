"""Training: one compiled program that computes what Keras computes, precision, reproducibility."""

import dataclasses
import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import training
from helpers.data import Dataset
from helpers.models import NETWORKS, build_model, build_reference_model
from helpers.preprocessing import one_hot, scale
from helpers.training import Recipe, choose_precision, split_validation, train
from tests.conftest import make_arrays
from tools import profile_step

RECIPE = Recipe(epochs=2, batch_size=8, validation_split=0.2, precision="float32")


# The validation split


@pytest.mark.parametrize("share", [0.01, 0.1, 0.15, 0.3, 0.5])
@pytest.mark.parametrize("count", [40, 101])
def test_validation_split_is_keras_own(count, share):
    arrays = make_arrays(train=count)
    data = Dataset(**arrays, name="split")
    (x, y), (x_validation, y_validation) = split_validation(data, share)
    assert len(x) == len(y) and 0 < len(x_validation) == len(y_validation)
    np.testing.assert_array_equal(np.concatenate([x, x_validation]), data.x_train)
    np.testing.assert_array_equal(np.concatenate([y, y_validation]), data.y_train)
    assert x.dtype == y.dtype == np.uint8

    # A model that always answers 0 and never learns: its loss is the mean of the targets that Keras
    # holds out, which are made so that every choice of them has another mean.
    targets = np.arange(count, dtype=np.float32) ** 2
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), loss="mean_absolute_error", run_eagerly=True)
    fitted = model.fit(np.zeros((count, 1)), targets, batch_size=count, validation_split=share, verbose=0)
    assert fitted.history["val_loss"][0] == pytest.approx(targets[len(x) :].mean(), rel=1e-5)


# What Keras computes

NETWORKS_AND_OWN = [*NETWORKS, "unusual"]


def network(name, **options):
    """Build a network whose values are all different from those of a new one."""
    keras.utils.set_random_seed(0)
    if name == "unusual":  # settings that no network of the project has
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras.layers.MaxPooling2D((1, 2)),
                keras.layers.Conv2D(4, (3, 2), strides=(2, 1), padding="same", activation="relu"),
                keras.layers.BatchNormalization(momentum=0.8, epsilon=0.01),
                keras.layers.ReLU(),
                keras.layers.MaxPooling2D(3, strides=2),
                keras.layers.Conv2D(6, 2, dilation_rate=2),
                keras.layers.MaxPooling2D((2, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
    else:
        model = build_model(name, **options)
    random = np.random.default_rng(0)
    model.set_weights([w * random.uniform(0.8, 1.2, w.shape) + 0.01 for w in model.get_weights()])
    return model


def some_images(count=12):
    arrays = make_arrays(count)
    return tf.constant(scale(arrays["x_train"])), tf.constant(one_hot(arrays["y_train"]))


def has_gradient_of_dilated_convolution():
    """Say whether oneDNN takes it over, which it does with AVX-512: TensorFlow itself cannot do it."""
    image, kernel = tf.ones((1, 7, 7, 1)), tf.ones((3, 3, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        output = tf.nn.conv2d(image, kernel, 1, "VALID", dilations=2)
    try:
        return tape.gradient(output, image) is not None
    except tf.errors.InvalidArgumentError:
        return False


@pytest.mark.parametrize("name", NETWORKS_AND_OWN)
def test_outputs_gradients_and_moving_statistics_are_kerass(name):
    """Also with pooling before bias and ReLU, and in the form that XLA compiles."""
    if name == "unusual" and not has_gradient_of_dilated_convolution():
        pytest.skip("on this CPU, TensorFlow has no gradient of a dilated convolution")
    model = network(name, dropout=0.0)
    x, y = some_images()
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = tf.reduce_mean(keras.losses.categorical_crossentropy(y, outputs))
    wanted = [outputs, *tape.gradient(loss, [v.value for v in model.trainable_variables])]
    predicted = model(x, training=False)
    for xla in (False, True):
        twin = network(name, dropout=0.0)
        plan = training.operations(twin, xla)
        with tf.GradientTape() as tape:
            logits = training.compute(plan, [v.value for v in twin.weights], x, (0, 0))
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, logits))
        found = [tf.nn.softmax(logits), *tape.gradient(loss, [v.value for v in twin.trainable_variables])]
        for ours, kerass in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, kerass, atol=2e-5 * max(1, np.abs(kerass).max()))
        for ours, kerass in zip(twin.weights, model.weights, strict=True):
            np.testing.assert_allclose(ours, kerass, rtol=1e-5, atol=1e-5, err_msg=ours.path)
        again = tf.nn.softmax(training.compute(plan, [v.value for v in twin.weights], x))
        np.testing.assert_allclose(again, predicted, atol=1e-5)


def test_pooling_comes_before_biases_and_relu():
    names = [name for name, *_ in training.operations(build_reference_model())]
    assert names[:4] == names[4:8] == ["convolve", "pool", "add", "relu"]
    assert names[8:] == ["flatten", "multiply", "add", "relu", "drop", "multiply", "add"]


def test_of_equal_values_the_first_gets_the_gradient_in_every_pooling():
    x = tf.constant(np.random.default_rng(0).integers(0, 3, (4, 7, 6, 2)), tf.float32)
    gradients = []
    for pool in (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), lambda x: training.pool(x, (2, 2), (2, 2))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = pool(x)
            result = tf.reduce_sum(y**2)
        gradients.append(np.stack([*tape.gradient(result, [x])]))
    np.testing.assert_array_equal(*gradients)


def test_a_layer_that_the_training_cannot_do_is_refused():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.AveragePooling2D(2)])
    with pytest.raises(TypeError, match="AveragePooling2D"):
        training.operations(model)


def test_bfloat16_is_kerass_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = network("reference")
    finally:
        keras.config.set_dtype_policy("float32")
    model = network("reference")
    x, _ = some_images()
    logits = training.compute(
        training.operations(model), [v.value for v in model.weights], tf.cast(x, tf.bfloat16)
    )
    assert logits.dtype == tf.float32
    # Where the CPU only imitates bfloat16, TensorFlow rounds once more on the way.
    atol = 0.01 if training.choose_precision() == "mixed_bfloat16" else 0.02
    np.testing.assert_allclose(tf.nn.softmax(logits), tf.cast(mixed(x), tf.float32), atol=atol)
    assert np.abs(tf.nn.softmax(logits) - model(x)).max() > 1e-5, "rounded"


OPTIMIZERS = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "smoothing": {"label_smoothing": 0.2},
    "averaging": {"averaging": 0.7},
    "normalized": {"network": "normalized", "weight_decay": 0.1},
    "one_cycle": {"schedule": "one_cycle", "averaging": 0.7},
}


@pytest.mark.parametrize("case", OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_those_of_keras_adam(monkeypatch, case, steps):
    """Without shuffling and dropout; the third batch is smaller than the others."""
    recipe = Recipe(1, 8, 0.2, 0.01, dropout=0.0, precision="float32", network="reference", seed=2)
    recipe = dataclasses.replace(recipe, **OPTIMIZERS[case])
    count = {1: 8, 3: 21}[steps]
    arrays = make_arrays(count + 5)
    data = Dataset(arrays["x_train"], arrays["y_train"], None, None, "digits")
    recipe = dataclasses.replace(recipe, validation_split=4.5 / len(data.x_train))
    (x, y), held_out = split_validation(data, recipe.validation_split)
    assert len(x) == count
    monkeypatch.setattr(tf.random.experimental, "stateless_shuffle", lambda order, *args, **options: order)
    trained, history = train(data, recipe)

    training.make_reproducible(recipe.seed)
    model = build_model(recipe.network, 10, 0.0)
    rates = training.one_cycle(0.01, steps) if case == "one_cycle" else [0.01] * steps
    optimizer = keras.optimizers.Adam(
        weight_decay=recipe.weight_decay or None,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging or 0.99,
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) == 1])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)
    losses = []
    for step, rate in enumerate(rates):
        optimizer.learning_rate = float(rate)
        part = slice(8 * step, 8 * step + 8)
        now = model.train_on_batch(scale(x[part]), one_hot(y[part]), return_dict=True)["loss"]
        losses.append(float(now))
        model.reset_metrics()
    if recipe.averaging:
        optimizer.finalize_variable_values(model.trainable_variables)
    sizes = [len(x[8 * step : 8 * step + 8]) for step in range(steps)]
    assert history["loss"][0] == pytest.approx(np.average(losses, weights=sizes), rel=1e-4)
    # Adam's first steps have the gradient's sign alone, also where it is rounding: there Keras may differ.
    for ours, kerass in zip(trained.weights, model.weights, strict=True):
        difference = np.abs(ours.numpy() - kerass.numpy())
        assert np.quantile(difference, 0.99) < (1e-6 if steps == 1 else 1e-4), ours.path
    measured = model.evaluate(scale(held_out[0]), one_hot(held_out[1]), verbose=0, return_dict=True)
    assert history["val_loss"][0] == pytest.approx(measured["loss"], rel=1e-3)
    assert history["val_accuracy"][0] == pytest.approx(measured["accuracy"])


def test_one_cycle_rises_then_falls():
    rates = training.one_cycle(0.01, steps=1000)
    assert rates[0] == pytest.approx(0.04 * 0.01) and rates[-1] == pytest.approx(0.001 * 0.01, rel=0.1)
    assert rates.argmax() == 300 and rates.max() == pytest.approx(0.01)
    assert (np.diff(rates[:301]) > 0).all() and (np.diff(rates[300:]) < 0).all()
    assert rates[150] == pytest.approx((0.04 + 1) / 2 * 0.01), "halfway up a cosine"


# Random numbers: one seed, the same; another seed, epoch, step or layer, others


def orders(monkeypatch, data, recipe):
    """Return the order of the images in each epoch of a training."""
    seen, shuffle = [], tf.random.experimental.stateless_shuffle
    with monkeypatch.context() as patch:
        patch.setattr(
            tf.random.experimental,
            "stateless_shuffle",
            lambda *args, **options: seen.append(shuffle(*args, **options)) or seen[-1],
        )
        train(data, recipe)
    return [tuple(order.numpy()) for order in seen]


def test_the_order_is_another_in_every_epoch_and_for_every_seed(monkeypatch, digits):
    recipe = dataclasses.replace(RECIPE, epochs=3, network="dense_same_size")
    first, again, other = (
        orders(monkeypatch, digits, dataclasses.replace(recipe, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again and len({*first, *other}) == 6
    for order in {*first, *other}:
        assert sorted(order) == list(range(32)), "every image once"
        assert np.abs(np.array(order) - np.arange(32)).mean() > 32 / 5, "shuffled over the whole data"


def test_every_image_of_an_epoch_is_learned_from_once(digits, monkeypatch):
    """With the learning rate 0 and without dropout, the mean loss is that of all images, in any order."""
    recipe = dataclasses.replace(RECIPE, learning_rate=0.0, dropout=0.0, epochs=1, batch_size=7)
    model, history = train(digits, recipe)
    (x, y), _ = split_validation(digits, 0.2)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    measured = model.evaluate(scale(x), one_hot(y), verbose=0, return_dict=True)
    assert history["loss"][0] == pytest.approx(measured["loss"], rel=1e-5)
    assert history["accuracy"][0] == pytest.approx(measured["accuracy"])


def test_dropout_drops_its_share_anew_by_seed_step_and_layer():
    plan = (("drop", 0.25), ("drop", 0.25), ("multiply",))

    def kept(seed, places=(0,)):
        alone = tuple(operation if i in places or i == 2 else ("relu",) for i, operation in enumerate(plan))
        return training.compute(alone, [tf.eye(100)], tf.ones((200, 100)), seed).numpy() > 0

    masks = [kept((0, 0)), kept((0, 1)), kept((1, 0)), kept((1, 1)), kept((0, 0), (1,))]
    np.testing.assert_array_equal(masks[0], kept((0, 0)))
    for mask in masks:
        assert mask.mean() == pytest.approx(0.75, abs=0.02)
    off_diagonal = np.corrcoef([mask.ravel() for mask in masks]) - np.eye(len(masks))
    assert np.abs(off_diagonal).max() < 0.05, "independent"
    assert np.abs(np.corrcoef(masks[0].T) - np.eye(100)).max() < 0.4, "also within a mask"
    outputs = training.compute(plan[:1] + plan[2:], [tf.eye(100)], tf.ones((200, 100)), (0, 0)).numpy()
    assert sorted({*outputs.ravel()}) == pytest.approx([0, 1 / 0.75]), "what is kept grows in turn"


def test_distortions_differ_by_step_and_seed(digits, monkeypatch):
    seeds = []

    def spy(images, seed, elastic):
        tf.py_function(lambda *pair: seeds.append(tuple(int(number) for number in pair)), seed, [])
        return tf.cast(images, tf.float32) / 255

    monkeypatch.setattr(training, "distort", spy)
    for seed in (5, 6):
        recipe = dataclasses.replace(RECIPE, network="dense_same_size", augmentation="affine", batch_size=9)
        train(digits, dataclasses.replace(recipe, seed=seed))
    assert sorted(seeds) == [(seed, step) for seed in (5, 6) for step in range(8)]


# Precision


class NoFile:
    def __init__(self, path):
        pass

    def exists(self):
        return False


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("fpu sse2 avx512f avx512_bf16 amx_tile", "mixed_bfloat16"),
        ("fpu amx_bf16", "mixed_bfloat16"),
        ("fpu sse2 avx2 avx512f", "float32"),
        ("fpu avx512_bf16x no_amx_bf16", "float32"),
        ("", "float32"),
        (None, "float32"),  # no such file: macOS, Windows
    ],
)
def test_auto_precision_on_other_machines(monkeypatch, tmp_path, flags, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    if flags is None:
        monkeypatch.setattr(training, "Path", NoFile)
    else:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
        monkeypatch.setattr(training, "Path", lambda path: tmp_path / "cpuinfo")
    assert choose_precision() == choose_precision("auto") == expected


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), "float32"), ((8, 0), "mixed_bfloat16"), ((10, 0), "mixed_bfloat16"), (None, "float32")],
)
def test_auto_precision_with_a_graphics_card(monkeypatch, tmp_path, capability, expected):
    details = {"device_name": "Card"} | ({"compute_capability": capability} if capability else {})
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a card"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda card: details)
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16")
    monkeypatch.setattr(training, "Path", lambda path: tmp_path / "cpuinfo")
    assert choose_precision("auto") == expected
    assert training.uses_xla()
    line = training.describe_device()
    assert line.startswith("Card") and expected in line and ("TF32" in line) == (expected == "float32")


def test_the_device_is_described_in_a_line():
    line = training.describe_device("float32")
    assert "CPU" in line and "float32" in line and "\n" not in line and "TF32" not in line


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_chosen_precision_is_kept(precision):
    assert choose_precision(precision) == precision


# train()


@pytest.fixture(scope="module")
def digits():
    """A data set without a test part: training may not look at it."""
    arrays = make_arrays()
    return Dataset(arrays["x_train"], arrays["y_train"], None, None, "digits")


@pytest.fixture(scope="module", params=["reference", "normalized", "averaged", "augmented"])
def any_recipe(request):
    """Recipes whose last validation is measured with other weights, statistics or images than a step's."""
    return {
        "reference": RECIPE,
        "normalized": dataclasses.replace(RECIPE, network="normalized", learning_rate=0.01),
        "averaged": dataclasses.replace(RECIPE, averaging=0.9, learning_rate=0.01),
        "augmented": dataclasses.replace(RECIPE, augmentation="affine"),
    }[request.param]


@pytest.fixture(scope="module")
def trained(digits):
    return train(digits, RECIPE)


def same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def test_history_has_one_value_an_epoch(trained):
    _, history = trained
    assert list(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert {len(values) for values in history.values()} == {RECIPE.epochs}
    assert {type(value) for values in history.values() for value in values} == {float}


def test_same_seed_gives_the_same_bits(digits, trained):
    np.random.seed(123)  # whatever was drawn before does not matter
    model, history = train(digits, RECIPE)
    assert same(model.get_weights(), trained[0].get_weights())
    assert history == trained[1]


def test_a_program_is_compiled_once_for_all_seeds_and_rates(digits):
    recipe = dataclasses.replace(RECIPE, epochs=1, network="dense_same_size", batch_size=10)
    first = train(digits, recipe)
    programs = training.TRAIN, training.VALIDATE
    traced = [program.experimental_get_tracing_count() for program in programs]
    others = {"seed": 1, "learning_rate": 0.1, "label_smoothing": 0.1, "schedule": "one_cycle"}
    for name, value in others.items():
        train(digits, dataclasses.replace(recipe, **{name: value}))
    again = train(digits, recipe)
    assert traced == [program.experimental_get_tracing_count() for program in programs]
    assert same(first[0].get_weights(), again[0].get_weights()) and first[1] == again[1]
    assert first[0] is not again[0]


def test_random_numbers_after_a_training_follow_from_its_seed_alone(digits):
    def draw():
        return (
            random.random(),
            np.random.random(),
            float(tf.random.uniform(())),
            float(keras.random.uniform(())),
        )

    found = []
    for epochs, seed in ((1, 3), (2, 3), (1, 4)):
        train(digits, dataclasses.replace(RECIPE, network="dense_same_size", epochs=epochs, seed=seed))
        found.append(draw())
    training.make_reproducible(3)
    assert found[0] == found[1] == draw()
    assert not set(found[0]) & set(found[2])


def test_another_seed_gives_another_model(digits, trained):
    model, history = train(digits, dataclasses.replace(RECIPE, seed=1))
    assert not same(model.get_weights(), trained[0].get_weights())
    assert history != trained[1]


@pytest.mark.parametrize("network", ["reference", "normalized"])
def test_training_starts_from_the_network_that_the_seed_builds(digits, network):
    recipe = dataclasses.replace(RECIPE, network=network, epochs=1, learning_rate=1e-6, seed=5)
    model, _ = train(digits, recipe)
    training.make_reproducible(5)
    start = build_model(network)
    for found, wanted in zip(model.trainable_variables, start.trainable_variables, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_validation_values_are_those_of_the_last_images(digits, any_recipe):
    model, history = train(digits, any_recipe)
    _, (x, y) = split_validation(digits, RECIPE.validation_split)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    measured = model.evaluate(scale(x), one_hot(y), verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(history["val_loss"][-1], abs=1e-4)
    assert measured["accuracy"] == pytest.approx(history["val_accuracy"][-1])


def test_dropout_is_off_in_predictions(digits, trained):
    model, _ = trained
    x = scale(digits.x_train)
    probabilities = model.predict_on_batch(x)
    np.testing.assert_array_equal(model.predict_on_batch(x), probabilities)
    without = build_reference_model(dropout=0.0)
    without.set_weights(model.get_weights())
    np.testing.assert_array_equal(without.predict_on_batch(x), probabilities)
    assert not np.allclose(model(x, training=True), probabilities), "dropout is there in training"


def test_training_learns(digits):
    recipe = Recipe(epochs=15, batch_size=8, validation_split=0.1, learning_rate=0.003, dropout=0.1)
    model, history = train(digits, recipe)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert model.get_layer("dropout").rate == 0.1, "for whoever trains it further"


def test_mixed_precision_returns_a_float32_model(digits):
    model, _ = train(digits, dataclasses.replace(RECIPE, epochs=1, precision="mixed_bfloat16"))
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_progress_goes_to_stderr_only(digits, capsys):
    split_validation(digits, RECIPE.validation_split)
    warned = capsys.readouterr().out  # of the classes that 40 images lack after the split
    train(digits, dataclasses.replace(RECIPE, epochs=3))
    shown = capsys.readouterr()
    assert shown.out == warned
    assert "epoch 3/3" in shown.err and "left" in shown.err
    assert " accuracy 0." in shown.err and ", validation 0." in shown.err


# Callbacks


def test_callbacks_see_every_epoch_and_may_stop(digits):
    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen, self.weights = [], []

        def on_epoch_begin(self, epoch, logs=None):
            self.seen.append(("begin", epoch))

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(("end", epoch, logs))
            self.weights.append(self.model.get_weights())
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs=None):
            self.seen.append("train end")

    watch = Watch()
    model, history = train(digits, dataclasses.replace(RECIPE, epochs=5), [watch])
    logs = [{name: values[epoch] for name, values in history.items()} for epoch in range(2)]
    assert watch.seen == [("begin", 0), ("end", 0, logs[0]), ("begin", 1), ("end", 1, logs[1]), "train end"]
    assert not same(*watch.weights) and same(watch.weights[1], model.get_weights())


def test_kerass_own_callbacks_work(digits, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=4, network="dense_same_size", learning_rate=0.1)
    kept = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", monitor="loss")
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    model, history = train(digits, recipe, [kept, stop])
    best = keras.saving.load_model(tmp_path / f"{np.argmin(history['val_loss']) + 1}.keras")
    assert same(best.get_weights(), model.get_weights())


def test_no_clock_is_left_ticking(digits):
    train(digits, dataclasses.replace(RECIPE, epochs=1, network="dense_same_size"))
    assert not [thread for thread in threading.enumerate() if "_tick" in thread.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "tiny"])
def test_xla_computes_the_same_in_one_program(digits, monkeypatch, name):
    """Its random numbers are others, so without dropout. The last, smaller batch is not for XLA."""
    recipe = dataclasses.replace(RECIPE, network=name, dropout=0.0, epochs=1, batch_size=12)
    plain = train(digits, recipe)
    monkeypatch.setattr(training, "uses_xla", lambda: True)
    programs = training.TRAIN_XLA, training.TRAIN
    traced = [program.experimental_get_tracing_count() for program in programs]
    compiled, again = train(digits, recipe), train(digits, dataclasses.replace(recipe, learning_rate=0.002))
    assert [program.experimental_get_tracing_count() for program in programs] == [n + 1 for n in traced]
    for measure, values in plain[1].items():
        assert compiled[1][measure] == pytest.approx(values, rel=1e-4), measure
    assert again[1] != compiled[1]
    assert training.TRAIN_XLA._jit_compile and not training.TRAIN._jit_compile


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["affine", "elastic"])
def test_xla_distorts_alike_though_with_other_random_numbers(digits, monkeypatch, augmentation):
    changes = {"network": "deep", "augmentation": augmentation, "precision": "float32"}
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=12, learning_rate=1e-5, **changes)
    plain = train(digits, recipe)[1]
    monkeypatch.setattr(training, "uses_xla", lambda: True)
    compiled = train(digits, recipe)[1]
    for measure in ("loss", "val_loss"):
        assert compiled[measure] == pytest.approx(plain[measure], rel=0.2), measure


def test_networks_of_other_sizes_are_trained_in_one_process():
    """A program that was compiled for other numbers of classes or filters is not taken for them."""
    for classes in (10, 3, 26):
        names = tuple(map(str, range(classes)))
        data = Dataset(**make_arrays(train=80, test=30, classes=classes), name="made up", class_names=names)
        for network in ("reference", "deep", "tiny"):
            model, history = train(data, dataclasses.replace(RECIPE, network=network, epochs=1))
            assert model.output_shape == (None, classes) and np.isfinite(history["loss"][0])


@pytest.mark.slow
def test_the_profile_of_a_step_names_operations_of_both_ways_to_train(capsys):
    profile_step.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (gradient,) = [row for row in rows if row[0] == "Conv2DBackpropInput"]
    assert float(gradient[1]) > 0 and float(gradient[2]) > 0
