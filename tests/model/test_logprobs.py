from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlcotrain.model.logprobs import token_logprobs
from rlcotrain.model.source import Pretrained
from tests.model.tiny import plain_logprobs, pretrained, random_rows, tiny
from tests.rows import spoken


def padded(lengths: list[tuple[int, int]], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(token ids, scored), both [B, L], of rows of these (prompt, completion) lengths."""
    random = np.random.default_rng(seed)
    width = max(p + t for p, t in lengths)
    ids_BL = torch.zeros(len(lengths), width, dtype=torch.int64)
    scored_BL = torch.zeros(len(lengths), width, dtype=torch.bool)
    for b, (p, t) in enumerate(lengths):
        ids_BL[b, : p + t] = torch.from_numpy(random.integers(0, 250, p + t))
        scored_BL[b, p : p + t] = True
    return ids_BL, scored_BL


def model(seed: int = 0) -> Any:
    return tiny().load(seed)[0].eval()


def test_index_t_speaks_about_token_t() -> None:
    ids_BL, scored_BL = padded([(3, 4), (1, 2), (5, 1)])
    scored_BL[0, 4] = False  # injected
    network = model()
    logprobs_BL, entropy_BL = token_logprobs(network, ids_BL, scored_BL, torch.ones(3), 100)
    assert logprobs_BL.dtype == entropy_BL.dtype == torch.float32
    for b, width in enumerate([7, 3, 6]):  # each row alone and without padding
        logits_LV = network(input_ids=ids_BL[b : b + 1, :width]).logits[0].detach()
        for t in range(scored_BL.shape[1]):
            if not scored_BL[b, t]:
                assert logprobs_BL[b, t] == entropy_BL[b, t] == 0
                continue
            exponentials = [float(z) for z in logits_LV[t - 1].double().exp()]
            chances = [value / sum(exponentials) for value in exponentials]
            said = chances[int(ids_BL[b, t])]
            assert logprobs_BL[b, t].item() == pytest.approx(np.log(said), abs=1e-5)
            entropy = -sum(p * np.log(p) for p in chances)
            assert entropy_BL[b, t].item() == pytest.approx(entropy, abs=1e-5)


def test_each_row_is_scored_at_its_own_temperature() -> None:
    network = model()
    rows = [
        replace(row, temperature=0.5 + 0.3 * k)
        for k, row in enumerate(random_rows(1, groups=2, size=2))
    ]
    ids_BL, scored_BL = padded([(len(r.prompt_ids), len(r.token_ids)) for r in rows])
    for b, row in enumerate(rows):
        whole = np.concatenate([row.prompt_ids, row.token_ids])
        ids_BL[b, : len(whole)] = torch.from_numpy(whole)
    temperature_B = torch.tensor([row.temperature for row in rows])
    logprobs_BL, _ = token_logprobs(network, ids_BL, scored_BL, temperature_B, 7)
    for b, row in enumerate(rows):
        torch.testing.assert_close(
            logprobs_BL[b][scored_BL[b]], plain_logprobs(network, row), rtol=0, atol=1e-5
        )


def test_entropy_at_the_extremes() -> None:
    ids_BL, scored_BL = padded([(2, 3)])
    network = model()
    vocabulary = network.config.vocab_size
    hot = token_logprobs(network, ids_BL, scored_BL, torch.tensor([1e4]), 100)[1]
    assert hot[0, 2:].tolist() == [pytest.approx(np.log(vocabulary), abs=1e-4)] * 3
    cold = token_logprobs(network, ids_BL, scored_BL, torch.tensor([1e-4]), 100)[1]
    assert cold[0, 2:].tolist() == [pytest.approx(0, abs=1e-4)] * 3


def capped(cap: float | None) -> Any:
    """A small model whose logits are softly capped, as the model does itself."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "nanochat",
        vocab_size=250,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
        final_logit_softcapping=cap,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def plain_scores(
    network: Any, ids_BL: torch.Tensor, temperature_B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, entropy) of all tokens but the first, all logits at once."""
    logits_BLV = network(input_ids=ids_BL).logits[:, :-1] / temperature_B[:, None, None]
    all_BLV = torch.log_softmax(logits_BLV, -1)
    logprobs_BL = all_BLV.gather(-1, ids_BL[:, 1:, None])[..., 0]
    return logprobs_BL, -(all_BLV.exp() * all_BLV).sum(-1)


@pytest.mark.parametrize("make", [model, partial(capped, 1.0)])
@pytest.mark.parametrize("entropy_grad", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 24, 25, 26])  # of 25 scored tokens
def test_values_and_gradients_are_those_of_plain_autograd(
    chunk: int, entropy_grad: bool, make: Any
) -> None:
    ids_BL, scored_BL = padded([(3, 9), (2, 5), (1, 11)])
    ids_BL %= 250
    temperature_B = torch.tensor([1.0, 0.7, 1.3])
    slopes_BL = torch.linspace(-1, 1, ids_BL.numel()).reshape(ids_BL.shape)
    found = []
    for plain in (True, False):
        network = make()
        if plain:
            logprobs_BL, entropy_BL = (
                torch.nn.functional.pad(score, (1, 0)) * scored_BL
                for score in plain_scores(network, ids_BL, temperature_B)
            )
        else:
            logprobs_BL, entropy_BL = token_logprobs(
                network, ids_BL, scored_BL, temperature_B, chunk, entropy_grad
            )
        bonus_BL = entropy_BL if entropy_grad else entropy_BL.detach()
        (slopes_BL * (logprobs_BL - 0.3 * bonus_BL)).sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        found.append((logprobs_BL.detach(), entropy_BL.detach(), gradients))
    (logprobs_BL, entropy_BL, gradients), ours = found
    torch.testing.assert_close(ours[0], logprobs_BL, rtol=0, atol=3e-6)
    torch.testing.assert_close(ours[1], entropy_BL, rtol=1e-6, atol=3e-6)
    assert ours[2].keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(ours[2][name], gradient, rtol=1e-4, atol=1e-5)


def test_entropy_has_a_gradient_only_where_it_is_asked_for() -> None:
    ids_BL, scored_BL = padded([(2, 4)])
    for chunk in (2, 100):
        for asked in (False, True):
            network = model()
            _, entropy_BL = token_logprobs(network, ids_BL, scored_BL, torch.ones(1), chunk, asked)
            assert entropy_BL.requires_grad == asked


def test_a_batch_that_scores_nothing() -> None:
    ids_BL, scored_BL = padded([(2, 3)])
    logprobs_BL, entropy_BL = token_logprobs(
        model(), ids_BL, torch.zeros_like(scored_BL), torch.ones(1), 100
    )
    assert logprobs_BL.tolist() == entropy_BL.tolist() == [[0.0] * 5]
    logprobs_BL.sum().backward()


class Watch(TorchDispatchMode):
    """Notes the largest float32 result of any operation, and the most vocabulary-wide at once."""

    def __init__(self, network: torch.nn.Module, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
        self.largest = self.most_held = 0
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32:
                self._note(tensor)
        return result

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.weights:
            return
        self.largest = max(self.largest, tensor.numel())
        if tensor.shape[-1:] == (self.vocabulary,):
            self.alive[storage._cdata] = StorageWeakRef(storage), tensor.numel()
        self.alive = {k: held for k, held in self.alive.items() if not held[0].expired()}
        self.most_held = max(self.most_held, sum(size for _, size in self.alive.values()))


def watched(chunk: int, entropy_grad: bool) -> Watch:
    """A forward and backward pass over 400 scored tokens of a vocabulary of 620."""
    small: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 16, "head_dim": 4}
    network = tiny(**small, words=[f"<{k}>" for k in range(362)]).load(0)[0]
    assert network.config.vocab_size == 620
    ids_BL, scored_BL = padded([(1, 100)] * 4)
    with Watch(network, 620) as watch:
        logprobs_BL, entropy_BL = token_logprobs(
            network, ids_BL, scored_BL, torch.ones(4), chunk, entropy_grad
        )
        (logprobs_BL + entropy_BL).sum().backward()
    return watch


@pytest.mark.parametrize("entropy_grad", [False, True])
def test_no_tensor_of_all_logits_is_ever_held(entropy_grad: bool) -> None:
    # In one piece the watch sees them, so it would see them below as well.
    assert watched(400, entropy_grad).largest == 400 * 620
    watch = watched(20, entropy_grad)
    assert watch.largest == 20 * 620
    # Nor piece by piece: of one chunk of twenty there are two, beside the layer's own gradient.
    assert watch.most_held <= 2 * 20 * 620 + 620 * 8


def test_logits_that_are_softly_capped_are_scored_as_the_model_does() -> None:
    """A cap of 1 on logits whose spread is some times that: without it the scores are far off."""
    network = capped(1.0)
    ids_BL, scored_BL = padded([(3, 6)])
    row = spoken(ids_BL[0, :3].tolist(), ids_BL[0, 3:].tolist())

    def scores() -> torch.Tensor:
        return token_logprobs(network, ids_BL, scored_BL, torch.ones(1), 4)[0][scored_BL]

    with torch.no_grad():
        ours = scores()
        torch.testing.assert_close(ours, plain_logprobs(network, row), rtol=0, atol=1e-5)
        network.config.final_logit_softcapping = None
        assert (scores() - ours).abs().max() > 0.5


def test_tied_embeddings_and_adapters_are_scored_alike(qwen: Path) -> None:
    sources: list[Pretrained] = [
        pretrained(qwen),
        pretrained(qwen, lora={"r": 2, "target_modules": ["q_proj", "down_proj"]}),
    ]
    row = spoken([0, 17, 2000], [0, 5, 2900, 0])
    ids_BL = torch.tensor([[0, 17, 2000, 0, 5, 2900, 0, 0, 0]])
    scored_BL = torch.tensor([[False] * 3 + [True] * 4 + [False] * 2])
    for source in sources:
        network, _ = source.load(0)
        network.eval()
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.3)
            logprobs_BL, _ = token_logprobs(network, ids_BL, scored_BL, torch.ones(1), 3)
            torch.testing.assert_close(
                logprobs_BL[scored_BL], plain_logprobs(network, row), rtol=0, atol=1e-5
            )
