"""How fast is a step of a real model's size on a GPU?  python benchmarks/throughput.py [small]

Qwen3-0.6B with random weights in bf16: 64 prompts of 128 tokens, 8 completions each of 512 tokens
(the model knows no end). Prints completion tokens generated and trained a second, the update's
model FLOPs utilization (what it needs, each prompt read once whoever reads it oftener, as a share
of a large matrix product's speed, timed on the same device), peak memory, and what sampler and
trainer disagree about: for prompts read once a row or once a group, larger micro-batches, and
gradient checkpointing. `small` does the same on a CPU at a size of no interest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # not installed

from rlcotrain.engine.transformers_engine import Speaker, TransformersEngine
from rlcotrain.hardware import Hardware, peak_memory_gib
from rlcotrain.model.policy import Policy
from rlcotrain.profile.flops import Work, peak_flops, weights_of
from rlcotrain.types import Rollout, Sampling
from tests.loss.composed import composed
from tests.model.tiny import Sized, hardware, optimizer, with_advantages
from tests.rows import spoken

T = TypeVar("T")
QWEN3 = {
    **{"vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128},
    **{"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8},
}
SMALL = {
    **{"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
}
GPU = {"device": "cuda", "engine_rows": 512, "engine_tokens": 524_288}
# Settings of the machine, and whether with gradient checkpointing.
ARMS: dict[str, tuple[dict[str, Any], bool]] = {
    "a prompt a row, 16k": ({"share_prefixes": False, "micro_batch_tokens": 16_384}, False),
    "a prompt a group, 16k": ({"micro_batch_tokens": 16_384}, False),
    # Activations take some 2.4 MB a token: 64k of them would be more than a GPU has.
    "a prompt a group, 32k": ({"micro_batch_tokens": 32_768}, False),
    "a row, checkpointing, 64k": ({"share_prefixes": False, "micro_batch_tokens": 65_536}, True),
}


@dataclass(frozen=True)
class Step:
    """Prompts of `before` tokens, each with `group` completions of `after` tokens."""

    prompts: int
    group: int
    before: int
    after: int

    @property
    def tokens(self) -> int:
        return self.prompts * self.group * self.after

    def prompt_ids(self) -> list[np.ndarray]:
        """One a completion."""
        random = np.random.default_rng(0)
        asked = [random.integers(3, 500, self.before).astype(np.int32) for _ in range(self.prompts)]
        return [prompt for prompt in asked for _ in range(self.group)]

    def flops(self, learner: Policy) -> float:
        """Operations of an update that reads each prompt once."""
        rows = self.prompts * self.group
        work = Work.of([self.before] * self.prompts)
        work += Work.of([self.after] * rows, [self.before] * rows, scored=rows * self.after)
        weights = weights_of(learner.module)
        return weights.forward(work) + weights.backward(work)


def main(small: bool) -> None:
    """Print a line for generation and a line for each way to update."""
    step = Step(4, 4, 16, 32) if small else Step(64, 8, 128, 512)
    sizes, device = (SMALL, {"engine_rows": 8}) if small else (QWEN3, GPU)
    rows: list[Rollout] = []
    for arm, (changes, checkpointing) in ARMS.items():
        machine = hardware(**device, **changes, dtype="bfloat16")
        machine.prepare()
        model: Any = Sized(checkpointing, **sizes, tie_word_embeddings=True)
        learner = Policy("generator", model, optimizer(lr=1e-6), machine, seed=0)
        if not rows:
            print(f"{sum(p.numel() for p in learner.module.parameters()):,} parameters")
            rows = generate(learner, machine, step)
        update(learner, machine, step, rows, arm)
        del learner  # before the next one is made


def generate(learner: Policy, machine: Hardware, step: Step) -> list[Rollout]:
    """The rows of a step, each token with an advantage."""
    engine = TransformersEngine(machine.engine_rows, machine.engine_tokens)
    speaker = Speaker(
        module=learner.module, stop_ids=(), decode=lambda _: "", autocast=machine.autocast
    )
    engine.sync({"generator": speaker})
    asked, sampling = step.prompt_ids(), Sampling(max_tokens=step.after)
    seeds = range(len(asked))
    said, seconds, memory = best(
        machine, lambda: engine.generate("generator", asked, seeds, sampling)
    )
    print(f"{'generation':26}{step.tokens / seconds:10,.0f} tokens/s {memory:24.1f} GiB")
    return with_advantages(
        [
            spoken(
                prompt.tolist(), row.token_ids.tolist(), f"{i // step.group}", logprobs=row.logprobs
            )
            for i, (prompt, row) in enumerate(zip(asked, said, strict=True))
        ]
    )


def update(learner: Policy, machine: Hardware, step: Step, rows: list[Rollout], arm: str) -> None:
    stats, seconds, memory = best(machine, lambda: learner.update(rows, composed("grpo"), seed=0))
    peak = peak_flops(machine.torch_device, machine.torch_dtype)
    print(
        f"{arm:26}{step.tokens / seconds:10,.0f} tokens/s "
        f"{step.flops(learner) / seconds / peak:10.1%} MFU {memory:9.1f} GiB, "
        f"sampler kl {stats.mismatch_kl:.1e}",
        flush=True,
    )


def best(machine: Hardware, work: Callable[[], T]) -> tuple[T, float, float]:
    """What the first of three turns gives, the least seconds of the others, the peak in GiB."""
    found, took = [], []
    if machine.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        began = time.perf_counter()
        found.append(work())
        machine.synchronize()
        took.append(time.perf_counter() - began)
    return found[0], min(took[1:]), peak_memory_gib()


if __name__ == "__main__":
    main(small=sys.argv[1:] == ["small"])
