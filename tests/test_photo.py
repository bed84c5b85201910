"""Photos of handwriting: what is found on them, in which order, and what is refused with a sentence."""

import types

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from helpers.errors import DataError
from helpers.photo import find_ink, prepare, read_photo
from tests.test_lessons import CELLS, PATHS, define

PAPER, PEN, BLUE_PEN = (205, 203, 196), (45, 45, 45), (40, 60, 150)
KINDS = ("plain", "shadow", "squared", "blue", "noisy", "chalk", "specks", "torn")


@pytest.fixture(scope="module")
def digits(sample):
    return sample.x_test[np.random.default_rng(3).permutation(len(sample.y_test))[:10]]


def photograph(digits, kind, path):
    """Write a photo of ten digits, five in a row, in a light that comes from the left; return its path."""
    random = np.random.default_rng(0)
    paper = np.full((600, 1100, 3), PAPER, float)
    if kind == "squared":
        paper[::25] *= 0.86
        paper[:, ::25] *= 0.86
    for number, digit in enumerate(digits):
        row, column = divmod(number, 5)
        ink = ndimage.zoom(digit / 255, random.uniform(5, 7), order=1) > 0.4
        if kind == "torn":  # the pen skips
            ink[len(ink) // 2 : len(ink) // 2 + 4] = False
        top, left = 30 + 280 * row + random.integers(0, 40), 20 + 215 * column + random.integers(0, 15)
        place = paper[top : top + ink.shape[0], left : left + ink.shape[1]]
        place[ink] = 0.1 * place[ink] + 0.9 * np.array(BLUE_PEN if kind == "blue" else PEN)
    if kind == "specks":
        for row, column in random.integers(5, 590, (60, 2)):
            paper[row : row + 4, column : column + 4] = PEN
    y, x = np.mgrid[:600, :1100]
    light = 1 - 0.45 * x / 1100
    if kind == "shadow":  # of a hand
        light *= ndimage.gaussian_filter(np.where(x + y / 2 > 700, 0.6, 1), 6)
    photo = ndimage.gaussian_filter(paper * light[..., np.newaxis], (1, 1, 0))
    photo = photo + random.normal(0, 15 if kind == "noisy" else 5, photo.shape)
    photo = 255 - photo if kind == "chalk" else photo
    Image.fromarray(np.uint8(photo.clip(0, 255))).save(path, quality=30 if kind == "noisy" else 85)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_ten_digits_are_found_in_reading_order(digits, kind, tmp_path):
    found = read_photo(photograph(digits, kind, tmp_path / "photo.jpg"))
    assert found.shape == (10, 28, 28) and found.dtype == np.uint8
    likeness = np.corrcoef(found.reshape(10, -1), [prepare(digit).ravel() for digit in digits])[:10, 10:]
    assert list(likeness.argmax(axis=1)) == list(range(10)), "each is most like its own digit"
    assert likeness.diagonal().min() > 0.65


def test_a_photo_lies_as_the_camera_was_held(digits, tmp_path):
    path = photograph(digits, "plain", tmp_path / "photo.jpg")
    upright = read_photo(path)
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera says: turn it by 90° to the right
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    again = read_photo(str(tmp_path / "turned.jpg"))
    assert again.shape == upright.shape and np.abs(again.astype(int) - upright).mean() < 3


ON_PAPER = {
    "8 bits": lambda ink: Image.fromarray(np.uint8(230 - 0.8 * ink)),
    "16 bits": lambda ink: Image.fromarray(np.uint16(257 * (230 - 0.8 * ink))),
    "transparent": lambda ink: Image.merge("LA", [Image.new("L", ink.shape), Image.fromarray(ink)]),
}


@pytest.mark.parametrize("kind", ON_PAPER)
def test_a_large_photo_and_one_digit(digits, kind, tmp_path):
    ink = np.kron(digits[0], np.ones((60, 60), np.uint8))
    ON_PAPER[kind](ink).save(tmp_path / "large.png")
    (found,) = read_photo(tmp_path / "large.png")
    assert np.corrcoef(found.ravel(), prepare(digits[0]).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("brightness", [0, 128, 200, 255])
@pytest.mark.parametrize("noise", [0, 6])
def test_empty_paper_is_refused(tmp_path, brightness, noise):
    paper = brightness + noise * np.random.default_rng(0).standard_normal((300, 400))
    Image.fromarray(np.uint8(paper.clip(0, 255))).save(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"empty\.png shows nothing that is written; give a photo"):
        read_photo(tmp_path / "empty.png")


def test_what_is_no_picture_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(DataError, match="does not exist; correct the path"):
        read_photo(tmp_path / "missing.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    Image.fromarray(noise).save(tmp_path / "damaged.png")
    pieces = (tmp_path / "damaged.png").read_bytes().split(b"IDAT")
    (tmp_path / "damaged.png").write_bytes(b"IDAT".join(pieces[:2]) + b"\0".join(pieces[2:]))
    for name in ("text.jpg", "cut.png", "damaged.png", ".", "~nouser/x.jpg"):
        with pytest.raises(DataError, match="give a JPEG or PNG file"):
            read_photo(name if name[0] == "~" else tmp_path / name)


def test_ink_is_what_is_darker_than_the_paper_around_it():
    light = np.linspace(1, 0.3, 400)[np.newaxis] * np.ones((200, 1))
    written = light.copy()
    written[90:110, 40:60] *= 0.3  # darker than its paper, though brighter than paper at the right
    written[90:110, 340:360] *= 0.3
    ink = find_ink(written)
    assert ink[95:105, 45:55].min() == ink[95:105, 345:355].min() == 1
    assert ink[:80].max() == ink[120:].max() == 0


def test_preparation_is_that_of_notebook_12(digits):
    twelve = define(12, "crop", "overlaps", "fit", "center_of_mass", "place", "prepare")
    random = np.random.default_rng(0)
    for digit in digits:
        ink = np.zeros((112, 112), np.uint8)
        large = np.uint8(255 * (ndimage.zoom(digit / 255, random.uniform(1.5, 3.5), order=1) > 0.4))
        top, left = random.integers(0, 112 - np.array(large.shape))
        ink[top : top + large.shape[0], left : left + large.shape[1]] = large
        np.testing.assert_array_equal(prepare(ink), twelve["prepare"](ink))
    assert not prepare(np.zeros((5, 5))).any()


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("photographed", [False, True])
def test_the_quickstart_reads_your_photo_and_your_drawing(digits, tmp_path, capsys, drawn, photographed):
    (first,) = [i for i, cell in enumerate(CELLS[PATHS[0]]) if "read_photo" in cell.source]
    reading, drawing = (cell.source for cell in CELLS[PATHS[0]][first : first + 2])
    path = str(photograph(digits, "shadow", tmp_path / "digits.png")) if photographed else None
    asked, shown = [], []

    given = {
        "np": np,
        "pad": types.SimpleNamespace(digit=digits[0] if drawn else None),
        "class_names": list("0123456789"),
        "data": types.SimpleNamespace(x_test=digits),
        "model": types.SimpleNamespace(
            predict=lambda x, verbose: asked.append(x) or np.eye(11, 10)[: len(x)]
        ),
        "draw_digits": lambda images, titles, columns, title: shown.append((images, titles)),
        "show": lambda figure, alt: None,
    }
    exec(reading.replace("photo = None", f"photo = {path!r}"), given)
    exec(drawing, given)
    count = 10 * photographed + drawn
    ((images, titles),) = shown
    assert ("For now, a test image" in capsys.readouterr().out) == (not count)
    if not count:
        count, drawn = 1, True  # the test image stands in for a drawing
    assert len(images) == count and asked[0].shape == (count, 28, 28, 1) and asked[0].max() <= 1
    assert titles[0] == "0, over 99.9%"
    if drawn:
        np.testing.assert_array_equal(images[-1], digits[0])
