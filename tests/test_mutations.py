"""The mistakes in tools/mutations.py can still be made, and have tests that should notice them."""

import re

import pytest

from tools import mutations


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.what)
def test_mistake_can_be_made_and_has_tests_to_notice_it(mutation):
    text = (mutations.ROOT / mutation.file).read_text(encoding="utf-8")
    assert mutations.mutated(mutation, text) != text
    for test in mutation.tests.split():
        file, name = re.fullmatch(r"(tests/test_\w+\.py)(?:::(test_\w+)(?:\[.+\])?)?", test).groups()
        assert f"def {name or 'test_'}" in (mutations.ROOT / file).read_text(encoding="utf-8"), test


def mutate(place, old, new, text):
    return mutations.mutated(mutations.Mutation("a mistake", place, old, new, ""), text)


CODE = """\
LIMIT = 5

class A:
    def f(self, x):
        return g(
            x,
            1,
        )

def f(x):
    if x:
        y = x
    return g(x, 1)  # ö
"""


@pytest.mark.parametrize(
    ("place", "old", "new", "line"),
    [
        ("a.py::f", "g(x, 1)", "g(x, 2)", "    return g(x, 2)  # ö"),
        ("a.py::A.f", "g(x, 1)", "g(x, 2)", "        return g(x, 2)"),
        ("a.py::A.f", "1)", "2)", "            2)"),
        ("a.py::f", "y = x", "", "        pass"),
        ("a.py::f", "if x:\n    y = x", "y = 1\nz = 2", "    z = 2"),
        ("a.py::LIMIT", "5", "6", "LIMIT = 6"),
        ("a.py", "def f(x)", "def f(z)", "def f(z):"),
    ],
)
def test_a_mistake_is_named_by_its_place_and_not_by_its_layout(place, old, new, line):
    assert line in mutate(place, old, new, CODE).split("\n")


@pytest.mark.parametrize(
    ("place", "old", "new", "why"),
    [
        ("a.py::f", "no such code", "another", "0 times"),
        ("a.py", "g(x, 1)", "g(x, 2)", "2 times"),
        ("a.py::LIMIT", "LIMI", "L", "0 times"),
        ("a.py::h", "x", "y", "there is no h"),
        ("a.py::f", "y = x", "y = x", "1 times"),
    ],
)
def test_stale_mistakes_are_refused(place, old, new, why):
    with pytest.raises(SystemExit, match=why):
        mutate(place, old, new, CODE)


def test_a_sample_is_drawn_anew_for_every_commit(monkeypatch, capsys):
    tried = []
    monkeypatch.setattr(
        mutations, "try_out", lambda mutation, tests=(): (mutation and "a test", 0, "exit status 0")
    )
    monkeypatch.setattr(mutations, "mutated", lambda mutation, text: tried[-1].append(mutation.what))
    for seed in ("one", "one", "another"):
        tried.append([])
        monkeypatch.setattr(mutations, "seed_of_today", lambda seed=seed: seed)
        monkeypatch.setattr("sys.argv", ["mutations.py", "--sample", "10"])
        with pytest.raises(SystemExit, match="^0|False$"):
            mutations.main()
        assert f"--seed {seed}\n" in capsys.readouterr().out
    assert len(tried[0]) == 10 and tried[0] == tried[1] != tried[2]
