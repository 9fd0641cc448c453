"""What goes through the layers in pieces is what goes through them whole."""

import numpy as np
import pytest
import torch

from rlcotrain.decoder import read as reading
from rlcotrain.decoder import trie
from rlcotrain.decoder.read import read_prompts, read_tries
from rlcotrain.decoder.trie import grow
from tests.model.tiny import tiny

MODEL = tiny().load(3)[0].eval()
CPU = torch.device("cpu")


def whole(token_ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Last hidden states [S, H], and keys and values of the second layer [heads, S, D]."""
    output = MODEL.get_decoder()(torch.from_numpy(token_ids.astype(np.int64))[None], use_cache=True)
    keys, values, *_ = zip(*output.past_key_values, strict=True)
    return output.last_hidden_state[0], keys[1][0], values[1][0]


def alike(seed: int) -> list[np.ndarray]:
    """Sequences that begin alike in twos and threes, and others that do not."""
    random = np.random.default_rng(seed)
    first, second = (random.integers(0, 261, 12).tolist() for _ in range(2))
    made = [
        *([*first, 1, 2, 3], [*first, 1, 2, 4, 5], [*first, 9]),
        *([*second, 1], [*second, 1], second[:9]),
        *([5], [5, 6], random.integers(0, 261, 20).tolist()),
    ]
    return [np.array(line, np.int32) for line in made]


@torch.inference_mode()
def test_a_tree_is_read_as_its_sequences_are() -> None:
    groups = [alike(0)[:3], alike(0)[3:6], alike(0)[8:]]
    tries = [grow(group, 100) for group in groups]
    hidden, keys, values = read_tries(MODEL, tries, CPU)
    assert hidden.shape[:2] == (3, 20)
    for c, (group, tree) in enumerate(zip(groups, tries, strict=True)):
        for sequence, path in zip(group, tree.paths, strict=True):
            state, key, value = whole(sequence)
            torch.testing.assert_close(hidden[c, path], state, rtol=0, atol=1e-5)
            torch.testing.assert_close(keys[1][c][:, path], key, rtol=0, atol=1e-5)
            torch.testing.assert_close(values[1][c][:, path], value, rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("limit", "together"), [(256, 16384), (256, 25), (0, 16384), (0, 4)])
def test_prompts_are_read_as_each_by_itself(
    limit: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trie, "WHOLE", limit)
    monkeypatch.setattr(reading, "TOGETHER", together)
    prompts = [prompt for k, prompt in enumerate(alike(1)) if k != 4]  # which is 3 again
    last, cache = read_prompts(MODEL, prompts, most=20, tokens=8)
    lengths = [len(prompt) for prompt in prompts]
    assert (cache.lines, cache.most, cache.length) == (len(prompts), 20, max(lengths))
    keys, values = cache.read(torch.arange(len(prompts)), max(lengths))
    for b, (prompt, size) in enumerate(zip(prompts, lengths, strict=True)):
        state, key, value = whole(prompt)
        torch.testing.assert_close(last[b], state[-1], rtol=0, atol=1e-5)
        torch.testing.assert_close(keys[1][b][:, :size], key, rtol=0, atol=1e-5)
        torch.testing.assert_close(values[1][b][:, :size], value, rtol=0, atol=1e-5)
        assert not keys[1][b][:, size:].any()  # is masked, but not where it is not a number
    assert cache.step().sum(-1).tolist() == [size + 1 for size in lengths]


@torch.inference_mode()
def test_beginnings_of_prompts_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trie, "WHOLE", 0)
    read: list[tuple[int, ...]] = []
    hook = MODEL.get_decoder().embed_tokens.register_forward_pre_hook(
        lambda _, token_ids: read.append(tuple(token_ids[0].shape))
    )
    try:
        read_prompts(MODEL, alike(2)[:3], most=3, tokens=8)
    finally:
        hook.remove()
    # Twelve tokens of all and two more of the first two; then 3, 4 5 and 9, padded to two each.
    assert read == [(1, 14), (3, 2)]


@torch.inference_mode()
def test_only_what_branches_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trie, "WHOLE", 0)
    monkeypatch.setattr(trie, "BRANCHED", 3)
    ends = ([1, 2], [1, 3], [4, 5], [4, 6])
    prompts = [np.array([*range(20, 32), *end], np.int32) for end in ends]
    trees: list[int] = []
    monkeypatch.setattr(
        reading, "grow", lambda *args: trees.append(len(made := grow(*args))) or made
    )
    last, _ = read_prompts(MODEL, prompts, most=4, tokens=8)
    assert trees == [12]  # not the 1 and the 4, which two have each
    for b, prompt in enumerate(prompts):
        torch.testing.assert_close(last[b], whole(prompt)[0][-1], rtol=0, atol=1e-5)
