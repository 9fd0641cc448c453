import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.model.agents import Agents
from rlcotrain.model.policy import Policy
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Completion, Problem, Prompt, Rollout, Sampling
from tests.loss.composed import composed
from tests.model.tiny import optimizer, policy, pretrained, tiny, with_advantages

QUESTIONS = ["1+1?", "bafo kimu!", "!", "a much longer question, so that rows are padded: 7+12?"]


def asked(questions: Sequence[str] = QUESTIONS) -> list[Prompt]:
    return [
        Prompt(
            problem=Problem(id=f"q/{k}", question=question),
            messages=({"role": "user", "content": question},),
            peers=f"{k}",
            episode=f"{k}",
        )
        for k, question in enumerate(questions)
    ]


class Listening(TransformersEngine):
    """Remembers the seeds it was given."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows, 10**6)
        self.seeds: list[int] = []

    def generate(
        self, policy: str, prompts: Sequence[np.ndarray], seeds: Sequence[int], sampling: Sampling
    ) -> list[Completion]:
        self.seeds.extend(seeds)
        return super().generate(policy, prompts, seeds, sampling)


def agents(speaker: Policy, engine: TransformersEngine | None = None) -> Agents:
    return Agents(
        {"generator": speaker},
        {"generator": "generator", "critic": "generator"},
        engine or TransformersEngine(speaker.hardware.engine_rows, 4096),
    )


def gaps(speaker: Policy, rows: Sequence[Rollout]) -> np.ndarray:
    """|sampled - trainer's| of every token."""
    scores = speaker.score(rows)
    return np.abs(np.concatenate(scores) - np.concatenate([row.logprobs for row in rows]))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("real", [False, True])
def test_sampled_log_probabilities_are_the_trainers(
    temperature: float, real: bool, qwen: Path
) -> None:
    speaker = policy(pretrained(qwen) if real else tiny(), engine_rows=10, logprob_chunk=100)
    rows = agents(speaker).sample(
        "generator", asked(), 6, Sampling(temperature=temperature, max_tokens=48), 0, 1
    )
    assert len({len(row.prompt_ids) for row in rows}) == 4
    assert {row.temperature for row in rows} == {temperature}
    found = gaps(speaker, rows)
    assert len(found) > 500
    assert found.mean() < 1e-6 and found.max() < 1e-4
    # The update itself measures the same.
    stats = speaker.update(with_advantages(rows), composed("grpo"), seed=0)
    assert stats.mismatch_max is not None and stats.mismatch_max < 1e-4
    assert stats.mismatch_kl is not None and stats.mismatch_kl < 1e-9
    # And the next rows are spoken by the new weights.
    later = agents(speaker).sample("generator", asked(), 2, Sampling(max_tokens=8), 0, 2)
    assert all(row.versions.tolist() == [1] * len(row.token_ids) for row in later)
    assert gaps(speaker, later).max() < 1e-4


def test_adapters_speak_as_they_are_trained(qwen: Path) -> None:
    lora = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
    speaker = policy(pretrained(qwen, lora=lora, gradient_checkpointing=True), optimizer(lr=0.05))
    talk, loss = agents(speaker), composed("grpo")
    for step in range(3):
        rows = talk.sample("generator", asked(), 3, Sampling(max_tokens=12), 0, step)
        assert gaps(speaker, rows).max() < 1e-4
        speaker.update(with_advantages(rows), loss, seed=step)
        talk.sync()
    stale = rows
    assert gaps(speaker, stale).max() > 1e-3


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.02), ("float16", 0.0025)])
def test_half_precision_sampler_and_trainer_agree(dtype: str, bound: float) -> None:
    speaker = policy(dtype=dtype)
    rows = agents(speaker).sample("generator", asked(), 4, Sampling(max_tokens=24), 0)
    assert gaps(speaker, rows).mean() < bound


def test_greedy_rows_are_scored_at_the_temperature_they_report() -> None:
    speaker = policy()
    rows = agents(speaker).sample(
        "generator", asked(), 1, Sampling(temperature=0, max_tokens=16), 0
    )
    assert {row.temperature for row in rows} == {1.0}
    assert gaps(speaker, rows).max() < 1e-4


def test_what_a_row_says_of_itself() -> None:
    speaker = policy()
    prompts = asked()
    rows = agents(speaker).sample("critic", prompts, 3, Sampling(max_tokens=9), 5)
    assert len(rows) == 12
    for k, row in enumerate(rows):
        prompt = prompts[k // 3]
        assert (row.role, row.policy) == ("critic", "generator")
        assert (row.problem, row.peers, row.episode) == (
            prompt.problem,
            prompt.peers,
            prompt.episode,
        )
        assert speaker.chat.decode(row.prompt_ids) == prompt.problem.question
        assert row.mask.tolist() == [True] * len(row.token_ids)
        assert row.versions.tolist() == [0] * len(row.token_ids)
        assert row.text == speaker.chat.decode(row.token_ids)
        assert row.logprobs.max() <= 0 and np.isfinite(row.logprobs).all()


def test_the_text_ends_before_the_stop_and_the_ids_keep_it() -> None:
    speaker = policy()
    free = agents(speaker).sample("generator", asked(), 4, Sampling(max_tokens=40), 0)
    row = next(row for row in free if len(row.text) > 12 and "\ufffd" not in row.text[4:7])
    mark = row.text[4:7]
    rows = agents(speaker).sample("generator", asked(), 4, Sampling(max_tokens=40, stop=(mark,)), 0)
    (stopped,) = (again for again, before in zip(rows, free, strict=True) if before is row)
    assert stopped.text == row.text[: row.text.index(mark)]
    assert stopped.stop == "stop"
    ids = stopped.token_ids.tolist()
    assert ids == row.token_ids.tolist()[: len(ids)]
    assert speaker.chat.decode(stopped.token_ids).endswith(mark)


def test_given_words_become_rows() -> None:
    speaker = policy()
    speaker.version = 3
    rows = agents(speaker).say("generator", asked()[:2], ["2", "<answer>é</answer>"])
    assert [row.text for row in rows] == ["2", "<answer>é</answer>"]
    for row in rows:
        assert row.token_ids[-1] == 1 and (row.token_ids[:-1] != 1).all()
        assert np.isnan(row.logprobs).all()
        assert (row.stop, row.temperature) == ("stop", 1.0)
        assert row.versions.tolist() == [3] * len(row.token_ids)
    assert len(rows[1].token_ids) == 1 + 2 + 1 + 1


def test_seeds_differ_by_all_that_a_draw_belongs_to() -> None:
    engine = Listening(64)
    talk = agents(policy(), engine)
    short = Sampling(max_tokens=1)
    for role in ("generator", "critic"):
        for step in (0, 1):
            talk.sample(role, asked(), 3, short, 7, step)
    assert len(engine.seeds) == len(set(engine.seeds)) == 2 * 2 * 4 * 3
    assert all(0 <= seed < 2**63 for seed in engine.seeds)
    assert engine.seeds[:4] == [
        derive_seed(7, 0, "generator", "generator", position, sample)
        for position, sample in [(0, 0), (0, 1), (0, 2), (1, 0)]
    ]
    again = Listening(64)
    agents(policy(), again).sample("generator", asked(), 3, short, 7, 0)
    assert again.seeds == engine.seeds[:12]


def test_seeds_are_equal_in_every_process() -> None:
    parts = (7, 0, "generator", "ü/policy", 3, 1)
    script = f"from rlcotrain.seeds import derive_seed; print(derive_seed(*{parts!r}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert found == {str(derive_seed(*parts))}
    # Neighbours that would be one string if simply joined are kept apart.
    assert (
        len({derive_seed(1, 23), derive_seed(12, 3), derive_seed("1", 23), derive_seed(123)}) == 4
    )


def test_token_0_in_prompt_and_completion_is_trained_on(qwen: Path) -> None:
    speaker = policy(pretrained(qwen), optimizer(lr=0.02))
    (row,) = agents(speaker).say("generator", asked(["!bafo!"]), ["!!"])
    assert row.prompt_ids[0] == 0 and row.prompt_ids[-1] == 0
    assert (row.token_ids == 0).any()
    loss = composed("nll")
    for _ in range(60):
        stats = speaker.update(loss.advantage([row], {}), loss, seed=0)
    assert stats.num_tokens == len(row.token_ids)
    assert stats.loss < 0.1
    (said,) = agents(speaker).sample(
        "generator", asked(["!bafo!"]), 1, Sampling(temperature=0, max_tokens=8), 0
    )
    assert (said.text, said.token_ids.tolist()) == ("!!", row.token_ids.tolist())


def test_a_role_without_a_policy_is_named() -> None:
    with pytest.raises(ValueError, match=r"^roles\.critic=judge: no such policy; .* generator"):
        Agents({"generator": policy()}, {"critic": "judge"}, TransformersEngine(4, 4096))


def test_a_prompt_too_long_for_the_model_is_named() -> None:
    talk = agents(policy(tiny(max_length=32)))
    prompts = asked(["x" * 20])
    assert len(talk.sample("generator", prompts, 1, Sampling(max_tokens=12), 0)) == 1
    with pytest.raises(
        ValueError, match=r"^model\.max_length=32: problem q/0 has a prompt of 20 tokens .* 13 "
    ):
        talk.sample("generator", prompts, 1, Sampling(max_tokens=13), 0)
    with pytest.raises(ValueError, match=r"^model\.max_length=32: "):
        talk.say("generator", prompts, ["y" * 12])


def test_an_empty_prompt_is_named() -> None:
    with pytest.raises(ValueError, match=r"^problem q/0: its prompt is empty"):
        agents(policy()).sample("generator", asked([""]), 1, Sampling(max_tokens=2), 0)


def test_two_policies_share_an_engine() -> None:
    one, two = policy(seed=1), policy(seed=2)
    two.version = 4
    talk = Agents({"a": one, "b": two}, {"solver": "a", "judge": "b"}, TransformersEngine(16, 4096))
    for role, speaker in {"solver": one, "judge": two}.items():
        rows = talk.sample(role, asked(), 2, Sampling(max_tokens=12), 0)
        assert gaps(speaker, rows).max() < 1e-4
        assert {version for row in rows for version in row.versions} == {speaker.version}


def test_a_step_ends_in_the_tokens_of_the_policy_that_spoke(qwen: Path) -> None:
    one, two = policy(pretrained(qwen)), policy(tiny(words=["</step>"]))
    talk = Agents({"a": one, "b": two}, {"solver": "a", "judge": "b"}, TransformersEngine(16, 4096))
    for role, speaker in {"solver": one, "judge": two}.items():
        (row,) = talk.say(role, asked(["?"]), ["é 1+1</step>2</step>"])
        assert talk.token_ends(row, [1, 12, 20]) == [
            len(speaker.chat.completion_ids(text)) - 1
            for text in ("é", "é 1+1</step>", "é 1+1</step>2</step>")
        ]
    # Two bytes, a space, 1+1 and the mark.
    assert talk.token_ends(row, [12]) == [2 + 1 + 3 + 1]
    (said,) = talk.sample("judge", asked(["?"]), 1, Sampling(max_tokens=20), 3)
    (end,) = talk.token_ends(said, [len(said.text)])
    assert two.chat.decode(said.token_ids[:end]) == said.text


def test_an_optional_prompt_without_room_has_no_rows() -> None:
    """The others are what they are beside it, seeds and all; what is not optional raises."""
    speaker, sampling = policy(), Sampling(max_tokens=9)
    long = "7" * (speaker.chat.max_length - 8)
    fits, questions = long[:-1], ["1+1?", long, "2+2?"]
    prompts = [replace(prompt, optional=True) for prompt in asked(questions)]
    talk = agents(speaker)
    rows = talk.sample("generator", prompts, 3, sampling, 5)
    assert [row.problem.question for row in rows] == ["1+1?"] * 3 + ["2+2?"] * 3
    assert talk.no_room == 1
    beside = talk.sample("generator", asked(["1+1?", fits, "2+2?"]), 3, sampling, 5)
    assert [row.text for row in rows] == [row.text for row in beside[:3] + beside[6:]]
    assert talk.sample("generator", prompts[1:2], 3, sampling, 5) == []
    assert talk.no_room == 2
    with pytest.raises(ValueError, match=r"^model\.max_length=128: problem q/1 has a prompt of 12"):
        talk.sample("generator", asked(questions), 3, sampling, 5)
    with pytest.raises(ValueError, match="needs 9 more"):
        talk.prompt_ids("generator", prompts[1], 9)


def test_given_words_without_room_are_left_out_too() -> None:
    speaker = policy()
    talk, texts = agents(speaker), ["1" * 30, "2" * 30]
    prompts = [replace(prompt, optional=True) for prompt in asked(["1" * 98, "2"])]
    assert [row.text for row in talk.say("generator", prompts, texts)] == texts[1:]
    assert talk.no_room == 1
