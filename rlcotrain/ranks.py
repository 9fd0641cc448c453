"""The processes of one run. The first leads: it alone runs the loop and writes the records; what it
asks of the weights, all do together. A run of one process sends nothing and waits for nobody.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.utils._pytree import tree_map_only

from rlcotrain.hardware import Hardware

STEP_TIMEOUT = timedelta(minutes=10)  # of gradients: all processes come to them together
CALL_TIMEOUT = timedelta(days=30)  # the first one may grade, draw or wait for as long as it needs
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)

P = ParamSpec("P")
R = TypeVar("R")


class Ranks:
    """What one process knows of all: its number, how many there are, and how to reach them."""

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None) -> None:
        self.rank, self.size, self._store = rank, size, store
        self._group = dist.new_group(backend="gloo", timeout=CALL_TIMEOUT) if size > 1 else None
        self._calling = False

    @property
    def leads(self) -> bool:
        """Whether this process runs the loop."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """The sum over all processes, known to all."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total, group=self._group)
        return total.item()

    def gather(self, value: R) -> list[R]:
        """Everybody's value, by rank, known to all."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._group)
        return found

    @contextmanager
    def together(self, name: str, method: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Have `follow` call `method` of its `name` with these arguments while the body runs here.

        Tensors do not travel: the others get their shapes, on the meta device. Calls within a call
        are everybody's own. Raises ConnectionError, with the reason, if another process fails.
        """
        if self.size == 1 or self._calling:
            yield
            return
        self._calling = True  # and so after an error: the others wait inside the call
        try:
            if self.leads:
                self._tell((name, method, *tree_map_only(torch.Tensor, _shape, (args, kwargs))))
            yield
        except RuntimeError as error:
            self._explain(error)
            raise
        self._calling = False

    def follow(self, build: Callable[[], Mapping[str, Any]]) -> None:
        """Do what the first process does until it has done: build, then its calls."""
        for number in STOP_SIGNALS:  # the first process decides when all stop
            signal.signal(number, signal.SIG_IGN)
        if self._hear() is None:
            return
        with self.together("", "build"):
            targets = build()
        while (call := self._hear()) is not None:
            name, method, args, kwargs = call
            getattr(targets[name], method)(*args, **kwargs)

    def _tell(self, call: Any) -> None:
        dist.broadcast_object_list([call], src=0, group=self._group)

    def _hear(self) -> Any:
        heard = [None]
        try:
            dist.broadcast_object_list(heard, src=0, group=self._group)
        except RuntimeError as error:
            raise ConnectionError("the first process of this run is gone") from error
        return heard[0]

    def _explain(self, error: RuntimeError) -> None:
        """Raise ConnectionError if `error` is of a process that failed or was killed."""
        assert self._store is not None
        if self.leads and self._store.check(["failed"]):
            raise ConnectionError(self._store.get("failed").decode()) from error
        if isinstance(error, dist.DistError) or "peer" in str(error):
            raise ConnectionError("a process of this run was lost") from error

    def leave(self, error: BaseException | None) -> None:
        """End the part of this process in the run: cleanly, or because of `error`.

        After an error the others learn of it as this process exits, which closes its connections.
        """
        assert self._store is not None
        with suppress(RuntimeError):  # of others that are gone already
            if self.leads and not self._calling:
                self._tell(None)
            elif not (self.leads or error is None or isinstance(error, ConnectionError)):
                who = f"process {self.rank} of {self.size}"
                reason = f"{who} failed: {type(error).__name__}: {error}"
                self._store.compare_set("failed", "", " ".join(reason.split()))
        if error is None:
            self._group = None
            dist.destroy_process_group()


class Shared(Protocol):
    """What `everywhere` needs of an object: who else has it, and under which name."""

    name: str
    ranks: Ranks


S = TypeVar("S", bound=Shared)


def everywhere(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that all processes run when the first one calls it."""

    @wraps(method)
    def called(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.ranks.together(self.name, method.__name__, *args, **kwargs):
            return method(self, *args, **kwargs)

    return cast(Callable[Concatenate[S, P], R], called)


@contextmanager
def started(hardware: Hardware) -> Iterator[Ranks]:
    """The processes that torchrun or submitit has started for this run, joined.

    Raises ValueError unless they are hardware.gpus.
    """
    if "SUBMITIT_EXECUTOR" in os.environ and "RANK" not in os.environ:
        _adopt_submitit()
    _check_count(hardware.gpus)
    if hardware.gpus == 1:
        yield Ranks()
        return
    hardware.take_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if hardware.device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
    ranks = Ranks(rank, size, store)
    try:
        yield ranks
    except BaseException as error:
        ranks.leave(error)
        raise
    ranks.leave(None)


def _adopt_submitit() -> None:
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    job = JobEnvironment()
    if job.num_tasks > 1:
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        if job.num_nodes == 1:  # a node need not know itself by the name that SLURM has for it
            os.environ["MASTER_ADDR"] = "127.0.0.1"


def _check_count(gpus: int) -> None:
    found = os.environ.get("WORLD_SIZE", "1")
    if found == str(gpus):
        return
    if "WORLD_SIZE" in os.environ:
        raise ValueError(f"hardware.gpus={gpus}: must be the number of processes, here {found}")
    raise ValueError(
        f"hardware.gpus={gpus}: this is one process; start all with: "
        f"torchrun --nproc-per-node={gpus} launch.py {shlex.join(sys.argv[1:])}"
    )


def _shape(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(tensor, device="meta")
