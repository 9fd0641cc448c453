"""Who speaks with which weights: prompts in, rows out. Joins engine and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from rlcotrain.engine.transformers_engine import Speaker
from rlcotrain.model.chat import cut_at_stop
from rlcotrain.model.policy import Policy
from rlcotrain.ranks import Ranks, everywhere
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Completion, Prompt, Rollout, Sampling


class Engine(Protocol):
    """Token ids in, token ids out (rlcotrain.engine)."""

    def sync(self, speakers: dict[str, Speaker]) -> None: ...

    def generate(
        self,
        policy: str,
        prompts: Sequence[np.ndarray],
        seeds: Sequence[int],
        sampling: Sampling,
    ) -> list[Completion]: ...


class Agents:
    """The roles of a game. `roles` maps each to the policy that speaks it.

    Where a run has several processes each has all policies and an engine, and decodes its share.
    """

    name = "agents"

    def __init__(
        self,
        policies: Mapping[str, Policy],
        roles: Mapping[str, str],
        engine: Engine,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        for role, policy in roles.items():
            if policy not in policies:
                raise ValueError(
                    f"roles.{role}={policy}: no such policy; there are {', '.join(policies)}"
                )
        self.policies = policies
        self.roles = roles
        self.engine = engine
        self.no_room = 0  # optional prompts that were left out so far
        self._speakers = {
            name: Speaker(
                module=policy.layout.speaker,
                stop_ids=policy.chat.stop_ids,
                decode=policy.chat.decode,
                autocast=policy.hardware.autocast,
            )
            for name, policy in policies.items()
        }
        self.sync()

    @everywhere
    def sync(self) -> None:
        """Tell the engine of the newest weights."""
        for name, speaker in self._speakers.items():
            speaker.version = self.policies[name].version
        self.engine.sync(self._speakers)

    def sample(
        self,
        role: str,
        prompts: Sequence[Prompt],
        group_size: int,
        sampling: Sampling,
        *seed_parts: int | str,
    ) -> list[Rollout]:
        """`group_size` rows a prompt, a prompt's rows side by side; none of an optional prompt
        without room for them, which `no_room` counts.

        Every row has a seed of its own: hash of (seed_parts, role, policy, position, sample).
        """
        name = self.roles[role]
        ids = self._prompt_ids(name, prompts, [sampling.max_tokens] * len(prompts))
        asked = [i for i, found in enumerate(ids) if found is not None for _ in range(group_size)]
        self.no_room += sum(found is None for found in ids)
        seeds = [
            derive_seed(*seed_parts, role, name, position, i % group_size)
            for i, position in enumerate(asked)
        ]
        repeated = [found for found in ids if found is not None for _ in range(group_size)]
        completions = self._generate(name, repeated, seeds, sampling)
        texts = self.policies[name].chat.decode_all([c.token_ids for c in completions])
        return [
            self._row(role, prompts[position], prompt_ids, completion, text, sampling)
            for position, prompt_ids, completion, text in zip(
                asked, repeated, completions, texts, strict=True
            )
        ]

    @everywhere
    def _generate(
        self, policy: str, prompts: Sequence[np.ndarray], seeds: Sequence[int], sampling: Sampling
    ) -> list[Completion]:
        """The engine's completions, in order; every process decodes as many rows."""
        size, rank = self.ranks.size, self.ranks.rank
        start, end = (len(prompts) * place // size for place in (rank, rank + 1))
        with self.policies[policy].whole():
            said = self.engine.generate(policy, prompts[start:end], seeds[start:end], sampling)
        return [completion for part in self.ranks.gather(said) for completion in part]

    def say(self, role: str, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Rollout]:
        """Rows with given words; nothing was sampled, so their log-probabilities are NaN.

        As with `sample`, an optional prompt may have none.
        """
        name = self.roles[role]
        said = [self.policies[name].chat.completion_ids(text) for text in texts]
        asked = self._prompt_ids(name, prompts, list(map(len, said)))
        rows = []
        self.no_room += sum(ids is None for ids in asked)
        for prompt, text, token_ids, ids in zip(prompts, texts, said, asked, strict=True):
            if ids is None:
                continue
            completion = Completion(
                token_ids=token_ids,
                logprobs=np.full(len(token_ids), np.nan, np.float32),
                stop="stop",
                version=self.policies[name].version,
            )
            rows.append(self._row(role, prompt, ids, completion, text, Sampling()))
        return rows

    def token_ends(self, row: Rollout, ends: Sequence[int]) -> list[int]:
        """Where in its tokens the row's text ends at characters `ends`, exclusive both."""
        return self.policies[row.policy].chat.token_ends(row.token_ids, ends)

    def prompt_ids(self, name: str, prompt: Prompt, room: int) -> np.ndarray:
        """What policy `name` reads. ValueError where `room` tokens more would be too many."""
        (found,) = self._prompt_ids(name, [replace(prompt, optional=False)], [room])
        assert found is not None
        return found

    def _prompt_ids(
        self, name: str, prompts: Sequence[Prompt], rooms: Sequence[int]
    ) -> list[np.ndarray | None]:
        """What the policy reads, None of optional prompts that leave no room."""
        chat = self.policies[name].chat
        found: list[np.ndarray | None] = []
        asked = chat.all_prompt_ids([prompt.messages for prompt in prompts])
        for prompt, ids, room in zip(prompts, asked, rooms, strict=True):
            fits = len(ids) + room <= chat.max_length
            found.append(ids if fits or not prompt.optional else None)
            if not len(ids):
                raise ValueError(f"problem {prompt.problem.id}: its prompt is empty")
            if not fits and not prompt.optional:
                raise ValueError(
                    f"model.max_length={chat.max_length}: problem {prompt.problem.id} has a prompt "
                    f"of {len(ids)} tokens and needs {room} more for the completion"
                )
        return found

    def _row(
        self,
        role: str,
        prompt: Prompt,
        prompt_ids: np.ndarray,
        completion: Completion,
        text: str,
        sampling: Sampling,
    ) -> Rollout:
        length = len(completion.token_ids)
        return Rollout(
            role=role,
            policy=self.roles[role],
            problem=prompt.problem,
            peers=prompt.peers,
            episode=prompt.episode,
            prompt_ids=prompt_ids,
            token_ids=completion.token_ids,
            mask=np.ones(length, bool),
            logprobs=completion.logprobs,
            versions=np.full(length, completion.version, np.int32),
            text=cut_at_stop(text, sampling.stop),
            stop=completion.stop,
            temperature=sampling.temperature or 1.0,  # at which greedy tokens are scored
        )
