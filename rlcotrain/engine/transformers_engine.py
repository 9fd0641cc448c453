"""Batched decoding with a transformers model on the device it trains on.

Prompts stand at the left with their padding behind them, so the cache of a row is [prompt, hole,
completion]: holes are masked by position and no row ever attends to nothing. Rows of like prompt
length share a batch, a prompt of several samples is read once, finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.engine.cache import RowCache, one_query
from rlcotrain.engine.draw import draw_tokens, uniforms
from rlcotrain.engine.head import head_logits
from rlcotrain.types import Completion, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rows are taken out of the cache when this share of them has finished: each removal copies it.
COMPACT_SHARE = 0.25


@dataclass(kw_only=True)
class Speaker:
    """What an engine needs of a policy: weights, what ends a completion, and ids as text."""

    module: PreTrainedModel
    stop_ids: tuple[int, ...]
    decode: Callable[[np.ndarray], str]
    version: int = 0
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    _stop_tokens: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)

    def may_stop(self, stop: tuple[str, ...]) -> np.ndarray:
        """[V] bool: tokens whose text holds the last character of a stop string."""
        if stop not in self._stop_tokens:
            size = self.module.get_output_embeddings().weight.shape[0]
            texts = [self.decode(np.array([i], np.int32)) for i in range(size)]
            last = {mark[-1] for mark in stop}
            # A byte of a split multi-byte character decodes to U+FFFD: let it be checked as well.
            self._stop_tokens[stop] = np.array(
                [bool(last & set(t)) or "\ufffd" in t for t in texts]
            )
        return self._stop_tokens[stop]


class TransformersEngine:
    """`generate` for policies that live in this process; their weights are always the newest."""

    def __init__(self, rows: int, tokens: int) -> None:
        """At most `rows` at once, and no more than a cache of `tokens` has room for."""
        self.rows, self.tokens = rows, tokens
        self.speakers: dict[str, Speaker] = {}

    def sync(self, speakers: dict[str, Speaker]) -> None:
        """Take note of who may speak; weights are shared, nothing is copied."""
        self.speakers = speakers

    def generate(
        self,
        policy: str,
        prompts: Sequence[np.ndarray],
        seeds: Sequence[int],
        sampling: Sampling,
    ) -> list[Completion]:
        """One completion a prompt, in order. Equal prompts are read once."""
        speaker = self.speakers[policy]
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i].tobytes()))
        done: list[Completion | None] = [None] * len(prompts)
        training = speaker.module.training
        speaker.module.eval()
        longest = max(map(len, prompts), default=0) + sampling.max_tokens
        together = max(min(self.rows, self.tokens // longest), 1)
        for start in range(0, len(order), together):
            part = order[start : start + together]
            rows = _Decode(speaker, [prompts[i] for i in part], [seeds[i] for i in part], sampling)
            with torch.inference_mode(), speaker.autocast():
                for i, completion in zip(part, rows.run(), strict=True):
                    done[i] = completion
        speaker.module.train(training)
        assert all(completion is not None for completion in done)
        return [completion for completion in done if completion is not None]


class _Decode:
    """One batch on its way from prompts to completions."""

    def __init__(
        self,
        speaker: Speaker,
        prompts: list[np.ndarray],
        seeds: list[int],
        sampling: Sampling,
    ) -> None:
        self.speaker, self.sampling = speaker, sampling
        self.seeds = np.asarray(seeds, np.uint64)
        self.prompts = prompts
        count, steps = len(prompts), sampling.max_tokens
        self.token_ids = np.zeros((count, steps), np.int32)
        self.logprobs = np.zeros((count, steps), np.float32)
        self.lengths = np.full(count, steps)
        self.stopped = np.zeros(count, bool)

    def run(self) -> list[Completion]:
        """Decode until every row has stopped or is at its limit."""
        rows = np.arange(len(self.prompts))  # the rows still in the batch
        hidden = self._prefill()
        with one_query(self.speaker.module):
            self._decode(rows, hidden)
        return [self._completion(row) for row in range(len(self.prompts))]

    def _decode(self, rows: np.ndarray, hidden: torch.Tensor) -> None:
        for position in range(self.sampling.max_tokens):
            logits = head_logits(self.speaker.module, hidden)
            drawn, logprobs = draw_tokens(
                logits, self.sampling, uniforms(self.seeds[rows], position)
            )
            self.token_ids[rows, position] = drawn.cpu().numpy()
            self.logprobs[rows, position] = logprobs.cpu().numpy()
            live = self._mark_stopped(rows, position)
            if not live.any() or position + 1 == self.sampling.max_tokens:
                break
            if (~live).mean() >= COMPACT_SHARE:
                left = torch.from_numpy(np.nonzero(live)[0]).to(drawn.device)
                rows, drawn = rows[live], drawn[left]
                self._keep(left)
            hidden = self._advance(drawn, position)

    def _prefill(self) -> torch.Tensor:
        """Read every distinct prompt once; returns the last hidden state of every row [B, H]."""
        from transformers import DynamicCache

        module = self.speaker.module
        distinct = list({prompt.tobytes(): prompt for prompt in self.prompts}.values())
        place = {prompt.tobytes(): k for k, prompt in enumerate(distinct)}
        lengths = np.array([len(prompt) for prompt in distinct])
        ids = np.zeros((len(distinct), lengths.max()), np.int64)
        for k, prompt in enumerate(distinct):
            ids[k, : len(prompt)] = prompt
        read = DynamicCache(config=module.config)
        hidden = module.get_decoder()(
            input_ids=torch.from_numpy(ids).to(module.device),
            past_key_values=read,
            use_cache=True,
        ).last_hidden_state
        last = hidden[torch.arange(len(distinct)), torch.from_numpy(lengths - 1)]
        index = torch.tensor([place[prompt.tobytes()] for prompt in self.prompts])
        index = index.to(module.device)
        self.prompt_lengths = torch.from_numpy(lengths).to(module.device)
        self.width = int(lengths.max())
        keys, values, *_ = zip(*read, strict=True)
        self.cache = RowCache(keys, values)
        self._keep(index)
        rows: torch.Tensor = last[index]
        return rows

    def _advance(self, drawn: torch.Tensor, position: int) -> torch.Tensor:
        """Read the drawn tokens; returns the hidden state behind them [B, H]."""
        slots = torch.arange(self.cache.step(), device=drawn.device)
        prompt = slots < self.prompt_lengths[:, None]
        completion = (slots >= self.width) & (slots <= self.width + position)
        output = self.speaker.module.get_decoder()(
            input_ids=drawn[:, None],
            attention_mask=torch.where(prompt | completion, 0.0, -torch.inf)[:, None, None],
            position_ids=(self.prompt_lengths + position)[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]  # type: ignore[no-any-return]

    def _mark_stopped(self, rows: np.ndarray, position: int) -> np.ndarray:
        """Note rows whose newest token ends them; returns which of `rows` still run."""
        newest = self.token_ids[rows, position]
        ended = np.isin(newest, self.speaker.stop_ids)
        if self.sampling.stop:
            suspects = self.speaker.may_stop(self.sampling.stop)[newest] & ~ended
            for k in np.nonzero(suspects & ~self.stopped[rows])[0]:
                text = self.speaker.decode(self.token_ids[rows[k], : position + 1])
                ended[k] = any(mark in text for mark in self.sampling.stop)
        newly = rows[ended & ~self.stopped[rows]]
        self.lengths[newly] = position + 1
        self.stopped[newly] = True
        return ~self.stopped[rows]  # type: ignore[no-any-return]

    def _keep(self, index: torch.Tensor) -> None:
        """Go on with these rows of the batch."""
        self.cache.keep(index)
        self.prompt_lengths = self.prompt_lengths[index]

    def _completion(self, row: int) -> Completion:
        length = self.lengths[row]
        return Completion(
            token_ids=self.token_ids[row, :length].copy(),
            logprobs=self.logprobs[row, :length].copy(),
            stop="stop" if self.stopped[row] else "length",
            version=self.speaker.version,
        )
