"""What a run does to the process it is in."""

import gc

import pytest

from rlcotrain.hardware import settled


def test_what_is_there_is_left_out_of_collection_for_a_while() -> None:
    assert gc.get_freeze_count() == 0
    with pytest.raises(OSError, match="no room"), settled():
        assert gc.get_freeze_count() > 10_000
        raise OSError("no room")
    assert gc.get_freeze_count() == 0
