from pathlib import Path

import pytest
import torch

from rlcotrain.profile.flops import Weights, Work, peak_flops, weights_of
from tests.model.tiny import pretrained, tiny


def test_work_of_rows_behind_others() -> None:
    # 2 tokens: the first sees itself, the second both. 3 behind 4: 5 + 6 + 7.
    assert Work.of([2]) == Work(tokens=2, pairs=3, scored=0)
    assert Work.of([2, 3], [0, 4], scored=5) == Work(tokens=5, pairs=3 + 18, scored=5)
    assert Work.of([2]) + Work.of([1], [9], 1) == Work(tokens=3, pairs=3 + 10, scored=1)


def test_operations_by_hand() -> None:
    weights = Weights(layers=100, layers_trained=100, head=30, head_trained=30, channels=8)
    work = Work(tokens=10, pairs=55, scored=4)
    assert weights.forward(work) == 2 * 100 * 10 + 2 * 30 * 4 + 4 * 8 * 55
    assert weights.backward(work) == 2 * weights.forward(work), "6 N a token in all"
    adapters = Weights(layers=105, layers_trained=5, head=30, head_trained=0, channels=8)
    assert adapters.backward(work) == 2 * 110 * 10 + 2 * 30 * 4 + 8 * 8 * 55


def test_weights_of_a_model(checkpoint: Path) -> None:
    network = tiny().load(0)[0]
    layer = 32 * (2 * 16) * 2 + 32 * 16 * 2 + 3 * 32 * 64  # queries, output, keys, values, MLP
    vocabulary = network.config.vocab_size
    whole = weights_of(network)
    assert (whole.layers, whole.head, whole.channels) == (2 * layer, 32 * vocabulary, 2 * 2 * 16)
    assert (whole.layers_trained, whole.head_trained) == (whole.layers, whole.head)
    adapted, _ = pretrained(checkpoint, lora={"r": 2, "target_modules": ["q_proj"]}).load(0)
    found = weights_of(adapted)
    assert found.layers_trained == 2 * (32 * 2 + 2 * 32) and found.head_trained == 0
    assert found.head == adapted.get_output_embeddings().weight.numel(), "tied, and counted once"


def test_the_peak_is_a_speed() -> None:
    assert 1e8 < peak_flops(torch.device("cpu"), torch.float32) < 1e15


def test_the_backward_pass_of_a_model_counts_as_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = tiny().load(0)[0]
    weights = weights_of(network)
    with FlopCounterMode(display=False) as counter:
        logits = network(input_ids=torch.zeros(3, 1, dtype=torch.int64), use_cache=False).logits
        forward = counter.get_total_flops()
        logits.sum().backward()
    work = Work.of([1, 1, 1], scored=3)
    attention = weights.channels * work.pairs  # which torch counts only where it knows the kernel
    assert weights.forward(work) == pytest.approx(forward, abs=4 * attention)
    both = weights.forward(work) + weights.backward(work)
    assert both == pytest.approx(counter.get_total_flops(), abs=14 * attention)
