"""Code that more than one notebook of this tutorial uses.

Import the module you need: ``from helpers.data import load_mnist``. Importing ``helpers`` itself
loads nothing, so no notebook waits for what it does not use.
"""
