"""A page that runs a trained network where it is opened, and the pad to draw on, also for notebooks.

The page is in ``page.py``: who only needs the pad does not load it.
"""

from helpers.draw.pad import Pad

__all__ = ["Pad"]
