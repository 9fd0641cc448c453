import re
from itertools import product
from time import process_time

import pytest

from rlcotrain.types import Verdict, VerdictStatus
from rlcotrain.verifier.judgement import format_score, read

GOOD = "<step>2+3=5 right</step>\n<step>5*2=11;10wrong</step>\n<verdict>wrong</verdict>"
ENDED = "<verdict>right</verdict>"


def test_a_whole_judgement_has_a_mark_a_step_and_a_verdict() -> None:
    assert read(GOOD, "stop", 2) == Verdict(score=0.0, steps=(1.0, 0.0), extracted="wrong")
    text = f"First: <step> a < b, 2</3\nright \n</step> so {ENDED} \n"
    assert read(text, "stop", 1) == Verdict(score=1.0, steps=(1.0,), extracted="right")


def test_a_solution_without_steps_is_judged_by_the_verdict_alone() -> None:
    assert read(ENDED, "stop", 0) == Verdict(score=1.0, extracted="right")


def test_marks_are_not_read_where_none_are_asked_for() -> None:
    for text in (ENDED, "hm <step>no mark</step>" + ENDED):
        assert read(text, "stop", None) == Verdict(score=1.0, extracted="right")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "missing"),
        ("right", "missing"),
        ("<step>right</step><step>right</step>", "missing"),
        (GOOD + ENDED, "unparsable"),
        (GOOD + "<verdict>wrong</verdict>", "unparsable"),
        (GOOD + " or not", "unparsable"),
        (GOOD.replace(">wrong</verdict", "></verdict"), "unparsable"),
        (GOOD.replace(">wrong</verdict", ">maybe</verdict"), "unparsable"),
        (GOOD.replace(">wrong</verdict", ">not wrong</verdict"), "unparsable"),
        (GOOD.replace(">wrong</verdict", ">Wrong</verdict"), "unparsable"),
        # The verdict before its reasons, or among them.
        (ENDED + "<step>right</step><step>right</step>", "unparsable"),
        (f"<step>right</step>{ENDED}<step>right</step>", "unparsable"),
        # Tags within others, without their partners, in the wrong order.
        ("<step><step>right</step></step>" + ENDED, "unparsable"),
        ("<step>right<step>right</step>" + ENDED, "unparsable"),
        (f"<step>right{ENDED}</step>", "unparsable"),
        (f"<step>right</step></step>{ENDED}", "unparsable"),
        (f"<step>right</step><step>right{ENDED}", "unparsable"),
        ("<step>right</step><step>right</verdict>", "unparsable"),
        (GOOD + "<verdict>", "unparsable"),
        (GOOD.removesuffix("</verdict>"), "unparsable"),
        ("</step>right<step>" + ENDED, "unparsable"),
    ],
)
def test_what_is_no_judgement_says_nothing(text: str, status: VerdictStatus) -> None:
    assert read(text, "stop", 2) == Verdict(score=None, status=status)


@pytest.mark.parametrize("text", [GOOD, GOOD.removesuffix("</verdict>"), "<step>2+", "</step>"])
def test_a_judgement_that_the_limit_cut_is_missing(text: str) -> None:
    assert read(text, "length", 2) == Verdict(score=None, status="missing")
    assert read(text, "length", None) == Verdict(score=None, status="missing")


@pytest.mark.parametrize(
    "block", ["", "5", "right?", "right so 5", "upright", "alright", "Right", "righ t"]
)
def test_a_block_without_a_mark_cannot_be_read_and_its_verdict_can(block: str) -> None:
    text = f"<step>right</step><step>{block}</step>{ENDED}"
    unmarked = Verdict(score=None, status="unparsable", extracted="right")
    assert read(text, "stop", 2) == unmarked
    # Without a mark, it is not known of which step the others are.
    assert read(text, "stop", 1) == unmarked


@pytest.mark.parametrize(
    "block", ["right", "5right", "5 right\n", "so it is:right", "wrong, no: right"]
)
def test_a_mark_is_the_last_word_of_its_block(block: str) -> None:
    assert read(f"<step>{block}</step>{ENDED}", "stop", 1).steps == (1.0,)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_blocks_is_misaligned(count: int) -> None:
    expected = Verdict(score=None, status="misaligned", extracted="wrong")
    assert read(GOOD, "stop", count) == expected


@pytest.mark.parametrize(
    ("marks", "said", "status"),
    [
        (("right", "right"), "right", "ok"),
        (("right", "wrong"), "wrong", "ok"),
        (("wrong", "wrong"), "wrong", "ok"),
        (("right", "wrong"), "right", "contradictory"),
        (("wrong", "wrong"), "right", "contradictory"),
        (("right", "right"), "wrong", "contradictory"),
        ((), "right", "ok"),  # no step: nothing to follow from
        ((), "wrong", "ok"),
    ],
)
def test_read_tells_a_verdict_that_contradicts_its_marks(
    marks: tuple[str, ...], said: str, status: VerdictStatus
) -> None:
    text = "".join(f"<step>{mark}</step>" for mark in marks) + f"<verdict>{said}</verdict>"
    values = {"right": 1.0, "wrong": 0.0}
    expected = Verdict(
        score=values[said],
        steps=tuple(values[mark] for mark in marks),
        status=status,
        extracted=said,
    )
    assert read(text, "stop", len(marks)) == expected
    # Without marks to read there is nothing to contradict.
    assert read(text, "stop", None).status == "ok"


def test_read_lets_an_unfinished_solution_be_wrong_with_every_step_right() -> None:
    text = "<step>right</step><verdict>wrong</verdict>"
    assert read(text, "stop", 1, finished=False).status == "ok"
    accepted = "<step>wrong</step><verdict>right</verdict>"
    assert read(accepted, "stop", 1, finished=False).status == "contradictory"


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        (GOOD, 2, 1.0),
        (GOOD, 3, 0.2),
        (GOOD, 0, 0.2),
        (GOOD, None, 1.0),
        ("so: " + GOOD, 2, 0.6),
        ("so: " + GOOD, None, 0.6),
        ("so: " + GOOD, 1, 0.0),  # 1 - 0.8 - 0.4, and not less than 0
        (ENDED, 2, 0.2),  # no block at all
        (ENDED, 0, 0.2),
        (ENDED, None, 1.0),
        # Within a block are no words outside, whatever characters they are.
        (f"<step>2 < 3 right</step>{ENDED}", 1, 1.0),
        # Blocks without a mark are not counted.
        (f"<step>2 < 3</step>{ENDED}", 1, 0.2),
        (f"<step>2 < 3</step>{GOOD}", 2, 1.0),
        # A verdict of other words.
        (GOOD.replace(">wrong</verdict", ">maybe</verdict"), 2, 0.2),
        (GOOD.replace(">wrong</verdict", "></verdict"), 2, 0.2),
        (GOOD.replace(">wrong</verdict", ">maybe</verdict"), 3, 0.0),
        (GOOD.replace(">wrong</verdict", ">it is wrong</verdict"), 2, 1.0),
        # No judgement at all.
        (GOOD + " or not", 2, 0.0),
        (GOOD + ENDED, 2, 0.0),
        (ENDED + GOOD, 2, 0.0),
        (f"<step><step>right</step></step>{ENDED}", 1, 0.0),
        (f"<step>right</step></step>{ENDED}", 1, 0.0),
        ("<step>right</step>", 1, 0.0),
        ("", 0, 0.0),
    ],
)
def test_format_by_degrees(text: str, count: int | None, expected: float) -> None:
    verdict = read(text, "stop", count)
    assert format_score(text, verdict, count) == pytest.approx(expected, abs=1e-12)


def test_a_judgement_that_was_cut_has_no_format() -> None:
    assert format_score(GOOD, read(GOOD, "length", 2), 2) == 0.0


def tango(text: str, count: int) -> float:
    """What verifier_format_reward of kaiwenzha/rl-tango gives a judgement in its own tags: of the
    first verification block, then of the final one; penalties are summed."""
    found = re.fullmatch(
        r"<step_verification>(.*?)</step_verification>\s*"
        r"<final_verification>(.*?)</final_verification>",
        text.strip(),
        re.DOTALL,
    )
    if found is None:
        return 0.0
    marked = re.compile(r"\\box(?:ed)?\{(CORRECT|INCORRECT)\}(?:\.?\s*)?$")
    penalties = [] if marked.search(found[2].strip()) else [0.8]
    steps = re.findall(r"<step>(.*?)</step>", found[1], re.DOTALL)
    if not steps or sum(bool(marked.search(step)) for step in steps) != count:
        penalties.append(0.8)
    if re.sub(r"<step>.*?</step>", "", found[1], flags=re.DOTALL).strip():
        penalties.append(0.4)
    return max(0.0, min(1.0, 1.0 - sum(penalties)))


def test_format_by_degrees_is_that_of_tango() -> None:
    boxes = {"right": r"\boxed{CORRECT}", "wrong": r"\boxed{INCORRECT}"}
    blocks = ["right", "5 wrong", "so:\nright \n", "hm", ""]
    finals = ["right", "wrong", " right\n", "maybe", "", "it is right", "right or wrong"]
    seen = set()
    for size, verdict, words, count in product(range(4), finals, ["", "\n", "so: "], range(4)):
        for steps in product(blocks, repeat=size):
            text = words + words.join(f"<step>{step}</step>" for step in steps)
            ours = f"{text}<verdict>{verdict}</verdict>"
            body, final = text, verdict
            for word, box in boxes.items():
                body, final = body.replace(word, box), final.replace(word, box)
            theirs = (
                f"<step_verification>{body}</step_verification>"
                f"<final_verification>{final}</final_verification>"
            )
            score = format_score(ours, read(ours, "stop", count), count)
            assert score == pytest.approx(tango(theirs, count), abs=1e-12), ours
            seen.add(round(score, 1))
    assert seen == {0.0, 0.2, 0.6, 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "<step>" * 200_000,
        "<step>right</step>" * 100_000 + ENDED,
        "<step" * 200_000 + ENDED,
        "<verdict>right</verdict>" * 50_000,
        f"<step>{'right ' * 200_000}</step>{ENDED}",
        f"<step>right{' ' * 1_000_000}</step>{ENDED}{' ' * 1_000_000}.",
        "</" * 500_000,
    ],
)
def test_no_text_takes_longer_than_its_length(text: str) -> None:
    start = process_time()
    format_score(text, read(text, "stop", 100_000), 100_000)
    # Linear: tens of milliseconds. Quadratic would be hours.
    assert process_time() - start < 3
