"""From stored images and labels to what the network takes. Notebook 02 teaches each step."""

import numpy as np

SHUFFLE = (  # the cure for images in the order of their classes
    "order = np.random.default_rng(0).permutation(len(y_train)); "
    "x_train, y_train = x_train[order], y_train[order]"
)


def scale(images: np.ndarray) -> np.ndarray:
    """Scale pixels to [0, 1] and add the channel axis.

    Args:
        images: ``(n, 28, 28)`` uint8, 0 to 255.

    Returns:
        ``(n, 28, 28, 1)`` float32, 0.0 to 1.0.
    """
    return (images.astype(np.float32) / 255)[..., np.newaxis]


def one_hot(labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """Turn each label into a row with a single 1 at the label's place.

    Args:
        labels: ``(n,)`` integers from 0 to ``classes`` − 1.
        classes: the number of classes.

    Returns:
        ``(n, classes)`` float32.
    """
    return np.eye(classes, dtype=np.float32)[labels]


def split_validation(data, validation_split: float) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Split the training part as Keras does: the last images, in order, are for validation.

    A line on stdout warns if one side lacks a class: it cannot be learned, or not be judged.

    Args:
        data: a `helpers.data.Dataset`.
        validation_split: the share for validation.

    Returns:
        ``(x, y), (x_validation, y_validation)``, all uint8.
    """
    cut = int(len(data.x_train) * (1 - validation_split))
    y, y_validation = data.y_train[:cut], data.y_train[cut:]
    for side, there, other in (("training", y, y_validation), ("validation", y_validation, y)):
        lacking = np.setdiff1d(other, there)
        if len(lacking):
            names = ", ".join(data.class_names[label] for label in lacking[:10])
            more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
            cure = SHUFFLE if in_order(data.y_train) else "use more images or another validation_split"
            print(f"Warning: after the split, no {side} image shows {names}{more}; {cure}.")
            break
    return (data.x_train[:cut], y), (data.x_train[cut:], y_validation)


def in_order(labels: np.ndarray) -> bool:
    """Return whether the images of each class stand together, so that the last ones show few classes."""
    present = len(np.unique(labels))
    return 1 < present <= len(labels) / 2 and np.count_nonzero(np.diff(labels)) < present
