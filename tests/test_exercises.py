"""The check of a reader's answers."""

import numpy as np
import pytest

from helpers.exercises import Check

check_1 = Check(
    lambda answer: 0 < answer < 0.5,
    "Look again.",
    mistakes={0.9: "That is the share of the right ones.", 10_000: "You counted the test images."},
)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (0.3, "Right!\n"),
        (np.float32(0.3), "Right!\n"),
        (0.7, "Not yet. Look again.\n"),
        (0.9, "Not yet. That is the share of the right ones.\n"),
        (0.90001, "Not yet. That is the share of the right ones.\n"),
        (10_000, "Not yet. You counted the test images.\n"),
        pytest.param(10**400, "Not yet. Look again.\n", id="too large for a float"),
        ("a half", "Not yet. Look again.\n"),
        (None, "Not yet. Look again.\n"),
        (np.ones(3), "Not yet. Look again.\n"),
        (..., "Replace the ... with your answer and run this cell again.\n"),
    ],
)
def test_says_whether_an_answer_is_right(capsys, answer, says):
    check_1(answer)
    assert capsys.readouterr().out == says


def test_each_exercise_has_a_check_of_its_own(capsys):
    """Whichever exercises were run before, and in whatever order."""
    check_2 = Check(lambda answer: answer == 2, "Two.")
    check_2(2)
    check_1(0.3)
    check_2(3)
    assert capsys.readouterr().out == "Right!\nRight!\nNot yet. Two.\n"


def test_an_answer_that_the_check_cannot_handle_is_wrong(capsys):
    check_3 = Check(lambda answer: answer.shape == (3,), "An array.")
    for answer in ([], np.arange(2), "abc"):
        check_3(answer)
    assert capsys.readouterr().out == 3 * "Not yet. An array.\n"


def test_a_function_that_is_not_written_yet_is_not_wrong(capsys):
    check_4 = Check(lambda f: f(2) if f(2) is ... else f(2) == 4, "Twice.")
    for function in (lambda x: ..., lambda x: None, lambda x: 2 * x):
        check_4(function)
    said = ["Replace the ... with your answer and run this cell again.", "Not yet. Twice.", "Right!"]
    assert capsys.readouterr().out.splitlines() == said


def test_answer_not_given_is_not_checked():
    Check(lambda answer: pytest.fail("checked"), "hint")(...)


def test_interrupt_is_not_an_answer():
    def interrupted(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Check(interrupted, "hint")(1)
