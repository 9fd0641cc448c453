"""The rules of open-instruct for RLVR data (allenai/open-instruct, ground_truth_utils.py)."""

import re

from rlcotrain.grader.closed_form import differ
from rlcotrain.grader.compared import Compared, Found
from rlcotrain.grader.latex import boxed, normal
from rlcotrain.grader.minerva_form import stated as minerva_stated
from rlcotrain.grader.minerva_form import tidy
from rlcotrain.grader.passage import first_answer
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.types import Grade

LAST_NUMBER = re.compile(r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+)")
GROUPING = re.compile(r"(?<=[0-9]),(?=[0-9])")


class AllenaiGsm8k(Single):
    """The last number of the text, letter by letter: 18.00 is not 18, -3 not 3."""

    def grade_one(self, text: str, answer: str) -> Grade:
        """1 where they are the same string, 0 elsewhere."""
        if not answer.strip():
            raise ValueError(f"known answer {answer!r:.60} is blank; expected a number")
        found = self.extract(text)
        if found is None:
            return nothing("last_number")
        return verdict(found == GROUPING.sub("", answer.strip()), found, "last_number")

    def extract(self, text: str) -> str | None:
        """The number as it is written, without commas; None where there is none."""
        numbers = first_answer(text, lambda part: LAST_NUMBER.findall(GROUPING.sub("", part))) or []
        return numbers[-1] if numbers and len(numbers[-1]) <= 200 else None


class AllenaiMath(Compared):
    """Boxed, and Minerva's closing sentence; else between the last dollars; else all of the text.

    Right if one of them equals the known answer by Minerva's or MATH's string rules, or if their
    difference simplifies to 0. An equation is no answer for its right side alone, as there.
    """

    task = "same_difference"
    rule = "boxed_minerva_dollar"

    def find(self, text: str) -> list[Found]:
        """All candidates of the first kind there is."""
        stated = minerva_stated(text)
        found = [Found("boxed", inner) for inner in boxed(text)[-1:] if inner.strip()]
        found += [Found("minerva", stated)] if stated is not None else []
        if found:
            return found
        before, last, _ = text.rpartition("$")
        _, first, inside = before.rpartition("$")
        if last and first and inside.strip():
            return [Found("dollar", inside)]
        return []

    def unmarked(self, text: str) -> list[Found]:
        """All of the text."""
        return [Found("text", text.strip())] if text.strip() else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """Equal forms are equal, clearly different values differ."""
        forms = (_whole(gold), _whole(answer)), (normal(gold), normal(answer))
        if any(one and one == other for one, other in forms):
            return True
        return False if differ(*forms[0]) else None

    def asked(self, gold: str, answer: str) -> tuple[str, str]:
        """Both by Minerva's string rules, an equation as a whole."""
        return _whole(gold), _whole(answer)


def _whole(answer: str) -> str:
    """Minerva's form of all of an answer: of two formulas in dollars that would be the first."""
    return tidy(answer) if answer.count("$") <= 2 else answer.strip()
