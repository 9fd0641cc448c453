from dataclasses import replace

import numpy as np
import pytest

from rlcotrain.buffer import Buffer, Keep
from rlcotrain.types import Rollout
from tests.rows import spoken


def row(peers: str, advantage: float, policy: str = "generator") -> Rollout:
    made = spoken([1], [2, 3], peers, policy=policy)
    return replace(made, advantages=np.array([advantage, 0.0], np.float32))


# One of the first group's rows has a signal, none of the second's: 1e-9 is one, 0 is none.
ROWS = [row("one", 0.0), row("one", 1e-9), row("two", 0.0), row("two", 0.0)]


@pytest.mark.parametrize(("keep", "groups"), [("all", "one one two two"), ("signal", "one one")])
def test_groups_are_kept_whole(keep: Keep, groups: str) -> None:
    buffer = Buffer(keep)
    buffer.add(ROWS)
    assert [row.peers for row in buffer.take("generator")] == groups.split()


def test_a_policy_takes_its_own_rows_once() -> None:
    buffer = Buffer("all")
    buffer.add([row("one", 1.0), row("two", 1.0, "verifier")])
    buffer.add([row("three", 1.0)])
    assert [row.peers for row in buffer.take("generator")] == ["one", "three"]
    assert buffer.take("generator") == []
    assert buffer.clear() == 1, "the verifier's row, which nobody took"
    assert buffer.take("verifier") == []


def test_waiting_rows_survive_a_resume() -> None:
    first, second = Buffer("all"), Buffer("all")
    first.add(ROWS)
    second.load_state_dict(first.state_dict())
    assert second.take("generator") == ROWS
    second.add(ROWS[:1])
    assert len(second.take("generator")) == 1 and first.take("generator") == ROWS
