"""Rows made by hand, for whoever judges text."""

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
