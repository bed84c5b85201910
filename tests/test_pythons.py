"""The README's two commands on every supported Python at hand, and on other versions of what they need.

Each Python has a fresh machine (see `test_fresh_machine`). The lowest versions that `pyproject.toml`
allows are tried on the lowest Python, the newest that there are on the highest.
"""

import re
import sys

import pytest

from tests.test_fresh_machine import QUICK, ROOT, UNIT_TESTS, VERSIONS, Machine, find_pythons
from tools.refresh import tomllib

pytestmark = [pytest.mark.slow, pytest.mark.machine]

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module", params=[pytest.param(v, marks=pytest.mark.xdist_group(v)) for v in VERSIONS])
def machine(request):
    """A fresh machine with one of the Pythons at hand."""
    pythons = find_pythons()
    if request.param not in pythons:
        pytest.skip(f"Python {request.param} is not at hand")
    machine = Machine(pythons[request.param])
    machine.version, machine.pythons = request.param, list(pythons)
    try:
        yield machine
    finally:
        machine.remove()


def dependencies():
    """Return what the project and its tests depend on, as written in `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]


def install(machine, *options):
    """Install the project again, other versions included; print the versions that changed."""
    pip = [".venv/bin/python", "-m", "pip"]
    before = machine.succeed(machine.run(*pip, "freeze"))
    machine.succeed(machine.run(*pip, "install", "--quiet", *options, "-e", ".[notebook,test]"))
    after = machine.succeed(machine.run(*pip, "freeze"))
    print(*sorted(set(after.splitlines()) - set(before.splitlines())), sep="\n")


def test_readme(machine):
    if machine.version == THIS:
        pytest.skip("these tests run on it, and test_fresh_machine tries its README")
    machine.succeed(machine.make("tutorial", f"ARGS={QUICK}"))
    assert " passed" in machine.succeed(machine.make("test", UNIT_TESTS))
    assert machine.changed() == ""


@pytest.mark.parametrize("versions", ["lowest", "newest"])
def test_other_versions(machine, versions):
    if machine.version != (machine.pythons[0] if versions == "lowest" else machine.pythons[-1]):
        pytest.skip(f"the {versions} versions are tried on another Python")
    machine.succeed(machine.make(".venv/ready"))
    if versions == "lowest":
        lowest = machine.home / "lowest.txt"
        lowest.write_text("\n".join(re.sub(r">=([\d.]+)(,<[\d.]+)?", r"==\1", d) for d in dependencies()))
        install(machine, "-c", lowest)
    else:
        install(machine, "--upgrade", "--upgrade-strategy", "eager")
    machine.succeed(machine.make("tutorial", f"ARGS={QUICK}"))
    assert " passed" in machine.succeed(machine.make("test", UNIT_TESTS))
