"""What a run computes on: device, number format, threads, and how much goes through at once."""

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import torch

Dtype = Literal["float32", "bfloat16", "float16"]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LIBRARIES = ("torch", "transformers", "peft", "hydra-core", "omegaconf", "mlflow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Settings that numbers depend on; nodes, memory and time limits belong to the launcher.

    gpus: processes of a run, a GPU each (on the CPU: processes); numbers differ by rounding only.
    parallel: ddp: each holds all weights; fsdp: each holds a share of weights and optimizer state.
    dtype: of the arithmetic, by autocast; weights and optimizer state stay float32.
    threads: CPU threads; runs are reproducible to the bit at a given number.
    micro_batch_tokens: padded tokens of one forward and backward pass.
    share_prefixes: whether what rows about one problem begin with alike is read once an update.
    skip_zero_advantages: whether rows that cannot change the gradient are left out of the update.
    logprob_chunk: tokens whose [tokens, V] float32 logits are worked on at once.
    engine_rows, engine_tokens: rows decoded together, and tokens their cache has room for.
    price_per_gpu_hour: dollars, for estimates and budgets.
    """

    device: Literal["cpu", "cuda"]
    gpus: int = 1
    parallel: Literal["ddp", "fsdp"] = "ddp"
    dtype: Dtype
    threads: int
    micro_batch_tokens: int
    share_prefixes: bool
    skip_zero_advantages: bool
    logprob_chunk: int
    engine_rows: int
    engine_tokens: int
    price_per_gpu_hour: float = 0.0

    def __post_init__(self) -> None:
        for key in (
            "gpus",
            "threads",
            "micro_batch_tokens",
            "logprob_chunk",
            "engine_rows",
            "engine_tokens",
        ):
            if getattr(self, key) < 1:
                raise ValueError(f"hardware.{key}={getattr(self, key)}: must be 1 or more")
        if self.price_per_gpu_hour < 0:
            price = f"hardware.price_per_gpu_hour={self.price_per_gpu_hour:g}"
            raise ValueError(f"{price}: must be 0 or more dollars")

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    def prepare(self) -> None:
        """Process-wide settings. ValueError without the device: only where the run runs, since a
        sweep is checked on a node that may have none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("hardware.device=cuda: no GPU is visible here; use hardware=cpu")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        torch.set_num_threads(self.threads)
        _keep_freed_memory()
        torch.backends.cuda.matmul.allow_tf32 = self.dtype != "float32"

    def take_device(self, local_rank: int) -> None:
        """Make the GPU of this process of a node the current one.

        ValueError if there are more processes than GPUs, but one GPU may be all that each sees.
        """
        if self.device == "cpu":
            return
        visible = torch.cuda.device_count()
        if visible <= local_rank and visible != 1:
            raise ValueError(
                f"hardware.gpus={self.gpus}: process {local_rank} of this node sees only "
                f"{visible} GPUs"
            )
        torch.cuda.set_device(local_rank % visible)

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=self.torch_dtype, enabled=self.dtype != "float32")


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to 32 MB a piece, the most that it can. Tensors of
    some MB come and go many times a step, and pages that were given back are cleared anew."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)


@contextmanager
def settled() -> Iterator[None]:
    """While this lasts, garbage collection leaves out what is there now: libraries hold several
    hundred thousand objects for good, and a full collection, one a step, looks at all of them."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def versions() -> dict[str, str]:
    """Versions of Python and of what the numbers come from."""
    found = {"python": platform.python_version()}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def peak_memory_gib() -> float:
    """Peak memory of this process in GiB: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
