"""Configuration to objects: the only module that instantiates.

What is light is built to be checked, before anything is loaded or submitted; then the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

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
from rlcotrain.run import Run
from rlcotrain.schedule import Phase, Schedule
from rlcotrain.schema import check_schema
from rlcotrain.seeds import derive_seed
from rlcotrain.signature import signature
from rlcotrain.types import Grader, Problem, Prompt, Sampling


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
    check_schema(config)
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
    names = "seed data grader verifier roles sampling reward hardware engine buffer"
    paths = [config["data"].get(key) for key in ("path", "test_path")]
    paths += [node["model"].get("path") for node in policies.values()]
    return signature(
        {key: config[key] for key in names.split()}
        | {"prelude": prelude, "policies": policies, "code": code_hash(), "versions": versions()}
        | {"lines": config["record"], "files": [_stamps(path) for path in paths if path]}
    )


def _stamps(path: str) -> list[tuple[str, int, int]]:
    """Name, bytes and time of a file or of a folder's: a changed input is another one."""
    where = Path(path).expanduser()
    files = sorted(where.iterdir()) if where.is_dir() else [where]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


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
        if phase.game.samples and phase.loss.baseline == "constant":
            raise ValueError(
                f"schedule: phase {phase.name} samples, and a supervised loss (loss=nll) would "
                "teach it whatever it said"
            )
        if phase.game.samples and parts.buffer.keep == "signal" and not phase.loss.compares_peers:
            raise ValueError(
                f"buffer.keep=signal: the loss of phase {phase.name} does not compare peers, so "
                "groups that are all right or all wrong have a signal too"
            )
        if phase.game.samples and parts.sampling.temperature == 0:
            raise ValueError(
                f"sampling.temperature=0: phase {phase.name} learns from samples, and greedy rows "
                "of one problem are all the same; it must be above 0"
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
            if problem.answer is None and phase.game.verifier.needs_answers:
                raise ValueError(
                    f"problem {problem.id} has no known answer, as verifier=rule needs; "
                    "verifier=majority does without"
                )
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
