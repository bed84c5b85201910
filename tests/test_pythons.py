"""The README's two commands on other Pythons, and with other versions of what they need.

Each Python has a fresh machine (see `test_fresh_machine`, which has the lowest Python with the lowest
versions that `pyproject.toml` allows). In every `make check` the highest Python is tried, with the exact
versions; weekly, every other Python at hand, and the newest versions that there are.
"""

import sys

import pytest

from tests.test_fresh_machine import QUICK, UNIT_TESTS, VERSIONS, Machine, find_pythons

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
LOWEST, *BETWEEN, HIGHEST = VERSIONS


def machine_with(version):
    """Yield a fresh machine with a certain Python."""
    pythons = find_pythons()
    if version not in pythons:
        pytest.skip(f"Python {version} is not at hand")
    machine = Machine(pythons[version])
    try:
        yield machine
    finally:
        machine.remove()


def try_readme(machine):
    """Run the tutorial, with few epochs on the sample, and the tests, without what `.ci/run` does itself."""
    machine.succeed(machine.make("tutorial", f"ARGS={QUICK}"))
    assert " passed" in machine.succeed(machine.make("test", UNIT_TESTS))
    assert machine.changed() == ""


@pytest.fixture(scope="module", params=[HIGHEST])
def highest(request):
    yield from machine_with(request.param)


@pytest.mark.slow
@pytest.mark.machine
def test_highest_python(highest):
    try_readme(highest)


@pytest.mark.everywhere
def test_newest_versions(highest):
    highest.succeed(highest.make(".venv/ready"))
    pip = [".venv/bin/python", "-m", "pip", "install", "--quiet", "--upgrade", "--upgrade-strategy", "eager"]
    highest.succeed(highest.run(*pip, "-e", ".[notebook,test]"))
    try_readme(highest)


@pytest.mark.everywhere
@pytest.mark.parametrize("version", [LOWEST, *BETWEEN])
def test_other_pythons(version):
    if version == THIS:
        pytest.skip("these tests run on it")
    for machine in machine_with(version):
        try_readme(machine)
