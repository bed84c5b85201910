"""Training: validation split, batches, the fused Adam, precision, reproducibility."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import training
from helpers.data import Dataset
from helpers.models import build_model, build_reference_model
from helpers.preprocessing import one_hot, scale
from helpers.training import FusedAdam, Recipe, batches, choose_precision, split_validation, train
from tests.conftest import make_arrays

RECIPE = Recipe(epochs=2, batch_size=8, validation_split=0.2, precision="float32")


def content(dataset):
    """Return the images and labels of all batches in one array each."""
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


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


# Batches


@pytest.mark.parametrize("classes", [3, 10])
def test_batches_in_order_are_scaled_and_one_hot(classes):
    arrays = make_arrays(classes=classes)
    x, y = content(batches(arrays["x_train"], arrays["y_train"], classes, 16))
    np.testing.assert_array_equal(x, scale(arrays["x_train"]))
    np.testing.assert_array_equal(y, one_hot(arrays["y_train"], classes))
    assert x.dtype == y.dtype == np.float32


def test_the_pipeline_runs_without_autotuning(arrays):
    """Its thread can hold up the end of an epoch for seconds."""
    assert batches(arrays["x_train"], arrays["y_train"], 10, 16).options().autotune.enabled is False


def test_batch_sizes(arrays):
    dataset = batches(arrays["x_train"], arrays["y_train"], 10, 16)
    assert [len(x) for x, _ in dataset.as_numpy_iterator()] == [16, 16, 8]
    assert len(dataset) == 3


def test_shuffled_epochs_are_different_permutations(arrays):
    images, labels = arrays["x_train"], arrays["y_train"]
    place = {image.tobytes(): i for i, image in enumerate(images)}

    def order(x, y):
        indices = [place[image.tobytes()] for image in np.rint(x[..., 0] * 255).astype(np.uint8)]
        np.testing.assert_array_equal(y, one_hot(labels[indices]))  # labels stay with their images
        return indices

    def epochs(seed):
        keras.utils.set_random_seed(0)
        dataset = batches(images, labels, 10, 16, shuffle_seed=seed)
        return [order(*content(dataset)) for _ in range(3)]

    first = epochs(seed=7)
    for indices in first:
        assert sorted(indices) == list(range(len(images)))
        moved = np.abs(np.array(indices) - np.arange(len(images)))
        assert moved.mean() > len(images) / 5, "shuffled over the whole data, not only nearby"
    assert first[0] != first[1] != first[2] != first[0]
    assert epochs(seed=7) == first
    assert all(other not in first for other in epochs(seed=8))

    keras.utils.set_random_seed(0)
    again = [order(*content(batches(images, labels, 10, 16, shuffle_seed=7))) for _ in range(2)]
    assert again == [first[0]] * 2, "the seed decides, whatever was drawn between"


def test_augmented_batches_are_distorted_anew_in_every_epoch_and_follow_the_seed(arrays):
    def epochs(seed, augmentation):
        keras.utils.set_random_seed(0)
        dataset = batches(arrays["x_train"], arrays["y_train"], 10, 16, seed, augmentation)
        return [content(dataset) for _ in range(2)]

    plain, affine, elastic = (epochs(7, kind) for kind in ("none", "affine", "elastic"))
    for kind in (affine, elastic):
        for (x, y), (wanted, labels) in zip(kind, plain):
            np.testing.assert_array_equal(y, labels)
            assert x.shape == wanted.shape and x.dtype == np.float32
            assert np.abs(x - wanted).mean() > 0.02
    first, second = (x[np.lexsort(y.T)] for x, y in affine)
    assert np.abs(first - second).mean() > 0.02
    in_order = batches(arrays["x_train"], arrays["y_train"], 10, 16, augmentation="affine")
    (first, _), (second, _) = content(in_order), content(in_order)
    assert np.abs(first - second).mean(axis=(1, 2, 3)).min() > 0.01, "every image, also in the same order"
    np.testing.assert_array_equal(affine[1][0], epochs(7, "affine")[1][0])
    assert np.abs(affine[0][0] - elastic[0][0]).mean() > 0.02


# The fused Adam


@pytest.mark.parametrize(
    "settings", [{}, {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}]
)
def test_fused_adam_on_gradients_of_all_sizes(settings):
    random = np.random.default_rng(0)
    gradients = random.normal(size=(50, 1000)) * 10.0 ** random.integers(-9, 2, (50, 1000))
    results = []
    for optimizer in (FusedAdam(**settings), keras.optimizers.Adam(**settings)):
        variable = keras.Variable(np.zeros(1000, np.float32))
        for gradient in gradients.astype(np.float32):
            optimizer.apply([tf.constant(gradient)], [variable])
        results.append(variable.numpy())
    assert np.abs(results[1]).max() > 0.01
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_weight_decay_is_keras_own_and_spares_biases(arrays):
    results = []
    for optimizer in (FusedAdam(0.01, weight_decay=0.1), keras.optimizers.AdamW(0.01, weight_decay=0.1)):
        kernel, bias = (keras.Variable(np.ones(3, np.float32), name=name) for name in ("kernel", "bias"))
        optimizer.exclude_from_weight_decay(var_list=[bias])
        optimizer.apply([tf.zeros(3), tf.zeros(3)], [kernel, bias])
        results.append((kernel.numpy(), bias.numpy()))
    np.testing.assert_allclose(*results, rtol=1e-6)
    assert results[0][0] == pytest.approx(1 - 0.01 * 0.1) and results[0][1] == pytest.approx(1)


def test_weight_decay_in_training_spares_biases_and_normalization(nothing_kept):
    model, _ = training._compiled(("normalized", 10, 0.5, "float32"), 0.01, 0.1, 0.0, 0.0)
    for weights in model.trainable_variables:
        weights.assign(tf.ones_like(weights))
    zeros = [tf.zeros_like(weights) for weights in model.trainable_variables]
    model.optimizer.apply(zeros, model.trainable_variables)
    kept = {weights.path: 1.0 if len(weights.shape) == 1 else 0.999 for weights in model.trainable_variables}
    assert sorted(kept.values()) == [0.999] * 4 + [1.0] * 7  # scale and shift three times, one bias
    for weights in model.trainable_variables:
        np.testing.assert_allclose(weights, kept[weights.path], rtol=1e-5, err_msg=weights.path)


# Batch normalization and the schedule


@pytest.mark.parametrize("shape", [(16, 5, 5, 4), (16, 4)])
def test_fused_batch_normalization_is_keras_own(shape):
    draw = np.random.default_rng(0)
    layers = keras.layers.BatchNormalization(momentum=0.9), training.FusedBatchNormalization(momentum=0.9)
    for layer in layers:
        layer.build(shape)
        layer.set_weights([*draw.uniform(0.5, 2, (2, 4)), np.zeros(4), np.ones(4)])
        draw = np.random.default_rng(0)
    for _ in range(3):
        x = tf.constant(draw.normal(3, 2, shape).astype("float32"))
        results = []
        for layer in layers:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(y**3)
            gradients = tape.gradient(loss, [x, *layer.trainable_variables])
            results.append([y, *gradients, *layer.get_weights(), layer(x, training=False)])
        for found, wanted in zip(*results):
            np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def test_training_uses_the_fused_layer_and_returns_kerass(digits, monkeypatch, nothing_kept):
    seen = []
    monkeypatch.setattr(
        training.FusedBatchNormalization,
        "call",
        lambda self, x, training=None, mask=None: seen.append(training) or x,
    )
    model, _ = train(digits, dataclasses.replace(RECIPE, epochs=1, network="normalized"))
    assert True in seen and (False in seen or None in seen)
    kinds = [type(layer) for layer in model.layers if "batch_norm" in layer.name]
    assert kinds == 3 * [keras.layers.BatchNormalization]


def test_one_cycle_rises_then_falls():
    rate = training.OneCycle(0.01, steps=1000)
    rates = np.array([float(rate(step)) for step in range(1001)])
    assert rates[0] == pytest.approx(0.04 * 0.01) and rates[-1] == pytest.approx(0.001 * 0.01)
    assert rates.argmax() == 300 and rates.max() == pytest.approx(0.01)
    assert (np.diff(rates[:301]) > 0).all() and (np.diff(rates[300:]) < 0).all()
    assert rates[150] == pytest.approx((0.04 + 1) / 2 * 0.01), "halfway up a cosine"


def test_the_recipe_decides_schedule_smoothing_decay_and_averaging(digits, monkeypatch, nothing_kept):
    made = []
    compile_model = keras.Sequential.compile
    monkeypatch.setattr(
        keras.Sequential, "compile", lambda self, **given: made.append(given) or compile_model(self, **given)
    )
    recipe = dataclasses.replace(
        RECIPE,
        learning_rate=0.004,
        schedule="one_cycle",
        label_smoothing=0.1,
        weight_decay=0.02,
        averaging=0.9,
    )
    train(digits, recipe)
    optimizer, loss = made[0]["optimizer"], made[0]["loss"]
    assert optimizer._learning_rate.highest == 0.004
    assert optimizer._learning_rate.steps == optimizer.iterations.numpy() == 2 * 4, (
        "it ends with the training"
    )
    assert loss.label_smoothing == 0.1 and optimizer.weight_decay == 0.02
    assert optimizer.use_ema and optimizer.ema_momentum == 0.9


def test_averaged_weights_are_what_training_returns(digits, monkeypatch, nothing_kept):
    """The running mean over the steps, by hand; it starts at the weights after the first step."""
    after_steps = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            after_steps.append(self.model.get_weights())

    monkeypatch.setattr(training, "BATCHES_PER_CALL", 1)
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rate=0.01, averaging=0.8)
    model, _ = train(digits, recipe, [Keep()])
    mean = after_steps[0]
    for weights in after_steps[1:]:
        mean = [0.8 * a + 0.2 * b for a, b in zip(mean, weights)]
    assert len(after_steps) == 4
    for found, wanted, last in zip(model.get_weights(), mean, after_steps[-1]):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert np.abs(found - last).max() > 1e-3


def steps(optimizer, model, arrays, count):
    """Train for `count` batches of 10 images; return the weights before and after."""
    keras.utils.set_random_seed(0)
    model = model()
    before = model.get_weights()
    model.compile(optimizer, loss="categorical_crossentropy")
    x, y = scale(arrays["x_train"]), one_hot(arrays["y_train"])
    for step in range(count):
        part = slice(step % 4 * 10, step % 4 * 10 + 10)
        model.train_on_batch(x[part], y[part])
    return before, model.get_weights()


def softmax_regression():
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    return keras.Sequential(layers)


@pytest.mark.parametrize(
    "model, count",
    [
        (softmax_regression, 20),
        # ReLU and pooling blow rounding up from step to step, so only a few.
        (lambda: build_reference_model(dropout=0.0), 4),
    ],
    ids=["softmax regression", "reference"],
)
def test_fused_adam_trains_like_keras_adam(arrays, model, count):
    before, fused = steps(FusedAdam(0.001), model, arrays, count)
    _, plain = steps(keras.optimizers.Adam(0.001), model, arrays, count)
    assert all(np.abs(a - b).max() > 0.001 for a, b in zip(before, fused, strict=True)), "all weights move"
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


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


def test_auto_precision_with_a_graphics_card(monkeypatch, tmp_path):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a card"])
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16")
    monkeypatch.setattr(training, "Path", lambda path: tmp_path / "cpuinfo")
    assert choose_precision("auto") == "float32"


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


@pytest.fixture
def nothing_kept():
    """No model is kept from an earlier training, and none for a later one."""
    training._compiled.cache_clear()
    yield
    training._compiled.cache_clear()


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


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="reference"),
        pytest.param(
            {"network": "normalized", "precision": "mixed_bfloat16", "learning_rate": 0.01},
            id="normalized",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "schedule": "one_cycle",
                "augmentation": "elastic",
                "weight_decay": 0.02,
                "label_smoothing": 0.1,
                "averaging": 0.9,
            },
            id="everything",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_kept_model_trains_like_a_new_one(digits, monkeypatch, settings, nothing_kept):
    """To the last bit, whatever it was trained for before; and its graph is built only once."""
    graphs = []
    step = keras.Sequential.train_step
    monkeypatch.setattr(
        keras.Sequential, "train_step", lambda self, batch: graphs.append(1) or step(self, batch)
    )
    recipe = dataclasses.replace(RECIPE, **settings)
    recipes = [recipe, dataclasses.replace(recipe, seed=1), recipe]
    if "schedule" not in settings:  # its learning rates are part of the graph
        recipes.insert(2, dataclasses.replace(recipe, learning_rate=0.1, epochs=1, augmentation="affine"))
    kept = [train(digits, recipes[0])]
    built = len(graphs)
    kept += [train(digits, other) for other in recipes[1:]]
    assert len(graphs) == built > 0
    for (model, history), other in zip(kept[:-1], recipes):
        training._compiled.cache_clear()
        new, new_history = train(digits, other)
        assert same(model.get_weights(), new.get_weights()) and history == new_history
    assert same(kept[-1][0].get_weights(), kept[0][0].get_weights()) and kept[-1][1] == kept[0][1]


def test_another_seed_gives_another_model(digits, trained):
    model, history = train(digits, dataclasses.replace(RECIPE, seed=1))
    assert not same(model.get_weights(), trained[0].get_weights())
    assert history != trained[1]


def test_seed_decides_the_first_weights_and_the_order(monkeypatch, digits):
    seeds = []

    def spy(*args, shuffle_seed=None, augmentation="none"):
        seeds.append(shuffle_seed)
        return batches(*args)  # in order, so that only the first weights differ

    monkeypatch.setattr(training, "batches", spy)
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rate=1e-6, dropout=0.0)
    first, second = (train(digits, dataclasses.replace(recipe, seed=seed))[0] for seed in (3, 4))
    assert np.abs(first.get_weights()[0] - second.get_weights()[0]).max() > 0.05
    assert seeds == [3, None, 4, None], "training images are shuffled, validation images are not"


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
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
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


def test_other_numbers_of_classes():
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    data = Dataset(**make_arrays(52, 26, classes=26), name="letters", class_names=names)
    model, _ = train(data, dataclasses.replace(RECIPE, epochs=1))
    assert model.output_shape == (None, 26)


def test_recipe_defaults_are_the_design():
    assert dataclasses.asdict(Recipe()) == {
        "epochs": 10,
        "batch_size": 128,
        "validation_split": 0.1,
        "learning_rate": 0.001,
        "dropout": 0.5,
        "precision": "auto",
        "seed": 0,
        "network": "reference",
        "schedule": "constant",
        "augmentation": "none",
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "averaging": 0.0,
    }


def test_progress_goes_to_stderr_only(digits, capsys):
    train(digits, dataclasses.replace(RECIPE, epochs=3))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 3/3" in shown.err and "left" in shown.err
    assert " accuracy 0." in shown.err and ", validation 0." in shown.err
