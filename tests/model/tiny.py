"""The smallest real parts: a Qwen3 of some thousand weights, its settings, a checkpoint on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlcotrain.hardware import Hardware
from rlcotrain.model.chat import Chat
from rlcotrain.model.optimizer import Optimizer
from rlcotrain.model.policy import Policy
from rlcotrain.model.source import Pretrained, Source, Tiny, byte_tokenizer, with_lora
from rlcotrain.types import Rollout
from tests.rows import spoken

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

WORDS = ["<answer>", "</answer>", "+1"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny(**changes: Any) -> Tiny:
    fields: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "layers": 2,
        "heads": 2,
        "key_value_heads": 1,
        "head_dim": 16,
        "max_length": 128,
        "initializer_range": 0.2,
        "words": WORDS,
        "rates": {},
        "steps": {},
        "gradient_checkpointing": False,
        "export_dtype": "float32",
    }
    return Tiny(**fields | changes)


def pretrained(folder: Path, **changes: Any) -> Pretrained:
    fields: dict[str, Any] = {
        "name": "Qwen/Qwen3-0.6B",
        "path": str(folder),
        "chat": "raw",
        "max_length": 128,
        "template_options": {},
        "stop_tokens": [],
        "dtype": "float32",
        "lora": None,
        "rates": {},
        "steps": {},
        "gradient_checkpointing": False,
        "export_dtype": "float32",
    }
    return Pretrained(**fields | changes)


def hardware(**changes: Any) -> Hardware:
    fields: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "micro_batch_tokens": 4096,
        "share_prefixes": True,
        "skip_zero_advantages": True,
        "logprob_chunk": 4096,
        "engine_rows": 64,
        "engine_tokens": 4096,
    }
    return Hardware(**fields | changes)


def optimizer(**changes: Any) -> Optimizer:
    fields: dict[str, Any] = {
        "algorithm": "adamw",
        "lr": 1e-3,
        "betas": [0.9, 0.95],
        "eps": 1e-8,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "schedule": "constant",
        "decay_steps": None,
        "final_lr_share": 0.0,
        "max_grad_norm": 1.0,
    }
    return Optimizer(**fields | changes)


# The weights move by exactly minus their gradient.
PLAIN_DESCENT = optimizer(algorithm="sgd", lr=1.0, max_grad_norm=1e9)


class Sized:
    """A Qwen3 of these sizes with random weights, through the door that real models take; of what
    it can read, its tokenizer writes bytes."""

    def __init__(self, checkpointing: bool, lora: bool = False, **sizes: Any) -> None:
        self.gradient_checkpointing, self.lora, self.sizes = checkpointing, lora, sizes

    def load(self, seed: int) -> tuple[Any, Chat]:
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(seed)
        made = Qwen3ForCausalLM(Qwen3Config(**self.sizes))
        if self.lora:
            made = with_lora(made, {"r": 16, "target_modules": "all-linear"}, seed)
        return made, Chat(byte_tokenizer([]), "raw", [1], 4096)


def policy(
    source: Source | None = None,
    settings: Optimizer | None = None,
    seed: int = 0,
    **hardware_changes: Any,
) -> Policy:
    return Policy(
        "generator", source or tiny(), settings or optimizer(), hardware(**hardware_changes), seed
    )


def random_rows(
    seed: int, groups: int = 3, size: int = 4, vocabulary: int = 250, **changes: Any
) -> list[Rollout]:
    """Rows of mixed lengths with an outcome in -1..1, groups of `size`."""
    random = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        prompt = random.integers(0, vocabulary, random.integers(1, 9))
        for _ in range(size):
            completion = random.integers(0, vocabulary, random.integers(1, 11))
            row = spoken(prompt, completion, f"group {group}", **changes)
            rows.append(row.give("outcome", random.uniform(-1, 1)))
    return rows


def with_advantages(rows: Sequence[Rollout], seed: int = 0) -> list[Rollout]:
    """Rows with an advantage of its own on every token."""
    random = np.random.default_rng(seed)
    return [
        replace(row, advantages=random.normal(size=len(row.token_ids)).astype(np.float32))
        for row in rows
    ]


def bpe_tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level BPE of 3000 tokens as Qwen's: no BOS, and id 0 is the real token "!"."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    random = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    words = ["".join(random.choice(syllables, random.integers(1, 4))) for _ in range(8000)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator([" ".join(words)], trainer)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core.add_special_tokens([AddedToken(token, special=True) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )


def write_checkpoint(folder: Path) -> None:
    """A Qwen3 with tied embeddings, padded vocabulary, chat template and two ends of sequence."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = bpe_tokenizer()
    tokenizer.chat_template = TEMPLATE
    config = Qwen3Config(
        vocab_size=len(tokenizer) + 61,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
        initializer_range=0.1,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    ]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert (folder / "generation_config.json").is_file()


def parrot(chain: Sequence[int], vocabulary: int, stubbornness: float = 60.0) -> Qwen3ForCausalLM:
    """A Qwen3 that says chain[i + 1] after chain[i]; no id may come twice.

    Its layers add nothing, so the last token alone, one-hot, decides what the head says next.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    assert len(set(chain)) == len(chain)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=vocabulary,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        tie_word_embeddings=False,
        pad_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(vocabulary))
        model.lm_head.weight.zero_()
        for before, after in pairwise(chain):
            model.lm_head.weight[after, before] = stubbornness / vocabulary**0.5
    return model


def plain_logprobs(model: torch.nn.Module, row: Rollout) -> torch.Tensor:
    """[T] of one row alone: the model's own logits, divided, normalised, read one place earlier."""
    ids = torch.tensor([[*row.prompt_ids.tolist(), *row.token_ids.tolist()]])
    logits = model(input_ids=ids).logits[0].float() / row.temperature
    first = len(row.prompt_ids)
    return torch.stack(
        [
            logits[first + t - 1].log_softmax(-1)[token]
            for t, token in enumerate(row.token_ids.tolist())
        ]
    )


def read_json(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text())
    assert isinstance(content, dict)
    return content
