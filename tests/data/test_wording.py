import pytest

from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

SUM = Problem(id="sum", question="What is {1} + 1?")


def test_question_stands_in_the_users_message() -> None:
    wording = Wording(template="Q: {question}\nPut it in \\boxed{}.")
    content = "Q: What is {1} + 1?\nPut it in \\boxed{}."
    assert wording.messages(SUM) == ({"role": "user", "content": content},)


def test_system_message_comes_first() -> None:
    system, user = Wording(system="Be brief.").messages(SUM)
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": "What is {1} + 1?"}


def test_template_must_hold_the_question() -> None:
    with pytest.raises(
        ValueError, match=r"data\.wording\.template='Solve this' must contain \{question\}"
    ):
        Wording(template="Solve this")
