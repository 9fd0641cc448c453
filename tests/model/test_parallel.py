"""Several processes learn what one learns."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.loss.objective import Loss
from rlcotrain.model.policy import Policy
from rlcotrain.ranks import Ranks
from rlcotrain.types import Rollout
from tests.loss.composed import composed
from tests.model.tiny import PLAIN_DESCENT, hardware, optimizer, random_rows, tiny, with_advantages
from tests.ranks import Parts, led


def build(ranks: Ranks, **changes: Any) -> Parts:
    settings = changes.pop("settings", optimizer())
    return {"p": Policy("p", tiny(), settings, hardware(gpus=ranks.size, **changes), 0, ranks=ranks)}


def lead(parts: Parts, rows: list[Rollout], loss: Loss) -> Any:
    learner = parts["p"]
    stats = [learner.update(rows, loss, seed=k) for k in range(2)]
    return learner.weights(), stats, learner.score(rows)


def few(seed: int) -> list[Rollout]:
    rows = with_advantages(random_rows(seed, groups=3, size=4))
    for k in (1, 4, 5, 6, 7):
        rows[k] = replace(rows[k], advantages=np.zeros(len(rows[k].token_ids), np.float32))
    return rows


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("budget", [24, 4096])
def test_an_update_is_that_of_one_process(parallel: str, budget: int, tmp_path: Path) -> None:
    rows, loss = few(1), composed("grpo", minibatches=2, beta=0.05, entropy=0.01)
    changes = {"micro_batch_tokens": budget, "parallel": parallel, "settings": replace(PLAIN_DESCENT, lr=0.1)}
    one = lead(build(Ranks(), **changes), rows, loss)
    two = led(tmp_path, 2, partial(build, **changes), lead, rows, loss)
    assert max((one[0][key] - two[0][key]).abs().max().item() for key in one[0]) <= 1e-6
    for ours, theirs in zip(one[1], two[1], strict=True):
        for field in ours.__dataclass_fields__:
            if field != "seconds":
                assert getattr(theirs, field) == pytest.approx(getattr(ours, field), rel=1e-4, abs=1e-6), field
    for ours, theirs in zip(one[2], two[2], strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
