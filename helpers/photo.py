"""Bring written digits into MNIST's form. Notebook 12 teaches how one is prepared, 13 how a photo is read."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from helpers.errors import DataError

LONGEST = 1600  # pixels: larger photos are reduced, which keeps the work small
PAPER = 160  # pixels of the reduced photo in which the paper's brightness is looked for


def prepare(ink: np.ndarray) -> np.ndarray:
    """Cut ink out, scale it into 20×20 and move its center of mass to the middle, as MNIST's makers did.

    Args:
        ink: ``(rows, columns)``, 0 is paper.

    Returns:
        ``(28, 28)`` uint8 in the scale of ``ink``; without ink, all 0.
    """
    if not ink.any():
        return np.zeros((28, 28), np.uint8)
    (place,) = ndimage.find_objects((ink > 0).astype(int))
    ink = ink[place]
    high, wide = (max(1, int(side * 20 / max(ink.shape) + 0.5)) for side in ink.shape)
    small = _overlaps(ink.shape[0], high) @ ink @ _overlaps(ink.shape[1], wide).T
    corner = np.floor(14 - np.array(ndimage.center_of_mass(small)) + 0.5).astype(int)
    top, left = corner.clip(0, 28 - np.array(small.shape))
    image = np.zeros((28, 28))
    image[top : top + high, left : left + wide] = small
    return np.floor(image + 0.5).astype(np.uint8)


def _overlaps(size, parts):
    """Return ``(parts, size)``: what share of each part every pixel makes up."""
    edges, pixels = np.linspace(0, size, parts + 1), np.arange(size)
    right = np.minimum(edges[1:, np.newaxis], pixels + 1)
    left = np.maximum(edges[:-1, np.newaxis], pixels)
    return (right - left).clip(0) * parts / size


def read_photo(path: str | Path) -> np.ndarray:
    """Read the digits in a photo or scan of handwriting: on plain paper, apart from each other, upright.

    The paper may be gray and lit unevenly. Ink is what is clearly darker than the paper around it, or
    clearly brighter if most of it is (chalk). What is much smaller than the largest piece is dirt.

    Args:
        path: a picture in any format that Pillow opens.

    Returns:
        ``(n, 28, 28)`` uint8, one image for each digit, in reading order: row by row from the left.

    Raises:
        DataError: there is no such file, it is no picture, or nothing is written on it.
    """
    ink = find_ink(_open(path))
    # Small gaps in a stroke do not tear a digit apart.
    pieces, count = ndimage.label(ndimage.binary_dilation(ink > 0, iterations=3), np.ones((3, 3)))
    boxes = ndimage.find_objects(pieces)
    heights = np.array([rows.stop - rows.start for rows, _ in boxes])
    strengths = ndimage.maximum(ink, pieces, range(1, count + 1))  # faint: the edge of a shadow
    large = np.flatnonzero((heights >= 0.35 * max(heights, default=0)) & (np.array(strengths) > 0.8))
    if not len(large):
        raise DataError(f"{path} shows nothing that is written; give a photo of dark digits on bright paper.")
    in_order = large[_reading_order([boxes[i] for i in large])]
    digits = [np.where(pieces[boxes[i]] == i + 1, ink[boxes[i]], 0) for i in in_order]
    return np.stack([prepare(255 * digit) for digit in digits])


def _open(path):
    """Return a picture as gray values from 0 to 1, the right way up."""
    from PIL import Image, ImageOps

    from helpers.own_data import on_paper

    try:
        with Image.open(Path(path).expanduser()) as picture:
            picture = on_paper(ImageOps.exif_transpose(picture))
            picture.thumbnail((LONGEST, LONGEST))
            return np.asarray(picture, np.float32) / 255
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; correct the path of the photo.") from None
    except (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}); give a JPEG or PNG file.") from None


def find_ink(gray: np.ndarray) -> np.ndarray:
    """Return how much ink each pixel holds, from 0 (paper) to 1, however the light falls.

    The paper's brightness at a place is the median of a wide neighborhood, most of which is paper.
    """
    step = max(1, max(gray.shape) // PAPER)
    small = gray[::step, ::step]
    paper = ndimage.median_filter(small, size=max(3, max(small.shape) // 4), mode="nearest")
    paper = ndimage.zoom(paper, np.array(gray.shape) / small.shape, order=1, mode="nearest", grid_mode=True)
    dark, bright = np.quantile(paper - gray, [0.999, 0.001])
    if -bright > dark:  # chalk
        gray, paper = 1 - gray, 1 - paper
    contrast = (paper - gray) / paper.clip(1 / 255)
    most = np.quantile(contrast, 0.999)
    if most < 0.15:  # no ink, but the paper's own texture
        return np.zeros_like(gray)
    # From the middle between paper and ink on, it is ink; a little below, the soft edge of a stroke.
    return ((contrast / most - 0.3) / 0.4).clip(0, 1)


def _reading_order(boxes):
    """Return the places of boxes row by row, each row from the left."""
    top, bottom, left = np.array([(rows.start, rows.stop, columns.start) for rows, columns in boxes]).T
    by_height = np.argsort(top + bottom, kind="stable")
    row = np.cumsum(np.diff((top + bottom)[by_height], prepend=0) > np.median(bottom - top))
    return by_height[np.lexsort((left[by_height], row))]
