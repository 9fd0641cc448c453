"""lm-eval's minerva_math rule on the boxed answer alone: what is not boxed is not answered.

Where lm-eval differs from grader=math it stays lm-eval's: x=3 is y=3, 50% is no 0.5, an answer that
its parser reads in part counts as that part.
"""

from rlcotrain.grader.closed_form import differ
from rlcotrain.grader.compared import Compared, Found
from rlcotrain.grader.latex import boxed
from rlcotrain.grader.minerva_form import normal


class Minerva(Compared):
    """Right if the normal forms are equal or their difference simplifies to 0."""

    task = "same_difference"
    rule = "boxed"

    def find(self, text: str) -> list[Found]:
        """What the last closed box holds, in Minerva's normal form."""
        boxes = boxed(text)
        answer = normal(boxes[-1]) if boxes and len(boxes[-1]) <= self.longest else ""
        return [Found(self.rule, answer)] if answer else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """Equal forms are equal, clearly different values differ."""
        known = normal(gold)
        if known and known == answer:
            return True
        return False if differ(known, answer) else None

    def asked(self, gold: str, answer: str) -> tuple[str, str]:
        """The known answer in the same normal form, as lm-eval prepares it."""
        return normal(gold), answer
