"""Tiny checkpoints of every architecture that conf/model names, as save_pretrained writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tests.model.tiny import TEMPLATE, bpe_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "initializer_range": 0.1,
}


def write(folder: Path, architecture: str, tied: bool) -> None:
    """A model of random weights: qwen3, qwen2, llama (behind a BOS token) or nanochat."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = bpe_tokenizer()
    tokenizer.chat_template = TEMPLATE
    if architecture == "llama":
        _begin_with(tokenizer, "<|im_start|>")
    if architecture == "nanochat":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|assistant_end|>"]})
    config = AutoConfig.for_model(
        architecture,
        **SIZES,
        vocab_size=len(tokenizer) + 60,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"head_dim": 8} if architecture == "qwen3" else {}),
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _begin_with(tokenizer: PreTrainedTokenizerBase, token: str) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer.bos_token = token
    core: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    core.post_processor = TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.convert_tokens_to_ids(token))]
    )
