"""Read a reader's own data in the forms people have, and bring it into the form of `helpers.data.Dataset`.

What can be read without doubt is, and a line on stdout says what was done; the rest is refused once.
"""

import gzip
import io
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

from helpers.data import ARRAYS, DIGITS, IDX_FILES, UNPRINTABLE, Dataset, load_mnist
from helpers.errors import DataError, shown
from helpers.preprocessing import SHUFFLE, in_order

LEAST_INK = 0.02  # of the pixels: in MNIST, 13 % are above 127, and the cast of x / 255 leaves 0.7 %
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # what Keras's image_dataset_from_directory reads
SAVE = 'np.savez_compressed("own.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)'
PICKLE = (
    f"holds pickled Python objects, which are never loaded because they can run code; save arrays: {SAVE}"
)
FORMATS = {  # what else people have, by how it starts, and the cure
    b"\x93NUMPY": f"holds one array, without labels; save all four in one .npz file: {SAVE}",
    b"\0\0": "is a single IDX file; give the folder with all four of them",
    b"\x80": PICKLE,
    b"(": PICKLE,
    b"MATLAB": f"is in MATLAB's format; read it with scipy.io.loadmat and save its arrays: {SAVE}",
    b"<": "is a web page; download the file itself again",
}


def read(path: Path, what: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read own data and check it.

    Args:
        path: a file or folder that exists: see `helpers.data.load_mnist`.
        what: its name in messages.

    Returns:
        The four arrays of a `helpers.data.Dataset` by their names, and the class names.

    Raises:
        DataError: in one sentence with all that is wrong and the cure.
    """
    done = []
    try:
        arrays, names = _read(path, what, done)
    except DataError:
        raise
    except PermissionError:
        raise DataError(f"{what} may not be read by you; change its permissions.") from None
    except Exception as error:  # a damaged file makes its decoder raise nearly anything
        if "allow_pickle" in str(error):
            raise DataError(f"{what} {PICKLE}.") from None
        reason = UNPRINTABLE.sub(" ", f"{type(error).__name__}: {error}".split("\n")[0][:200])
        raise DataError(f"{what} is damaged ({reason}); download or save it again.") from None
    labels = {key: arrays[key] for key in sorted(arrays, reverse=True) if key[0] == "y"}  # y_train first
    labels, names = _tidy_labels(labels, names, done)
    images = {key: _tidy_images(x, done) for key, x in arrays.items() if key[0] == "x"}
    arrays = _light_ink(images, done) | labels
    check(arrays, names, what)
    if "x_all" in arrays:
        arrays = _split(arrays["x_all"], arrays["y_all"], what, done)
    if done:
        print(f"{what}: {'; '.join(dict.fromkeys(done))}.")
    return {key: np.ascontiguousarray(arrays[key]) for key in ARRAYS}, names


# Reading: arrays in any form, under ARRAYS' names or "x_all" and "y_all", and class names or None


def _read(path, what, done):
    """Read a file or folder by its content, whatever its name."""
    if path.is_dir():
        return _read_folder(path, what, done)
    with _open(path) as file:
        start = file.read(10)
    if zipfile.is_zipfile(path):
        return _read_npz(path, what, done)
    for magic, meaning in FORMATS.items():
        if start.startswith(magic):
            raise DataError(f"{what} {meaning}.")
    return _read_csv([path], what, done), None


def _open(path):
    """Open a file to read bytes, unzipped if its content, whatever its name, is gzip's."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else open(path, "rb")


def _by_words(names):
    """Return which names stand for which array, by the words in them: {"x_train": ["training_images"]}."""
    found = {}
    for name in names:
        words = name.lower()
        if re.search("val(?!ue)", words):  # for validation
            continue
        part = "train" if "train" in words else "test" if re.search("test|t10k", words) else "all"
        if re.search("label|target|^y|_y", words):
            found.setdefault(f"y_{part}", []).append(name)
        elif re.search("image|img|data|^x|_x", words):
            found.setdefault(f"x_{part}", []).append(name)
    return found


def _read_npz(path, what, done):
    with np.load(path, allow_pickle=False) as file:
        found = {key: [key] for key in ARRAYS}
        lacking = [key for key in ARRAYS if key not in file]
        if lacking:
            found = _by_words(file.files)
            if set(found) not in ({*ARRAYS}, {"x_all", "y_all"}) or any(len(n) > 1 for n in found.values()):
                raise DataError(
                    f"{what} lacks the array {lacking[0]} (it has {', '.join(file.files) or 'none'}); "
                    f"unzip it if it is an archive, or save all four: {SAVE}."
                )
            done.append("took " + ", ".join(f"{name} as {key}" for key, (name,) in found.items()))
        arrays = {key: np.asarray(file[name]) for key, (name,) in found.items()}
        if "class_names" not in file:
            return arrays, None
        return arrays, tuple(file["class_names"].astype(str).ravel().tolist())  # bytes too become texts


def _read_csv(paths, what, done):
    """Read a CSV file, or one for training and one for tests: in each row a label and 784 pixels."""
    import pandas as pd

    arrays = {}
    for path, part in zip(paths, ("all",) if len(paths) == 1 else ("train", "test")):
        with _open(path) as file:  # no more than 100 times its size: a small file can unzip to an endless one
            content = file.read(max(10**6, 100 * path.stat().st_size))
            whole = not file.read(1)
        first = content[:20_000].split(b"\n")[0].decode("utf-8-sig", "replace").strip()
        separator = max(",;\t ", key=first.count)
        fields = [field.strip(' "') for field in first.split(separator)]
        if len(fields) < 784 or not whole:
            raise DataError(
                f"{what} is no complete .npz file, nor a table with a label and 784 pixels a row "
                f"({path.name} is truncated, or of another format); download or save it again."
            )
        words = sum(not re.fullmatch(r"[-+.\deE]+", field) for field in fields)
        header = 0 if words > 1 or fields[-1] in ("783", "784") else None  # no pixel is brighter than 255
        table = pd.read_csv(io.BytesIO(content), sep=separator, header=header, encoding="utf-8-sig")
        table = table.loc[:, [not str(name).startswith("Unnamed") for name in table]]  # numbers of rows
        if table.shape[1] != 785 or table.isna().any(axis=None):
            raise DataError(
                f"{what}: {path.name} has {table.shape[1]} columns, or empty fields; give a file with "
                "a label and 784 pixels in every row, as Kaggle's train.csv has."
            )
        # The label is the column of that name, else the first, or the last if the first is a blank corner.
        place = [str(name).lower() in ("label", "labels", "class", "target", "y") for name in table]
        constant = header is None and table.iloc[:, 0].nunique() == 1
        place = place.index(True) if any(place) else 784 if constant else 0
        arrays[f"y_{part}"] = table.iloc[:, place].to_numpy()
        arrays[f"x_{part}"] = table.drop(columns=table.columns[place]).to_numpy().reshape(-1, 28, 28)
    done.append(f"read {' and '.join(path.name for path in paths)} as CSV")
    return arrays


def _read_folder(folder, what, done):
    files = {path.name: path for path in _visible(folder) if path.is_file()}
    folders = {path.name.lower(): path for path in _visible(folder) if path.is_dir()}
    names = None
    if "class_names.txt" in files:
        lines = files["class_names.txt"].read_text(encoding="utf-8-sig").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
    idx = _by_words(name for name in files if "ubyte" in name)
    npz = [path for name, path in files.items() if name.endswith(".npz")]
    tables = [path for name, path in files.items() if re.search(r"\.csv(\.gz)?$", name)]
    tables = [path for word in ("train", "test") for path in tables if word in path.name] or tables
    parts = (("train", "train"), ("training", "train"), ("test", "test"), ("testing", "test"))
    parts = {part: folders[name] for name, part in parts if name in folders}
    own_names = None
    if idx:
        sets = {re.split("train|test|t10k", name)[0] for same in idx.values() for name in same}
        lacking = [IDX_FILES[key] for key in ARRAYS if key not in idx]
        if lacking or len(sets) > 1:
            problem = f"has no file {lacking[0]} or {lacking[0]}.gz" if lacking else "has several sets"
            raise DataError(f"{what} {problem}; keep the four files of one set of IDX files in a folder.")
        arrays = {key: read_idx(files[idx[key][0]], done) for key in ARRAYS}
    elif len(npz) == 1:
        done.append(f"read {npz[0].name}")
        arrays, own_names = _read_npz(npz[0], what, done)
    elif len(tables) == 1 or (len(tables) == 2 and "train" in tables[0].name and "test" in tables[1].name):
        arrays = _read_csv(tables, what, done)
    elif len(parts) == 2:
        arrays, own_names = _read_pictures(parts, done)
    elif sum(any(map(_is_picture, _visible(path))) for path in folders.values()) > 1:
        arrays, own_names = _read_pictures({"all": folder}, done)
    elif len(folders) == 1:
        (only,) = folders.values()
        done.append(f"read its folder {only.name}")
        arrays, own_names = _read_folder(only, what, done)
    else:
        raise DataError(
            f"{what} holds nothing that can be read ({', '.join([*files, *folders][:5])}); give "
            "one .npz or CSV file, four IDX files named as MNIST's, or a folder of pictures for each class."
        )
    return arrays, names or own_names


def _visible(folder):
    """Return what is in a folder, sorted, without what editors, Jupyter and Macs leave there."""
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name != "__MACOSX")


def _is_picture(path):
    return path.suffix.lower() in PICTURES


def _read_pictures(parts, done):
    """Read a folder of pictures per class, as Keras's ``image_dataset_from_directory`` does."""
    from PIL import Image
    from tqdm import tqdm

    classes = {path.name for folder in parts.values() for path in _visible(folder) if path.is_dir()}
    classes = sorted(classes, key=lambda name: (int(name) if name.isdecimal() else -1, name))
    arrays, sizes = {}, []
    for part, folder in parts.items():
        found = []
        for label, place in enumerate(folder / name for name in classes):
            found += [(label, p) for p in (_visible(place) if place.is_dir() else ()) if _is_picture(p)]
        images = np.empty((len(found), 28, 28), np.uint8)
        for image, (_, path) in zip(images, tqdm(found, "reading pictures", delay=2, file=sys.stderr)):
            try:
                with Image.open(path) as picture:
                    sizes.append(picture.size)
                    image[:] = on_paper(picture).resize((28, 28), Image.Resampling.BILINEAR)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise DataError(f"{path} is no picture that can be read ({error}); save it again.") from None
        arrays |= {f"x_{part}": images, f"y_{part}": np.array([label for label, _ in found])}
    done.append(f"read {len(sizes):,} pictures in {len(classes)} class folders")
    if other := sum(size != (28, 28) for size in sizes):
        done.append(f"resized {other:,} of them to 28×28")
    return arrays, tuple(classes)


def on_paper(picture):
    """Return a picture in gray bytes. What is transparent is white, as paper."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    elif "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L")


def read_idx(path: Path, done: list | None = None) -> np.ndarray:
    """Read one IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/).

    The file starts with two zero bytes, the element type (8 for unsigned byte), the number of
    dimensions and each dimension as a big-endian 32-bit integer; the elements follow.
    """
    try:
        with _open(path) as file:
            if done is not None and isinstance(file, gzip.GzipFile) != (path.suffix == ".gz"):
                done.append("unzipped what is gzipped, whatever the names say")
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise DataError(f"{path.name} is no IDX file of bytes; download it again, or save it as one.")
            sizes = file.read(4 * start[3])
            if len(sizes) < 4 * start[3]:
                raise DataError(f"{path.name} is damaged within its header; download or save it again.")
            shape = struct.unpack(f">{start[3]}I", sizes)
            expected = int(np.prod(shape, dtype=object))
            content = bytearray()  # no more than is promised: a small file can unzip to an endless one
            while len(content) <= expected and (piece := file.read(2**20)):
                content += piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path.name} is damaged ({error}); download or save it again.") from None
    if len(content) != expected:
        follow = "more" if len(content) > expected else f"{len(content):,}"
        raise DataError(
            f"{path.name} is damaged: its header promises {expected:,} bytes and {follow} follow; "
            "download or save it again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


# Bringing arrays into form, where there is no doubt; what stays as it is, `check` refuses


def _tidy_images(x, done):
    """Return images as ``(n, 28, 28)`` uint8 from 0 to 255."""
    if x.ndim == 4 and x.shape[-1] == 3 and (x == x[..., :1]).all():
        done.append("took one of three equal color channels")
        x = x[..., 0]
    if x.shape[1:] != (28, 28) and [side for side in x.shape[1:] if side != 1] in ([784], [28, 28]):
        done.append(f"reshaped images from (n, {', '.join(map(str, x.shape[1:]))}) to (n, 28, 28)")
        x = x.reshape(-1, 28, 28)
    if x.dtype.kind not in "buif" or x.size == 0:
        return x
    low, high = x.min(), x.max()
    if 0 <= low and 0 < high <= 1 and (x.dtype.kind in "bf" or np.mean(x) >= LEAST_INK):
        done.append("multiplied pixels from 0 to 1 by 255")
        return np.rint(x * np.float32(255)).astype(np.uint8)
    whole = x.dtype.kind != "f" or bool((x % 1 == 0).all())
    if x.dtype != np.uint8 and 0 <= low and high <= 255 and high != 1 and whole:
        done.append(f"made pixels uint8 from {x.dtype}")
        return x.astype(np.uint8)
    return x


def _light_ink(images, done):
    """Turn dark ink on light paper around, in each part where nearly all images have a light frame."""
    light = {}
    for key, x in images.items():
        if x.dtype == np.uint8 and x.shape[1:] == (28, 28) and len(x):
            frame = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
            bright = (frame > 127).mean(axis=1) > 0.5
            light[key] = np.mean(bright & (frame.mean(axis=1) > x.mean(axis=(1, 2))))
    for key in light:
        if light[key] >= 0.95 and all(share >= 0.95 or share <= 0.05 for share in light.values()):
            done.append("inverted dark ink on light paper (255 − x), as MNIST's ink is light")
            images[key] = 255 - images[key]
    return images


def _tidy_labels(labels, names, done):
    """Return labels as whole numbers from 0, and class names."""
    for key, y in labels.items():
        one_hot = y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "buif" and np.isin(y, (0, 1)).all()
        if y.ndim == 2 and y.shape[1] == 1:
            done.append("reshaped labels from (n, 1) to (n,)")
            y = y[:, 0]
        elif one_hot and (y.sum(axis=1) == 1).all():
            done.append("took one-hot labels as numbers")
            y = y.argmax(axis=1)
        y = np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y
        y = y.astype(str) if y.dtype.kind == "O" else y
        digits = y.dtype.kind == "U" and all(re.fullmatch("[0-9]{1,3}", text) for text in y.flat)
        if digits or y.dtype.kind in "bf" and (y % 1 == 0).all() and (np.abs(y) < 256).all():
            done.append(f"took labels of type {y.dtype} as whole numbers")
            y = y.astype(np.int64)
        labels[key] = y
    kinds = {y.dtype.kind if y.size else "" for y in labels.values()}
    present = [np.unique(y).tolist() if y.dtype.kind in "Uiu" else [] for y in labels.values()]
    if kinds == {"U"}:
        texts = set().union(*present)
        known = names or tuple(sorted(texts))
        if len(known) <= 256 and texts <= {*known}:
            done.append("numbered the classes by their names")
            labels, names = {key: np.array([*map(known.index, y.flat)]) for key, y in labels.items()}, known
    elif kinds <= {"u", "i"} and present[0] == present[-1] == [*range(1, len(present[0]) + 1)]:
        if len(names or present[0]) == len(present[0]):
            done.append("counted labels from 0 instead of 1")
            labels, names = {k: y - 1 for k, y in labels.items()}, names or tuple(map(str, present[0]))
    if names is None:
        last = present[0][-1] if kinds <= {"u", "i"} else 9
        names = tuple(str(label) for label in range(min(max(last, 1), 255) + 1))
    return labels, names


def _split(x, y, what, done):
    """Split data without a test part as `load_mnist` splits the sample: stratified, always the same."""
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=y, random_state=0)
    except ValueError:
        raise DataError(
            f"{what} has no test part, and its {len(x):,} images are too few to split off 20 % with every "
            "class; give at least five images for each class."
        ) from None
    done.append(f"split into {len(train):,} training and {len(test):,} test images, 80/20 within each class")
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}


# Checks


def check(arrays: dict[str, np.ndarray], class_names: tuple[str, ...], what: str):
    """Check everything that the notebooks rely on, and make the labels uint8.

    Raises:
        DataError: in one sentence with all that is wrong and the cure.
    """
    wrong = {}  # (cause, cure): the arrays
    if not 2 <= len(class_names) <= 256 or len(set(class_names)) != len(class_names):
        wrong[f"{len(class_names)} class names", "give 2 to 256, all different"] = []
    for name in class_names:
        if not name.strip() or UNPRINTABLE.search(name):
            wrong[f"the class name {shown(name)}", "give names as texts on one line"] = []
    for part in (key[2:] for key in [*arrays] if key[0] == "x"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        for fault in _image_faults(x):
            wrong.setdefault(fault, []).append(f"x_{part}")
        for fault in _label_faults(y, len(x) if x.ndim else 0, class_names):
            wrong.setdefault(fault, []).append(f"y_{part}")
        arrays[f"y_{part}"] = y if wrong else y.astype(np.uint8)
    if wrong:
        causes = ", ".join(f"{' and '.join(keys)} {cause}".strip() for (cause, _), keys in wrong.items())
        cures = "; and ".join(dict.fromkeys(cure for _, cure in wrong))
        raise DataError(f"{what} has {causes}; {cures}.")


def _image_faults(x):
    """Yield what is wrong with images, and the cure."""
    if x.dtype.kind not in "buif":
        yield f"of type {x.dtype}", "save the pixels as uint8, from 0 to 255"
    elif x.size and not np.isfinite(x).all():
        yield "with pixels that are no number", "save np.nan_to_num(x)"
    elif x.size and x.dtype.kind in "ui" and (x.min(), x.max()) == (0, 1):
        yield (
            "with pixels 0 and 1 only, nearly all of them 0, as a cast of x / 255 to uint8 leaves",
            "save np.uint8(np.rint(255 * x)) of the x before the cast",
        )
    elif x.size and x.dtype != np.uint8:
        scaled = "save np.uint8(np.rint(255.0 * (x - x.min()) / (x.max() - x.min())))"
        yield f"of type {x.dtype} with pixels from {x.min():g} to {x.max():g}", scaled
    if x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
        cure = "resize the images to 28×28 pixels and save them as (number of images, 28, 28)"
        code = ': np.stack([PIL.Image.fromarray(image).convert("L").resize((28, 28)) for image in x])'
        yield f"of the shape {x.shape}", cure + code * (x.ndim in (3, 4))
    elif len(x) > 1 and (x == x[0]).all():
        yield "with the same picture everywhere", "save the images before they were emptied or overwritten"


def _label_faults(y, count, class_names):
    """Yield what is wrong with the labels of so many images, and the cure."""
    if y.dtype.kind not in "iu":
        yield f"of type {y.dtype}", "save the labels as whole numbers"
    elif y.shape != (count,):
        yield f"of the shape {y.shape} for {count:,} images", "give one label per image"
    elif count and (y.min() < 0 or y.max() >= len(class_names)):
        cure = f"with {len(class_names)} classes, number the labels from 0 to {len(class_names) - 1}"
        yield f"with the label {int(y.min() if y.min() < 0 else y.max())}", cure
    elif len(empty := np.setdiff1d(np.arange(len(class_names)), y)):
        name = class_names[empty[0]]
        called = "" if name == str(empty[0]) else f" ({shown(name)})"
        cure = "number the classes without gaps from 0 and give every one an image in each part"
        yield f"without an image of class {empty[0]}{called}", cure


def warn(data: Dataset, what: str):
    """Print what may be wrong with own data, and the cure; what is in doubt is not refused."""
    if in_order(data.y_train):
        print(f"Warning: {what}: the training images are in the order of their classes; {SHUFFLE}.")
    known = {image.tobytes() for image in data.x_train}
    if shared := sum(image.tobytes() in known for image in data.x_test):
        print(
            f"Warning: {what}: {shared:,} of {len(data.x_test):,} test images are training images, too; "
            "leave them out, or the test accuracy says too much."
        )
    if data.class_names == DIGITS and look_transposed(data):
        print(
            f"Hint: {what}: these digits look as if rows and columns were swapped, as in EMNIST's files; "
            "if they do in a figure, save x.transpose(0, 2, 1)."
        )


def look_transposed(data: Dataset) -> bool:
    """Return whether digits are read much better with rows and columns swapped.

    About 1,000 images are read by the nearest of the sample's ten mean digits, which is right for four in
    five of MNIST's, and for one in five with rows and columns swapped.
    """
    sample = load_mnist("sample")
    means = np.stack([sample.x_train[sample.y_train == digit].mean(axis=0) for digit in range(10)])
    step = len(data.x_train) // 1000 or 1
    x, y = data.x_train[::step].astype(float), data.y_train[::step]
    as_they_are, swapped = (
        np.mean(np.argmax(np.tensordot(x, m, 2) - (m**2).sum(axis=(0, 1)) / 2, axis=1) == y)
        for m in (means.transpose(1, 2, 0), means.transpose(2, 1, 0))
    )
    return len(x) >= 100 and swapped > max(0.5, as_they_are + 0.2)
