"""Runs of several processes: the first leads, the others follow, all on this machine's CPU."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3ForCausalLM  # noqa: F401  imported by the server, for all processes

from rlcotrain.ranks import Ranks, started
from tests.model.tiny import hardware

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.ranks"])

Parts = Mapping[str, Any]


def led(
    folder: Path, size: int, build: Callable[[Ranks], Parts], lead: Callable[..., Any], *args: Any
) -> Any:
    """What lead(parts, *args) returns in the first of `size` processes that all build the parts."""
    file, port = folder / "led.pt", free_port()
    processes = [
        SERVER.Process(target=_live, args=(rank, size, port, file, build, lead, args))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(60)
        statuses = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert statuses == [0] * size
    return torch.load(file, weights_only=False)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def adopt(rank: int, size: int, port: int) -> None:
    """The environment that torchrun gives to a process."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    values = (rank, rank, size, "127.0.0.1", port)
    os.environ.update(dict(zip(names, map(str, values), strict=True)))


def _live(
    rank: int,
    size: int,
    port: int,
    file: Path,
    build: Callable[[Ranks], Parts],
    lead: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    adopt(rank, size, port)
    with started(hardware(gpus=size)) as ranks:
        if not ranks.leads:
            return ranks.follow(lambda: build(ranks))
        with ranks.together("", "build"):
            parts = build(ranks)
        torch.save(lead(parts, *args), file)
