"""A configuration as work: the parts of a run, and what the time of each depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlcotrain.signature import signature

# What moves what a run learns and not, by itself, how long a step takes: wherever it stands.
UNTIMED = frozenset(
    (
        *("seed", "slip", "slip_rate", "judge_slip_rate", "held_out", "stages", "temperature"),
        *("rates", "initializer_range", "tolerance", "gold_weight", "format_weight"),
        *("blind_spot", "filler_share", "price_per_gpu_hour", "roles", "bonuses"),
    )
)
OF_A_LOSS = ("minibatches", "epochs", "old")
STARTUP, EVALUATE, SAVE, REST = "startup", "evaluate", "save", "rest"


@dataclass(frozen=True, kw_only=True)
class Part:
    """`count` pieces of one kind of work, of `rows` model calls each.

    name: the phase, or what else a run spends time on. `startup` is what a process does before its
    first run, `rest` all that has no name: building models, exporting them, drawing.
    kind: signature of all that the seconds a row depend on; equal kinds are compared.
    """

    name: str
    kind: str
    rows: int
    count: int
    prelude: bool = False


def parts(config: Mapping[str, Any]) -> list[Part]:
    """The parts of a run of this resolved configuration."""
    phases = _phases(config)
    evaluations = _evaluations(config)
    # At most: an evaluation that beats those before it is saved, the end is saved in any case.
    steps = sum(part.count for part in phases)
    saves = steps // config["checkpoint"]["every"] + evaluations[-1].count + 1
    whole = _setting(config, config["policy"])
    return [
        Part(name=STARTUP, kind=signature({"what": STARTUP}), rows=1, count=1),
        *phases,
        *evaluations,
        Part(name=SAVE, kind=_kind(whole, what=SAVE), rows=1, count=saves),
        Part(name=REST, kind=_kind(whole, what=REST), rows=1, count=1),
    ]


def _phases(config: Mapping[str, Any]) -> list[Part]:
    """The phases that take a step or more, as rlcotrain.schedule runs them."""
    schedule = config["schedule"]
    found = [
        _of_phase(config, name, phase, phase["steps"], prelude=True)
        for name, phase in (schedule.get("prelude") or {}).items()
    ]
    cycle = {name: phase for name, phase in schedule["cycle"].items() if phase["steps"]}
    leader = next(iter(cycle))
    rounds = schedule["steps"] // cycle[leader]["steps"]
    for name, phase in cycle.items():
        count = schedule["steps"] if name == leader else rounds * phase["steps"]
        found.append(_of_phase(config, name, phase, count))
    return [part for part in found if part.count]


def _of_phase(
    config: Mapping[str, Any],
    name: str,
    phase: Mapping[str, Any],
    count: int,
    prelude: bool = False,
) -> Part:
    loss, judge = phase["loss"], phase["game"].get("verifier") or {}
    speaks = config["policy"] if "max_tokens" in judge else phase["train"]
    kind = _kind(
        _setting(config, speaks),
        loss={key: loss[key] for key in OF_A_LOSS} | {"reference": loss["beta"] != 0},
        game=phase["game"],
        train=phase["train"],
        levels=phase["levels"],
        rollouts=phase.get("rollouts", "fresh"),
    )
    judgements = phase.get("verifications", 1) if "max_tokens" in judge else 0
    rows = phase["num_prompts"] * phase["group_size"] * (1 + judgements)
    return Part(name=name, kind=kind, rows=rows, count=count, prelude=prelude)


def _evaluations(config: Mapping[str, Any]) -> list[Part]:
    """Those of all problems, at the start and the end, then those between."""
    evaluation, quality = config["evaluation"], config["quality"] or {}
    sizes = ("num_problems", "between_problems", "every", "num_solutions", "between_solutions")
    asked = [
        {key: value for key, value in node.items() if key not in sizes}
        for node in (evaluation, quality)
    ]
    speaks = config["policy"] if quality else [config["roles"]["generator"]]
    setting = _setting(config, speaks) | {"judge": config["verifier"] if quality else None}
    kind = _kind(setting, what=EVALUATE, asked=asked, pass_at_k=config["pass_at_k"])
    steps = config["schedule"]["steps"]
    counts = {"num": 2, "between": max(0, (steps - 1) // evaluation["every"])}
    return [
        Part(
            name=EVALUATE,
            kind=kind,
            rows=evaluation[f"{size}_problems"] + quality.get(f"{size}_solutions", 0),
            count=count,
        )
        for size, count in counts.items()
    ]


def _setting(config: Mapping[str, Any], speaks: Iterable[str]) -> dict[str, Any]:
    """What all depends on: the models that speak, what they read, and what they run on."""
    names = ("hardware", "engine", "share_base", "sampling", "data", "grader")
    models = {name: dict(config["policy"][name]["model"]) for name in sorted(speaks)}
    for model in models.values():
        model.pop("steps", None)  # of what it must learn, not of what it is
    return {name: config[name] for name in names} | {"models": models}


def _kind(setting: Mapping[str, Any], **depends: Any) -> str:
    return signature(_timed({"setting": setting, "depends": depends}))


def _timed(node: Any) -> Any:
    """The node without what does not matter to time."""
    if isinstance(node, Mapping):
        return {key: _timed(value) for key, value in node.items() if key not in UNTIMED}
    return [_timed(value) for value in node] if isinstance(node, list | tuple) else node
