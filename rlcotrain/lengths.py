"""What the policies' tokenizers have no room for, or cannot write: left out or refused at start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rlcotrain.labelled import as_rollout
from rlcotrain.model.agents import Agents
from rlcotrain.model.chat import BAD, Chat
from rlcotrain.parts import Parts
from rlcotrain.screen import say
from rlcotrain.types import Messages, Problem, Prompt
from rlcotrain.verifier.llm import Llm


def fit_lengths(parts: Parts, agents: Agents) -> None:
    """Leave problems to train on out that are too long, and say how many of each data set are.

    ValueError where held-out problems are, what is made as it is drawn is, or nothing is left; and
    where the verifier has no room for what it judges, or cannot write its marks.
    """
    asked = _asked(parts, agents)
    chat = agents.policies[agents.roles["generator"]].chat
    for problem, _ in [*asked.values()][:1]:
        messages = parts.dataset.wording.messages(replace(problem, question="1"), 0)
        _check_system(chat, messages, "system")
        chat.check(messages)
    lengths = {
        name: len(chat.prompt_ids(parts.dataset.wording.messages(problem, 0)))
        for name, (problem, _) in asked.items()
    }
    long = [
        problem for name, (problem, room) in asked.items() if lengths[name] + room > chat.max_length
    ]
    parts.sampler.leave_out({problem.id for problem in long})
    kept = {problem.id for problem in _drawn(parts)}
    fixed = [problem for problem in long if problem.id in kept | _tested(parts)]
    if fixed or (long and not kept):
        first = (fixed or long)[0]
        raise ValueError(
            f"model.max_length={chat.max_length}: problem {first.id} has a prompt of "
            f"{lengths[first.id]} tokens and needs {asked[first.id][1]} more for the completion"
            f" ({len(long)} of {len(asked)} problems are too long)"
        )
    for task, count in sorted(Counter(problem.task for problem in long).items()):
        say(
            f"data {task}: {count} problems left out of training, with their completions they are "
            f"longer than model.max_length={chat.max_length}"
        )
    _check_stops(agents, "generator", parts.sampling.stop, "sampling")
    if isinstance(parts.verifier, Llm):
        _check_stops(agents, "verifier", parts.verifier.sampling.stop, "verifier")
        _check_judge(parts, parts.verifier, agents, [problem for problem, _ in asked.values()])


def _asked(parts: Parts, agents: Agents) -> dict[str, tuple[Problem, int]]:
    """Every problem by its id, with the most tokens that a completion of it may need."""
    chat, room = agents.policies[agents.roles["generator"]].chat, parts.sampling.max_tokens
    asked = {problem.id: (problem, room) for problem in parts.evaluation.problems}
    if parts.pass_at_k is not None:
        asked |= {problem.id: (problem, room) for problem in parts.pass_at_k.problems()}
    for phase in parts.schedule.phases:
        for problem in parts.sampler.problems(phase.levels):
            said = problem.solution if not phase.game.samples else None
            needed = room if said is None else len(chat.completion_ids(said))
            asked[problem.id] = problem, max(needed, asked.get(problem.id, (problem, 0))[1])
    return asked


def _check_stops(agents: Agents, role: str, stop: Sequence[str], key: str) -> None:
    """ValueError for a stop string that no text ever holds."""
    policy = agents.roles[role]
    for mark in stop:
        if (token := agents.policies[policy].chat.unsaid(mark)) is not None:
            raise ValueError(
                f"{key}.stop={list(stop)}: {mark!r} holds the special token {token!r} of policy "
                f"{policy}, which is no text; allowed: model.stop_tokens=['{token}']"
            )


def _check_system(chat: Chat, messages: Messages, key: str) -> None:
    """ValueError where the chat template leaves the system message out."""
    text, first = chat.render(messages), messages[0]
    if first["role"] == "system" and first["content"].strip() not in text:
        raise ValueError(
            f"data.wording.{key}={first['content']!r:.60}: the chat template of "
            f"{chat.tokenizer.name_or_path} leaves it out; must be null"
        )


def _tested(parts: Parts) -> set[str]:
    """The ids of held-out problems."""
    found = {problem.id for problem in parts.evaluation.problems}
    if parts.pass_at_k is not None and parts.pass_at_k.split == "test":
        found |= {problem.id for problem in parts.pass_at_k.problems()}
    return found


def _drawn(parts: Parts) -> Iterable[Problem]:
    for phase in parts.schedule.phases:
        yield from parts.sampler.problems(phase.levels)


def _check_judge(parts: Parts, verifier: Llm, agents: Agents, problems: Sequence[Problem]) -> None:
    """ValueError where the verifier cannot write its marks, or has no room for what it judges."""
    judge, answer = agents.roles["verifier"], verifier.sampling.max_tokens
    for mark in verifier.marks:
        if not agents.policies[judge].chat.can_write(mark):
            raise ValueError(
                f"policy.{judge}.model: its tokenizer cannot write {mark!r}, as judgements must; "
                "choose a model whose tokenizer knows all characters"
            )

    wording, said = parts.dataset.wording, parts.sampling.max_tokens
    longest = max(problems, key=lambda problem: len(problem.question))
    chat = agents.policies[judge].chat
    plain = wording.judge_messages(replace(longest, question="1"), "1", True)
    _check_system(chat, plain, "judge_system")
    chat.check(plain)

    def check(problem: Problem, messages: Messages, room: int) -> None:
        asked = Prompt(problem=problem, messages=messages, peers="", episode="")
        agents.prompt_ids(judge, asked, room)

    # Of one line, so that its tags count where lines have some.
    check(longest, wording.judge_messages(longest, "1", True), said - 1 + answer)
    if parts.quality is not None:
        told = parts.quality.source.wording
        for row in [*parts.quality.canaries, *map(as_rollout, parts.quality.solutions)]:
            check(row.problem, told.judge_messages(row.problem, row.text, True), answer)
    # What a model may write: bytes that are no character, and lines of one token.
    texts = (BAD * said, "1\n" * (said // 2))
    asked = [wording.judge_messages(longest, text, True) for text in texts]
    most = max(map(len, chat.all_prompt_ids(asked))) + answer
    if most > chat.max_length:
        say(
            f"policy.{judge}.model.max_length={chat.max_length}: a solution of {said} tokens may "
            f"need up to {most} once it is read and judged; one that is too long goes without a "
            "verdict and is counted (verifier/no_room)"
        )
