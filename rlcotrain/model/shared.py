"""Policies with adapters of their own on one frozen base, in memory once."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rlcotrain.model.source import Pretrained, Source, with_lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What may stand in model.lora where a base is shared: nothing that writes to its weights, trains
# them, or makes a policy start as anything but the base.
SHARED_LORA = (
    *("r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "use_rslora"),
    *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "use_dora"),
)
SHARED_INITS = (True, "gaussian")


def check_shared(source: Source, base: Source) -> None:
    """ValueError unless a policy of `source` can share the frozen base of one of `base`."""
    table = getattr(source, "lora", None)
    if table is None:
        raise ValueError(
            "share_base=true: model.lora is null, so nothing is frozen; needs a model with "
            "adapters, as model=qwen3_0.6b_lora"
        )
    if source != base:
        found = f"{type(source).__name__} and {type(base).__name__}"
        if isinstance(source, Pretrained) and isinstance(base, Pretrained):
            keys = [key.name for key in fields(source)]
            key = next(key for key in keys if getattr(source, key) != getattr(base, key))
            found = f"model.{key}={getattr(source, key)!r} and {getattr(base, key)!r}"
        raise ValueError(f"share_base=true: needs the same model for both policies, not {found}")
    for key, value in table.items():
        if key == "init_lora_weights" and value not in SHARED_INITS:
            raise ValueError(f"share_base=true: model.lora.{key}={value}: allowed: {SHARED_INITS}")
        if key not in (*SHARED_LORA, "init_lora_weights"):
            raise ValueError(
                f"share_base=true: model.lora.{key}={value}: allowed keys: "
                f"{', '.join(SHARED_LORA)}, init_lora_weights"
            )


def load_shared(source: Source, seed: int, base: Source, model: PreTrainedModel) -> PreTrainedModel:
    """A model of `source` with adapters of its own on the frozen tensors of `model`, a `base`.

    Bit for bit what source.load(seed) gives, but its parameters without a gradient and its buffers
    are those of `model`, on whose device it is. Raises ValueError where `check_shared` does.
    """
    check_shared(source, base)
    assert isinstance(source, Pretrained) and source.lora is not None
    # deepcopy takes what its memo names for already copied: modules are copied, no tensor is.
    memo: dict[int, Any] = {id(kept): kept for kept in (*model.parameters(), *model.buffers())}
    copied: Any = copy.deepcopy(model, memo)
    bare = copied.unload()  # of the other's adapters, which stay as they are in `model`
    return with_lora(bare, source.lora, seed)
