"""Competition mathematics: the boxed answer, else the stated one, right if it is worth the same.

Ways of writing that differ in the string only are settled by the string, numbers exactly, what has
a value by its value; the rest goes to Math-Verify (huggingface/Math-Verify) in the pool, in its
normal form. A decimal counts to six places and a ten-thousandth of its value. Where the library
reads half of an answer and leaves the rest (4√2 is 4 to it), that answer is wrong here:
grader=math_verify is the library's own behaviour, grader=minerva lm-eval's.
"""

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.closed_form import is_constant
from rlcotrain.grader.compared import Compared, Found
from rlcotrain.grader.latex import boxed, normal, read
from rlcotrain.grader.same import equal
from rlcotrain.grader.stated import stated_answer


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
        return []

    def unmarked(self, text: str) -> list[Found]:
        """All of a text that is nothing but an answer."""
        alone = text.strip()
        is_answer = 0 < len(alone) <= 100 and "\n" not in alone and len(alone.split()) <= 12
        return [Found("text", alone)] if is_answer else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """Equal forms are equal, values are compared; of 0.56 = 56\\% either side will do."""
        said, sides = read(answer), [read(side) for side in gold.split("=")]
        if len(sides) > 1 and all(is_constant(side.text) for side in sides):
            return any(equal(side, said) for side in (read(gold), *sides))
        return equal(read(gold), said)

    def asked(self, gold: str, answer: str) -> tuple[str, str]:
        """The normal forms; where one is an equation, with the name of what the other equals."""
        known, said = read(gold), read(answer)
        return _beside(known.text, known.name, said.text), _beside(said.text, said.name, known.text)

    def extract(self, text: str) -> str | None:
        """The answer in its normal form, so that equal ones are the same vote."""
        answer = super().extract(text)
        return None if answer is None else normal(answer) or None


def _beside(text: str, name: str, other: str) -> str:
    return f"{name}={text}" if name and "," not in name and "=" in other else text
