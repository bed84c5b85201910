"""From stored images and labels to what the network takes. Notebook 02 teaches each step."""

import numpy as np


def scale(images):
    """Scale pixels to [0, 1] and add the channel axis.

    Args:
        images: ``(n, 28, 28)`` uint8, 0 to 255.

    Returns:
        ``(n, 28, 28, 1)`` float32, 0.0 to 1.0.
    """
    return (images.astype(np.float32) / 255)[..., np.newaxis]


def one_hot(labels, classes=10):
    """Turn each label into a row with a single 1 at the label's place.

    Args:
        labels: ``(n,)`` integers from 0 to ``classes`` − 1.
        classes: the number of classes.

    Returns:
        ``(n, classes)`` float32.
    """
    return np.eye(classes, dtype=np.float32)[labels]
