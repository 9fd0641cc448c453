"""Which models are read here as they read themselves: all others are refused before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.decoder.cache import one_query
from rlcotrain.decoder.head import head_logits
from rlcotrain.decoder.plain import is_plain
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
    config = model.config.get_text_config(decoder=True)
    name = f"model: {config.model_type}"
    kinds = set(getattr(config, "layer_types", None) or ())
    windows = not kinds and getattr(config, "sliding_window", None) is not None
    if windows or kinds - {"full_attention"}:
        raise ValueError(f"{name} has layers that do not see all tokens: not supported")
    turns = {str(getattr(module, "rope_type", "")) for module in model.modules()}
    if any(kind in turn for turn in turns for kind in ("dynamic", "longrope")):
        raise ValueError(
            f"{name} turns its keys by the length of the text ({', '.join(turns - {''})}): "
            "not supported"
        )
    training = model.training
    model.eval()  # dropout would change what is compared
    with torch.inference_mode():
        _check_head(model, name)
        _check_layers(model, name)
    model.train(training)


def _check_head(model: PreTrainedModel, name: str) -> None:
    token_ids = torch.tensor([STEM], device=model.device)
    ours = head_logits(model, model.get_decoder()(token_ids, use_cache=False).last_hidden_state[0])
    theirs = model(token_ids, use_cache=False).logits[0]
    if not theirs.isfinite().all():
        raise ValueError(f"{name} has weights of which logits come that are no numbers")
    if not _alike(ours, theirs):
        raise ValueError(
            f"{name} changes its logits after the output layer; such architectures are not "
            "supported"
        )


def _check_layers(model: PreTrainedModel, name: str) -> None:
    """A tree, what stands behind it, and decode steps, against whole texts."""
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
        found = [behind[:, -1]]
        for plain in {False, is_plain(model)}:
            _, cache = read_prompts(model, [text[:-1] for text in texts], most=2, tokens=1)
            with one_query(model):
                last = padded([text[-1:] for text in texts], device)[0][:, 0]
                found.append(read_next(model, last, cache, plain))
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is no decoder of the usual kind ({' '.join(str(error).split())}): "
            "not supported"
        ) from error
    for hidden in found:
        if not _alike(head_logits(model, hidden), wanted):
            raise ValueError(
                f"{name} reads texts that begin alike otherwise than each by itself: not supported"
            )


def _alike(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """But for what rounding in half precision makes of many layers, as a share of how far logits
    lie apart."""
    apart = (ours - theirs.float()).square().mean().sqrt()
    return bool(apart <= TOLERANCE * theirs.float().std())
