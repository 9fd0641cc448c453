"""Math-Verify as it is (huggingface/Math-Verify): it finds the answer and compares it.

Only its alarm is off: the pool keeps the time, in any thread, and a late answer is no wrong one.
"""

from rlcotrain.grader.compared import Compared, Found


class MathVerify(Compared):
    """`verify(parse("$gold$"), parse(text))`, with the library's own settings."""

    task = "library"
    rule = "math_verify"
    longest = 200_000

    def find(self, text: str) -> list[Found]:
        """The whole text: where the answer stands is the library's business."""
        return [Found(self.rule, text)] if text.strip() else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """None: the strings alone do not tell what the library would find."""
        return None

    def extract(self, text: str) -> str | None:
        """ValueError: reading a text is the pool's work, and gives no form to vote on."""
        raise ValueError("grader=math_verify names no answer to vote on; grader=math does")
