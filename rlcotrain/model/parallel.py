"""Where the weights of a policy are when a run has several processes.

A loss is a sum over rows, and every process has a share of the rows: gradients are added up, never
averaged. Both classes are of one shape; with one process `Replicas` does nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from rlcotrain.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor
    from transformers import PreTrainedModel


class Replicas:
    """Every process holds all weights and optimizer state (data-parallel, DDP).

    One reduction an optimizer step, behind all micro-batches: torch's wrapper would want each
    backward to follow a forward of the whole module, and beginnings are shared between several.
    """

    loss_scale = 1
    lockstep = False

    def __init__(self, module: PreTrainedModel, ranks: Ranks) -> None:
        self.speaker, self._ranks = module, ranks

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), which runs parts of the module."""
        return function(*args)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While this lasts, `speaker` has all weights."""
        yield

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Every process gets the sum of all gradients."""
        if self._ranks.size > 1:
            grads = [p.grad for p in parameters if p.grad is not None]
            for work in [dist.all_reduce(grad, async_op=True) for grad in grads]:
                work.wait()

    def full(self, tensor: torch.Tensor) -> torch.Tensor:
        """All of a weight or of its optimizer state; only the first process needs it."""
        return tensor

    def part(self, full: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """What this process holds of `full`, which is the first one's; others give its shape."""
        if self._ranks.size == 1:
            return full.to(parameter.device)
        return _sent(full, parameter.device)


class Shards:
    """Every process holds a share of weights, gradients and optimizer state (FSDP2).

    Layers are gathered as they run. Decoding would gather them anew for every token, so `speaker`
    is a module without hooks that gets the weights for as long as it speaks.
    """

    lockstep = True  # a layer is gathered by all processes at once

    def __init__(self, module: PreTrainedModel, ranks: Ranks, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # fully_shard divides by the number of processes, and gloo takes no other divisor.
        self.loss_scale = ranks.size
        self._module, self._ranks = module, ranks
        empty: dict[int, Any] = {
            id(p): torch.nn.Parameter(p.new_empty(0), requires_grad=False)
            for p in module.parameters()
        }
        self.speaker: PreTrainedModel = copy.deepcopy(module, empty)
        self._mesh = init_device_mesh(device.type, (ranks.size,))
        for layer in module.get_decoder().layers:
            fully_shard(layer, mesh=self._mesh)
        self._entry = _Entry(module)
        fully_shard(self._entry, mesh=self._mesh)

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), which runs parts of the module."""
        result = self._entry(function, *args)
        if not torch.is_grad_enabled():  # what is no layer's is kept for a backward
            self._entry.reshard()  # type: ignore[operator]
        return result

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While this lasts, `speaker` has all weights."""
        sources = dict(self._module.named_parameters())
        copies = list(self.speaker.named_parameters())
        try:
            for name, copied in copies:
                copied.data = gathered(sources[name]).detach()
            yield
        finally:
            for _, copied in copies:
                copied.data = copied.new_empty(0)

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Nothing: every backward has done so."""

    def full(self, tensor: torch.Tensor) -> torch.Tensor:
        """All of a weight or of its optimizer state; only the first process gets it, on the CPU."""
        whole = gathered(tensor.detach())
        return whole.cpu() if self._ranks.leads else torch.empty_like(whole, device="meta")

    def part(self, full: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """What this process holds of `full`, which is the first one's; others give its shape."""
        from torch.distributed.tensor import distribute_tensor

        if full.shape != parameter.shape:  # a counter of steps
            return _sent(full, parameter.device)
        here = _here(full, parameter.device)
        sharded: DTensor = parameter  # type: ignore[assignment]
        return distribute_tensor(here, self._mesh, sharded.placements)


class _Entry(torch.nn.Module):
    """The module's one door, at which all that stands in no layer is gathered."""

    def __init__(self, module: PreTrainedModel) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that processes may hold in shards; all of them ask for it."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _here(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`; of one that is only a shape, room for it."""
    if tensor.is_meta:
        return torch.empty_like(tensor, device=device)
    return tensor.detach().to(device)


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The first process's tensor."""
    here = _here(tensor, device).contiguous()
    dist.broadcast(here, 0)
    return here
