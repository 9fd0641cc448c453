from itertools import combinations
from pathlib import Path

import pytest

from rlcotrain.data.pass_rates import pass_at_k, read_pass_rates


def test_pass_at_k_by_counting_every_choice() -> None:
    """Of the 10 pairs from 5 answers, 2 of them right, 7 hold a right one."""
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    for n, c, k in [(4, 1, 2), (6, 3, 4), (5, 5, 1), (5, 0, 5), (7, 2, 6)]:
        picks = list(combinations(range(n), k))
        share = sum(any(place < c for place in pick) for pick in picks) / len(picks)
        assert pass_at_k(n, c, k) == pytest.approx(share)


def test_pass_at_1_is_the_pass_rate_and_large_numbers_are_no_trouble() -> None:
    assert pass_at_k(16, 3, 1) == pytest.approx(3 / 16)
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)
    assert pass_at_k(10, 6, 5) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_what_is_no_pass_at_k(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs 1 <= k <= n and 0 <= c <= n"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "n": 4}', r"sampler\.pass_rates: .* line 1: field 'c' is missing"),
        ('{"id": "a", "n": 4, "c": 5}', "line 1: n=4, c=5: needs n >= 1 and 0 <= c <= n"),
        ('{"id": "a", "n": 0, "c": 0}', "line 1: n=0, c=0"),
        ('{"id": "a", "n": 1, "c": 0}\n' * 2, "line 2: id 'a' stands in the file twice"),
        ("", "is empty"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "rates.jsonl"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_pass_rates(file, ["a"])
