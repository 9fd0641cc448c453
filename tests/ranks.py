"""Several processes on this machine's CPU, as torchrun would start them."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from rlcotrain.job import run
from rlcotrain.ranks import Ranks, started
from tests.lives import SERVER, Event, Watch, requeue
from tests.model.tiny import hardware

Parts = Mapping[str, Any]
SECONDS = 60


def apart(
    size: int,
    target: Callable[..., None],
    *args: Any,
    meanwhile: Callable[[Sequence[Any]], None] | None = None,
) -> list[int | None]:
    """Exit statuses of `size` processes that call target(rank, *args); None: it hangs.

    meanwhile: called with the processes while they run.
    """
    port = _free_port()
    processes = [
        SERVER.Process(target=_adopt, args=(rank, size, port, target, args)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        if meanwhile is not None:
            meanwhile(processes)
        for process in processes:
            process.join(SECONDS)
        return [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def led(
    folder: Path, size: int, build: Callable[[Ranks], Parts], lead: Callable[..., Any], *args: Any
) -> Any:
    """What lead(parts, *args) returns in the first of `size` processes that all build the parts."""
    file = folder / "led.pt"
    assert apart(size, _lead, size, file, build, lead, args) == [0] * size
    return torch.load(file, weights_only=False)


def live(
    folder: Path,
    config: dict[str, Any],
    size: int,
    event: Event | None = None,
    meanwhile: Callable[[Sequence[Any]], None] | None = None,
) -> list[int | None]:
    """One life of a run of `size` processes in folder/run; `event` happens to the first."""
    config = config | {"hardware": config["hardware"] | {"gpus": size}}
    return apart(size, _live, folder, config, event, meanwhile=meanwhile)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _adopt(
    rank: int, size: int, port: int, target: Callable[..., None], args: tuple[Any, ...]
) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    values = (rank, rank, size, "127.0.0.1", port)
    os.environ.update(dict(zip(names, map(str, values), strict=True)))
    torch.set_num_threads(1)
    target(rank, *args)


def _lead(
    rank: int,
    size: int,
    file: Path,
    build: Callable[[Ranks], Parts],
    lead: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    with started(hardware(gpus=size)) as ranks:
        if not ranks.leads:
            ranks.follow(lambda: build(ranks))
            return
        with ranks.together("", "build"):
            parts = build(ranks)
        torch.save(lead(parts, *args), file)


def _live(rank: int, folder: Path, config: dict[str, Any], event: Event | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    screen = os.open(folder / f"screen-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(screen, 1)
    os.dup2(screen, 2)
    signal.signal(signal.SIGUSR2, requeue)
    if event is not None and rank == 0:
        sys.addaudithook(Watch(event, folder))
    run(OmegaConf.create({"cache_dir": f"{folder}/cache"} | config), folder / "run")
