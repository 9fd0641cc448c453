import pytest
import torch

from rlcotrain.engine.cache import ROOM, RowCache, _attend


def test_a_cache_grows_and_keeps_rows_in_any_order() -> None:
    read = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)  # two prompts of four tokens
    cache = RowCache([read, read + 1000], [-read, -read - 1000])
    cache.keep(torch.tensor([1, 0, 1]))
    assert (cache.length, cache.slots) == (4, 4 + ROOM)
    written = []
    for token in range(ROOM + 2):  # past the first room
        slots = cache.step()
        new = torch.full((3, 3, 1, 5), float(token))
        for layer, shift in enumerate((0, 1000)):
            keys, values = cache.update(new + shift, -new - shift, layer)
            assert keys.shape == values.shape == (3, 3, slots, 5)
        written.append(token)
    assert (cache.length, cache.slots) == (4 + ROOM + 2, 4 + 2 * ROOM)
    cache.keep(torch.tensor([2]))
    for layer, shift in enumerate((0, 1000)):
        keys, values = cache.keys[layer], cache.values[layer]
        assert keys[0, :, :4].equal(read[1] + shift) and values[0, :, :4].equal(-read[1] - shift)
        assert keys[0, 1, 4 : cache.length, 2].tolist() == [t + shift for t in written]
        assert values[0, 1, 4 : cache.length, 2].tolist() == [-t - shift for t in written]
        assert not keys[:, :, cache.length :].any() and not values[:, :, cache.length :].any()


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
