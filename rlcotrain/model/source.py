"""Where a model comes from: built from its configuration, or read from a folder or the hub."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from rlcotrain.model.chat import Chat, Style
from rlcotrain.screen import say

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["float32", "bfloat16", "float16"]


class Source(Protocol):
    """What a `conf/model` option builds."""

    rates: Mapping[str, float]  # learning rates that fit this model, for others to refer to
    steps: Mapping[str, int]  # of what it must learn before RL, likewise; 0: it brings the skill
    gradient_checkpointing: bool
    export_dtype: Dtype

    def check(self) -> None: ...

    def load(self, seed: int) -> tuple[PreTrainedModel, Chat]: ...


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A Qwen3 of random weights with its own tokenizer: bytes, and a few words as one token each.

    Any text can be written in it. head_dim and untied embeddings are chosen so that vLLM serves it.
    """

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    max_length: int
    initializer_range: float
    words: Sequence[str]
    rates: Mapping[str, float]
    steps: Mapping[str, int]
    gradient_checkpointing: bool
    export_dtype: Dtype

    def check(self) -> None:
        """ValueError for sizes that make no model."""
        if self.heads % self.key_value_heads:
            raise ValueError(
                f"model.key_value_heads={self.key_value_heads}: must divide heads={self.heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"model.head_dim={self.head_dim}: must be even (rotary positions)")

    def load(self, seed: int) -> tuple[PreTrainedModel, Chat]:
        """The model of this configuration and seed, float32 on the CPU."""
        from transformers import Qwen3Config, Qwen3ForCausalLM

        _show_no_bars()
        tokenizer = byte_tokenizer(self.words)
        config = Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            head_dim=self.head_dim,
            max_position_embeddings=self.max_length,
            initializer_range=self.initializer_range,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Qwen3ForCausalLM(config)
        return model, Chat(tokenizer, "raw", [tokenizer.eos_token_id], self.max_length)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A causal language model in the Hugging Face layout, with all its weights or LoRA trained.

    path: a folder that holds it; null loads `name` from the hub. `chat` says how a prompt is
    written: `raw` for base models, `template` for instruct models, whose template is told
    `template_options`. stop_tokens: what ends a completion beside the ends that its files name.
    `lora` is null or a table of peft's LoraConfig (r, lora_alpha ...). dtype: of the weights; half
    precision loses small updates, so only a frozen base, below adapters in float32, may have it.
    """

    name: str
    path: str | None
    chat: Style
    template_options: Mapping[str, Any]
    stop_tokens: Sequence[str]
    dtype: Dtype
    max_length: int
    lora: dict[str, Any] | None
    rates: Mapping[str, float]
    steps: Mapping[str, int]
    gradient_checkpointing: bool
    export_dtype: Dtype

    def check(self) -> None:
        """ValueError if `path` holds no model or `lora` no adapters; nothing is loaded."""
        self._folder()
        if self.dtype != "float32" and self.lora is None:
            raise ValueError(
                f"model.dtype={self.dtype}: trained weights would lose small updates; allowed: "
                "float32, or model.lora, which freezes them"
            )
        if self.lora is not None:
            _lora_config(self.lora)

    def load(self, seed: int) -> tuple[PreTrainedModel, Chat]:
        """Weights on the CPU. Raises ValueError if `path` holds no model that could be used."""
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        _show_no_bars()
        where = self._folder() or self.name
        key = f"model.name={self.name}" if self.path is None else f"model.path={self.path}"
        with _named(key):
            tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
            config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        if self.chat == "template" and not tokenizer.chat_template:
            raise ValueError(f"model.chat=template: {where} has no chat template; use chat=raw")
        positions = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
        if positions is not None and self.max_length > positions:
            raise ValueError(
                f"model.max_length={self.max_length}: {where} was made for at most {positions}"
            )
        read: Any = AutoModelForCausalLM.from_pretrained  # its types know no loading info
        with _named(key):
            model, found = read(
                where,
                dtype=getattr(torch, self.dtype),
                attn_implementation="sdpa",
                trust_remote_code=False,
                output_loading_info=True,
            )
            _check_whole(model, tokenizer, found["missing_keys"])
        _make_saveable(model, key)
        if self.dtype != "float32":
            _widen_head(model)
        if self.lora is not None:
            model = with_lora(model, self.lora, seed)
        stop_ids = _stop_ids(model, tokenizer, self.stop_tokens)
        return model, Chat(tokenizer, self.chat, stop_ids, self.max_length, self.template_options)

    def _folder(self) -> Path | None:
        if self.path is None:
            return None
        folder = Path(self.path).expanduser()
        if (folder / "adapter_config.json").is_file():
            raise ValueError(
                f"model.path={self.path}: holds adapters (adapter_config.json), no whole model; "
                "merge them into their base (peft's merge_and_unload) and give the folder of that"
            )
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"model.path={self.path}: no config.json there; give a folder that "
                "save_pretrained wrote, or null to load model.name from the hub"
            )
        return folder


def byte_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer of 256 bytes, `<pad>`, `<eos>` and `words`; every text survives a round trip."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<pad>", "<eos>"]
    vocabulary = {token: index for index, token in enumerate(specials + alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in specials])
    core.add_tokens([AddedToken(word, normalized=False, special=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def _show_no_bars() -> None:
    """Bars of loading and saving would stand between the lines of the run's own progress."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@contextmanager
def _named(key: str) -> Iterator[None]:
    """One line for the many kinds of error that files of others bring about."""
    from safetensors import SafetensorError

    try:  # a border
        yield
    except torch.OutOfMemoryError:
        raise
    except (
        *(OSError, ValueError, TypeError, LookupError, AttributeError, ImportError),
        *(RuntimeError, SafetensorError),
    ) as error:
        raise ValueError(f"{key}: cannot be used ({' '.join(str(error).split())})") from error


def _check_whole(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, missing: Collection[str]
) -> None:
    """ValueError for files that lack weights, or a tokenizer that fits them."""
    if missing:
        raise ValueError(f"its files lack {len(missing)} weights, {min(missing)} is one")
    if not tokenizer.encode("1", add_special_tokens=False):
        raise ValueError("it has no tokenizer, or one that reads nothing")
    weight, last = model.get_input_embeddings().weight, max(tokenizer.get_vocab().values())
    assert isinstance(weight, torch.Tensor)
    if last >= len(weight):
        raise ValueError(f"its tokenizer has the id {last}, its weights have {len(weight)} rows")


def _make_saveable(model: PreTrainedModel, key: str) -> None:
    """Of a generation config that transformers reads and does not save, keep the token ids."""
    from transformers import GenerationConfig

    config = model.generation_config
    if config is None:
        return
    try:  # a border: the model's file
        config.validate(strict=True)
    except ValueError as error:
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        ids = {name: getattr(config, name) for name in names}
        valid = {k: v for k, v in ids.items() if not isinstance(v, int) or v >= 0}
        model.generation_config = GenerationConfig(**valid)
        why = " ".join(str(error).split())
        say(f"{key}: generation_config.json is invalid ({why:.200} ...); its token ids are kept")


def _lora_config(options: dict[str, Any]) -> LoraConfig:
    from peft import LoraConfig

    try:
        return LoraConfig(task_type="CAUSAL_LM", **options)
    except TypeError as error:  # an unknown key
        raise ValueError(f"model.lora: {error}; see peft's LoraConfig") from None


def with_lora(model: PreTrainedModel, options: dict[str, Any], seed: int) -> PreTrainedModel:
    """The model with adapters put into its layers; only they are trainable."""
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, _lora_config(options))  # type: ignore[return-value]


def _widen_head(model: PreTrainedModel) -> None:
    """The output layer in float32, as rlcotrain.decoder.head wants it."""
    if model.config.tie_word_embeddings:
        raise ValueError(
            "model.dtype: the model ties its embeddings to its output layer, which is float32; "
            "allowed: float32"
        )
    head = model.get_output_embeddings().float()
    head.register_forward_pre_hook(lambda module, given: (given[0].float(),))


def _stop_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, others: Sequence[str]
) -> list[int]:
    """Every token id that ends a completion: an instruct model has several."""
    config = getattr(model, "generation_config", None)
    ids = config.eos_token_id if config is not None and config.eos_token_id is not None else []
    found = {ids} if isinstance(ids, int) else set(ids)
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    for token in others:
        if (known := tokenizer.get_vocab().get(token)) is None:
            raise ValueError(f"model.stop_tokens: the tokenizer knows no token {token!r}")
        found.add(known)
    if not found:
        raise ValueError(
            "model: neither the generation config nor the tokenizer names an eos token"
        )
    return sorted(found)
