import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.conversations import write_conversations


def solution(phase: str, step: int, episode: str = "0/0", **changes: Any) -> dict[str, Any]:
    """A line of rollouts.jsonl in which the generator speaks."""
    return {
        "step": step,
        "phase": phase,
        "episode": episode,
        "role": "generator",
        "problem": f"made/{step}",
        "peers": "0",
        "question": "1+1+1?",
        "answer": "3",
        "text": f"<answer>{episode}</answer>",
        "stop": "stop",
        "length": 7,
        "advantage": -0.5,
        "rewards": {"outcome/correct@0-7": 0.0, "step/step@0-3": 0.5, "step/step@3-5": -0.25},
    } | changes


def judgement(phase: str, step: int, episode: str = "0/0", **changes: Any) -> dict[str, Any]:
    said = {
        "role": "verifier",
        "text": "<step>1</step><verdict>wrong</verdict>",
        "rewards": {"verdict/correct@0-9": 1.0, "verdict/format@0-9": 0.8},
        "verdict": {"status": "ok", "score": 0.0, "steps": [1.0, 0.0]},
        "judged_right": False,
    }
    return solution(phase, step, episode) | said | changes


def told(folder: Path, lines: Iterable[dict[str, Any]], **given: int) -> str:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "rollouts.jsonl").write_text(text + '{"half a li')
    file = write_conversations(folder, **given)
    assert file == folder / "conversations.md"
    return file.read_text("utf-8")


def headings(text: str) -> list[tuple[str, int]]:
    found = re.findall(r"^## (\w+), step (\d+): ", text, re.MULTILINE)
    return [(phase, int(step)) for phase, step in found]


def test_an_exchange_reads_as_a_conversation(tmp_path: Path) -> None:
    text = told(tmp_path, [solution("solve", 8), judgement("solve", 8)])
    expected = """\
# Last conversations of the run

## solve, step 8: `made/8`

**The problem.** Its answer is `3`.

```text
1+1+1?
```

**Generator**, 7 tokens:

```text
<answer>0/0</answer>
```

> Grader: **wrong**.  
> Earned: outcome 0, step 0.25. Advantage: -0.500.

**Verifier**, 7 tokens:

```text
<step>1</step><verdict>wrong</verdict>
```

> Verdict: **wrong**, step marks `+ -`; the grader says wrong.  
> Earned: verdict 1.8 (correct 1, format 0.8). Advantage: -0.500.
"""
    assert text == expected


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    silent = {"status": "unparsable", "score": None, "steps": []}
    text = told(
        tmp_path,
        [
            solution("solve", 0, answer=None, stop="length", rewards={}),
            judgement("solve", 0, verdict=silent, judged_right=None),
        ],
    )
    assert "Its answer" not in text and "Grader" not in text
    assert "**Generator**, 7 tokens, cut by the length limit:" in text
    assert "> Earned: nothing." in text
    assert "> Verdict: none, it is unparsable; no answer is known." in text


def test_a_solution_that_nobody_judged_has_what_it_earned(tmp_path: Path) -> None:
    text = told(tmp_path, [solution("solve", 0, rewards={"outcome/correct@0-7": 1.0})])
    assert "Grader" not in text and "> Earned: outcome 1. Advantage: -0.500." in text


def test_blocks_survive_any_backticks(tmp_path: Path) -> None:
    """Every block ends where its own fence does, whatever the model wrote."""
    said = "```python\nx\n```\n`````\n# no heading\n## solve, step 9: no heading either"
    text = told(tmp_path, [solution("solve", 0, problem="a`b\nc", text=said, question="~~~ `")])
    assert f"\n``````text\n{said}\n``````\n" in text
    assert "\n```text\n~~~ `\n```\n" in text
    assert "## solve, step 0: `` a`b c ``\n" in text


def test_the_newest_of_each_phase_share_the_room(tmp_path: Path) -> None:
    """The phase that spoke last comes first and takes what does not divide."""
    lines = [solution("imitate", step) for step in range(20)]
    for turn in range(10):
        lines += [solution("solve", 2 * turn + i) for i in range(2)]
        lines += [judgement("verify", turn)]
    found = headings(told(tmp_path, lines, count=5))
    assert found == [("verify", 9), ("verify", 8), ("solve", 19), ("solve", 18), ("imitate", 19)]
    assert len(headings(told(tmp_path, lines))) == 12


def test_steps_take_turns_with_their_exchanges(tmp_path: Path) -> None:
    """One of each of the last steps, each time another; more of a step only where steps lack."""
    lines = [solution("solve", step, f"{step}/{place}") for step in range(6) for place in range(3)]
    text = told(tmp_path, lines, count=4)
    assert re.findall("<answer>(.*)</answer>", text) == ["5/0", "4/1", "3/2", "2/0"]
    text = told(tmp_path, lines[:6], count=4)
    assert headings(text) == [("solve", 1)] * 2 + [("solve", 0)] * 2
    assert sorted(re.findall("<answer>(.*)</answer>", text)) == ["0/1", "0/2", "1/0", "1/1"]
    assert len(headings(told(tmp_path, lines[:3], count=9))) == 3, "no more than there are"


def test_an_episode_that_two_steps_share_is_two_exchanges(tmp_path: Path) -> None:
    lines = [solution("solve", 4), solution("verify", 4), judgement("verify", 4)]
    assert headings(told(tmp_path, lines)) == [("verify", 4), ("solve", 4)]


def test_lines_of_before_episodes_were_written(tmp_path: Path) -> None:
    old = solution("imitate", 0)
    del old["episode"]
    assert headings(told(tmp_path, [old])) == [("imitate", 0)]


def test_what_no_encoding_holds_is_written_anyhow(tmp_path: Path) -> None:
    assert "a?b" in told(tmp_path, [solution("solve", 0, text="a\ud800b")])


@pytest.mark.parametrize("lines", [None, []])
def test_without_rollouts_it_says_so(tmp_path: Path, lines: list[Any] | None) -> None:
    text = write_conversations(tmp_path).read_text() if lines is None else told(tmp_path, lines)
    assert text == "# Last conversations of the run\n\nNo rollouts were recorded.\n"
