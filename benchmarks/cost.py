"""What does a verifier cost?  python benchmarks/cost.py

CPU seconds a generator step on the embedded task, as ratios to a single model measured in the same
run: a verifier that says a verdict and nothing else, one that recomputes and marks every step, one
that does and is cut off where solutions end, and each with two verifier steps for every five.
Everything but evaluation is counted. Each arm trains all of its rows (a default run leaves out
those without signal): how many groups have none differs from reward to reward. Arms take turns, a
few steps each, so that a slow minute of the machine falls on all of them.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROUNDS, STEPS = 4, 10
FROZEN, BOTH = "schedule=frozen_verifier", "schedule=interleaved"
VERDICT = ["verifier=llm", "reward=outcome", "schedule.prelude.judge.game.worked=false"]
MARKS = ["verifier=llm_steps", "reward=steps"]
CUT = "verifier.max_tokens=40"  # solutions of six steps; what is cut off has no verdict
ARMS = {
    "single": ["verifier=rule", "schedule=single"],
    "verified, verdicts": [*VERDICT, FROZEN],
    "verified, marks, cut": [*MARKS, FROZEN, CUT],
    "verified, marks": [*MARKS, FROZEN],
    "co-trained 5:2, verdicts": [*VERDICT, BOTH],
    "co-trained 5:2, marks, cut": [*MARKS, BOTH, CUT],
    "co-trained 5:2, marks": [*MARKS, BOTH],
}
SAID = "solve/verifier"
BARE = [
    *("~experiment", "name=cost", "tracking=none", "export=false", f"schedule.steps={STEPS}"),
    *("evaluation.num_problems=1", "evaluation.between_problems=1", "checkpoint.every=100000"),
    "hardware.skip_zero_advantages=false",
]


@dataclass
class Cost:
    """Of one short run: CPU seconds a generator step, mean tokens of a solution and of a judgement
    (0: none), share of judgements without a verdict."""

    seconds: float
    solution: float
    judgement: float
    unread: float


def cost(arm: str, number: int, folder: Path) -> Cost:
    """The prelude is kept and not counted."""
    from rlcotrain.files import read_lines
    from rlcotrain.job import run
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
    solved = [line for line in lines if line["phase"] == "solve"]
    judged = [line for line in solved if f"{SAID}/length_mean" in line]
    assert len(judged) == (0 if arm == "single" else len(solved))

    def mean(among: list[dict[str, Any]], *names: str) -> float:
        return sum(line[name] for line in among for name in names) / max(len(among), 1)

    return Cost(
        seconds=sum(seconds) / STEPS,
        solution=mean(solved, "generator/length_mean"),
        judgement=mean(judged, f"{SAID}/length_mean"),
        unread=mean(judged, f"{SAID}/missing_fraction", f"{SAID}/unparsable_fraction"),
    )


def main() -> None:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[Cost]] = {arm: [] for arm in ARMS}
        for number in range(ROUNDS + 1):
            for arm, costs in found.items():
                costs.append(cost(arm, number, Path(folder)))
        # The first round pays for preludes and warms the libraries up. Other work on the machine
        # can only add: the least of each arm is what the arm costs.
        single = [one.seconds for one in found["single"][1:]]
        for arm, costs in found.items():
            seconds = [one.seconds for one in costs[1:]]
            ratios = [a / b for a, b in zip(seconds, single, strict=True)]
            last = costs[-1]
            print(
                f"{arm:27} {min(seconds):.2f} CPU s a generator step, "
                f"{min(seconds) / min(single):.2f}x "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f}); tokens of a solution "
                f"{last.solution:.0f}, of a judgement {last.judgement:.0f}, "
                f"{last.unread:.0%} of them without a verdict"
            )


if __name__ == "__main__":
    main()
