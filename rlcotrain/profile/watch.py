"""What `profile=true` does: it puts a watch around the functions that are the parts of a step.

Nothing else in the house knows of it, so that without it nothing is slower.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from rlcotrain import train
from rlcotrain.decoder.trie import Trie, families, walk
from rlcotrain.engine.transformers_engine import _Decode
from rlcotrain.hardware import Hardware, peak_memory_gib
from rlcotrain.loss.objective import Loss
from rlcotrain.model import passes
from rlcotrain.model.optimizer import Descent
from rlcotrain.model.policy import Policy
from rlcotrain.model.prefixes import Home, SharedPrefixes, predictions
from rlcotrain.player import Player
from rlcotrain.profile.flops import Work, peak_flops, weights_of
from rlcotrain.profile.parts import Parts
from rlcotrain.profile.report import write
from rlcotrain.record import Record
from rlcotrain.run import Run
from rlcotrain.schedule import Position
from rlcotrain.types import Completion, Rollout, UpdateStats

# Steps of the leading phase that go into the trace and not into the table, since tracing is slow:
# from the second to the third. The first warms up, which in a trace would hide the rest.
TRACED = (1, 2)
Watched = Callable[..., Any]


class Profile:
    """Watches a run: seconds, tokens and operations of its parts, and a trace of two steps.

    Writes profile.json, profile.md and trace.json.gz into the run folder when the watch ends,
    however it ends. A trace on a CPU takes memory itself: the peak is that before it, and is named
    so. peak_tflops: what utilization is a share of; None: the speed of a matrix product that is
    timed now, in the run's own number format.
    """

    def __init__(self, run: Run, hardware: Hardware, peak_tflops: float | None) -> None:
        self.run = run
        self.parts = self._counted = Parts(hardware.synchronize)
        self._weights = {id(p.module): weights_of(p.module) for p in run.policies.values()}
        self._owed = 0.0  # operations of the backward passes that forward passes have asked for
        self._led = 0  # steps of the leading phase
        self._peak: float | None = None  # GiB, before a trace that takes memory itself
        self._tracer: torch.profiler.profile | None = None
        self._watches = ExitStack()
        timed = peak_flops(hardware.torch_device, hardware.torch_dtype) / 1e12
        self._machine = {
            "device": hardware.device,
            "dtype": hardware.dtype,
            "threads": hardware.threads,
            "matrix_product_tflops": timed,
            "peak_tflops": peak_tflops or timed,
        }

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The watch is on inside."""
        with self._watches:
            self._watches.callback(self._end)
            self._watch(train, "_step", lambda run, position: position.phase.name)
            self._replace(train, "_step", self._traced(train._step))
            self._watch(train, "_evaluate", "evaluation")
            self._watch(Run, "save", "checkpoint")
            self._watch(Record, "line", "record")
            self._watch(Record, "sample", "record")
            self._watch_playing()
            self._watch_learning()
            yield

    def _watch_playing(self) -> None:
        run = self.run
        self._watch(Player, "next", "play")
        self._watch(
            type(run.agents.engine), "generate", lambda _, policy, *__: policy, self._generated
        )
        self._watch(_Decode, "_prefill", "prefill")
        self._watch(_Decode, "_decode", "decode")
        judges = [getattr(phase.game, "verifier", None) for phase in run.schedule.phases]
        for kind in {type(judge) for judge in judges if judge is not None}:
            self._watch(kind, "judge", "judge")
        self._watch(type(run.evaluation.grader), "grade", "grade")

    def _watch_learning(self) -> None:
        self._watch(train, "_advantages", "advantages")
        self._watch(Policy, "update", lambda policy, *_: f"update {policy.name}", self._updated)
        self._watch(Policy, "score", "score")
        self._watch(passes, "collate", "collate")
        self._watch(passes, "token_logprobs", "forward", self._read_rows)
        self._watch(passes, "read_tries", "forward", self._read_tries)
        self._watch(SharedPrefixes, "token_logprobs", "forward", self._read_tails)
        self._watch(Loss, "__call__", "loss")
        self._watch(Descent, "backward", "backward", self._went_back)
        self._watch(SharedPrefixes, "backward", "backward", self._went_back)
        self._watch(Descent, "clip", "optimizer")
        self._watch(Descent, "step", "optimizer")

    def _watch(
        self,
        owner: Any,
        name: str,
        part: str | Callable[..., str],
        after: Callable[..., None] | None = None,
    ) -> None:
        """Time `owner.name` as `part`, which may depend on the call's arguments. `after` sees the
        result and the arguments. What another thread does beside a step is no part of it."""
        function: Watched = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            with self.parts.part(part if isinstance(part, str) else part(*args, **kwargs)):
                result = function(*args, **kwargs)
                if after is not None:
                    after(result, *args, **kwargs)
                return result

        self._replace(owner, name, watched)

    def _replace(self, owner: Any, name: str, function: Watched) -> None:
        """Until the watch ends."""
        if name in vars(owner):
            self._watches.callback(setattr, owner, name, vars(owner)[name])
        else:  # a class has it from another
            self._watches.callback(delattr, owner, name)
        setattr(owner, name, function)

    def _traced(self, step: Watched) -> Watched:
        def traced(run: Run, position: Position) -> Any:
            leads = not position.in_prelude and position.phase is run.schedule.leader
            if leads and self._led == TRACED[0]:
                self._peak = peak_memory_gib() if self._machine["device"] == "cpu" else None
                self._tracer = torch.profiler.profile()
                self._tracer.start()
                self.parts = Parts(lambda: None)  # that nobody reads
            result = step(run, position)
            if leads and self._led == TRACED[1]:
                self._end_trace()
            self._led += leads
            return result

        return traced

    def _end_trace(self) -> None:
        if self._tracer is not None:
            self._tracer.stop()
            self._tracer.export_chrome_trace(str(self.run.record.folder / "trace.json.gz"))
            self._tracer, self.parts = None, self._counted

    def _end(self) -> None:
        self._end_trace()
        if self._peak is None:
            peak = {"peak_memory_gib": peak_memory_gib()}
        else:
            peak = {"peak_memory_before_trace_gib": self._peak}
        machine = {**self._machine, **peak}
        write(self.run.record.folder, self._counted, machine)

    def _generated(
        self,
        done: Sequence[Completion],
        engine: Any,
        policy: str,
        prompts: Sequence[np.ndarray],
        *_: Any,
    ) -> None:
        """What prompts and their completions begin with alike is read, and predicted from, once; a
        last token is drawn and not read."""
        said = [completion.token_ids for completion in done]
        weights = self._weights[id(self.run.policies[policy].module)]
        for group in families(prompts):
            starts, own = _own([np.concatenate([prompts[i], said[i][:-1]]) for i in group])
            scored = sum(own) - sum(_own([prompts[i][:-1] for i in group])[1])
            self.parts.add(flops=weights.forward(Work.of(own, starts, scored)))
        self.parts.add(tokens=sum(map(len, said)))

    def _updated(self, stats: UpdateStats, *_: Any) -> None:
        self.parts.add(tokens=stats.num_tokens)

    def _read_rows(
        self,
        _: Any,
        model: Any,
        token_ids_BL: torch.Tensor,
        scored_BL: torch.Tensor,
        *__: Any,
    ) -> None:
        self._read(model, Work.of(_fed(scored_BL), scored=int(scored_BL.sum())))

    def _read_tries(self, _: Any, model: Any, tries: Sequence[Trie], __: Any) -> None:
        pairs = sum(int(trie.depths.sum()) + len(trie) for trie in tries)
        self._read(model, Work(tokens=sum(map(len, tries)), pairs=pairs, scored=0))

    def _read_tails(
        self,
        _: Any,
        prefixes: SharedPrefixes,
        rows: Sequence[Rollout],
        homes: Sequence[Home],
        *__: Any,
    ) -> None:
        starts = [len(home.path) for home in homes]
        scored = len(np.unique(predictions(rows, homes, *prefixes.shape).states))
        self._read(prefixes.model, Work.of([len(home.tail) for home in homes], starts, scored))

    def _read(self, model: Any, work: Work) -> None:
        weights = self._weights[id(model)]
        self.parts.add(flops=weights.forward(work))
        if torch.is_grad_enabled():
            self._owed += weights.backward(work)

    def _went_back(self, *_: Any) -> None:
        self.parts.add(flops=self._owed)
        self._owed = 0.0


def _own(sequences: Sequence[np.ndarray]) -> tuple[list[int], list[int]]:
    """Of each sequence: behind how many tokens that another has too, how many of its own."""
    order, alike = walk(sequences)
    own = [len(sequences[i]) - start for i, start in zip(order, alike.tolist(), strict=True)]
    return alike.tolist(), own


def _fed(scored_BL: torch.Tensor) -> list[int]:
    """Tokens of each row that lead to its last scored one."""
    places = torch.arange(scored_BL.shape[1], device=scored_BL.device)
    last: list[int] = (places * scored_BL).amax(-1).tolist()
    return last
