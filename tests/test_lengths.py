"""What a model wrote may be longer for the verifier than it was to say: that costs a verdict."""

import shutil
from pathlib import Path

import pytest

from rlcotrain.build import build, check
from rlcotrain.job import run
from rlcotrain.ranks import Ranks
from tests.runs import PAIR, SMALL, compose, lines

# Untrained, so that most of what is said is bytes that are no character.
WORDS = (
    *SMALL,
    *PAIR,
    *("model.steps.judge=0", "policy.verifier.model.steps.judge=0"),
    "policy.verifier.model.steps.judge_short=0",
    *("model.steps.pretrain=0", "model.steps.imitate=0", "schedule.steps=2"),
    *(
        "schedule.prelude.judge.optimizer.schedule=constant",
        "verifier.max_tokens=32",
        "sampling.max_tokens=40",
    ),
    *("schedule.cycle.solve.num_prompts=4", "schedule.cycle.solve.group_size=2"),
    *("schedule.cycle.solve.steps=1", "schedule.cycle.verify.steps=1"),
    *("schedule.cycle.verify.num_prompts=4", "checkpoint.every=1"),
)


def sized(length: int) -> tuple[str, ...]:
    return f"model.max_length={length}", f"policy.verifier.model.max_length={length}"


def test_a_solution_that_outgrows_the_verifiers_room_costs_its_verdict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A question of 10 tokens, a solution of 40, `?`, a judgement of 32.
    run(compose(tmp_path, *WORDS, *sized(83)), tmp_path / "run")
    told = capfd.readouterr().err
    assert "max_length=83: a solution of 40 tokens may need up to" in told
    found = lines(tmp_path / "run" / "metrics.jsonl")
    counts = [line["verifier/no_room"] for line in found if line["phase"] == "solve"]
    assert sum(counts) > 0 and f"solve 0: {counts[0]:.0f} solutions are too long" in told
    assert all("verify/verifier/no_room" in line for line in found if line["phase"] == "verify")


def test_with_room_for_all_nothing_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = compose(tmp_path, *WORDS, *sized(200))
    build(config, check(config), tmp_path / "run", Ranks())
    assert "no_room" not in capfd.readouterr().err


def test_the_start_counts_the_tags_round_a_line(tmp_path: Path) -> None:
    """`<step>` and `</step>` are one token each here, and at least one line is read."""
    words = (*WORDS, "sampling.max_tokens=300")  # above all solutions that are judged
    config = compose(tmp_path, *words, *sized(343))  # 10 + 300 + 1 + 32
    build(config, check(config), tmp_path / "run", Ranks())
    line = (*words, "data.wording.step_style=line")
    message = r"^model\.max_length=343: problem .* has a prompt of 14 tokens and needs 331 more"
    config = compose(tmp_path, *line, *sized(343))
    with pytest.raises(ValueError, match=message):
        build(config, check(config), tmp_path / "run", Ranks())
    config = compose(tmp_path, *line, *sized(345))
    build(config, check(config), tmp_path / "run", Ranks())


REFUSES = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
)
LEAVES_OUT = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "key", "message"),
    [
        (REFUSES, "system", r"refuses messages of system, user .*data\.wording\.system and"),
        (REFUSES, "judge_system", r"refuses messages of system, user .*judge_system must be null"),
        (LEAVES_OUT, "system", r"^data\.wording\.system='Be brief\.': .* leaves it out"),
        (LEAVES_OUT, "judge_system", r"^data\.wording\.judge_system='Be brief\.': .*must be null"),
    ],
)
def test_a_template_that_knows_no_system_message(
    tmp_path: Path, checkpoint: Path, template: str, key: str, message: str
) -> None:
    shutil.copytree(checkpoint, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text(template)
    words = ("model=qwen3_0.6b", "model@policy.verifier.model=qwen3_0.6b", *SMALL)
    paths = (f"{at}model.path={tmp_path}/m" for at in ("", "policy.verifier."))
    few = ("quality.num_solutions=2", "quality.between_solutions=1")
    given = (*words, *paths, *few, *sized(2048))
    for said in (f"data.wording.{key}=Be brief.", f"data.wording.{key}=null"):
        config = compose(tmp_path, *given, said)
        if said.endswith("null"):
            build(config, check(config), tmp_path / "run", Ranks())
        else:
            with pytest.raises(ValueError, match=message):
                build(config, check(config), tmp_path / "run", Ranks())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "sampling.stop=['b<|im_start|>user']",
            r"^sampling\.stop=.*token '<\|im_start\|>'",
        ),
        ("data.wording.stop=['<|im_end|>']", r"^sampling\.stop=.*allowed: model\.stop_tokens=\["),
        ("verifier.stop=['<|endoftext|>']", r"^verifier\.stop=.* of policy verifier, which is no"),
    ],
)
def test_a_stop_that_no_text_holds_is_named(
    tmp_path: Path, checkpoint: Path, word: str, message: str
) -> None:
    words = ("model=qwen3_0.6b", "model@policy.verifier.model=qwen3_0.6b", *SMALL)
    paths = (f"{at}model.path={checkpoint}" for at in ("", "policy.verifier."))
    few = ("quality.num_solutions=2", "quality.between_solutions=1")
    config = compose(tmp_path, *words, *paths, *few, *sized(2048), word)
    with pytest.raises(ValueError, match=message):
        build(config, check(config), tmp_path / "run", Ranks())
