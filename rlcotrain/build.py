"""Configuration to objects: the only module that instantiates.

The signature is the schema. Every option names a `_target_` whose keyword arguments are its keys;
their types are checked here before anything is loaded or submitted.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from rlcotrain.buffer import Buffer
from rlcotrain.checkpoint import Checkpoints
from rlcotrain.data.dataset import Dataset
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
from rlcotrain.schedule import Schedule
from rlcotrain.seeds import derive_seed
from rlcotrain.signature import signature
from rlcotrain.train import Run
from rlcotrain.types import Sampling

PLAIN = (int, float, bool, str, type(None), Any)


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
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
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


def check_types(node: Any, at: str = "") -> None:
    """Hold every `_target_` node against the signature it will be called with."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_call(node, at)
        for key, value in node.items():
            check_types(value, f"{at}.{key}".lstrip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_types(value, f"{at}[{index}]")


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
        parts.dataset.train_problem(0, None if phase.levels is None else tuple(phase.levels))
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
