"""How fast mathematics is graded, and what expressions that hang cost.

    python benchmarks/grading.py [../shared/data/math [EVERY]]

EVERY takes only every so many rows of part 1, and as much less of the others.

Three parts, each with its bound; the exit status is 1 where one is missed.
1. Worked solutions of MATH against their own answers and against other rows', by grader=math and by
   Math-Verify called plainly in this process: at least 10 times the throughput with the same
   verdicts on 99.5 %; every disagreement is printed. Starting the pool is part of the time.
2. 1,000 comparisons of which 5 % hang: at most twice the time of the others alone, and hanging x
   timeout / workers.
3. 20,000 comparisons that only the pool can tell: the workers' memory stays flat.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # not installed

from rlcotrain.grader.math import Math
from rlcotrain.grader.pool import Job, Pool, shared_pool
from rlcotrain.types import Grade, Problem

WORKERS, TIMEOUT, MEMORY = 2, 5.0, 2 << 30
TURN = 500  # rows that one grades before it is the other's turn
SHIFT = 1237  # rows are also graded against the answer of the row so far behind them
HANGING, COUNT, SHORT = 50, 1000, 1.0  # expressions that hang, of how many, with which time limit
CALLS, SAMPLES = 20_000, 10


def main(folder: Path, every: int) -> int:
    """Print all figures; 1 if a bound is missed."""
    kept = [throughput(folder, every), hanging(COUNT // every), memory(CALLS // every)]
    print("all bounds kept" if all(kept) else "A BOUND IS MISSED")
    return 0 if all(kept) else 1


def throughput(folder: Path, every: int) -> bool:
    """Part 1."""
    from math_verify import parse, verify

    rows = [row for name in ("train", "test_dev_half") for row in read(folder / f"{name}.jsonl.gz")]
    rows = rows[::every]
    blank = [row for row in rows if not row["answer"].strip()]
    rows = [row for row in rows if row["answer"].strip()]
    own = [row["answer"] for row in rows]
    texts = [row["solution"] for row in rows] * 2
    shift = SHIFT % len(own)  # so that fewer rows, too, meet others' answers
    golds = own + own[shift:] + own[:shift]
    grader = Math(workers=WORKERS, timeout=TIMEOUT, memory=MEMORY)
    problems = [Problem(id=str(i), question="", answer=gold) for i, gold in enumerate(golds)]
    verify(parse("$2x$"), parse("$x+x$"))  # its imports and tables are no part of its time
    grades, plain = list[Grade](), list[bool]()
    ours = theirs = 0.0
    for at in range(0, len(golds), TURN):  # in turns: what else the machine does meets both
        part = slice(at, at + TURN)
        start = time.perf_counter()
        grades += grader.grade(texts[part], problems[part])
        ours += time.perf_counter() - start
        start = time.perf_counter()
        pairs = zip(golds[part], texts[part], strict=True)
        plain += [verify(parse(f"${gold}$"), parse(text)) for gold, text in pairs]
        theirs += time.perf_counter() - start
    shared_pool(WORKERS, TIMEOUT, MEMORY).close()

    right = [grade.score == 1.0 for grade in grades]
    disagreed = [i for i in range(len(golds)) if right[i] != plain[i]]
    agreement = 1 - len(disagreed) / len(golds)
    print(f"MATH: {len(rows)} worked solutions ({len(blank)} with a blank answer left out), x 2")
    print(f"  grader=math   {ours:7.1f} s  {len(golds) / ours:7.0f} a second")
    print(f"  Math-Verify   {theirs:7.1f} s  {len(golds) / theirs:7.0f} a second")
    print(f"  ratio {theirs / ours:.1f} (10 or more), same verdicts {agreement:.4%} (99.5 %)")
    mine = right[: len(rows)]
    print(
        f"  right by their own answer: {sum(mine)} of {len(mine)} "
        f"(plainly {sum(plain[: len(rows)])})"
    )
    taken = [i for i in range(len(rows), len(golds)) if right[i]]
    print(f"  right by another row's answer: {len(taken)} (plainly {sum(plain[len(rows) :])})")
    statuses = [grade.status for grade in grades]
    print("  statuses:", {status: statuses.count(status) for status in sorted(set(statuses))})
    for i in disagreed:
        word = "right" if right[i] else "wrong"
        print(f"  {word} here, not there: known {golds[i]!r}, said {grades[i].extracted!r:.80}")
    return theirs / ours >= 10 and agreement >= 0.995 and all(mine)


def hanging(count: int) -> bool:
    """Part 2: `count` comparisons that only the pool can tell, 5 % of them odd."""
    odd = count * HANGING // COUNT
    easy: list[Job] = [("same_value", f"{n}x+y", f"{n + 1}x-y") for n in range(count)]
    shapes = (
        "{n}^{{9^{{9^{{9^{{9}}}}}}}}",  # a huge power
        "((((((({n})!)!)!)!)!)!)!",  # nested factorials
        "\\prod_{{k=1}}^{{{n}00000000}}(k+x)",  # a long product
        "{n}" + "{{" * 900 + "x" + "}}" * 900,  # deep braces
    )
    hard: list[Job] = [
        ("same_value", shapes[n % len(shapes)].format(n=n + 10), "7") for n in range(odd)
    ]
    every = count // odd
    mixed = [hard[i // every] if i % every == 0 else job for i, job in enumerate(easy)]
    pool = Pool(workers=WORKERS, timeout=SHORT, memory=MEMORY)
    seconds, results = [], []
    for jobs in ([job for job in mixed if job not in set(hard)], mixed):
        pool.run([("same_value", "1", "x")])
        start = time.perf_counter()
        results.append(pool.run(jobs))
        seconds.append(time.perf_counter() - start)
        pids = pool.pids
        pool.close()
        pool = Pool(workers=WORKERS, timeout=SHORT, memory=MEMORY)  # which remembers nothing
    statuses = [result.status for job, result in zip(mixed, results[1], strict=True) if job in hard]
    late = statuses.count("timeout")
    bound = 2 * seconds[0] + late * SHORT / WORKERS
    clean = [r for job, r in zip(mixed, results[1], strict=True) if job not in set(hard)]
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    print(
        f"{count} comparisons, {odd} of them odd: {late} late, {statuses.count('crashed')} crashed"
    )
    print(f"  without them {seconds[0]:.1f} s, with them {seconds[1]:.1f} s, bound {bound:.1f} s")
    print(f"  the others the same, in order: {clean == results[0]}; workers left: {len(left)}")
    return seconds[1] <= bound and clean == results[0] and not left


def memory(calls: int) -> bool:
    """Part 3: resident memory over `calls` calls, as Linux counts it."""
    pool = Pool(workers=WORKERS, timeout=TIMEOUT, memory=MEMORY)
    sizes = []
    for batch in range(SAMPLES):
        first = batch * calls // SAMPLES
        numbers = range(first, first + calls // SAMPLES)
        pool.run([("same_value", f"{n}x+y", f"{n}x-{n % 7}y") for n in numbers])
        sizes.append((resident(pool.pids), resident([os.getpid()])))
    pool.close()
    print(f"memory every {calls // SAMPLES} of {calls} calls, MiB")
    print("  workers     ", *(f"{workers:.0f}" for workers, _ in sizes))
    print("  this process", *(f"{own:.0f}" for _, own in sizes))
    return all(sizes[-1][i] <= 1.2 * sizes[SAMPLES // 5][i] for i in (0, 1))


def resident(pids: Sequence[int]) -> float:
    """Resident memory of processes together, in MiB."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def read(file: Path) -> list[dict[str, str]]:
    """The rows of a packed JSON-lines file."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    sys.exit(main(Path(given.get(1, "../shared/data/math")), int(given.get(2, 1))))
