from typing import Any

import pytest
import torch

from rlcotrain.model.supported import check_supported
from tests.model.tiny import tiny

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.5,
}
LONGROPE = {
    **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 16},
    **{"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "factor": 4.0},
}


def made(kind: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **changes}))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 8}),
        ("qwen3", {"head_dim": 16}),
        ("granite", {"logits_scaling": 1.0}),
        ("nanochat", {"final_logit_softcapping": 1.0}),
        ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2}),
    ],
)
def test_what_is_read_as_it_reads_itself_is_supported(kind: str, changes: dict[str, Any]) -> None:
    model = made(kind, **changes)
    for training in (True, False):
        model.train(training)
        check_supported(model)
        assert model.training == training


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("granite", {"logits_scaling": 2.0}, "granite changes its logits"),
        ("cohere", {"logit_scale": 0.0625}, "cohere changes its logits"),
        ("mistral", {"sliding_window": 32}, "layers that do not see all tokens"),
        (
            "qwen3",
            {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 32},
            "layers that do not see all tokens",
        ),
        ("llama", {"rope_parameters": LONGROPE}, "by the length of the text .longrope.: not"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "by the length of the text .dynamic.: not",
        ),
        # Its attention has a sink: a share that goes to no token.
        (
            "gpt_oss",
            {
                **{"layer_types": ["full_attention"] * 2, "head_dim": 8},
                **{"num_local_experts": 2, "num_experts_per_tok": 1},
            },
            "gpt_oss reads texts that begin alike otherwise",
        ),
        (
            "deepseek_v3",
            {
                **{"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "v_head_dim": 4},
                **{"qk_nope_head_dim": 8, "n_routed_experts": 2, "num_experts_per_tok": 1},
                **{"n_group": 1, "topk_group": 1, "moe_intermediate_size": 8},
                **{"num_key_value_heads": 2, "first_k_dense_replace": 2},
            },
            "deepseek_v3 is no decoder of the usual kind",
        ),
        ("opt", {"word_embed_proj_dim": 16, "ffn_dim": 16}, "opt is no decoder of"),
    ],
)
def test_what_reads_otherwise_is_refused(kind: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_supported(made(kind, **changes))


def test_a_window_below_the_top_of_a_configuration_is_found() -> None:
    """Models of several kinds of input keep what is said of texts one level deeper."""
    from transformers import AutoConfig, AutoModelForCausalLM

    text = {**SIZES, "head_dim": 8, "sliding_window": 16}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision)
    model = AutoModelForCausalLM.from_config(config)
    assert getattr(model.config, "sliding_window", None) is None
    with pytest.raises(ValueError, match="layers that do not see all tokens"):
        check_supported(model)


def test_an_output_layer_of_zeros_is_one() -> None:
    model = made("llama")
    torch.nn.init.zeros_(model.lm_head.weight)
    check_supported(model)


def test_weights_that_are_no_numbers_are_named() -> None:
    model = made("llama")
    torch.nn.init.constant_(model.model.norm.weight, torch.nan)
    with pytest.raises(ValueError, match="model: llama has weights of which logits come that are"):
        check_supported(model)


def test_attention_that_adds_masks_to_scores_is_refused() -> None:
    """Masks here are of booleans, which eager attention takes for the numbers 0 and 1."""
    model = tiny().load(0)[0]
    check_supported(model)
    model.config._attn_implementation = "eager"
    with pytest.raises(ValueError, match="reads texts that begin alike otherwise"):
        check_supported(model)


def test_dropout_is_no_reason_to_refuse() -> None:
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(
        r=2, lora_dropout=0.5, init_lora_weights=False, target_modules="all-linear"
    )
    check_supported(get_peft_model(tiny().load(0)[0], adapters).train())
