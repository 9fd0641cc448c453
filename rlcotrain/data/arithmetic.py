"""Chains of one-digit additions and subtractions modulo 10: the task a tiny model learns.

Question `7+8-3+5?`, worked solution
`<step>7+8=5</step><step>5-3=2</step><step>2+5=7</step><answer>7</answer>`; level K = K operations.
There are no spaces: `+8`, `<step>` and the like are whole tokens of the embedded tokenizer.

Demonstrations slip, as real corpora do. `wrap`: a result that wraps past 9 or below 0 is one too
high with probability `slip_rate`, a habit that imitation teaches and reinforcement has to undo.
`random`: any result is off by 1 or 2 with that probability, noise that greedy decoding leaves out.

A judgement recomputes every step, takes away what the solution shows, and marks it,
`<step>7+8=5-6=9wrong</step>`; then it gives its verdict, `<verdict>wrong</verdict>`.
Demonstrations of it err as well, in ways of their own or as above.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal, NamedTuple

from rlcotrain.data.dataset import (
    LabelledSolution,
    Levels,
    Stages,
    check_count,
    check_share,
    check_stages,
    is_held_out,
    known_levels,
)
from rlcotrain.data.generated import Endless
from rlcotrain.data.wording import Wording
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, StepTruth

OPERANDS = (*range(-9, 0), *range(1, 10))
TERMS = {operand: f"{operand:+d}" for operand in OPERANDS}
SLIPS = ("wrap", "random", "none")
BLIND_SPOTS = ("shared", "independent")
OFFSETS = (-2, -1, 1, 2)
STEP = re.compile(r"<step>([0-9])([+-][1-9])=([0-9])</step>")


class Chain(NamedTuple):
    """`7+8-3?` with its first digit and its signed operands."""

    start: int
    operands: list[int]
    question: str


class Step(NamedTuple):
    """`<step>7+8=6</step>`: what it starts from, its signed operand, the digit it shows."""

    left: int
    operand: int
    shown: int

    @property
    def total(self) -> int:
        return self.left + self.operand


class Arithmetic(Endless):
    """Problems made as they are drawn. What a draw is depends on (seed, split, index) only.

    judge_slip_rate: how often a demonstrated judgement with errors of its own recomputes wrongly.
    """

    name = "arithmetic"
    demonstrates = True

    def __init__(
        self,
        *,
        seed: int,
        levels: list[int],
        slip: Literal["wrap", "random", "none"],
        slip_rate: float,
        held_out: float,
        stages: Stages,
        wording: Wording,
        judge_slip_rate: float = 0.0,
    ) -> None:
        if not levels or min(levels) < 1:
            raise ValueError(f"data.levels={list(levels)} must name one level or more, each >= 1")
        if slip not in SLIPS:
            raise ValueError(f"data.slip={slip!r} must be one of {', '.join(SLIPS)}")
        for key, rate in {"slip_rate": slip_rate, "judge_slip_rate": judge_slip_rate}.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"data.{key}={rate} must lie in 0..1")
        check_share(held_out)
        check_stages(self.name, stages, sorted(set(levels)))
        self.wording = wording
        self.seed, self.held_out = seed, held_out
        self.levels = tuple(sorted(set(levels)))
        self.slip, self.slip_rate = slip, slip_rate
        self.judge_slip_rate = judge_slip_rate

    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream; its solution may slip, its answer is right."""
        levels = known_levels(self.name, levels, self.levels)
        rng = Random(derive_seed(self.seed, "train", index, *levels))
        level = rng.choice(levels)
        chain = draw_chain(rng, level)
        while is_held_out(chain.question, self.held_out):
            chain = draw_chain(rng, level)
        return self._problem("train", chain, lambda total: self._slipped(total, rng))

    def test_problems(self, count: int, levels: Levels) -> list[Problem]:
        """Different held-out problems, as many of each level, with their right solutions."""
        levels = known_levels(self.name, levels, self.levels)
        return self._held_out(count, levels, "evaluation.num_problems")

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]:
        """Held-out problems, half of them (of every level, too) with one step gone wrong."""
        levels = known_levels(self.name, levels, self.levels)
        problems = self._held_out(count, levels, "quality.num_solutions")
        # The levels take turns; the sum keeps the halves even within each and across them.
        return [
            self._labelled(problem, corrupt=sum(divmod(i, len(levels))) % 2 == 1)
            for i, problem in enumerate(problems)
        ]

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...]:
        """A step is right where it goes on from the step before, with the operand that is due.

        Its result is then (left + operand) mod 10. What no chain would say is of kind `malformed`,
        and what follows it has nothing to go on from.
        """
        chain, truths = read_chain(problem.question), []
        value: int | None = chain.start
        for index, text in enumerate(steps):
            found = STEP.fullmatch(text)
            if found is None:
                value = None
                truths.append(StepTruth(right=False, kind="malformed"))
                continue
            step = Step(*map(int, found.groups()))
            due = step.left == value and chain.operands[index : index + 1] == [step.operand]
            right = due and step.shown == step.total % 10
            truths.append(StepTruth(right=right, kind="wrap" if wraps(step.total) else "plain"))
            value = step.shown
        return tuple(truths)

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        """A judgement of the problem's solution by one who recomputes it, not always rightly.

        Each step is done again, and what the solution shows is taken from the result: a rest of 0
        is right. To subtract is a skill it has; to see that two digits are equal is one to learn.
        blind_spot: its errors are off by 1 or 2 anywhere (independent), or those that
        demonstrated solutions have (shared).
        """
        if blind_spot not in BLIND_SPOTS:
            raise ValueError(f"verifier.blind_spot={blind_spot!r}: one of {', '.join(BLIND_SPOTS)}")
        recompute = self._slipped if blind_spot == "shared" else self._misjudged
        rng = Random(derive_seed("demonstrate", seed, problem.id))
        blocks, agreed = [], True
        for step in read_steps(problem):
            own = recompute(step.total, rng)
            mark = "right" if own == step.shown else "wrong"
            agreed &= own == step.shown
            less = (own - step.shown) % 10
            redone = f"{step.left}{TERMS[step.operand]}={own}"
            blocks.append(f"<step>{redone}-{step.shown}={less}{mark}</step>")
        return f"{''.join(blocks)}<verdict>{'right' if agreed else 'wrong'}</verdict>"

    def _held_out(self, count: int, levels: tuple[int, ...], key: str) -> list[Problem]:
        rows: list[Problem] = []
        streams = [self._test_stream(level) for level in levels]
        while len(rows) < count:
            problem = next(streams[len(rows) % len(streams)], None)
            if problem is None:
                break
            rows.append(problem)
        check_count(f"{self.name}, levels {list(levels)}", count, len(rows), key)
        return rows

    def _test_stream(self, level: int) -> Iterator[Problem]:
        """Every held-out chain of a level once, in a random order that never changes."""
        rng = Random(derive_seed("test", level))
        seen: set[str] = set()
        while len(seen) < 10 * len(OPERANDS) ** level:
            chain = draw_chain(rng, level)
            if chain.question not in seen and is_held_out(chain.question, self.held_out):
                yield self._problem("test", chain, lambda total: total % 10)
            seen.add(chain.question)

    def _problem(self, split: str, chain: Chain, shown: Callable[[int], int]) -> Problem:
        return Problem(
            id=f"{self.name}/{split}/{chain.question[:-1]}",
            question=chain.question,
            answer=str((chain.start + sum(chain.operands)) % 10),
            solution=work(chain, shown),
            level=len(chain.operands),
            task=self.name,
        )

    def _slipped(self, total: int, rng: Random) -> int:
        """The digit a demonstration shows for `total`, the sum before it is taken modulo 10."""
        if self.slip == "wrap" and wraps(total) and rng.random() < self.slip_rate:
            total += 1
        elif self.slip == "random" and rng.random() < self.slip_rate:
            total += rng.choice(OFFSETS)
        return total % 10

    def _misjudged(self, total: int, rng: Random) -> int:
        """The digit that a judge with errors of its own finds for `total`."""
        if rng.random() < self.judge_slip_rate:
            total += rng.choice(OFFSETS)
        return total % 10

    def _labelled(self, problem: Problem, corrupt: bool) -> LabelledSolution:
        """The solution, right or with one slip as training data have it, carried on from there."""
        rng = Random(derive_seed("labelled", problem.id))
        steps = read_steps(problem)
        places = [i for i, step in enumerate(steps) if self.slip == "wrap" and wraps(step.total)]
        label = rng.choice(places or range(len(steps))) if corrupt else -1
        offset = 1 if self.slip == "wrap" else rng.choice(OFFSETS)
        slips = iter([offset * (i == label) for i in range(len(steps))])
        text = work(read_chain(problem.question), lambda total: (total + next(slips)) % 10)
        return LabelledSolution(problem=problem, text=text, label=label, right=label == -1)


def draw_chain(rng: Random, level: int) -> Chain:
    """A first digit and `level` operands, none of them 0."""
    start, operands = rng.randrange(10), rng.choices(OPERANDS, k=level)
    question = f"{start}{''.join([TERMS[operand] for operand in operands])}?"
    return Chain(start, operands, question)


def read_chain(question: str) -> Chain:
    """The chain of a question of ours."""
    operands = [int(question[i : i + 2]) for i in range(1, len(question) - 1, 2)]
    return Chain(int(question[0]), operands, question)


def read_steps(problem: Problem) -> list[Step]:
    """The steps of its worked solution."""
    assert problem.solution is not None, "every chain is worked"
    return [Step(*map(int, found)) for found in STEP.findall(problem.solution)]


def wraps(total: int) -> bool:
    """Whether a sum leaves the digits."""
    return not 0 <= total <= 9


def work(chain: Chain, shown: Callable[[int], int]) -> str:
    """The solution step by step. `shown` says what each sum comes to; a slip is carried on."""
    value, steps = chain.start, []
    for operand in chain.operands:
        result = shown(value + operand)
        steps.append(f"<step>{value}{TERMS[operand]}={result}</step>")
        value = result
    return f"{''.join(steps)}<answer>{value}</answer>"
