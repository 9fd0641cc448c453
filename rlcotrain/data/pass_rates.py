"""How often a model solves each problem, as a file: a line {"id", "n", "c", "pass@k"...} a problem.

evaluation=pass_at_k writes it (n answers, c of them right), orders read it.
"""

from collections.abc import Collection
from pathlib import Path

from rlcotrain.data.rows import Row, gather, read_rows

KEY = "sampler.pass_rates"


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that one of k answers drawn without replacement from n, c of them right, is right.

    1 - C(n-c, k) / C(n, k), unbiased (arXiv 2107.03374), as a product of factors that are no large
    numbers. ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@k of n={n}, c={c}, k={k}: needs 1 <= k <= n and 0 <= c <= n")
    wrong = 1.0
    for i in range(k):
        wrong *= max(n - c - i, 0) / (n - i)
    return 1 - wrong


def read_pass_rates(path: Path, known: Collection[str]) -> dict[str, float]:
    """c / n of every problem in the file.

    ValueError for lines that are none, ids that come twice, and ids that are not `known`, with the
    first of them and their number.
    """
    rows, rates, ids = read_rows(path, KEY), dict[str, float](), set(known)
    strange = list[Row]()
    for row, (name, rate) in zip(rows, gather(rows, _rate), strict=True):
        if name in rates:
            raise row.error(f"id {name!r} stands in the file twice")
        rates[name] = rate
        strange += [row] if name not in ids else []
    if strange:
        raise strange[0].error(
            f"id {strange[0].text('id')!r} is no training problem's; {len(strange)} of {len(rows)} "
            "ids match none (of other data, other levels, or data that is made as it is drawn)"
        )
    return rates


def _rate(row: Row) -> tuple[str, float]:
    n, c = row.number("n"), row.number("c")
    if not 0 <= c <= n or n < 1:
        raise row.error(f"n={n}, c={c}: needs n >= 1 and 0 <= c <= n")
    return row.text("id"), c / n
