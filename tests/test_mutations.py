"""The mistakes in tools/mutations.py can still be made, and the stored result is about all of them."""

import re

import pytest

from tools import mutations


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.what)
def test_mistake_can_be_made_and_has_tests_to_notice_it(mutation):
    text = (mutations.ROOT / mutation.file).read_text(encoding="utf-8")
    assert mutations.mutated(mutation, text) != text
    for test in mutation.tests.split():
        file, name = re.fullmatch(r"(tests/test_\w+\.py)::(test_\w+)(?:\[.+\])?", test).groups()
        assert f"def {name}(" in (mutations.ROOT / file).read_text(encoding="utf-8"), test


def test_stale_mistakes_are_refused():
    stale = mutations.Mutation("What is not there", "helpers/pad.py", "no such text", "another", "")
    with pytest.raises(SystemExit, match="0 times: What is not there"):
        mutations.mutated(stale, "some text")
    with pytest.raises(SystemExit, match="2 times"):
        mutations.mutated(stale, "no such text, no such text")


def test_stored_result_says_that_every_mistake_is_caught():
    """If not, run `python tools/mutations.py`."""
    lines = mutations.RESULT.read_text(encoding="utf-8").splitlines()
    count = len(mutations.MUTATIONS)
    assert count >= 32 and lines[0].startswith(f"The tests catch {count} of {count} mistakes")
    rows = [[part.strip(" `") for part in line.strip("|").split(" | ")] for line in lines[4:]]
    listed = [(what, file) for _, what, file, _, _ in rows]
    assert listed == [(mutation.what, mutation.file) for mutation in mutations.MUTATIONS]
    for (*_, caught_by, _), mutation in zip(rows, mutations.MUTATIONS, strict=True):
        assert any(caught_by.startswith(test) for test in mutation.tests.split()), caught_by
