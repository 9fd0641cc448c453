"""Whose work other processes do, so that a thread may wait for it."""

from rlcotrain.grader.by_task import ByTask
from rlcotrain.grader.function import Function
from rlcotrain.grader.math import Math
from rlcotrain.grader.number import Number
from rlcotrain.grader.single import waits
from rlcotrain.grader.watched import Watched


def test_only_graders_of_the_pool_wait_and_what_is_made_of_them_alone() -> None:
    pool, own = Math(workers=1, timeout=1.0, memory=2**30), Number(tolerance=0.0)
    function = Function(path="tests.grader.rewards.holds_answer", low=0.0, high=1.0)
    assert [waits(grader) for grader in (pool, own, function)] == [True, False, False]
    assert waits(ByTask(graders={"a": pool, "b": pool}))
    assert not waits(ByTask(graders={"a": pool, "b": function}))
    assert waits(Watched(grader=pool, watch={}))
    assert not waits(Watched(grader=pool, watch={"own": own}))
