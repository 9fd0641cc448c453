"""A trained model on disk, as others read it."""

from __future__ import annotations

import copy
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def export(module: PreTrainedModel, trained: Set[str], dtype: torch.dtype, folder: Path) -> None:
    """Write a model, or its adapters where only some parameters are trained, in `dtype`."""
    named = dict(module.named_parameters())
    whole = len(trained) == len(named)
    tensors = module.state_dict() if whole else {key: named[key] for key in sorted(trained)}
    # Tied tensors stay one, and of a model with adapters only these are written.
    cast: dict[int, torch.Tensor] = {}
    state = {
        key: cast.setdefault(tensor.data_ptr(), tensor.detach().to(dtype))
        for key, tensor in tensors.items()
    }
    module.save_pretrained(folder, state_dict=state)
    if (folder / "config.json").exists():  # adapters have none; it names the training dtype
        config = copy.deepcopy(module.config)
        config.dtype = dtype
        config.save_pretrained(folder)
