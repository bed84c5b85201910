"""A page that runs a trained network where it is opened, and the pad to draw on, also for notebooks."""

from helpers.draw.pad import Pad
from helpers.draw.page import PageError, build_page, show_page

__all__ = ["Pad", "PageError", "build_page", "show_page"]
