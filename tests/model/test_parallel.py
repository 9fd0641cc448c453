"""Several processes learn, score and keep what one does."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.model.policy import Policy
from rlcotrain.model.source import Source
from rlcotrain.ranks import Ranks
from rlcotrain.types import Rollout
from tests.loss.composed import composed
from tests.model.tiny import (
    PLAIN_DESCENT,
    hardware,
    optimizer,
    pretrained,
    random_rows,
    tiny,
    with_advantages,
)
from tests.ranks import Parts, led

STEEP = replace(PLAIN_DESCENT, lr=0.1, max_grad_norm=1.0)
# Of what a step can consist of: a reference, an entropy, several optimizer steps.
FULL = composed("grpo", minibatches=2, epochs=2, beta=0.05, entropy=0.01)


def build(ranks: Ranks, source: Source, **changes: Any) -> Parts:
    settings = changes.pop("settings", STEEP)
    machine = hardware(gpus=ranks.size, **changes)
    return {"p": Policy("p", source, settings, machine, 0, ranks=ranks)}


def rows_of(seed: int, groups: int = 3) -> list[Rollout]:
    """Groups of one prompt each; some rows teach nothing."""
    rows = with_advantages(random_rows(seed, groups=groups, size=4))
    for k in (1, 3):
        rows[k] = replace(rows[k], advantages=np.zeros(len(rows[k].token_ids), np.float32))
    return rows


def learn(parts: Parts, rows: list[Rollout], losses: list[Any]) -> Any:
    learner = parts["p"]
    stats = [learner.update(rows, loss, seed=k) for k, loss in enumerate(losses)]
    return learner.weights(), stats, learner.score(rows)


def assert_alike(found: Any, expected: Any) -> None:
    weights, stats, scores = expected
    assert max((found[0][key] - weights[key]).abs().max().item() for key in weights) <= 1e-6
    for one, other in zip(found[1], stats, strict=True):
        for field in other.__dataclass_fields__:
            if field not in (
                "seconds",
                "padding_fraction",
                "shared_fraction",
            ):  # a matter of who reads which rows
                close = pytest.approx(getattr(other, field), rel=1e-4, abs=1e-6)
                assert getattr(one, field) == close, field
    for one, other in zip(found[2], scores, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("budget", [24, 4096])
def test_an_update_is_that_of_one_process(parallel: str, budget: int, tmp_path: Path) -> None:
    rows, losses = rows_of(1), [FULL, composed("grpo"), composed("dapo"), composed("nanochat")]
    make = partial(build, source=tiny(), parallel=parallel, micro_batch_tokens=budget)
    alone = learn(make(Ranks()), rows, losses)
    assert_alike(led(tmp_path, 2, make, learn, rows, losses), alone)


def test_a_process_without_rows_keeps_in_step(tmp_path: Path) -> None:
    rows = with_advantages(random_rows(2, groups=1, size=1))
    for parallel in ("ddp", "fsdp"):
        make = partial(build, source=tiny(), parallel=parallel)
        alone = learn(make(Ranks()), rows, [FULL_OF_ONE])
        assert_alike(led(tmp_path, 2, make, learn, rows, [FULL_OF_ONE]), alone)


FULL_OF_ONE = replace(FULL, minibatches=1)


@pytest.mark.parametrize(
    ("parallel", "changes"),
    [
        ("fsdp", {}),  # tied embeddings
        ("fsdp", {"lora": {"r": 4, "target_modules": "all-linear"}}),
        ("ddp", {"lora": {"r": 4, "target_modules": "all-linear"}}),
        ("fsdp", {"gradient_checkpointing": True}),
    ],
)
def test_an_update_of_a_pretrained_model(
    parallel: str, changes: dict[str, Any], qwen: Path, tmp_path: Path
) -> None:
    rows = rows_of(3)
    make = partial(
        build, source=pretrained(qwen, **changes), parallel=parallel, micro_batch_tokens=40
    )
    alone = learn(make(Ranks()), rows, [FULL, FULL])
    assert_alike(led(tmp_path, 2, make, learn, rows, [FULL, FULL]), alone)


def learn_and_keep(parts: Parts, rows: list[Rollout], state: Any) -> Any:
    """Two updates, from `state` where there is one; the state between them and the weights."""
    learner = parts["p"]
    if state is not None:
        learner.load_state_dict(copy.deepcopy(state))  # which it goes on in
    else:
        learner.update(rows, FULL, seed=0)
    kept = copy.deepcopy(learner.state_dict())
    learner.update(rows, FULL, seed=1)
    return kept, learner.weights()


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_state_goes_on_in_any_number_of_processes(parallel: str, tmp_path: Path) -> None:
    rows = rows_of(4)
    make = partial(build, source=tiny(), parallel=parallel, settings=optimizer(lr=0.01, eps=1e-3))
    kept, end = learn_and_keep(make(Ranks()), rows, None)
    ours, ours_end = led(tmp_path, 2, make, learn_and_keep, rows, None)
    assert all(type(weight) is torch.Tensor for weight in ours["weights"].values())
    for state, where in ((kept, 2), (ours, 1), (ours, 2)):
        again = (
            led(tmp_path, 2, make, learn_and_keep, rows, state)
            if where == 2
            else learn_and_keep(make(Ranks()), rows, state)
        )
        for key, weight in end.items():
            torch.testing.assert_close(again[1][key], weight, rtol=0, atol=1e-6)
            torch.testing.assert_close(ours_end[key], weight, rtol=0, atol=1e-6)
