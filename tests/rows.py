"""Rows made by hand, for whoever judges text or learns from tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcotrain.types import Problem, Rollout, Stop


def said(text: str, problem: Problem, peers: str = "p", stop: Stop = "stop") -> Rollout:
    """A row that says `text` about `problem`; it has no tokens."""
    empty = np.zeros(0)
    return Rollout(
        role="generator",
        policy="generator",
        problem=problem,
        peers=peers,
        episode="e",
        prompt_ids=empty,
        token_ids=empty,
        mask=empty,
        logprobs=empty,
        versions=empty,
        text=text,
        stop=stop,
    )


def spoken(
    prompt: Sequence[int], completion: Sequence[int], peers: str = "p", **changes: Any
) -> Rollout:
    """A row of these token ids, every one sampled, about a problem named as its peers are;
    `changes` are fields of a Rollout."""
    length = len(completion)
    fields: dict[str, Any] = {
        "role": "generator",
        "policy": "generator",
        "problem": Problem(id=peers, question="?"),
        "peers": peers,
        "episode": peers,
        "prompt_ids": np.array(prompt, np.int32),
        "token_ids": np.array(completion, np.int32),
        "mask": np.ones(length, bool),
        "logprobs": np.zeros(length, np.float32),
        "versions": np.zeros(length, np.int32),
        "text": "",
        "stop": "stop",
    }
    return Rollout(**fields | changes)
