"""A step of our own does what the modules do, for each architecture that it claims."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.decoder.cache import LineCache, one_query
from rlcotrain.decoder.plain import PLAIN, is_plain, read_ends
from rlcotrain.decoder.read import read_next, read_tries
from rlcotrain.decoder.trie import grow
from tests.model.architectures import write
from tests.model.tiny import pretrained, tiny


def load(name: str, folder: Path, **changes: Any) -> Any:
    write(folder, name, name != "nanochat")
    return pretrained(folder, **changes).load(0)[0].eval()


def read_both_ways(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [tokens, lines, H] of three tokens behind prompts of several lengths, by step
    and by the modules."""
    torch.manual_seed(0)
    prompts = torch.randint(0, 100, (3, 4))
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    cache = model.get_decoder()(prompts, use_cache=True).past_key_values
    keys, values, *_ = zip(*cache, strict=True)
    ours, theirs = (LineCache(seen.sum(-1), most=5) for _ in range(2))
    line_N, slot_N = seen.nonzero(as_tuple=True)
    for made in (ours, theirs):
        made.fill(
            *(line_N, slot_N),
            *([layer[line_N, :, slot_N] for layer in held] for held in (keys, values)),
        )
    found: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for token_ids in torch.randint(0, 100, (3, 3)):
        found[0].append(read_next(model, token_ids, ours, plain=True))
        with one_query(model):
            found[1].append(read_next(model, token_ids, theirs, plain=False))
    one, other = (torch.stack(states) for states in found)
    return one, other


def load_moved(name: str, folder: Path) -> Any:
    return moved(load(name, folder))


def moved(model: Any) -> Any:
    """With other norms and biases than the ones and zeros of the beginning, which hide a slip."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.get_decoder().parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    assert is_plain(model)
    return model


@torch.inference_mode()
@pytest.mark.parametrize("name", PLAIN)
def test_a_step_is_that_of_the_modules(name: str, tmp_path: Path) -> None:
    ours, theirs = read_both_ways(load_moved(name, tmp_path))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@torch.inference_mode()
def test_every_product_may_have_a_bias() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **{"vocab_size": 100, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "attention_bias": True, "mlp_bias": True},
    )
    ours, theirs = read_both_ways(moved(LlamaForCausalLM(config).eval()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@torch.inference_mode()
@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_trees_are_read_as_the_modules_do(name: str, branches: bool, tmp_path: Path) -> None:
    model = load_moved(name, tmp_path)
    one, other = [3, 4, 5, 6, 7], [3, 4, 8, 9]
    groups = [[one, other] if branches else [one], [[10, 11, 12]]]
    tries = [grow([np.array(line, np.int32) for line in group], 100) for group in groups]
    hidden, keys, values = read_tries(model, tries, torch.device("cpu"))
    size = hidden.shape[1]
    depths = torch.arange(size).repeat(2, 1)
    mask = None
    token_ids = torch.tensor([[*one], [10, 11, 12, 0, 0]])
    if branches:  # nodes: 3 4 5 6 7 and 8 9, which do not see 5 6 7
        token_ids = torch.tensor([[3, 4, 5, 6, 7, 8, 9], [10, 11, 12, 0, 0, 0, 0]])
        depths[0, 5:] = torch.tensor([2, 3])
        depths[1, 3:] = 0
        mask = torch.ones(2, 1, size, size).bool().tril()
        mask[0, 0, 5:, 2:5] = False
    ends = torch.tensor([size + 2, 4, size - 1])
    last, our_keys, our_values = read_ends(model, token_ids, depths, mask, ends)
    torch.testing.assert_close(last, hidden.flatten(0, 1)[ends], rtol=0, atol=2e-5)
    for ours, theirs in zip(our_keys + our_values, keys + values, strict=True):
        torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=2e-5)
        torch.testing.assert_close(ours[1, :, :3], theirs[1, :, :3], rtol=0, atol=2e-5)


@torch.inference_mode()
def test_a_step_of_the_embedded_model_is_that_of_the_modules() -> None:
    ours, theirs = read_both_ways(tiny(heads=4, key_value_heads=2).load(0)[0].eval())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_what_is_not_plain_is_left_to_the_modules(tmp_path: Path) -> None:
    lora = {"r": 4, "target_modules": ["q_proj"]}
    assert not is_plain(load("qwen3", tmp_path / "a", lora=lora))
    assert not is_plain(load("nanochat", tmp_path / "b"))
    assert not is_plain(load("qwen3", tmp_path / "c").bfloat16())
    model = load("qwen3", tmp_path / "d")
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_plain(model)
    assert is_plain(model)
    hook = model.get_decoder().layers[1].register_forward_hook(lambda *_: None)
    assert not is_plain(model)
    hook.remove()
    product = model.get_decoder().layers[0].mlp.up_proj
    product.forward = product.forward  # as quantizers do: of the class, but no longer its own
    assert not is_plain(model)
    del product.forward
    assert is_plain(model)
    model.get_decoder().embed_tokens.bfloat16()
    assert not is_plain(model)
    model.get_decoder().embed_tokens.float()
    assert is_plain(model)
    model.config.hidden_act = "gelu"
    assert not is_plain(model)
