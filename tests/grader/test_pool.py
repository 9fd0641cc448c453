import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcotrain.grader.pool import Job, Pool, Result, shared_pool, start_shared_pools

ROOT = Path(__file__).parents[2]
MEMORY = 1 << 30
TOWER: Job = ("same_value", "9^{9^{9^{9}}}", "7")  # one C call that never ends
FACTORIALS: Job = ("same_value", "((((((10!)!)!)!)!)!)!", "3")
EASY: Job = ("same_value", "\\frac{1}{2}", "0.5")


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(workers=2, timeout=2.0, memory=MEMORY)
    yield pool
    pool.close()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


def sums(count: int) -> list[Job]:
    """1+1 against 2, 2+2 against 3, 3+3 against 6, ...: every other one is right."""
    return [("same_value", f"{n}+{n}", f"{2 * n - (n % 2 == 0)}") for n in range(1, count + 1)]


def test_results_come_in_the_order_of_the_jobs(pool: Pool) -> None:
    found = pool.run([*sums(20), EASY])
    assert [result.status for result in found] == ["ok"] * 21
    assert [result.value[0] for result in found] == ["right", "wrong"] * 10 + ["right"]


def test_what_hangs_is_late_and_delays_nobody(pool: Pool) -> None:
    pool.run([EASY])  # the processes have started
    start = time.monotonic()
    found = pool.run([TOWER, *sums(30), FACTORIALS])
    took = time.monotonic() - start
    assert found[0] == found[-1] == Result("timeout")
    assert [result.value[0] for result in found[1:-1]] == ["right", "wrong"] * 15
    assert took < 2 * 2.0 + 2.0, "two that hang, one after the other at worst"
    assert pool.run(sums(32))[-1].value[0] == "wrong", "whoever was killed has been replaced"


def test_what_was_late_is_remembered_and_equal_calls_of_a_batch_are_one() -> None:
    pool = Pool(workers=2, timeout=0.5, memory=MEMORY)
    try:
        pool.run([EASY])
        start = time.monotonic()
        assert pool.run([TOWER] * 40) == [Result("timeout")] * 40
        once = time.monotonic() - start
        start = time.monotonic()
        assert pool.run([TOWER]) == [Result("timeout")]
        assert 0.5 <= once < 5.0 and time.monotonic() - start < 0.1
    finally:
        pool.close()


def test_values_are_remembered(pool: Pool) -> None:
    (first,) = pool.run([EASY])
    pool.close()
    assert pool.run([EASY]) == [first] and not pool.pids, "nobody had to be asked"


def test_too_much_memory_is_a_crash_and_no_wrong_answer() -> None:
    pool = Pool(workers=1, timeout=60.0, memory=1 << 28)
    try:
        crash, after = pool.run([("same_difference", "2^{9999999999}", "1"), EASY])
        assert crash == Result("crashed")
        assert after.value[0] == "right"
    finally:
        pool.close()


def test_an_error_of_a_task_is_a_crash(pool: Pool) -> None:
    assert pool.run([("no_such_task", "1", "1"), EASY])[0] == Result("crashed")


def test_a_worker_that_is_killed_from_outside(pool: Pool) -> None:
    pool.run(sums(4))
    *workers, parent = pool.pids
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert gone(workers)
    later = [*sums(10), EASY][4:]
    assert {result.status for result in pool.run(later)} == {"ok"}, "idle ones are replaced"
    *workers, parent = pool.pids
    os.kill(parent, signal.SIGKILL)
    assert gone([*workers, parent]), "workers end with the process that forks them"
    assert {result.status for result in pool.run(sums(20)[10:])} == {"ok"}


def test_a_start_that_is_killed_is_tried_again(pool: Pool) -> None:
    pool.start()
    os.kill(pool.pids[-1], signal.SIGKILL)
    assert pool.run([EASY])[0].value[0] == "right"


def test_a_start_that_always_fails_ends_after_three_tries() -> None:
    pool = Pool(workers=1, timeout=5.0, memory=MEMORY, tasks="no.such.module")
    with pytest.raises(RuntimeError, match="ended as they started, 3 times in a row"):
        pool.run([EASY])
    assert not pool.pids


def test_processes_may_be_started_before_they_are_needed(pool: Pool) -> None:
    assert pool.pids == []
    pool.start()
    (imports,) = pool.pids
    pool.start()
    assert pool.run([EASY])[0].value[0] == "right"
    assert pool.pids[-1] == imports, "started once"


def test_shared_pools_start_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlcotrain.grader.pool._pools", {})
    asked = [shared_pool(1, timeout, MEMORY) for timeout in (3.0, 4.0)]
    start_shared_pools()
    assert all(alive(pool.pids[-1]) for pool in asked)
    for pool in asked:
        pool.close()


def test_close_leaves_nobody(pool: Pool) -> None:
    pool.run(sums(4))
    pids = pool.pids
    assert len(pids) == 3
    pool.close()
    assert gone(pids) and not pool.pids
    pool.close()


def test_nobody_is_left_when_this_process_is_killed() -> None:
    """Even where a worker sits in a C call that never ends."""
    script = (
        "from rlcotrain.grader.pool import Pool\n"
        f"pool = Pool(workers=2, timeout=600, memory={MEMORY})\n"
        f"pool.run([{EASY!r}])\n"
        "print(*pool.pids, flush=True)\n"
        f"pool.run([{TOWER!r}, {FACTORIALS!r}])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    time.sleep(0.3)
    assert len(pids) >= 2 and all(map(alive, pids))
    child.kill()
    child.wait()
    child.stdout.close()
    assert gone(pids)


def test_threads_may_ask_and_end() -> None:
    """No alarm: those work in the main thread only (verl-project/verl#5635)."""
    pool = Pool(workers=1, timeout=5.0, memory=MEMORY)
    found: list[Result] = []
    try:
        for _ in range(2):
            thread = threading.Thread(target=lambda: found.extend(pool.run(sums(len(found) + 3))))
            thread.start()
            thread.join()
        assert [result.status for result in found] == ["ok"] * 9
        first = pool.pids
        pool.run([EASY])
        assert pool.pids == first, "they do not end with the thread that started them"
    finally:
        pool.close()


def test_one_pool_of_equal_settings() -> None:
    assert shared_pool(1, 3.0, MEMORY) is shared_pool(1, 3.0, MEMORY)
    assert shared_pool(1, 3.0, MEMORY) is not shared_pool(1, 4.0, MEMORY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, r"grader\.workers=0: must be 1 or more"),
        ({"timeout": 0.0}, r"grader\.timeout=0\.0: must be above 0"),
        ({"memory": 1000}, r"grader\.memory=1000: must be 268435456 or more"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pool(**{"workers": 1, "timeout": 1.0, "memory": MEMORY} | changes)  # type: ignore[arg-type]
