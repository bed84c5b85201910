"""How nbval compares here: never stderr (progress and logs), and PNG figures byte for byte.

Figures are not compared where measured numbers are sanitized, because figures show numbers too.
Loaded with ``-p tests.nbval_plugin``.
"""

import pytest
from nbval.plugin import IPyNbFile


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(parent):
    collectors = yield
    strict = not parent.config.getoption("nbval_sanitize_with")
    for collector in collectors:
        if isinstance(collector, IPyNbFile):
            skipped = set(collector.skip_compare) | {"stderr"}
            collector.skip_compare = tuple(skipped - {"image/png"} if strict else skipped)
    return collectors
