"""Configuration to objects: the only module that instantiates.

The signature is the schema. Every option names a `_target_` whose keyword arguments are its keys;
their types are checked here before anything is loaded or submitted.
"""

from __future__ import annotations

import inspect
import typing
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from pydantic import TypeAdapter, ValidationError

from rlcotrain.buffer import Buffer
from rlcotrain.checkpoint import Checkpoints
from rlcotrain.data.dataset import Dataset, Finite
from rlcotrain.data.sampler import Uniform
from rlcotrain.evaluate import Evaluation
from rlcotrain.hardware import Hardware, versions
from rlcotrain.kept import Kept
from rlcotrain.model.agents import Agents
from rlcotrain.model.policy import Policy
from rlcotrain.player import Player
from rlcotrain.provenance import code_hash
from rlcotrain.record import Record
from rlcotrain.reward import Mix
from rlcotrain.schedule import Phase, Schedule
from rlcotrain.seeds import derive_seed
from rlcotrain.signature import signature
from rlcotrain.train import Run
from rlcotrain.types import Grader, Problem, Prompt, Sampling

PLAIN = (int, float, bool, str, type(None), Any)
# The keys of tables that are no call of a target, which would name its own.
ROOT = (
    *("verifier", "model", "optimizer", "data", "grader", "loss", "game", "schedule", "buffer"),
    *("hardware", "tracking", "sampling", "reward", "evaluation", "engine", "checkpoint", "record"),
    *("name", "seed", "folder", "sweep", "cache_dir", "export", "policy", "roles", "slurm"),
)
TRACKING = ("uri", "experiment", "parent", "label")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What can be built without loading a model; building it is the check of a configuration."""

    hardware: Hardware
    dataset: Dataset
    schedule: Schedule
    mix: Mix
    sampling: Sampling
    evaluation: Evaluation
    buffer: Buffer
    record: partial[Record]
    checkpoints: partial[Checkpoints]


def check(cfg: DictConfig) -> Parts:
    """Everything light of a configuration. Raises ValueError naming key, value and what is allowed.

    Nothing is written, no model is loaded.
    """
    config = resolved(cfg)
    _check_tables(config)
    check_types(config)
    dataset = _make(cfg.data)
    sampling = Sampling(**{**config["sampling"], "stop": tuple(config["sampling"]["stop"])})
    parts = Parts(
        hardware=_make(cfg.hardware),
        dataset=dataset,
        schedule=_make(cfg.schedule),
        mix=_make(cfg.reward),
        sampling=sampling,
        evaluation=_make(cfg.evaluation)(
            dataset=dataset, grader=_make(cfg.grader), sampling=sampling, seed=cfg.seed
        ),
        buffer=_make(cfg.buffer),
        record=_make(cfg.record),
        checkpoints=_make(cfg.checkpoint),
    )
    for policy in cfg.policy.values():
        _make(policy.model).check()
        _make(policy.optimizer)
    _refuse_contradictions(parts, config)
    _refuse_problems(parts)
    return parts


def build(cfg: DictConfig, parts: Parts, folder: Path) -> Run:
    """The run of a configuration and its checked parts; models are loaded here."""
    parts.hardware.prepare()
    policies = {
        str(name): Policy(
            name=str(name),
            model=_make(node.model),
            optimizer=_make(node.optimizer),
            hardware=parts.hardware,
            seed=derive_seed(cfg.seed, "policy", str(name)),
        )
        for name, node in cfg.policy.items()
    }
    agents = Agents(policies, dict(cfg.roles), _make(cfg.engine))
    _refuse_long_prompts(parts, agents)
    kept = Kept(Path(cfg.cache_dir) / "prelude", prelude_signature(resolved(cfg)))
    return Run(
        seed=cfg.seed,
        schedule=parts.schedule,
        player=Player(Uniform(parts.dataset), agents, parts.sampling, cfg.seed),
        policies=policies,
        agents=agents,
        mix=parts.mix,
        buffer=parts.buffer,
        evaluation=parts.evaluation,
        record=parts.record(folder),
        checkpoints=parts.checkpoints(folder),
        kept=kept if parts.schedule.prelude else None,
        export=cfg.export,
    )


def _make(node: Any) -> Any:
    """Hydra's instantiate with plain containers, and with the target's own error bare."""
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise error.__cause__ from None
        raise


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain data, interpolations followed."""
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key}: has no default; say {error.full_key}=...") from None
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def prelude_signature(config: Mapping[str, Any]) -> str:
    """Signature of all that a prelude's result depends on, the code and its libraries included."""
    prelude = config["schedule"].get("prelude") or {}
    borrows = any(phase.get("optimizer") is None for phase in prelude.values())
    policies = {
        name: {key: value for key, value in node.items() if borrows or key != "optimizer"}
        for name, node in config["policy"].items()
    }
    keys = ("seed", "data", "grader", "verifier", "roles", "sampling", "reward", "hardware")
    return signature(
        {key: config[key] for key in keys}
        | {"prelude": prelude, "policies": policies, "engine": config["engine"]}
        | {"buffer": config["buffer"], "code": code_hash(), "versions": versions()}
    )


def check_types(config: Mapping[str, Any]) -> None:
    """Hold every `_target_` node against the signature it will be called with.

    The shallowest first: a group is set at the top, not where it is copied to.
    """
    waiting = deque[tuple[str, Any]]([("", config)])
    while waiting:
        at, node = waiting.popleft()
        if isinstance(node, Mapping):
            if "_target_" in node:
                _check_call(node, at)
            waiting += [(f"{at}.{key}".lstrip("."), value) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(f"{at}[{index}]", value) for index, value in enumerate(node)]


def _check_tables(config: Mapping[str, Any]) -> None:
    """Keys and types of what is no call of a target."""
    _check_keys("", config, ROOT)
    _check_keys("tracking", config["tracking"], TRACKING)
    for name, node in config["policy"].items():
        _check_keys(f"policy.{name}", node, ("model", "optimizer"))
    for key, hint in (("seed", int), ("export", bool)):
        _check_value(key, config[key], hint)
    stop = config["sampling"]["stop"]
    _check_value("sampling.stop", stop, list[str])
    called = config["sampling"] | {"stop": tuple(stop), "_target_": "rlcotrain.types.Sampling"}
    _check_call(called, "sampling")


def _check_keys(at: str, node: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in node:
        if key not in allowed:
            name = f"{at}.{key}".lstrip(".")
            raise ValueError(f"{name}: no such key; allowed: {', '.join(allowed)}")


def _check_call(node: Mapping[str, Any], at: str) -> None:
    module, _, name = node["_target_"].rpartition(".")
    target = getattr(import_module(module), name)
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    for key, value in given.items():
        if key not in parameters:
            raise ValueError(f"{at}.{key}: no such key; allowed: {', '.join(parameters)}")
        if key in hints and _is_plain(hints[key]):
            _check_value(f"{at}.{key}", value, hints[key])
    required = [
        key for key, p in parameters.items() if p.default is p.empty and p.kind != p.VAR_KEYWORD
    ]
    missing = [key for key in required if key not in given]
    if missing and not node.get("_partial_"):
        raise ValueError(f"{at}.{missing[0]}: missing; {name} needs {', '.join(required)}")


def _check_value(at: str, value: Any, hint: Any) -> None:
    try:
        # Strict, so that `lr=true` is no number and `steps=2.5` no count; an int is a float.
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise ValueError(f"{at}={value}: {message[0].lower()}{message[1:]}") from None


def _is_plain(hint: Any) -> bool:
    """Whether a hint speaks of plain data only, so that the configuration must match it."""
    if typing.get_origin(hint) is Literal:
        return True
    arguments = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
    return hint in PLAIN or (bool(arguments) and all(map(_is_plain, arguments)))


def _refuse_contradictions(parts: Parts, config: Mapping[str, Any]) -> None:
    policies, roles = config["policy"], config["roles"]
    if "generator" not in roles:
        raise ValueError(
            f"roles.generator: missing, though it is evaluated; allowed: {', '.join(policies)}"
        )
    metric, accuracies = config["checkpoint"]["metric"], parts.evaluation.accuracies
    if metric not in accuracies:
        raise ValueError(f"checkpoint.metric={metric}: allowed: {', '.join(accuracies)}")
    for role, policy in roles.items():
        if policy not in policies:
            raise ValueError(
                f"roles.{role}={policy}: no such policy; allowed: {', '.join(policies)}"
            )
    for name, node in policies.items():
        longest, budget = node["model"]["max_length"], parts.hardware.micro_batch_tokens
        if budget < longest:
            raise ValueError(
                f"hardware.micro_batch_tokens={budget}: must hold one row, so at least "
                f"{longest}, the max_length of policy {name}'s model"
            )
    for phase in parts.schedule.phases:
        for name in phase.train:
            if name not in policies:
                raise ValueError(
                    f"schedule: phase {phase.name} trains {name}; there are {', '.join(policies)}"
                )
        if phase.loss.baseline != "constant":
            missing = set(parts.mix.streams) - set(phase.game.streams)
            if missing:
                raise ValueError(
                    f"reward.weights.{sorted(missing)[0]}: phase {phase.name} emits only the "
                    f"streams {', '.join(phase.game.streams)}"
                )
        if not phase.game.samples and phase.loss.baseline != "constant":
            raise ValueError(
                f"schedule: phase {phase.name} samples nothing, so its loss must be supervised "
                "(loss=nll)"
            )
        if phase.loss.minibatches > phase.num_prompts:
            raise ValueError(
                f"loss.minibatches={phase.loss.minibatches}: phase {phase.name} draws "
                f"{phase.num_prompts} problems a step, and groups stay whole"
            )


def _refuse_problems(parts: Parts) -> None:
    """ValueError for a problem that a phase cannot use or the grader cannot judge."""
    for problem in parts.evaluation.problems:
        _check_answer(parts.evaluation.grader, problem)
    for phase in parts.schedule.phases:
        for problem in _problems(parts.dataset, phase):
            _check_answer(parts.evaluation.grader, problem)
            if not phase.game.samples and problem.solution is None:
                raise ValueError(
                    f"schedule: phase {phase.name} imitates worked solutions and problem "
                    f"{problem.id} has none; choose data that have them or schedule=rl"
                )


def _check_answer(grader: Grader, problem: Problem) -> None:
    try:
        if problem.answer is not None:
            grader.grade("", problem.answer)
    except ValueError as error:
        raise ValueError(f"problem {problem.id}: {error}") from None


def _refuse_long_prompts(parts: Parts, agents: Agents) -> None:
    """ValueError for a problem that leaves no room for a completion."""
    policy = agents.roles["generator"]
    chat, room = agents.policies[policy].chat, parts.sampling.max_tokens
    asked = {problem.id: (problem, room) for problem in parts.evaluation.problems}
    for phase in parts.schedule.phases:
        for problem in _problems(parts.dataset, phase):
            said = problem.solution if not phase.game.samples else None
            needed = room if said is None else len(chat.completion_ids(said))
            asked[problem.id] = problem, max(needed, asked.get(problem.id, (problem, 0))[1])
    for problem, needed in asked.values():
        messages = parts.dataset.wording.messages(problem)
        prompt = Prompt(problem=problem, messages=messages, peers="", episode="")
        agents.prompt_ids(policy, prompt, needed)


def _problems(dataset: Dataset, phase: Phase) -> Sequence[Problem]:
    """All that a phase draws from, or the first of what has no end."""
    levels = None if phase.levels is None else tuple(phase.levels)
    if isinstance(dataset, Finite):
        return dataset.train_problems(levels)
    return [dataset.train_problem(0, levels)]
