"""Let a notebook check a reader's answer to an exercise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """The check of one exercise: ``check_1 = Check(passes, hint)``, then ``check_1(answer)``.

    Attributes:
        passes: a function from the answer to True (right), False, or a sentence that says what is
            wrong. An answer that makes it fail counts as wrong. Where the answer is a function to
            write, it returns the ``...`` that an unwritten one returns.
        hint: a sentence for a wrong answer.
        mistakes: typical wrong answers, each with a sentence that says what went wrong.
    """

    passes: Callable[[Any], bool | str]
    hint: str
    mistakes: Mapping[Any, str] = field(default_factory=dict)

    def __call__(self, answer: Any) -> None:
        """Print whether an answer is right; one that is still ``...`` has not been given."""
        try:
            found = ... if answer is ... else self.passes(answer)
            said = found if isinstance(found, str) or found is ... else bool(found)
        except Exception:
            said = False
        if said is ...:
            print("Replace the ... with your answer and run this cell again.")
        elif said is True:
            print("Right!")
        else:
            print(f"Not yet. {said or self._advice(answer)}")

    def _advice(self, answer):
        for mistake, sentence in self.mistakes.items():
            try:
                if answer == mistake or abs(answer - mistake) <= 1e-4 * abs(mistake):
                    return sentence
            except Exception:  # not a number, or many, or too large a one
                pass
        return self.hint
