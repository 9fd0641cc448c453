"""Who speaks with which weights: prompts in, rows out. Joins engine and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        """`group_size` rows a prompt, a prompt's rows side by side.

        Every row has a seed of its own: hash of (seed_parts, role, policy, position, sample).
        """
        name = self.roles[role]
        ids = self._prompt_ids(name, prompts, [sampling.max_tokens] * len(prompts))
        seeds = [
            derive_seed(*seed_parts, role, name, position, sample)
            for position in range(len(prompts))
            for sample in range(group_size)
        ]
        repeated = [ids[i] for i in range(len(prompts)) for _ in range(group_size)]
        completions = self._generate(name, repeated, seeds, sampling)
        texts = self.policies[name].chat.decode_all([c.token_ids for c in completions])
        return [
            self._row(role, prompts[i // group_size], repeated[i], completion, text, sampling)
            for i, (completion, text) in enumerate(zip(completions, texts, strict=True))
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
        """Rows with given words; nothing was sampled, so their log-probabilities are NaN."""
        name = self.roles[role]
        said = [self.policies[name].chat.completion_ids(text) for text in texts]
        asked = self._prompt_ids(name, prompts, list(map(len, said)))
        rows = []
        for prompt, text, token_ids, ids in zip(prompts, texts, said, asked, strict=True):
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
        return self._prompt_ids(name, [prompt], [room])[0]

    def _prompt_ids(
        self, name: str, prompts: Sequence[Prompt], rooms: Sequence[int]
    ) -> list[np.ndarray]:
        chat = self.policies[name].chat
        found = chat.all_prompt_ids([prompt.messages for prompt in prompts])
        for prompt, ids, room in zip(prompts, found, rooms, strict=True):
            if not len(ids):
                raise ValueError(f"problem {prompt.problem.id}: its prompt is empty")
            if len(ids) + room > chat.max_length:
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
