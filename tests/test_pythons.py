"""The README's two commands on every supported Python at hand, and with other versions of what they need.

Each Python has a fresh machine (see `test_fresh_machine`). The lowest versions that `pyproject.toml`
allows are tried on the lowest Python, the newest that there are on the highest.
"""

import re
import sys

import pytest

from tests.test_fresh_machine import QUICK, UNIT_TESTS, VERSIONS, Machine, find_pythons
from tests.test_structure import dependencies

pytestmark = [pytest.mark.slow, pytest.mark.machine]

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


def install(machine, *options):
    """Install the project with other versions; return those that changed."""
    pip = [".venv/bin/python", "-m", "pip"]
    before = machine.succeed(machine.run(*pip, "freeze"))
    machine.succeed(machine.run(*pip, "install", "--quiet", *options, "-e", ".[notebook,test]"))
    after = machine.succeed(machine.run(*pip, "freeze"))
    return sorted(set(after.splitlines()) - set(before.splitlines()))


class TestLowestPython:
    @pytest.fixture(scope="class")
    def machine(self):
        yield from machine_with(LOWEST)

    def test_readme(self, machine):
        try_readme(machine)

    def test_lowest_versions(self, machine):
        machine.succeed(machine.make(".venv/ready"))
        lowest = [re.sub(r">=([\d.]+)(,<[\d.]+)?", r"==\1", wanted) for wanted in dependencies()]
        (machine.home / "lowest.txt").write_text("\n".join(lowest))
        assert install(machine, "-c", machine.home / "lowest.txt")
        try_readme(machine)


class TestHighestPython:
    @pytest.fixture(scope="class")
    def machine(self):
        yield from machine_with(HIGHEST)

    def test_readme(self, machine):
        try_readme(machine)

    def test_newest_versions(self, machine):
        machine.succeed(machine.make(".venv/ready"))
        newer = install(machine, "--upgrade", "--upgrade-strategy", "eager")
        print("Newer than constraints.txt:", *newer)
        if newer:
            try_readme(machine)


class TestOtherPythons:
    @pytest.fixture(scope="class", params=BETWEEN)
    def machine(self, request):
        if request.param == THIS:
            pytest.skip("these tests run on it, and test_fresh_machine tries its README")
        yield from machine_with(request.param)

    def test_readme(self, machine):
        try_readme(machine)
