from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from rlcotrain.loss.advantage import Advantage
from rlcotrain.reward import Balance, Mix
from rlcotrain.types import Judgement, Rollout, Verdict
from tests.rows import spoken


def mix(**changes: Any) -> Mix:
    fields: dict[str, Any] = {
        "weights": {"outcome": 1.0, "step": 1.0, "verdict": 1.0},
        "alpha": 0.1,
        "anneal": "exponential",
        "alpha_end": 1e-3,
        "anneal_steps": 200,
        "phase_out": {},
        "normalise": "streams",
    }
    return Mix(**fields | changes)


@pytest.mark.parametrize(
    ("anneal", "alpha", "expected"),
    [
        # RL Tango (arXiv 2505.15034): a0 exp(-ln(a0 / 1e-3) s / 200).
        ("exponential", 0.1, [0.1, 0.03162, 0.01, 0.00316, 0.001]),
        ("exponential", 0.5, [0.5, 0.10574, 0.02236, 0.00473, 0.001]),
        ("linear", 0.5, [0.5, 0.37525, 0.2505, 0.12575, 0.001]),
        # 0.001 + 0.499 (1 + cos(pi s / 200)) / 2
        ("cosine", 0.5, [0.5, 0.42692, 0.2505, 0.07408, 0.001]),
        ("constant", 0.5, [0.5] * 5),
    ],
)
def test_alpha_by_hand(anneal: str, alpha: float, expected: list[float]) -> None:
    made = mix(alpha=alpha, anneal=anneal)
    assert [made.alpha(s) for s in (0, 50, 100, 150, 200)] == pytest.approx(expected, abs=5e-6)
    assert made.alpha(201) == made.alpha(10**6) == made.alpha(200), "and stays there"


def test_weights_by_hand() -> None:
    made = mix(weights={"outcome": 2.0, "step": 3.0, "verdict": 4.0}, alpha=0.25, anneal="constant")
    assert made.weights(7) == {"outcome": 1.5, "step": 0.75, "verdict": 4.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("outcome", "step", "verdict")),
        ({"alpha": 1.0}, ("outcome", "step", "verdict")),  # it does not stay 1
        ({"alpha": 1.0, "anneal": "constant"}, ("step", "verdict")),
        ({"alpha": 0.0, "anneal": "constant"}, ("outcome", "verdict")),
        ({"alpha": 0.5, "anneal": "linear", "alpha_end": 0.0}, ("outcome", "step", "verdict")),
        ({"weights": {"outcome": 0.0, "step": 1.0}}, ("step",)),
    ],
)
def test_streams_are_those_that_count_at_some_step(
    changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert mix(**changes).streams == expected


def test_a_stream_is_phased_out_evenly() -> None:
    made = mix(weights={"outcome": 1.0, "step": 1.0, "format": 0.1}, phase_out={"format": 4})
    found = [made.weights(step)["format"] for step in (0, 1, 2, 4, 9)]
    assert found == pytest.approx([0.1, 0.075, 0.05, 0.0, 0.0])
    assert made.weights(4)["outcome"] == mix().weights(4)["outcome"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.5}, r"reward\.alpha=1\.5: must lie in 0\.\.1"),
        ({"alpha": -0.1}, r"reward\.alpha=-0\.1: must lie in 0\.\.1"),
        ({"alpha_end": 2.0, "anneal": "linear"}, r"reward\.alpha_end=2\.0: must lie in 0\.\.1"),
        ({"alpha_end": 0.0}, r"reward\.alpha_end=0\.0: .* above 0 and at most 0\.1"),
        ({"alpha_end": 0.2}, r"reward\.alpha_end=0\.2: .* above 0 and at most 0\.1"),
        ({"anneal_steps": -1}, r"reward\.anneal_steps=-1: must be 0 or more"),
        ({"phase_out": {"verdict": 0}}, r"reward\.phase_out\.verdict=0: must be 1 step or more"),
        (
            {"phase_out": {"format": 9}},
            r"reward\.phase_out\.format=9: .* names: outcome, step, ver",
        ),
        ({"weights": {"outcome": 1.0}}, r"reward\.alpha=0\.1: pays the stream step, .* not name"),
        (
            {"weights": {"outcome": 0.0}, "alpha": 0.0, "anneal": "constant"},
            r"reward\.weights={'outcome': 0\.0}: at least one must not be 0",
        ),
    ],
)
def test_what_makes_no_mix_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mix(**changes)


def paid() -> list[Rollout]:
    """Two peers of two tokens: outcome 1 and 0; a step a token, right, wrong and wrong, wrong."""
    one = spoken([1], [2, 3]).give("outcome", 1.0)
    one = one.give("step", 0.5, start=0, end=1).give("step", -0.5, start=1, end=2)
    two = spoken([1], [2, 3]).give("outcome", 0.0)
    two = two.give("step", -0.5, start=0, end=1).give("step", -0.5, start=1, end=2)
    return [row.give("unnamed", 9.0) for row in (one, two)]


def advantages(made: Mix, **formula: Any) -> list[list[float]]:
    rows = Advantage(**formula)(*made.weigh(paid(), 0))
    return [row.advantages.tolist() for row in rows if row.advantages is not None]


def test_each_stream_is_normalised_by_itself() -> None:
    """Outcome: mean 0.5, deviation 0.70711. Step: mean -0.25, deviation 0.5."""
    found = advantages(mix(alpha=0.2, anneal="constant"), credit="own")
    outcome, up, down = 0.8 * 0.70711, 0.2 * 1.5, 0.2 * -0.5
    expected = [[outcome + up, outcome + down], [down - outcome, down - outcome]]
    assert np.array(found) == pytest.approx(np.array(expected), abs=1e-4)


def test_a_sum_is_weighed_first_and_centred_as_one() -> None:
    """0.8 + 0.1 - 0.1 and 0 - 0.1 - 0.1, less their mean 0.3: one number a row, on all of it."""
    made = mix(alpha=0.2, anneal="constant", normalise="sum")
    rows, weights = made.weigh(paid(), 0)
    assert weights == {"sum": 1.0}
    values = [[reward.value for reward in row.rewards] for row in rows]
    assert values == [pytest.approx([0.8]), pytest.approx([-0.2])]
    found = advantages(made, scale="none", credit="own")
    expected = [[0.5, 0.5], [-0.5, -0.5]]
    assert np.array(found) == pytest.approx(np.array(expected), abs=1e-6)


def judged(right: bool | None, **changes: Any) -> Rollout:
    fields: dict[str, Any] = {"role": "verifier", "policy": "verifier"}
    judgement = Judgement(verdict=Verdict(score=1.0), right=right, count=0)
    return spoken([1], [2], **fields | {"judgement": judgement} | changes)


def batch(right: int, wrong: int) -> list[Rollout]:
    return [judged(True)] * right + [judged(False)] * wrong


def weights(rows: Sequence[Rollout]) -> Mapping[bool | None, float]:
    """The one weight of each class."""
    found: dict[bool | None, set[float]] = {}
    for row in rows:
        right = None if row.judgement is None else row.judgement.right
        found.setdefault(right, set()).add(row.weight)
    assert all(len(values) == 1 for values in found.values())
    return {right: values.pop() for right, values in found.items()}


@pytest.mark.parametrize(
    ("power", "right", "wrong"),
    [
        (0.5, 1.4641, 0.8453),  # 1/8 and 1/13.8564, over their mean 0.085376
        (1.0, 2.0, 0.66667),
        (0.0, 1.0, 1.0),
    ],
)
def test_class_weights_by_hand(power: float, right: float, wrong: float) -> None:
    rows = Balance(power, 0.8)(batch(64, 192), ["verifier"])
    assert weights(rows) == pytest.approx({True: right, False: wrong}, abs=1e-4)
    assert np.mean([row.weight for row in rows]) == pytest.approx(1.0)


def test_counts_are_running_means_over_batches() -> None:
    balance = Balance(1.0, 0.8)
    balance(batch(4, 12), ["verifier"])
    rows = balance(batch(2, 2), ["verifier"])
    # 0.8 * 4 + 0.2 * 2 = 3.6 and 0.8 * 12 + 0.2 * 2 = 10; 2 * 10 / 13.6 and 2 * 3.6 / 13.6
    assert balance.counts == pytest.approx({True: 3.6, False: 10.0})
    assert weights(rows) == pytest.approx({True: 1.470588, False: 0.529412})


def test_only_judgements_that_are_learned_from_count() -> None:
    others = [
        spoken([1], [2]),
        judged(None),
        judged(True, policy="other"),
        judged(False, weight=2.0),
        judged(True),
    ]
    balance = Balance(1.0, 0.8)
    rows = balance(others, ["generator", "verifier"])
    assert balance.counts == {True: 1.0, False: 1.0}
    assert [row.weight for row in rows] == [1.0, 1.0, 1.0, 2.0, 1.0], "what it has, times its own"
    assert balance(others, ["generator"]) == others
    assert balance.counts == {True: 1.0, False: 1.0}


def test_balance_counts_judgements_with_a_signal() -> None:
    """Of 3 right solutions 2 have judgements that earned differently, of 3 wrong ones 1."""
    earned = {"r1": (1, 0), "r2": (0, 1), "r3": (1, 1), "w1": (0, 1), "w2": (0, 0), "w3": (1, 1)}
    rows = [
        judged(peers.startswith("r"), peers=peers).give("verdict", value)
        for peers, values in earned.items()
        for value in values
    ]
    balance = Balance(1.0, 0.8, counted="signal")
    found = balance(rows, ["verifier"])
    assert balance.counts == {True: 4.0, False: 2.0}
    # 1/4 for four rows and 1/2 for two, over their mean 1/3; the others stay as they are.
    expected = {"r1": 0.75, "r2": 0.75, "w1": 1.5}
    assert [row.weight for row in found] == pytest.approx(
        [expected.get(row.peers, 1.0) for row in rows]
    )
    unanimous = [row for row in rows if row.peers not in expected]
    assert balance(unanimous, ["verifier"]) == unanimous


def test_a_class_that_is_absent_comes_back_without_ruling() -> None:
    balance = Balance(1.0, 0.0)
    assert weights(balance(batch(4, 0), ["verifier"])) == {True: 1.0}
    assert balance.counts == {True: 4.0, False: 0.0}
    balance = Balance(1.0, 0.8)
    for _ in range(50):
        balance(batch(4, 0), ["verifier"])
    balance(batch(0, 8), ["verifier"])
    # Right fell to 3.2, wrong is 1.6.
    assert weights(balance(batch(1, 1), ["verifier"])) == pytest.approx(
        {True: 2 * 1.48 / 4.24, False: 2 * 2.76 / 4.24}
    )


def test_a_count_below_1_weighs_as_1() -> None:
    balance = Balance(1.0, 0.8)
    balance(batch(4, 0), ["verifier"])
    rows = balance(batch(4, 1), ["verifier"])  # wrong is 0.2: as 1, against right, 4
    assert weights(rows) == pytest.approx({True: 0.625, False: 2.5})


def test_a_resumed_balance_goes_on_with_its_counts() -> None:
    first, second = Balance(1.0, 0.8), Balance(1.0, 0.8)
    first(batch(4, 12), ["verifier"])
    state = first.state_dict()
    first(batch(9, 9), ["verifier"])
    second.load_state_dict(state)
    assert second.counts == {True: 4.0, False: 12.0}, "a state is no view"
    second(batch(9, 9), ["verifier"])
    assert second.counts == first.counts


@pytest.mark.parametrize(
    ("power", "decay", "message"),
    [
        (-1.0, 0.8, r"balance\.power=-1\.0: must be 0 \(off\) or more"),
        (1.0, 1.0, r"balance\.decay=1\.0: must be at least 0 and below 1"),
        (1.0, -0.1, r"balance\.decay=-0\.1: must be at least 0 and below 1"),
    ],
)
def test_what_makes_no_balance_is_named(power: float, decay: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Balance(power, decay)


def test_what_balance_counts_is_all_or_signal() -> None:
    with pytest.raises(ValueError, match=r"balance\.counted=some: must be all or signal"):
        Balance(1.0, 0.8, counted="some")  # type: ignore[arg-type]
