"""Which models are read here as they read themselves: all others are refused before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.decoder.cache import one_query
from rlcotrain.decoder.head import head_logits
from rlcotrain.decoder.read import (
    along_paths,
    padded,
    read_behind,
    read_next,
    read_prompts,
    read_tries,
)
from rlcotrain.decoder.trie import grow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Texts of one length, which begin alike.
STEM, ENDS = [0, 1, 2, 3], ([4, 5, 6], [6, 4, 1])
TOLERANCE = 0.05


def check_supported(model: PreTrainedModel) -> None:
    """Raise ValueError for what scoring and decoding here would not do as the model does.

    That is attention to less than all tokens before, or by other scores than those of their keys;
    positions that mean something else in a longer text, since read keys are kept; anything between
    head and logits but a soft cap.
    """
    name = type(model).__name__
    kinds = set(getattr(model.config, "layer_types", None) or ())
    windows = not kinds and getattr(model.config, "sliding_window", None) is not None
    if windows or kinds - {"full_attention"}:
        raise ValueError(f"model: {name} has layers that do not see all tokens: not supported")
    turns = {str(getattr(module, "rope_type", "")) for module in model.modules()}
    if any(kind in turn for turn in turns for kind in ("dynamic", "longrope")):
        raise ValueError(
            f"model: {name} turns its keys by the length of the text ({', '.join(turns - {''})}): "
            "not supported"
        )
    training = model.training
    model.eval()  # dropout would change what is compared
    with torch.inference_mode():
        _check_head(model)
        _check_layers(model)
    model.train(training)


def _check_head(model: PreTrainedModel) -> None:
    token_ids = torch.tensor([STEM], device=model.device)
    ours = head_logits(model, model.get_decoder()(token_ids, use_cache=False).last_hidden_state[0])
    if _differ(ours, model(token_ids, use_cache=False).logits[0]):
        raise ValueError(
            f"model: {type(model).__name__} changes its logits after the output layer; "
            "such architectures are not supported"
        )


def _check_layers(model: PreTrainedModel) -> None:
    """A tree, what stands behind it, and a decode step, against whole texts."""
    device = model.device
    texts = [np.array([*STEM, *end], np.int32) for end in ENDS]
    wanted = model(padded(texts, device)[0], use_cache=False).logits[:, -1]
    tree = grow([text[:-1] for text in texts], len(STEM) * len(ENDS))
    try:  # a border: the model's own code
        _, keys, values = read_tries(model, [tree], device)
        held, seen = along_paths([*keys, *values], [0, 0], tree.paths)
        tails = [text[len(path) :] for text, path in zip(texts, tree.paths, strict=True)]
        behind, *_ = read_behind(
            model, held[: len(keys)], held[len(keys) :], seen, padded(tails, device)[0]
        )
        _, cache = read_prompts(model, [text[:-1] for text in texts], most=2, tokens=1)
        with one_query(model):
            last = padded([text[-1:] for text in texts], device)[0][:, 0]
            stepped = read_next(model, last, cache, plain=False)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"model: {type(model).__name__} is no decoder of the usual kind ({error}): "
            "not supported"
        ) from error
    for hidden in (behind[:, -1], stepped):
        if _differ(head_logits(model, hidden), wanted):
            raise ValueError(
                f"model: {type(model).__name__} reads texts that begin alike otherwise than each "
                "by itself: not supported"
            )


def _differ(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """By more than rounding in half precision makes of many layers, as a share of how far logits
    lie apart. NaN differs."""
    apart = (ours - theirs.float()).square().mean().sqrt() / theirs.float().std()
    return not bool(apart < TOLERANCE)
