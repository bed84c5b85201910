"""Let a notebook check a reader's answer to an exercise."""

_exercise = None


def check_answer(answer, passes=None, hint=""):
    """Say whether an answer is right; an answer that is still ``...`` has not been given.

    Args:
        answer: what the reader wrote.
        passes: a function from the answer to True (right) or False. An answer that makes it fail
            counts as wrong. None checks against the exercise before: so each solution is put to
            the same check as the reader's answer.
        hint: a sentence for a wrong answer.
    """
    global _exercise
    if passes is not None:
        _exercise = passes, hint
    passes, hint = _exercise
    if answer is ...:
        print("Replace the ... with your answer and run this cell again.")
        return
    try:
        right = bool(passes(answer))
    except Exception:
        right = False
    print("Right!" if right else f"Not yet. {hint}")
