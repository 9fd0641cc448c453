"""The types that flow through rlcotrain.

Legend for shapes: P prompt tokens, T completion tokens, B rows, L padded length, V vocabulary.
Token arrays are numpy (int32, float32) until collate and tensors after it.

Alignment law: index t of every per-token array speaks about *token t*, never about the
prediction made at t. The shift by one happens in one place, `rlcotrain.model.logprobs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

Messages = tuple[dict[str, str], ...]  # a plain content is quoted as a whole, see Words
Stop = Literal["stop", "length"]
GradeStatus = Literal[
    "ok", "no_answer", "unparsable", "answer_timeout", "answer_crashed", "timeout", "crashed"
]
VerdictStatus = Literal["ok", "missing", "unparsable", "misaligned", "contradictory"]


class Words(str):
    """A content whose text is the configuration's, but for what it quotes.

    quoted: (start, end) characters, end exclusive, of what a data file or a model wrote. Only the
    configuration can write control tokens: what is quoted stays text (rlcotrain.model.chat).
    """

    quoted: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(*parts: tuple[str, bool]) -> Words:
        """The joined texts of `parts`, those with True quoted."""
        words, spans, start = Words("".join(text for text, _ in parts)), [], 0
        for text, quoted in parts:
            spans += [(start, start + len(text))] if quoted and text else []
            start += len(text)
        words.quoted = tuple(spans)
        return words


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One question. `answer` is None where no gold label exists; `level` 1 is easy, 0 unknown.

    task: the data set it is of, by which graders and metrics tell them apart. columns: its row as
    the source has it, for graders that read more than the answer.
    """

    id: str
    question: str
    answer: str | None = None
    tests: tuple[str, ...] = ()
    solution: str | None = None
    level: int = 1
    subject: str = ""
    task: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What one model call is asked. Rows of equal `peers` are compared with each other.

    optional: it holds what a model wrote, and is left out where that leaves no room for a reply.
    """

    problem: Problem
    messages: Messages
    peers: str
    episode: str
    optional: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reward:
    """`value` earned by tokens `start` to `end` (end exclusive, in 0..T), as part of a stream."""

    stream: str
    part: str
    value: float
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """What a grader (a program) says of a completion, and how it came to it.

    score: in 0..1 (1 = right); None, which is no zero, where it could not find out (status timeout
        or crashed); 0 where the answer alone took too long or ended a process (answer_timeout,
        answer_crashed).
    extracted: the answer it found; rule: how it looked for it.
    watched: what graders that ride along say, by name.
    """

    score: float | None
    extracted: str | None
    rule: str
    status: GradeStatus
    watched: tuple[tuple[str, Grade], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a verifier says of a solution. `score` in 0..1 (1 = right), None: nothing said.

    `steps` holds a mark in 0..1 for every reasoning step; empty where there are none to go by.
    `grade`: what a grader that was asked said.
    """

    score: float | None
    steps: tuple[float, ...] = ()
    status: VerdictStatus = "ok"
    extracted: str | None = None
    grade: Grade | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTruth:
    """Whether a reasoning step is right, and of which kind it is: like is compared with like."""

    right: bool
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One model's verdict on a solution, beside what is known of that solution.

    right: by the known answer, None without one; count: of its steps; finished: whether it came to
    its end; steps: None where the data cannot tell.
    """

    verdict: Verdict
    right: bool | None
    count: int
    finished: bool = True
    steps: tuple[StepTruth, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One model call: who spoke, what it read, what it said, and what that earned."""

    role: str
    policy: str
    problem: Problem
    peers: str
    episode: str
    prompt_ids: np.ndarray  # [P] int32
    token_ids: np.ndarray  # [T] int32
    mask: np.ndarray  # [T] bool, false on injected text
    logprobs: np.ndarray  # [T] float32, under the distribution that was sampled from
    versions: np.ndarray  # [T] int32, number of updates of the weights that spoke
    text: str  # the completion, cut at the stop string and without special tokens
    stop: Stop
    temperature: float = 1.0
    reference: np.ndarray | None = None  # [T] float32
    rewards: tuple[Reward, ...] = ()
    weight: float = 1.0  # multiplies the advantage: class balance, duplicates
    advantages: np.ndarray | None = None  # [T] float32
    judgement: Judgement | None = None  # of a verifier's row: what it said, and what is so
    grade: Grade | None = None  # of a solution that a grader was asked about

    def give(
        self, stream: str, value: float, part: str = "", start: int = 0, end: int | None = None
    ) -> Rollout:
        """A new row that has also earned `value` for tokens start to end (default: all of them)."""
        length = len(self.token_ids)
        end = length if end is None else end
        if not 0 <= start <= end <= length:
            raise ValueError(
                f"reward span {start}..{end} lies outside the row's 0..{length} tokens"
            )
        reward = Reward(
            stream=stream, part=part or stream, value=float(value), start=start, end=end
        )
        return replace(self, rewards=(*self.rewards, reward))

    def earned(self, stream: str) -> float | None:
        """Raw sum of one stream, None where the row goes without it."""
        values = [reward.value for reward in self.rewards if reward.stream == stream]
        return sum(values) if values else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows of one micro-batch: prompt, completion, then padding, to length L. Prompts that went
    through the model before are left out.

    Padding stands at the end, where causal attention never lets a real token see it, so no mask by
    token id exists that could hide a real token. `scored_BL` is what the loss may look at.
    """

    token_ids_BL: torch.Tensor  # int64
    scored_BL: torch.Tensor  # bool, completion tokens the policy chose itself
    weights_BL: torch.Tensor  # float32, what each token counts in the loss of the optimizer step
    sampler_BL: torch.Tensor  # float32 log-probabilities as sampled
    old_BL: torch.Tensor | None  # float32 at the start of the update; None: equal to the current
    advantages_BL: torch.Tensor  # float32
    reference_BL: torch.Tensor | None  # float32
    temperature_B: torch.Tensor  # float32
    starts_B: tuple[int, ...]  # where the completions begin


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateStats:
    """What one update did; means are over trained tokens."""

    loss: float
    entropy: float
    approx_kl: float  # k3 of old against current, in nats
    reference_kl: float  # of current against the reference, 0 without one
    kl_max: float  # largest |log-probability - old| of a token
    ratio_max: float
    clip_fraction: float
    grad_norm: float  # before clipping, the largest of the update
    mismatch_kl: float | None  # k3 of sampler against trainer at the start; None: nothing sampled
    mismatch_max: float | None  # largest |sampler - trainer| of a token
    lr: float
    num_tokens: int  # trained tokens, each counted once per epoch
    padding_fraction: float  # of all positions that went through the model
    shared_fraction: float  # of the tokens of its rows, those that were read for another row
    rows_skipped: int  # without an advantage, left out where that changes no gradient
    optimizer_steps: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy; top_p 1 and top_k 0 are off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks = {
            "temperature": (self.temperature >= 0, "0 (greedy) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (off)"),
            "top_k": (self.top_k >= 0, "0 (off) or more"),
            "max_tokens": (self.max_tokens >= 1, "1 or more"),
            "stop": (all(self.stop), "strings that are not empty"),
        }
        for key, (holds, allowed) in checks.items():
            if not holds:
                raise ValueError(f"sampling.{key}={getattr(self, key)}: must be {allowed}")

    @property
    def truncated(self) -> bool:
        """Whether sampled log-probabilities are renormalised, unlike the trainer's."""
        return self.top_p < 1 or self.top_k > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What an engine returns for one row; `token_ids` keep the stop, as the model must learn it."""

    token_ids: np.ndarray  # [T] int32
    logprobs: np.ndarray  # [T] float32
    stop: Stop
    version: int


class Grader(Protocol):
    """A program that compares completions with what is known of their problems, a batch at once.

    It never raises on what a model wrote; `check` raises ValueError where the known answer is of no
    use to it.
    """

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]: ...

    def check(self, problem: Problem) -> None: ...


class Bonus(Protocol):
    """What rows earn on a stream of its own, whatever a verifier says; None: goes without."""

    def pay(self, rows: Sequence[Rollout]) -> list[float | None]: ...


class Wording(Protocol):
    """How a data set speaks to models, and how its solutions fall into steps (rlcotrain.data)."""

    def messages(self, problem: Problem, lead: int | None = None) -> Messages: ...

    def judge_messages(self, problem: Problem, solution: str, finished: bool) -> Messages: ...

    def steps(self, text: str, finished: bool) -> list[tuple[int, int]]: ...

    def tagged(self) -> Wording: ...


class Task(Protocol):
    """What a game asks of a data set besides its problems."""

    @property
    def wording(self) -> Wording: ...

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None: ...

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """How a game is to be played now: all that a draw's seed derives from, and how to ask.

    group_size: solutions a problem; verifications: judgements a solution; lead: steps that the
    leading phase has done.
    """

    seed: int
    step: int
    group_size: int
    sampling: Sampling
    task: Task
    verifications: int = 1
    lead: int = 0


class Speakers(Protocol):
    """Who can be asked to speak (rlcotrain.model.agents)."""

    def sample(
        self,
        role: str,
        prompts: Sequence[Prompt],
        group_size: int,
        sampling: Sampling,
        *seed_parts: int | str,
    ) -> list[Rollout]: ...

    def token_ends(self, row: Rollout, ends: Sequence[int]) -> list[int]: ...


class Verifier(Protocol):
    """Whoever says what is right. Judges whole groups; returns its own rows where it spoke."""

    needs_answers: bool  # whether it can judge only problems whose answer is known
    streams: tuple[str, ...]  # what its verdicts become: outcome, step, and verdict of its own rows

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]: ...
