"""Competition mathematics: the boxed answer, else the stated one, right if it is worth the same.

Ways of writing that differ in the string only are settled by the string, numbers exactly, what is
clearly another value by its value; the rest goes to Math-Verify (huggingface/Math-Verify) in the
pool. A decimal counts to six places, as there.
"""

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.closed_form import differ, near, number, readings
from rlcotrain.grader.compared import Compared, Found
from rlcotrain.grader.latex import boxed, normal
from rlcotrain.grader.stated import stated_answer

PLACES = 6


class Math(Compared):
    """`\\boxed{}`, `<answer>`, "the answer is ..."; a text that is nothing else but an answer."""

    task = "same_value"
    rule = "boxed_or_stated"

    def find(self, text: str) -> list[Found]:
        """The first rule that finds something decides."""
        boxes = [inner for inner in boxed(text) if inner.strip()]
        if boxes:
            return [Found("boxed", boxes[-1].strip())]
        for rule, answer in (("answer_tag", tagged_answer(text)), ("stated", stated_answer(text))):
            if answer is not None and answer.strip():
                return [Found(rule, answer.strip())]
        alone = text.strip()
        is_answer = 0 < len(alone) <= 100 and "\n" not in alone and len(alone.split()) <= 12
        return [Found("text", alone)] if is_answer else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """Equal forms are equal, numbers are compared, clearly different values differ."""
        known, said = normal(gold), normal(answer)
        if known and known == said:
            return True
        one, other = number(known), number(said)
        if one is not None and other is not None and "%" not in gold + answer:
            if one.is_decimal or other.is_decimal:
                return round(one.value, PLACES) == round(other.value, PLACES)
            return one.value == other.value
        meant = readings(known, "%" in gold), readings(said, "%" in answer)
        if "%" in gold + answer and any(near(a, b) for a in meant[0] for b in meant[1]):
            return True
        return False if all(differ(a, b) for a in meant[0] for b in meant[1]) else None

    def extract(self, text: str) -> str | None:
        """The answer in its normal form, so that equal ones are the same vote."""
        answer = super().extract(text)
        return None if answer is None else normal(answer) or None
