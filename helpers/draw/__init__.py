"""The pad to draw on, for notebooks, and beside it in ``page`` a page that runs a network where it is opened.

The page loads Keras, so it is imported by itself.
"""

from helpers.draw.pad import Pad

__all__ = ["Pad"]
