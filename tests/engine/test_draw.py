import math

import numpy as np
import pytest
import torch

from rlcotrain.engine.draw import draw_tokens, uniforms
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Sampling

CENTURY = 5000  # points of the unit interval at which the whole distribution is read off


def read_off(logits: list[float], sampling: Sampling) -> tuple[np.ndarray, dict[int, float]]:
    """(share of the unit interval that draws each token, log-probability reported for it)."""
    grid = (np.arange(CENTURY) + 0.5) / CENTURY
    ids, logprobs = draw_tokens(torch.tensor([logits] * CENTURY), sampling, grid)
    counts = np.bincount(ids.numpy(), minlength=len(logits))
    return counts / CENTURY, dict(zip(ids.tolist(), logprobs.tolist(), strict=True))


def naive(logits: list[float], sampling: Sampling) -> list[float]:
    """Divide by the temperature, keep the top k, then the smallest set that reaches top p."""
    weights = [math.exp(z / sampling.temperature) for z in logits]
    order = sorted(range(len(logits)), key=lambda v: -weights[v])
    kept = order[: sampling.top_k] if sampling.top_k else order
    total = sum(weights[v] for v in kept)
    nucleus, mass = [], 0.0
    for v in kept:
        if mass < sampling.top_p:
            nucleus.append(v)
        mass += weights[v] / total
    total = sum(weights[v] for v in nucleus)
    return [weights[v] / total if v in nucleus else 0.0 for v in range(len(logits))]


def test_the_first_numbers_of_splitmix64() -> None:
    # The reference implementation's output for seed 0 (also worked by hand: 0 + 0x9E37..., thrice
    # mixed), then that of the seed 1234567 as Rosetta Code lists it.
    for seed, outputs in {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
    }.items():
        drawn = [uniforms(np.array([seed]), position)[0] for position in range(3)]
        assert drawn == [(output >> 11) / 2**53 for output in outputs]


def test_a_number_belongs_to_its_seed_and_position() -> None:
    seeds = np.array([derive_seed("row", k) for k in range(100)], np.uint64)
    together = uniforms(seeds, 7)
    assert [uniforms(seeds[k : k + 1], 7)[0] for k in range(100)] == together.tolist()
    everything = np.concatenate([uniforms(seeds, position) for position in range(50)])
    assert len(set(everything.tolist())) == 5000
    assert everything.min() >= 0 and everything.max() < 1
    counts, _ = np.histogram(everything, bins=10, range=(0, 1))
    # 9 degrees of freedom: mean 9, and 5 standard deviations of sqrt(18) more.
    assert ((counts - 500) ** 2 / 500).sum() < 9 + 5 * 18**0.5


LOGITS = [1.0, -0.5, 2.5, 0.0, 2.4, -3.0, 0.7]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize(
    ("top_k", "top_p"),
    [(0, 1.0), (1, 1.0), (3, 1.0), (7, 1.0), (100, 1.0), (0, 0.9), (0, 0.5), (0, 1e-6), (4, 0.8)],
)
def test_distributions_against_a_naive_implementation(
    temperature: float, top_k: int, top_p: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = naive(LOGITS, sampling)
    shares, logprobs = read_off(LOGITS, sampling)
    assert shares == pytest.approx(expected, abs=1.01 / CENTURY)
    assert {v for v, share in enumerate(expected) if share > 1 / CENTURY} <= logprobs.keys()
    for token, logprob in logprobs.items():
        assert logprob == pytest.approx(math.log(expected[token]), abs=1e-5)


def test_the_nucleus_by_hand() -> None:
    logits = [math.log(p) for p in (0.4, 0.1, 0.3, 0.2)]
    for top_p, kept in [(0.39, {0}), (0.41, {0, 2}), (0.69, {0, 2}), (0.71, {0, 2, 3})]:
        shares, _ = read_off(logits, Sampling(top_p=top_p))
        assert set(np.nonzero(shares)[0]) == kept
    assert read_off(logits, Sampling(top_p=0.69))[0] == pytest.approx(
        [4 / 7, 0, 3 / 7, 0], abs=1e-3
    )


def test_every_row_is_filtered_on_its_own() -> None:
    logits = torch.tensor([LOGITS, LOGITS[::-1]] * 50)
    ids, logprobs = draw_tokens(logits, Sampling(top_k=2, top_p=0.95), uniforms(np.arange(100), 0))
    assert set(ids[::2].tolist()) == {2, 4} and set(ids[1::2].tolist()) == {4, 2}
    ahead = math.log(1 / (1 + math.exp(-0.1)))
    assert {round(x, 4) for x in logprobs.tolist()} == {round(ahead, 4), round(ahead - 0.1, 4)}


def test_greedy_takes_the_largest_and_reports_it_at_temperature_1() -> None:
    ids, logprobs = draw_tokens(
        torch.tensor([LOGITS, [0.0] * 7]), Sampling(temperature=0), np.array([0.99, 0.99])
    )
    assert ids.tolist() == [2, 0]
    total = sum(math.exp(z) for z in LOGITS)
    assert logprobs.tolist() == pytest.approx([2.5 - math.log(total), -math.log(7)], abs=1e-6)


@pytest.mark.parametrize("impossible", [-math.inf, -1e5])
def test_tokens_of_probability_0_are_never_drawn(impossible: float) -> None:
    # At either end and in the middle of the vocabulary, and at either end of the unit interval.
    logits = [impossible, 1.0, impossible, impossible, 0.0, impossible]
    edge = 1 / (1 + math.exp(-1))
    ends = np.array([0.0, np.nextafter(edge, 0), edge, np.nextafter(edge, 1), 1 - 2.0**-53])
    ids, logprobs = draw_tokens(torch.tensor([logits] * 5), Sampling(), ends)
    assert set(ids.tolist()) == {1, 4}
    assert (ids[0], ids[4]) == (1, 4)
    assert logprobs.isfinite().all()
    shares, _ = read_off(logits, Sampling())
    assert shares.nonzero()[0].tolist() == [1, 4]


def test_rare_tokens_are_drawn_each_in_its_turn() -> None:
    # Two of one half and a thousand of 1e-9: next to 1, float32 knows only every 60th of these.
    logits = torch.full((1002,), math.log(1e-9))
    logits[:2] = math.log(0.5 - 5e-7)
    grid = 1 - 1e-6 + 1e-9 * (np.arange(1000) + 0.5)
    ids, _ = draw_tokens(logits.expand(1000, -1), Sampling(), grid)
    # The halves themselves are off by some 1e-8, which is tens of rare tokens.
    assert len(set(ids.tolist())) > 800
    assert (ids.diff() >= 0).all() and ids[-1] == 1001


def test_drawn_frequencies_follow_the_probabilities() -> None:
    count = 20_000
    seeds = np.array([derive_seed("row", k) for k in range(count)], np.uint64)
    for position in range(3):
        ids, _ = draw_tokens(
            torch.tensor([LOGITS]).expand(count, -1), Sampling(), uniforms(seeds, position)
        )
        counts = np.bincount(ids.numpy(), minlength=7)
        expected = count * np.array(naive(LOGITS, Sampling()))
        # 6 degrees of freedom: mean 6, and 5 standard deviations of sqrt(12) more.
        assert ((counts - expected) ** 2 / expected).sum() < 6 + 5 * 12**0.5


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", -0.1), ("top_p", 0.0), ("top_p", 1.1), ("top_k", -1), ("max_tokens", 0)],
)
def test_settings_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^sampling\.{key}={value}: must be "):
        Sampling(**{key: value})


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_rows_of_one_line_draw_as_if_each_had_its_own(temperature: float) -> None:
    torch.manual_seed(0)
    logits, line = torch.randn(3, 50), torch.tensor([2, 0, 2, 2, 1, 0])
    given = Sampling(temperature=temperature, top_k=20), np.linspace(0.05, 0.95, 6)
    ids, logprobs = draw_tokens(logits, *given, line)
    own_ids, own_logprobs = draw_tokens(logits[line], *given)
    assert ids.equal(own_ids) and logprobs.equal(own_logprobs)
    assert temperature == 0 or len(set(ids[[0, 2, 3]].tolist())) == 3
