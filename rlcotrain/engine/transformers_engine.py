"""Batched decoding with a transformers model on the device it trains on.

What prompts begin with alike is read once, and so is what samples of one prompt say alike: rows
are lines of text until they part. The cache of a line may have holes, which it does not see. Rows
of like prompt length share a batch, finished rows leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.decoder.cache import one_query
from rlcotrain.decoder.head import head_logits
from rlcotrain.decoder.plain import is_plain
from rlcotrain.decoder.read import read_next, read_prompts
from rlcotrain.engine.draw import draw_tokens, uniforms
from rlcotrain.types import Completion, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Lines are taken out of the cache when this share of them is done: each removal copies it.
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
        """[V] bool: tokens that add the last character of a stop string to a text."""
        if stop not in self._stop_tokens:
            size = self.module.get_output_embeddings().weight.shape[0]
            # Said twice: of a text's first token, SentencePiece takes the space away.
            texts = [self.decode(np.array([i, i], np.int32)) for i in range(size)]
            last = {mark[-1] for mark in stop}
            # A byte of a split multi-byte character decodes to U+FFFD: let it be checked as well.
            # SentencePiece makes that of good bytes, too, where the next one is bad.
            bad = any("\ufffd" in mark for mark in stop)
            self._stop_tokens[stop] = np.array(
                [bad or bool(last & set(t)) or "\ufffd" in t for t in texts]
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
        """One completion a prompt, in order. What is equal up to some token is read once."""
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
    """One batch on its way from prompts to completions.

    Rows that have said the same so far are one line of text, which the model reads once: `line`
    says of every row that goes on which one.
    """

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
        vocabulary = speaker.module.get_output_embeddings().weight.shape[0]
        self.ends = np.isin(np.arange(vocabulary), speaker.stop_ids)
        count, steps = len(prompts), sampling.max_tokens
        self.token_ids = np.zeros((count, steps), np.int32)
        self.logprobs = np.zeros((count, steps), np.float32)
        self.lengths = np.full(count, steps)
        self.stopped = np.zeros(count, bool)

    def run(self) -> list[Completion]:
        """Decode until every row has stopped or is at its limit."""
        hidden = self._prefill()
        with one_query(self.speaker.module):
            self._decode(hidden)
        return [self._completion(row) for row in range(len(self.prompts))]

    def _prefill(self) -> torch.Tensor:
        """Read the distinct prompts, each a line; returns their last hidden states [lines, H]."""
        self.plain = is_plain(self.speaker.module)
        distinct = {prompt.tobytes(): prompt for prompt in self.prompts}
        number = {text: k for k, text in enumerate(distinct)}
        self.line = np.array([number[prompt.tobytes()] for prompt in self.prompts])
        prompts, most = list(distinct.values()), len(self.prompts)
        hidden, self.cache = read_prompts(
            self.speaker.module, prompts, most, self.sampling.max_tokens
        )
        return hidden

    def _decode(self, hidden: torch.Tensor) -> None:
        rows = np.arange(len(self.prompts))  # that go on
        for position in range(self.sampling.max_tokens):
            drawn, logprobs = draw_tokens(
                head_logits(self.speaker.module, hidden),
                self.sampling,
                uniforms(self.seeds[rows], position),
                torch.from_numpy(self.line).to(hidden.device),
            )
            token_ids = drawn.cpu().numpy()
            self.token_ids[rows, position] = token_ids
            self.logprobs[rows, position] = logprobs.cpu().numpy()
            live = self._mark_stopped(rows, position)
            rows, self.line = rows[live], self.line[live]
            if not len(rows) or position + 1 == self.sampling.max_tokens:
                break
            newest = self._go_on(token_ids[live])
            hidden = read_next(self.speaker.module, newest, self.cache, self.plain)

    def _go_on(self, token_ids: np.ndarray) -> torch.Tensor:
        """Give every row the line that it goes on with; returns the next token of each line."""
        alike, first, back = np.unique(
            self.line.astype(np.int64) << 32 | token_ids, return_index=True, return_inverse=True
        )
        source, said = self.line[first], token_ids[first]
        device, lines = self.speaker.module.device, self.cache.lines
        stays = np.append(True, source[1:] != source[:-1])  # one of those that go on from a line
        if 1 - stays.sum() / lines >= COMPACT_SHARE:
            self.cache.keep(torch.from_numpy(source).to(device), most=len(self.line))
            self.line = back
            return torch.from_numpy(said).to(device)
        target = source.copy()
        if not stays.all():
            free = np.setdiff1d(np.arange(lines + len(alike)), source[stays])
            target[~stays] = free[: (~stays).sum()]
            lines = max(lines, int(target.max()) + 1)
            sources, targets = (
                torch.from_numpy(which[~stays]).to(device) for which in (source, target)
            )
            self.cache.fork(sources, targets, lines)
        self.line = target[back]
        newest = np.zeros(lines, said.dtype)  # a line that nobody goes on with says what it may
        newest[target] = said
        return torch.from_numpy(newest).to(device)

    def _mark_stopped(self, rows: np.ndarray, position: int) -> np.ndarray:
        """Note which rows the newest token ends; returns which go on."""
        newest = self.token_ids[rows, position]
        ended: np.ndarray = self.ends[newest]
        if self.sampling.stop:
            suspects = self.speaker.may_stop(self.sampling.stop)[newest] & ~ended
            for k in np.nonzero(suspects)[0]:
                text = self.speaker.decode(self.token_ids[rows[k], : position + 1])
                ended[k] = any(mark in text for mark in self.sampling.stop)
        self.lengths[rows[ended]] = position + 1
        self.stopped[rows[ended]] = True
        return ~ended

    def _completion(self, row: int) -> Completion:
        length = self.lengths[row]
        return Completion(
            token_ids=self.token_ids[row, :length].copy(),
            logprobs=self.logprobs[row, :length].copy(),
            stop="stop" if self.stopped[row] else "length",
            version=self.speaker.version,
        )
