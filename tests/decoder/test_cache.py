import pytest
import torch

from rlcotrain.decoder.cache import ROOM, LineCache, _attend


@pytest.mark.parametrize("tokens", [0, 25])  # as on a CPU, and with room for all at once
def test_a_cache_grows_forks_and_keeps_lines_in_any_order(tokens: int) -> None:
    read = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)  # two prompts of four slots
    seen = torch.tensor([[True, True, True, True], [True, True, False, False]])
    cache = LineCache(torch.tensor([4, 2]), most=4, tokens=tokens)
    for lines in ([1, 1], [0, 0, 0, 0]):  # in two goes; of the second line two slots are seen
        slots = list(range(len(lines)))
        both = [[sign * (read[lines, :, slots] + shift) for shift in (0, 1000)] for sign in (1, -1)]
        cache.fill(torch.tensor(lines), torch.tensor(slots), *both)
    keys, values = cache.read(torch.tensor([1, 0]), 3)
    assert keys[1][0, :, :2].equal(read[1, :, :2] + 1000) and not keys[1][0, :, 2:].any()
    assert values[0][1].equal(-read[0, :, :3])
    cache.keep(torch.tensor([1, 0, 1]), most=4)
    assert (cache.lines, cache.length, cache.heads) == (3, 4, 3)
    for token in range(ROOM + 2):  # past the first room, where there is no more
        mask = cache.step()
        assert mask.shape[1] == 4 + (ROOM if token < ROOM else 2 * ROOM)
        empty = [False] * (mask.shape[1] - 5 - token)  # of the room: nothing a product may read
        assert mask.tolist() == [
            [*seen[line].tolist(), *[True] * (token + 1), *empty] for line in (1, 0, 1)
        ]
        new = 10 * torch.arange(3.0)[:, None, None, None] + torch.full((3, 3, 1, 5), 100.0 * token)
        for layer, shift in enumerate((0, 1000)):
            keys, values = cache.update(new + shift, -new - shift, layer)
            assert keys.shape == values.shape == (3, 3, mask.shape[1], 5)
            assert not keys[:, :, 5 + token :].any() and not values[:, :, 5 + token :].any()
    for held in (*cache._keys, *cache._values):  # no more than was to be, however often it is made
        assert held.shape == (4, 3, 4 + 2 * ROOM, 5)
    cache.fork(torch.tensor([2, 1]), torch.tensor([0, 3]), lines=4)  # over a line, and a new one
    mask = cache.step()
    assert mask.sum(-1).tolist() == [2 + ROOM + 3, 4 + ROOM + 3, 2 + ROOM + 3, 4 + ROOM + 3]
    zero = torch.zeros(4, 3, 1, 5)
    for layer, shift in enumerate((0, 1000)):
        keys, values = cache.update(zero, zero, layer)
        for line, (prompt, spoke) in enumerate([(1, 2), (0, 1), (1, 2), (0, 1)]):
            expected = [100.0 * token + 10 * spoke + shift for token in range(ROOM + 2)]
            held = 4 - 2 * prompt
            assert keys[line, :, :held].equal(read[prompt, :, :held] + shift)
            assert values[line, :, :held].equal(-read[prompt, :, :held] - shift)
            assert keys[line, 1, 4 : ROOM + 6, 2].tolist() == expected
            assert values[line, 2, 4 : ROOM + 6, 0].tolist() == [-t for t in expected]
            assert not keys[line, :, ROOM + 6 :].any() and not values[line, :, ROOM + 6 :].any()


def test_a_cache_holds_what_attention_reads_under_autocast() -> None:
    states = torch.randn(2, 3, 8) * torch.tensor([1.0, 1e-3])[:, None, None]
    cache = LineCache(torch.tensor([1, 1]), most=2)
    with torch.autocast("cpu", torch.bfloat16):
        cache.fill(torch.tensor([0, 1]), torch.tensor([0, 0]), [states], [states.bfloat16()])
    (keys,), (values,) = cache.read(torch.tensor([0, 1]), 1)
    assert keys.dtype == values.dtype == torch.bfloat16
    assert keys[:, :, 0].equal(states.bfloat16()) and values.equal(keys)


@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)]
)
@pytest.mark.parametrize("shared", [1, 2, 4])  # query heads that share a head of the cache
def test_one_query_attends_as_the_library_does(
    dtype: torch.dtype, close: float, shared: int
) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, 4, 1, 8, dtype=dtype)
    key, value = (torch.randn(3, 4 // shared, 7, 8, dtype=dtype) for _ in range(2))
    seen = torch.tensor(
        [[1, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0, 0]]
    ).bool()
    mask = torch.where(seen, 0.0, -torch.inf)[:, None, None]
    ours, _ = _attend(torch.nn.Module(), query, key, value, mask, 0.3)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(shared, 1),
        value.repeat_interleave(shared, 1),
        attn_mask=seen[:, None, None],
        scale=0.3,
    )
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=0, atol=close)
    # The third row sees one token only, for every head that shares it.
    expected = value[2, :, 4].repeat_interleave(shared, 0)
    torch.testing.assert_close(ours[2, 0], expected, rtol=0, atol=close)


def test_scores_are_in_float32_under_autocast() -> None:
    """Of numbers that half precision holds exactly; their scores it does not."""
    torch.manual_seed(0)
    numbers = torch.randint(-9, 9, (3, 3, 4, 7, 8)).float()
    query, key, value = numbers[0, :, :, :1], numbers[1, :, :2], numbers[2, :, :2]
    mask = torch.zeros(3, 1, 1, 7)
    whole, _ = _attend(torch.nn.Module(), query, key, value, mask, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = _attend(torch.nn.Module(), query, key, value, mask, 0.3)
    # Chances and results are rounded to eight bits; so would be scores, and nine times as far off.
    torch.testing.assert_close(half.float(), whole, rtol=0, atol=0.03)
