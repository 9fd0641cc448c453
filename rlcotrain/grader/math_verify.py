"""Math-Verify as it is (huggingface/Math-Verify): it finds the answer and compares it.

Only its alarm is off: the pool keeps the time, in any thread. What the library reads in part (4√2
as 4, 50\\% as 0.5 or 50, 52_9 as 52) it takes for that part here; grader=math does not.
"""

import re

from rlcotrain.grader.compared import Compared, Found

HOLDS = re.compile(r"[0-9$\\]")


class MathVerify(Compared):
    """`verify(parse("$gold$"), parse(text))`, with the library's own settings."""

    task = "library"
    rule = "math_verify"
    longest = 200_000
    plain = "$x+7$"

    def find(self, text: str) -> list[Found]:
        """The whole passage: where the answer stands is the library's business."""
        return [Found(self.rule, text)] if HOLDS.search(text) else []

    def unmarked(self, text: str) -> list[Found]:
        """The first passage, though it has no number and no formula."""
        return [Found(self.rule, text)] if text.strip() else []

    def quick(self, gold: str, answer: str) -> bool | None:
        """None: the strings alone do not tell what the library would find."""
        return None

    def extract(self, text: str) -> str | None:
        """ValueError: reading a text is the pool's work, and gives no form to vote on."""
        raise ValueError("grader=math_verify names no answer to vote on; grader=math does")
