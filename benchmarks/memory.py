"""How much memory does an update take?  python benchmarks/memory.py

GiB that a child process each takes at most above what it holds when its model is loaded. First a
thin model (two layers of 64), so that what counts is the logits of Qwen3's vocabulary of 151,936:
4 rows of 512 tokens, where the plain way (all logits, log_softmax, autograd) fits as well, then 32
rows of 2048, where its logits alone would be 37 GiB. Then eight layers of 512 with a small
vocabulary: what gradient checkpointing and LoRA save. The exit status is 1 where the update needs
more than its chunks of logits and its weights explain.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # not installed

if TYPE_CHECKING:
    from rlcotrain.model.policy import Policy
    from rlcotrain.types import Rollout

CHUNK, BUDGET = 1024, 4096
THIN = {"vocab_size": 151_936, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
DEEP = {"vocab_size": 512, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
SIZES = {"thin": THIN, "deep": DEEP}
FLOAT, GIB = 4, 2**30


def main() -> int:
    """Print every figure; 1 if the bound is missed."""
    chunk = CHUNK * THIN["vocab_size"] * FLOAT
    # Input and output layer: the gradient, the sum over chunks and a chunk's share, two moments.
    weights = 2 * THIN["vocab_size"] * THIN["hidden_size"] * FLOAT
    bound = (2 * chunk + 5 * weights) / GIB
    print(f"a chunk's logits {chunk / GIB:.2f} GiB; two, and five times the weights: {bound:.2f}")
    for rows, tokens in ((4, 512), (32, 2048)):
        print(f"{rows} x {tokens}: all logits {rows * tokens * chunk / CHUNK / GIB:.2f} GiB")
        if rows == 4:
            print(f"  plain way            {measured('thin', rows, tokens, 'plain'):.2f} GiB")
        taken = measured("thin", rows, tokens)
        print(f"  in chunks of {CHUNK}    {taken:.2f} GiB", flush=True)
    print(f"8 x 1024 tokens in eight layers of 512, micro-batches of {BUDGET}")
    for words in ([], ["checkpointing"], ["lora"], ["lora", "checkpointing"]):
        print(f"  {' '.join(words) or 'plain':20} {measured('deep', 8, 1024, *words):.2f} GiB")
    return int(taken > bound)


def measured(model: str, rows: int, tokens: int, *words: str) -> float:
    """What `child` prints, from a process of its own: a peak never falls."""
    command = [sys.executable, __file__, model, str(rows), str(tokens), *words]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def child(model: str, rows: int, tokens: int, *words: str) -> None:
    """One update, or one gradient the plain way; prints the GiB that it took."""
    import torch

    from rlcotrain.hardware import peak_memory_gib
    from tests.loss.composed import composed

    torch.set_num_threads(1)
    learner, batch = policy(SIZES[model], words), rows_of(rows, tokens)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    if "plain" in words:
        ids_BL = torch.tensor([[*row.prompt_ids, *row.token_ids] for row in batch])
        logits_BLV = learner.module(input_ids=ids_BL).logits[:, :-1]
        logprobs_BLV = torch.log_softmax(logits_BLV, -1)
        logprobs_BLV.gather(-1, ids_BL[:, 1:, None]).mean().backward()
    else:
        learner.update(batch, composed("grpo"), seed=0)
    print(peak_memory_gib() - pages * os.sysconf("SC_PAGESIZE") / GIB)


def policy(sizes: dict[str, int], words: tuple[str, ...]) -> Policy:
    from rlcotrain.model.policy import Policy
    from tests.model.tiny import Sized, hardware, optimizer

    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model: Any = Sized(
        "checkpointing" in words,
        "lora" in words,
        **{**sizes, **heads, "head_dim": sizes["hidden_size"] // 4, "tie_word_embeddings": False},
    )
    machine = hardware(micro_batch_tokens=BUDGET, logprob_chunk=CHUNK)
    return Policy("generator", model, optimizer(), machine, seed=0)


def rows_of(count: int, tokens: int) -> list[Rollout]:
    """Rows of one prompt token and `tokens` - 1 completion tokens, each with an advantage."""
    import numpy as np

    from tests.model.tiny import with_advantages
    from tests.rows import spoken

    random = np.random.default_rng(0)
    return with_advantages(
        [spoken([i], random.integers(0, 500, tokens - 1).tolist()) for i in range(count)]
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
