"""Where a completion marks its answer as such."""

from collections.abc import Iterator

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.latex import boxed, normal
from rlcotrain.grader.stated import stated_answer


def marked_answers(text: str) -> Iterator[tuple[str, str]]:
    """Rule and words of each that there is: the last closed box, `<answer>`, what is said to be
    the answer."""
    boxes = boxed(text)
    if boxes:
        yield "boxed", normal(boxes[-1][:200])
    for rule, said in (("answer_tag", tagged_answer(text)), ("stated", stated_answer(text))):
        if said is not None:
            yield rule, said
