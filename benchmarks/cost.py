"""What does a verifier cost?  python benchmarks/cost.py

CPU seconds a generator step on the embedded task, as ratios to a single model measured in the same
run: verification with verdicts no longer than solutions (judgements are cut at the mean length of
the solutions), with the whole judgements of this task, and with two verifier steps for every five.
Everything but evaluation is counted. Each arm trains all of its rows: how many groups have no
signal differs from reward to reward. Arms take turns, a few steps each, so that a slow minute of
the machine falls on all of them.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS, STEPS = 4, 10
LEARNED = ["verifier=llm_steps", "reward=steps"]
ALONE = "verifier.max_tokens=4"  # <verdict>right</verdict> and the end
SHORT = "verifier.max_tokens=40"  # solutions of six steps
FROZEN, BOTH = "schedule=frozen_verifier", "schedule=interleaved"
ARMS = {
    "single": ["verifier=rule", "schedule=single"],
    "verified, a verdict alone": [*LEARNED, FROZEN, ALONE],
    "verified, short verdicts": [*LEARNED, FROZEN, SHORT],
    "verified": [*LEARNED, FROZEN],
    "co-trained 5:2, short verdicts": [*LEARNED, BOTH, SHORT],
    "co-trained 5:2": [*LEARNED, BOTH],
}
BARE = [
    *("~experiment", "name=cost", "tracking=none", "export=false", f"schedule.steps={STEPS}"),
    *("evaluation.num_problems=1", "evaluation.between_problems=1", "checkpoint.every=100000"),
    "hardware.skip_zero_advantages=false",
]


def cost(arm: str, number: int, folder: Path) -> float:
    """CPU seconds a generator step of one short run; the prelude is kept and not counted."""
    from rlcotrain.job import run
    from rlcotrain.record import read_lines
    from tests.runs import compose

    config = compose(folder, *BARE, *ARMS[arm])
    config.cache_dir = str(ROOT / "cache")
    where = folder / arm / str(number)
    run(config, where)
    lines = list(read_lines(where / "metrics.jsonl"))
    seconds = [
        value
        for line in lines
        if line["phase"] in ("solve", "verify")
        for key, value in line.items()
        if f"/{key}".endswith("/time/cpu")
    ]
    return sum(seconds) / STEPS


def main() -> None:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for number in range(ROUNDS + 1):
            for arm, seconds in found.items():
                seconds.append(cost(arm, number, Path(folder)))
        # The first round pays for preludes and warms the libraries up. Other work on the machine
        # can only add: the least of each arm is what the arm costs.
        for arm, seconds in found.items():
            ratios = [a / b for a, b in zip(seconds[1:], found["single"][1:], strict=True)]
            print(
                f"{arm:31} {min(seconds[1:]):.2f} CPU s a generator step, "
                f"{min(seconds[1:]) / min(found['single'][1:]):.2f}x "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
