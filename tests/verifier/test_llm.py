from collections.abc import Sequence
from dataclasses import replace
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from rlcotrain.data.wording import Wording
from rlcotrain.grader.number import Number
from rlcotrain.types import Grade, Problem, Prompt, Rollout, StepTruth, Verdict
from rlcotrain.verifier.llm import Llm
from tests.rows import said
from tests.verifier.speakers import Prepared, turn

SUM = Problem(id="sum/1", question="2+3?", answer="5")
RIGHT = said("<step>2+3</step><step>5</step><answer>5</answer>", SUM)
WRONG = said("<step>2+3</step><step>9</step><answer>9</answer>", SUM)


def llm(**changes: Any) -> Llm:
    fields: dict[str, Any] = {
        "grader": Number(tolerance=0.0),
        "steps": True,
        "gold_weight": 0.0,
        "format": "strict",
        "format_weight": 0.8,
        "blind_spot": "independent",
        "temperature": 0.7,
        "max_tokens": 99,
        "stop": ["\n\n"],
    }
    return Llm(**fields | changes)


def marked(*marks: str, verdict: str) -> str:
    return "".join(f"<step>{mark}</step>" for mark in marks) + f"<verdict>{verdict}</verdict>"


YES, NO = marked("right", "right", verdict="right"), marked("right", "wrong", verdict="wrong")
SHORT = marked("right", verdict="right")  # one step left out
UNMARKED = marked("right", "hm", verdict="wrong")


def judged(
    texts: Sequence[Any], *rollouts: Rollout, **changes: Any
) -> tuple[list[Verdict], list[Rollout]]:
    verifications = len(texts) // len(rollouts)
    return llm(**changes).judge(list(rollouts), Prepared(texts), turn(verifications))


def paid(rows: Sequence[Rollout]) -> list[dict[str, float]]:
    return [{reward.part: reward.value for reward in row.rewards} for row in rows]


def test_a_solutions_verdict_is_the_mean_of_those_that_can_be_read() -> None:
    texts = [YES, NO, YES, SHORT, (NO, "length"), "?", NO, NO, YES, NO, NO, "?"]
    verdicts, rows = judged(texts, RIGHT, WRONG)
    assert [verdict.score for verdict in verdicts] == [pytest.approx(2 / 3), pytest.approx(1 / 5)]
    assert verdicts[0].steps == pytest.approx((1.0, 2 / 3))
    assert verdicts[1].steps == pytest.approx((1.0, 1 / 5))
    assert [verdict.status for verdict in verdicts] == ["ok", "ok"]
    assert [row.text for row in rows[:4]] == [YES, NO, YES, SHORT]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("?", "missing"),
        (SHORT, "misaligned"),
        (UNMARKED, "unparsable"),
        ((YES, "length"), "missing"),
    ],
)
def test_a_solution_that_nobody_judged_readably_goes_without(text: Any, status: str) -> None:
    verdicts, rows = judged([text, text, YES, YES], RIGHT, RIGHT)
    assert (verdicts[0].score, verdicts[0].steps, verdicts[0].status) == (None, (), status)
    assert (verdicts[1].score, verdicts[1].steps) == (1.0, (1.0, 1.0))
    assert paid(rows)[0] == {"correct": 0.0, "format": 0.0}


def test_without_steps_only_the_verdict_is_read() -> None:
    texts = ["<verdict>right</verdict>", SHORT, UNMARKED, "hm"]
    verdicts, rows = judged(texts, RIGHT, steps=False)
    assert [verdict.score for verdict in verdicts] == [pytest.approx(2 / 3)]
    assert (verdicts[0].steps, verdicts[0].status) == ((), "ok")
    assert [row["correct"] for row in paid(rows)] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("gold_weight", "right", "wrong", "unread"),
    [(0.0, 0.5, 0.0, None), (0.5, 0.75, 0.0, None), (0.25, 0.625, 0.0, None), (1.0, 1.0, 0.0, 1.0)],
)
def test_the_outcome_is_the_graders_and_the_verifiers(
    gold_weight: float, right: float, wrong: float, unread: float | None
) -> None:
    texts = [YES, NO, NO, NO, "?", "?"]
    verdicts, _ = judged(texts, RIGHT, WRONG, RIGHT, gold_weight=gold_weight)
    assert [verdict.score for verdict in verdicts] == [right, wrong, unread]
    assert [verdict.steps for verdict in verdicts] == [(1.0, 0.5), (1.0, 0.0), ()]
    assert verdicts[2].status == "missing"


def test_strict_pays_agreement_and_format_only_for_a_whole_judgement() -> None:
    texts = [YES, NO, SHORT, UNMARKED, YES + "!", "so: " + YES]
    _, rows = judged(texts, RIGHT)
    nothing = {"correct": 0.0, "format": 0.0}
    assert paid(rows) == [
        {"correct": 1.0, "format": 0.8},
        {"correct": 0.0, "format": 0.8},
        nothing,
        nothing,
        nothing,
        {"correct": 1.0, "format": 0.8},
    ]
    assert [row.earned("verdict") for row in rows[:3]] == [1.8, 0.8, 0.0]
    assert {reward.stream for row in rows for reward in row.rewards} == {"verdict"}


RIGHT_DESPITE_A_WRONG_STEP = NO.replace("<verdict>wrong", "<verdict>right")


def test_strict_rewards_no_verdict_that_contradicts_its_marks() -> None:
    verdicts, rows = judged([YES, RIGHT_DESPITE_A_WRONG_STEP], RIGHT)
    assert paid(rows)[1] == {"correct": 0.0, "format": 0.0}, "although the solution is right"
    assert rows[1].judgement is not None
    assert rows[1].judgement.verdict == Verdict(
        score=1.0, steps=(1.0, 0.0), status="contradictory", extracted="right"
    )
    # Its marks are no reward of the generator either.
    assert (verdicts[0].score, verdicts[0].steps) == (1.0, (1.0, 1.0))
    verdicts, _ = judged([RIGHT_DESPITE_A_WRONG_STEP], RIGHT)
    assert verdicts[0] == Verdict(score=None, status="contradictory", grade=verdicts[0].grade)


def test_graded_rewards_a_verdict_that_contradicts_its_marks_as_tango_does() -> None:
    verdicts, rows = judged([YES, RIGHT_DESPITE_A_WRONG_STEP], RIGHT, format="graded")
    assert paid(rows)[1] == {"correct": 1.0, "format": 0.8}
    assert (verdicts[0].score, verdicts[0].steps) == (1.0, (1.0, 0.5))


def test_graded_pays_agreement_wherever_the_verdict_can_be_read() -> None:
    texts = [YES, NO, SHORT, UNMARKED, YES + "!", "so: " + YES, (YES, "length"), "so: " + SHORT]
    _, rows = judged(texts, RIGHT, format="graded", format_weight=0.5)
    assert [row["correct"] for row in paid(rows)] == [1, 0, 1, 0, 0, 1, 0, 1]
    assert [row["format"] for row in paid(rows)] == pytest.approx(
        [0.5, 0.5, 0.1, 0.1, 0, 0.3, 0, 0]
    )


def test_graded_without_steps_asks_for_no_blocks() -> None:
    texts = ["<verdict>wrong</verdict>", "so: <verdict>wrong</verdict>"]
    _, rows = judged(texts, WRONG, steps=False, format="graded")
    assert [row["correct"] for row in paid(rows)] == [1.0, 1.0]
    assert [row["format"] for row in paid(rows)] == pytest.approx([0.8, 0.48])


def test_without_a_known_answer_a_row_goes_without() -> None:
    unlabelled = replace(RIGHT, problem=replace(SUM, answer=None))
    verdicts, rows = judged([YES, "?", YES, NO], unlabelled, RIGHT)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.5]
    assert [row.earned("verdict") for row in rows] == [None, None, 1.8, 0.8]
    assert [row.judgement.right for row in rows if row.judgement] == [None, None, True, True]


@pytest.mark.parametrize("gold_weight", [0.5, 1.0])
def test_an_answer_that_the_outcome_needs_is_named(gold_weight: float) -> None:
    unlabelled = replace(RIGHT, problem=replace(SUM, answer=None))
    with pytest.raises(ValueError, match=r"problem 'sum/1' has no known answer, .*gold_weight="):
        judged([YES], unlabelled, gold_weight=gold_weight)


def test_a_row_carries_what_it_said_and_what_is_so() -> None:
    cut = said("<step>2+3</step><step>9</st", SUM, stop="length")
    _, rows = judged([NO, SHORT, SHORT, "?"], WRONG, cut)
    found = [row.judgement for row in rows if row.judgement is not None]
    assert found[0].verdict == Verdict(score=0.0, steps=(1.0, 0.0), extracted="wrong")
    assert found[1].verdict == Verdict(score=None, status="misaligned", extracted="right")
    truth = StepTruth(right=True, kind="sum"), StepTruth(right=False, kind="sum")
    assert [(j.right, j.count, j.steps) for j in found[:2]] == [(False, 2, truth)] * 2
    # The step that the limit cut is none: one mark is one too few no more.
    assert [(j.right, j.count, j.steps) for j in found[2:]] == [(False, 1, truth[:1])] * 2
    assert found[2].verdict == Verdict(score=1.0, steps=(1.0,), extracted="right")


def test_all_rows_are_asked_at_once_and_only_judgements_of_one_solution_are_peers() -> None:
    speakers = Prepared([YES] * 6)
    # Solutions of one problem, as a game makes them, even equal ones.
    _, rows = llm().judge([RIGHT, WRONG, RIGHT], speakers, turn(2))
    ((role, prompts, group_size, sampling, seeds),) = speakers.calls
    assert (role, group_size, seeds) == ("verifier", 2, (7, 3))
    assert (sampling.temperature, sampling.max_tokens, sampling.stop) == (0.7, 99, ("\n\n",))
    assert [prompt.messages[0]["content"] for prompt in prompts] == [
        f"2+3?|{row.text}|2" for row in (RIGHT, WRONG, RIGHT)
    ]
    groups = [row.peers for row in rows]
    assert groups[::2] == groups[1::2] and len(set(groups)) == 3
    assert {row.episode for row in rows} == {RIGHT.episode}


def test_lines_are_judged_in_the_wording_of_the_data() -> None:
    lines = Wording(step_style="line", judge_template="{question}|{solution}")
    speakers = Prepared([YES, SHORT])
    # The length limit cut the second in its last line, which is no step then.
    rollouts = [said("2+3\n=5\n#### 5", SUM), said("2+3\n=", SUM, stop="length")]
    verdicts, _ = llm().judge(rollouts, speakers, turn(wording=lines))
    assert [verdict.steps for verdict in verdicts] == [(1.0, 1.0), (1.0,)]
    assert [prompt.messages[0]["content"] for prompt in speakers.calls[0][1]] == [
        "2+3?|<step>2+3</step>\n<step>=5</step>\n#### 5",
        "2+3?|<step>2+3</step>\n=",
    ]


def test_what_it_emits_and_needs() -> None:
    assert llm().streams == ("outcome", "step", "verdict")
    assert llm(steps=False).streams == ("outcome", "verdict")
    assert [llm(gold_weight=w).needs_answers for w in (0.0, 0.5, 1.0)] == [False, True, True]
    assert set(llm().marks) >= {"<step>", "</step>", "<verdict>", "</verdict>", "right", "wrong"}
    assert "<step>" not in llm(steps=False).marks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold_weight": 1.5}, r"^verifier\.gold_weight=1\.5: must lie in 0\.\.1"),
        ({"gold_weight": -0.1}, r"^verifier\.gold_weight=-0\.1: "),
        ({"format_weight": -1}, r"^verifier\.format_weight=-1: must be 0 or more"),
        ({"temperature": 0}, r"^verifier\.temperature=0: must be above 0"),
        ({"stop": ["\n", "</verdict>"]}, r"^verifier\.stop=.*: '</verdict>' would cut"),
        ({"stop": ["</verdict>\n"]}, r"^verifier\.stop=.* would cut"),
        ({"stop": [">"]}, r"^verifier\.stop=\['>'\]: '>' would cut"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llm(**changes)


def test_solutions_are_graded_while_the_verifier_speaks() -> None:
    speaking = Event()

    class Speaking(Prepared):
        def sample(self, *args: Any, **kwargs: Any) -> list[Rollout]:
            speaking.set()
            return super().sample(*args, **kwargs)

    class Patient(Number):
        waits = True

        def grade(self, *args: Any) -> list[Grade]:
            assert speaking.wait(timeout=30), "nobody speaks before the grader is done"
            return super().grade(*args)

    grader = Patient(tolerance=0.0)
    verdicts, rows = llm(grader=grader, gold_weight=1.0).judge(
        [RIGHT, WRONG], Speaking([YES, NO]), turn(1)
    )
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0]
    assert [sum(one.values()) for one in paid(rows)] == [1.8, 1.8]


def test_a_grader_that_may_need_the_main_thread_gets_it() -> None:
    class Particular(Number):
        def grade(self, *args: Any) -> list[Grade]:
            assert current_thread() is main_thread()
            return super().grade(*args)

    verdicts, _ = llm(grader=Particular(tolerance=0.0), gold_weight=1.0).judge(
        [RIGHT], Prepared([YES]), turn(1)
    )
    assert verdicts[0].score == 1.0


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_error_of_the_grader_is_raised_by_who_asked(elsewhere: bool) -> None:
    class Broken(Number):
        waits = elsewhere

        def grade(self, *_: Any) -> list[Grade]:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        llm(grader=Broken(tolerance=0.0)).judge([RIGHT], Prepared([YES]), turn(1))


class Short(Prepared):
    """Has room for those solutions only in which no 9 stands."""

    def sample(self, role: str, prompts: Sequence[Prompt], *rest: Any) -> list[Rollout]:
        assert all(prompt.optional for prompt in prompts)
        fit = [prompt for prompt in prompts if "9" not in prompt.messages[-1]["content"]]
        return super().sample(role, fit, *rest)


@pytest.mark.parametrize(("gold_weight", "score"), [(0.0, None), (1.0, 0.0)])
def test_a_solution_that_leaves_no_room_costs_its_verdict_alone(
    gold_weight: float, score: float | None
) -> None:
    speakers = Short([YES, YES, NO, NO])
    verdicts, rows = llm(gold_weight=gold_weight).judge(
        [RIGHT, WRONG, RIGHT], speakers, turn(verifications=2)
    )
    assert [verdict.status for verdict in verdicts] == ["ok", "missing", "ok"]
    assert verdicts[1].score == score and verdicts[1].steps == ()
    assert [verdict.steps for verdict in verdicts[::2]] == [(1.0, 1.0), (1.0, 0.0)]
    assert [row.text for row in rows] == [YES, YES, NO, NO]
    verdicts, rows = llm(gold_weight=gold_weight).judge([WRONG], Short([]), turn())
    assert verdicts[0].status == "missing" and rows == []
