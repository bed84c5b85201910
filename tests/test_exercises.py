"""Checking a reader's answers."""

import numpy as np
import pytest

from helpers.exercises import check_answer


@pytest.mark.parametrize(
    "answer, passes, shown",
    [
        (42, lambda answer: answer == 42, "Right!\n"),
        (41, lambda answer: answer == 42, "Not yet. Six times seven.\n"),
        (..., lambda answer: answer == 42, "Replace the ... with your answer and run this cell again.\n"),
        ("text", lambda answer: answer + 1 == 42, "Not yet. Six times seven.\n"),  # TypeError
        (None, lambda answer: answer.shape == (3,), "Not yet. Six times seven.\n"),  # AttributeError
        ([], lambda answer: answer[0] == 42, "Not yet. Six times seven.\n"),  # IndexError
        (np.arange(3), lambda answer: answer == 1, "Not yet. Six times seven.\n"),  # no truth value
        (np.arange(3), lambda answer: (answer == [0, 1, 2]).all(), "Right!\n"),
        (0, lambda answer: answer, "Not yet. Six times seven.\n"),
    ],
)
def test_check_answer(answer, passes, shown, capsys):
    assert check_answer(answer, passes, "Six times seven.") is None
    assert capsys.readouterr() == (shown, "")


def test_answer_not_given_is_not_checked():
    check_answer(..., lambda answer: pytest.fail("checked"), "hint")


def test_interrupt_is_not_an_answer():
    def interrupted(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_answer(1, interrupted, "hint")
