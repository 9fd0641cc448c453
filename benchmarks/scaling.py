"""Is the cost of a step linear in rows and in tokens?  python benchmarks/scaling.py [PLOT.png]

CPU seconds a completion token of generation and of the update: a model of the embedded one's size
with random weights, prompts of 14 tokens with 8 completions each, all of one length (the model
knows no end), 64 to 4096 rows and 32 to 512 tokens. Sizes that would take more than LIMIT seconds
are left out. A size is measured beside the first one, twice in turn, and the lesser is taken: other
work on the machine only adds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # not installed

from rlcotrain.model.agents import Agents
from rlcotrain.model.policy import Policy
from rlcotrain.types import Problem, Prompt, Rollout, Sampling
from tests.loss.composed import composed
from tests.model.tiny import hardware, optimizer, tiny, with_advantages

ROWS, TOKENS, GROUP = (64, 256, 1024, 4096), (32, 128, 512), 8
LIMIT = 100.0
# Those of conf/model/tiny.yaml and conf/hardware/cpu.yaml.
SIZES = {"hidden_size": 96, "intermediate_size": 256, "layers": 3, "heads": 3}
MODEL = {**SIZES, "key_value_heads": 3, "head_dim": 32, "max_length": 1024}
MACHINE = {"micro_batch_tokens": 1024, "logprob_chunk": 1024, "engine_rows": 256}
Seconds = tuple[float, float]  # of generation and of the update


def main(plot: Path | None) -> None:
    """Print a line a size, and draw them."""
    torch.set_num_threads(1)
    machine = hardware(**MACHINE, engine_tokens=65536)
    learner = Policy("generator", tiny(**MODEL), optimizer(lr=0.0), machine, seed=0)
    learner.chat.stop_ids = ()  # type: ignore[assignment]
    found: dict[tuple[int, int], Seconds] = {}
    print(" rows tokens   us a token: generate  update   to 64 x 32: generate update")
    for tokens in TOKENS:
        for rows in ROWS:
            smaller = [(r, t) for r, t in found if r <= rows and t <= tokens]
            nearest = max(smaller, key=lambda size: (size[1], size[0]), default=None)
            if nearest is not None:
                grown = rows * tokens / (nearest[0] * nearest[1])
                if sum(found[nearest]) * nearest[0] * nearest[1] * grown > LIMIT:
                    continue
            turns = [(step(learner, rows, tokens), step(learner, 64, 32)) for _ in range(2)]
            here, first = (least([turn[i] for turn in turns]) for i in (0, 1))
            found[rows, tokens] = here
            ratios = [a / b for a, b in zip(here, first, strict=True)]
            print(
                f"{rows:5} {tokens:6} {here[0] * 1e6:22.1f} {here[1] * 1e6:7.1f} "
                f"{ratios[0]:21.2f} {ratios[1]:6.2f}",
                flush=True,
            )
    if plot is not None:
        draw(found, plot)


def step(learner: Policy, rows: int, tokens: int) -> Seconds:
    """CPU seconds a token of one step."""
    speakers = Agents({"generator": learner}, {"generator": "generator"}, engine())
    questions = [f"{k:06d}+{k:06d}=" for k in range(rows // GROUP)]
    prompts = [
        Prompt(
            problem=Problem(id=text, question=text),
            messages=({"role": "user", "content": text},),
            peers=text,
            episode=text,
        )
        for text in questions
    ]
    sampling = Sampling(max_tokens=tokens)
    said, generate = timed(lambda: speakers.sample("generator", prompts, GROUP, sampling, 0))
    batch: list[Rollout] = with_advantages([replace(row, rewards=()) for row in said])
    assert sum(len(row.token_ids) for row in batch) == rows * tokens
    _, update = timed(lambda: learner.update(batch, composed("grpo"), seed=0))
    return generate / (rows * tokens), update / (rows * tokens)


def engine() -> Any:
    from rlcotrain.engine.transformers_engine import TransformersEngine

    return TransformersEngine(rows=256, tokens=65536)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def least(seconds: list[Seconds]) -> Seconds:
    generate, update = np.min(seconds, 0)
    return float(generate), float(update)


def draw(found: dict[tuple[int, int], Seconds], file: Path) -> None:
    """Microseconds a token over rows, a line a length."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for axis, which, title in zip(axes, (0, 1), ("generate", "update"), strict=True):
        for tokens in TOKENS:
            rows = [r for r, t in found if t == tokens]
            heights = [found[r, tokens][which] * 1e6 for r in rows]
            axis.plot(rows, heights, marker="o", label=f"{tokens} tokens")
        axis.set(title=title, xscale="log", xlabel="rows", xticks=ROWS, xticklabels=ROWS)
        axis.minorticks_off()
    axes[0].set_ylim(bottom=0)  # of both, when both are drawn
    axes[0].set_ylabel("CPU microseconds a token")
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
