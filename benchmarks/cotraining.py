"""Does a verifier that learns help the generator?  python benchmarks/cotraining.py --out DIR

Arms, over seeds, on the embedded task, all from the same imitated generator of their seed and on
the same held-out problems: a single model; controls that say what marks could be worth (oracle, as
many marks at random, another row's marks); a frozen and a co-trained verifier, whose errors are its
own (independent) or the generator's (shared). Compared with `single` at equal generator steps and
at equal CPU seconds of RL: `single` goes on for longer and is read where its seconds are nearest
(`<`: it had ended before, with fewer). What the verifier's imitation cost stands beside.

A worker process runs all arms of a level and a seed; runs that are there are not run again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STEPS, LONGER, EVERY, PROBLEMS = 30, 120, 15, 300
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # two-sided quantiles of Student's t by seeds

LEVELS = {
    "easy": ["data.stages.train=[4]", "data.stages.test=[6]"],
    "main": [],
    "sparse": [
        *("data.levels=[2,3,4,5,6,8,12,16]", "data.stages.train=[16]", "data.stages.test=[16]"),
        *("data.stages.judge=[2,4,8,16]", "data.wording.max_tokens=112"),
        *("data.wording.judge_tokens=208", "model.steps.imitate=400"),
    ],
}
JUDGE = {"easy": 600, "main": 600, "sparse": 1200}  # steps of imitation of a verifier
MARKS = ["schedule=single", "reward=steps"]
LEARNED = ["verifier=llm_steps", "reward=steps", "evaluation=verifier", "quality.num_solutions=100"]
ARMS = {
    "single": ["verifier=rule", "schedule=single", "reward=outcome", f"schedule.steps={LONGER}"],
    "oracle": ["verifier=oracle", *MARKS],
    "random": ["verifier=random_marks", *MARKS],
    "shuffled": ["verifier=shuffled_marks", *MARKS],
    "nothing": ["verifier=shuffled_marks", "verifier.shuffle=all", *MARKS],
    **{
        f"{arm}_{spot}": [*LEARNED, f"schedule={schedule}", f"verifier.blind_spot={spot}"]
        for arm, schedule in (("frozen", "frozen_verifier"), ("cotrained", "interleaved"))
        for spot in ("independent", "shared")
    },
}


def work(level: str, seed: int, arms: Sequence[str], credit: str, out: Path) -> None:
    """Run the arms of one level and seed, in this process, one after another."""
    sys.path.insert(0, str(ROOT))
    from rlcotrain.job import run
    from tests.runs import compose

    for arm in arms:
        folder = out / f"{level}-{credit}" / arm / str(seed)
        words = [
            *("~experiment", "evaluation=accuracy", f"schedule.steps={STEPS}"),
            *(f"evaluation.every={EVERY}", f"evaluation.num_problems={PROBLEMS}"),
            *(f"evaluation.between_problems={PROBLEMS}", "tracking=none", "export=false"),
            *(f"name={arm}", f"seed={seed}", f"loss.credit={credit}", *LEVELS[level], *ARMS[arm]),
        ]
        if ARMS[arm][0] == LEARNED[0]:
            words.append(f"schedule.prelude.judge.steps={JUDGE[level]}")
        config = compose(out, *words)
        config.cache_dir = str(out / "cache")
        config.folder = str(folder)
        run(config, folder)


def curve(folder: Path) -> list[tuple[int, float, dict[str, float]]]:
    """(steps, CPU seconds of RL, evaluation) of every evaluation of a run."""
    points, seconds = [], 0.0
    for text in (folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["phase"] in ("solve", "verify"):
            seconds += cpu(line)
        if line["phase"] == "evaluate":
            points.append((line["step"], seconds, line))
    return points


def cpu(line: dict[str, Any]) -> float:
    """CPU seconds of a step."""
    return sum(value for key, value in line.items() if f"/{key}".endswith("/time/cpu"))


def taught(folder: Path) -> float:
    """CPU seconds that the verifier's imitation took."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return sum(cpu(line) for line in lines if line["phase"].startswith("judge"))


def table(level: str, credit: str, arms: Sequence[str], seeds: Sequence[int], out: Path) -> None:
    """Print means, intervals over seeds, and paired differences from `single`."""
    base = out / f"{level}-{credit}"
    print(f"\n{level}, credit {credit}, {len(seeds)} seeds, after {STEPS} generator steps")
    curves = {arm: [curve(base / arm / str(seed)) for seed in seeds] for arm in arms}
    for mode in ("sampled", "greedy"):
        key = f"accuracy/{mode}"
        start = [points[0][2][key] for points in curves["single"]]
        print(f"  {mode}: at the start {spoken(start)}")
        for arm in arms:
            ends = [at(points, STEPS) for points in curves[arm]]
            values = [point[2][key] for point in ends]
            same_steps = [at(points, STEPS)[2][key] for points in curves["single"]]
            same_cost = [
                nearest(points, end[1])[2][key]
                for points, end in zip(curves["single"], ends, strict=True)
            ]
            cost = statistics.mean(end[1] for end in ends)
            longest = statistics.mean(points[-1][1] for points in curves["single"])
            teaching = statistics.mean(taught(base / arm / str(seed)) for seed in seeds)
            print(
                f"    {arm:22} {spoken(values)}  cpu {cost:5.1f} s (and {teaching:.0f} s before)  "
                f"less single: equal steps {paired(values, same_steps)}, "
                f"equal compute{'<' if cost > longest else ' '}{paired(values, same_cost)}"
            )
    for arm in arms:
        key = "verifier/contested_score/sampled"
        scores = [(points[0][2].get(key), points[-1][2].get(key)) for points in curves[arm]]
        known = [(a, b) for a, b in scores if a is not None and b is not None]
        if known:
            first, last = ([pair[i] for pair in known] for i in (0, 1))
            print(f"  contested-step score, {arm}: {spoken(first)} -> {spoken(last)}")


def figure(level: str, credit: str, arms: Sequence[str], seeds: Sequence[int], out: Path) -> Path:
    """Sampled accuracy against CPU seconds of RL, mean and interval over seeds, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chart, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for arm in arms:
        curves = [curve(out / f"{level}-{credit}" / arm / str(seed)) for seed in seeds]
        seconds, means, halves = [], [], []
        for points in zip(*curves, strict=True):
            values = [point[2]["accuracy/sampled"] for point in points]
            seconds.append(statistics.mean(point[1] for point in points))
            means.append(statistics.mean(values))
            halves.append(half_width(values))
        (line,) = axis.plot(seconds, means, marker="o", label=arm.replace("_", ", "))
        low, high = (
            [mean + sign * half for mean, half in zip(means, halves, strict=True)]
            for sign in (-1, 1)
        )
        axis.fill_between(seconds, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set(
        title=f"{level} level, {len(seeds)} seeds, mean and 95 % interval",
        xlabel="CPU seconds of RL",
        ylabel="held-out accuracy, sampled",
        ylim=(-0.02, 1.0),
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    file = out / f"{level}-{credit}.png"
    chart.savefig(file, dpi=110)
    return file


def at(points: Sequence[Any], steps: int) -> Any:
    """The evaluation after that many steps."""
    return next(point for point in points if point[0] == steps)


def nearest(points: Sequence[Any], seconds: float) -> Any:
    """The evaluation whose CPU seconds of training are nearest."""
    return min(points, key=lambda point: abs(point[1] - seconds))


def spoken(values: Sequence[float]) -> str:
    """`0.512 [0.470, 0.554]`: mean with its 95 % interval over seeds (Student's t)."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.3f}"
    half = half_width(values)
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean; 0 for one value."""
    if len(values) < 2:
        return 0.0
    return T95[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def paired(values: Sequence[float], others: Sequence[float]) -> str:
    """Mean difference by seed, with its interval."""
    return spoken([a - b for a, b in zip(values, others, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--credit", default="own", choices=["own", "return_to_go"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--worker", nargs=2, metavar=("LEVEL", "SEED"))
    given = parser.parse_args()
    if "single" not in given.arms:
        parser.error("--arms: single is what the others are compared with")
    if given.worker:
        work(given.worker[0], int(given.worker[1]), given.arms, given.credit, given.out.resolve())
        return
    given.out.mkdir(parents=True, exist_ok=True)
    waiting = [(level, seed) for level in given.levels for seed in range(given.seeds)]
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < given.parallel:
            level, seed = waiting.pop(0)
            words = ["--worker", level, str(seed), "--arms", *given.arms, "--credit", given.credit]
            with (given.out / f"{level}-{given.credit}-{seed}.log").open("w") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, __file__, "--out", str(given.out), *words],
                        env={**os.environ, "OMP_NUM_THREADS": "1"},
                        stdout=log,
                        stderr=log,
                    )
                )
        time.sleep(0.5)
        for child in [child for child in running if child.poll() is not None]:
            if child.returncode:
                sys.exit(f"a worker failed with status {child.returncode}: see {given.out}/*.log")
            running.remove(child)
    for level in given.levels:
        table(level, given.credit, given.arms, range(given.seeds), given.out)
        print(figure(level, given.credit, given.arms, range(given.seeds), given.out))


if __name__ == "__main__":
    main()
