"""What does a second LoRA policy cost in memory?  python benchmarks/shared_base.py [--layers 14]

Writes a Qwen3 of random weights (60M by default, bfloat16 as on the hub) into a temporary folder
and builds generator and verifier from it, each with adapters on every projection: one policy alone,
two with a base each, two on a shared base. Each case has a process of its own, on the CPU, in
float32. Prints MiB of that process: its peak and present resident memory, libraries included, and
what the distinct tensors of its policies take.
"""

import argparse
import gc
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # here and in the processes: not installed
# Nothing heavy is imported up here: the peak that a process reports begins at its parent's.

LORA = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
MIB = 2**20


def write_checkpoint(folder: Path, sizes: dict[str, int]) -> int:
    """A model as save_pretrained writes it; returns its number of weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    from rlcotrain.model.source import byte_tokenizer

    logging.disable_progress_bar()
    tokenizer = byte_tokenizer([])
    config = Qwen3Config(**sizes, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id)
    model = Qwen3ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def measure(folder: Path, policies: int, shared: bool) -> dict[str, float]:
    """MiB of this process once it has built its policies."""
    from rlcotrain.hardware import Hardware
    from rlcotrain.model.optimizer import Optimizer
    from rlcotrain.model.policy import Policy
    from rlcotrain.model.source import Pretrained

    source = Pretrained(
        name="random",
        path=str(folder),
        chat="raw",
        template_options={},
        max_length=1024,
        attention="sdpa",
        lora=LORA,
        rates={},
        steps={},
        gradient_checkpointing=False,
        export_dtype="bfloat16",
    )
    hardware = Hardware(
        device="cpu",
        dtype="float32",
        threads=1,
        micro_batch_tokens=1024,
        logprob_chunk=1024,
        engine_rows=1,
        engine_tokens=1024,
    )
    optimizer = Optimizer(
        algorithm="adamw",
        lr=1e-5,
        betas=[0.9, 0.95],
        eps=1e-8,
        momentum=0.0,
        weight_decay=0.0,
        warmup_steps=0,
        schedule="constant",
        decay_steps=None,
        final_lr_share=0.0,
        max_grad_norm=1.0,
    )
    built: list[Policy] = []
    for seed in range(policies):
        base = built[0] if shared and built else None
        built.append(Policy(f"policy {seed}", source, optimizer, hardware, seed, base=base))
    gc.collect()
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB,
        "resident": resident() / MIB,
        "tensors": storage_bytes(built) / MIB,
    }


def resident() -> int:
    """Bytes of VmRSS."""
    lines = Path("/proc/self/status").read_text().splitlines()
    words = next(line for line in lines if line.startswith("VmRSS:")).split()
    return int(words[1]) * 1024


def storage_bytes(policies: Any) -> int:
    """Bytes of the distinct storages of parameters and buffers of all policies together."""
    storages = {}
    for policy in policies:
        for tensor in (*policy.module.parameters(), *policy.module.buffers()):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def alone(work: Callable[[], Any]) -> Any:
    """What `work` returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--intermediate", type=int, default=1536)
    parser.add_argument("--layers", type=int, default=14)
    parser.add_argument("--heads", type=int, default=8, help="of 64; half as many keys and values")
    parser.add_argument("--vocabulary", type=int, default=32000)
    flags = parser.parse_args()
    sizes = {
        "vocab_size": flags.vocabulary,
        "hidden_size": flags.hidden,
        "intermediate_size": flags.intermediate,
        "num_hidden_layers": flags.layers,
        "num_attention_heads": flags.heads,
        "num_key_value_heads": flags.heads // 2,
        "head_dim": 64,
    }
    cases = {"one policy": (1, False), "two apart": (2, False), "two sharing": (2, True)}
    found = {}
    with tempfile.TemporaryDirectory() as name:
        count = alone(partial(write_checkpoint, Path(name), sizes))
        print(f"base of {count:,} weights, {count * 4 / MIB:.0f} MiB in float32")
        for case, (policies, shared) in cases.items():
            found[case] = alone(partial(measure, Path(name), policies, shared))
            print(spoken(case, {key: f"{value:.0f} MiB" for key, value in found[case].items()}))
    one, apart, sharing = found.values()
    print(spoken("sharing / apart", {key: f"{sharing[key] / apart[key]:.3f}" for key in one}))
    second = {key: (apart[key] - one[key], sharing[key] - one[key]) for key in one}
    costs = {key: f"{round(plain)} -> {round(less)} MiB" for key, (plain, less) in second.items()}
    print(spoken("second policy", costs))


def spoken(title: str, columns: dict[str, str]) -> str:
    return f"{title:16}" + "".join(f"  {key} {value:>15}" for key, value in columns.items())


if __name__ == "__main__":
    main()
