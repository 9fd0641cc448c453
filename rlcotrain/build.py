"""Configuration to objects: the only module that instantiates.

What is light is built to be checked, before anything is loaded or submitted; then the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError

from rlcotrain.contradictions import (
    refuse_contradictions,
    refuse_problems,
    refuse_ungraded,
)
from rlcotrain.grader.single import is_usable
from rlcotrain.hardware import versions
from rlcotrain.kept import Kept
from rlcotrain.lengths import fit_lengths
from rlcotrain.model.agents import Agents
from rlcotrain.model.policy import Policy
from rlcotrain.model.shared import check_shared
from rlcotrain.parts import Parts
from rlcotrain.player import Player
from rlcotrain.provenance import code_hash
from rlcotrain.ranks import Ranks
from rlcotrain.run import Run
from rlcotrain.schema import CALLED, check_schema, target
from rlcotrain.seeds import derive_seed
from rlcotrain.signature import signature
from rlcotrain.tracking.uri import check_uri
from rlcotrain.types import Sampling


def check(cfg: DictConfig) -> Parts:
    """Everything light of a configuration. Raises ValueError naming key, value and what is allowed.

    Nothing is written, no model is loaded.
    """
    return check_resolved(resolved(cfg))


def check_resolved(config: Mapping[str, Any]) -> Parts:
    """As `check`, of what `resolved` gives."""
    config = _with_watch(config)
    check_schema(config)
    check_uri(config["tracking"]["uri"] or "")
    seed = config["seed"]
    grader, dataset = _make(config["grader"]), _make(config["data"])
    refuse_ungraded(grader, dataset)
    # An answer that is not known is no matter to a grader.
    dataset = dataset.usable(lambda problem: problem.answer is None or is_usable(grader, problem))
    sampling = Sampling(**{**config["sampling"], "stop": tuple(config["sampling"]["stop"])})
    verifier = _make(config["verifier"])
    _make(config["loss"])  # a mistake is named as the run's before it is as a phase's
    quality, rates = _make(config["quality"]), _make(config["pass_at_k"])
    sampler = _make(config["sampler"])(dataset=dataset)
    asked = {"dataset": dataset, "grader": grader, "sampling": sampling, "seed": seed}
    parts = Parts(
        hardware=_make(config["hardware"]),
        dataset=dataset,
        sampler=sampler,
        schedule=_make(_named(_present(config["schedule"]))),
        mix=_make(config["reward"]),
        balance=_make(config["balance"]),
        sampling=sampling,
        evaluation=_make(config["evaluation"])(**asked),
        pass_at_k=rates and rates(sampler=sampler, **asked),
        quality=quality and quality(dataset=dataset, verifier=verifier, seed=seed),
        verifier=verifier,
        buffer=_make(config["buffer"]),
        record=_make(config["record"]),
        checkpoints=_make(config["checkpoint"]),
    )
    policies = config["policy"].values()
    sources = [_make(policy["model"]) for policy in policies]
    for source in sources:
        source.check()
        if config["share_base"]:
            check_shared(source, sources[0])
    for policy in policies:
        _make(policy["optimizer"])
    refuse_contradictions(parts, config)
    refuse_problems(parts, config["roles"])
    return parts


def build(cfg: DictConfig, parts: Parts, folder: Path, ranks: Ranks) -> Run:
    """The run of a configuration and its checked parts; models are loaded here."""
    with ranks.together("", "build"):
        agents = build_agents(cfg, parts, ranks)
    fit_lengths(parts, agents)
    keeps = any(phase.rollouts == "shared" for phase in parts.schedule.phases)
    kept = Kept(Path(cfg.cache_dir) / "prelude", prelude_signature(resolved(cfg)))
    return Run(
        seed=cfg.seed,
        schedule=parts.schedule,
        player=Player(parts.sampler, agents, parts.sampling, cfg.seed, keeps),
        policies=agents.policies,
        agents=agents,
        mix=parts.mix,
        balance=parts.balance,
        buffer=parts.buffer,
        evaluation=parts.evaluation,
        quality=parts.quality,
        pass_at_k=parts.pass_at_k,
        record=parts.record(folder),
        checkpoints=parts.checkpoints(folder),
        kept=kept if parts.schedule.prelude else None,
        export=cfg.export,
    )


def build_agents(cfg: DictConfig, parts: Parts, ranks: Ranks) -> Agents:
    """All policies and who speaks with them: what every process of a run has."""
    config = resolved(cfg)
    policies: dict[str, Policy] = {}
    for name, node in config["policy"].items():
        policies[name] = Policy(
            name=name,
            model=_make(node["model"]),
            optimizer=_make(node["optimizer"]),
            hardware=parts.hardware,
            seed=derive_seed(cfg.seed, "policy", name),
            base=next(iter(policies.values()), None) if cfg.share_base else None,
            ranks=ranks,
        )
    return Agents(policies, config["roles"], _make(config["engine"]), ranks)


def _make(node: Any) -> Any:
    """What `_target_` names, called with the rest: Hydra's instantiate, of plain data. Hydra's own
    copies every node several times, which is most of what it takes to check a sweep."""
    if isinstance(node, list):
        return [_make(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _make(value) for key, value in node.items() if key not in CALLED}
    if "_target_" not in node:
        return made
    called = target(node["_target_"])
    return partial(called, **made) if node.get("_partial_") else called(**made)


def _present(schedule: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schedule without the prelude phases of 0 steps, whose settings may be moot."""
    prelude = schedule.get("prelude") or {}
    left = {name: phase for name, phase in prelude.items() if phase.get("steps") != 0}
    return {**schedule, "prelude": left} if prelude else schedule


def _named(schedule: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schedule, its optimizers and losses checked first: a mistake is named as the phase's."""
    for group in ("prelude", "cycle"):
        for name, phase in (schedule.get(group) or {}).items():
            try:
                _make([phase.get("optimizer"), phase.get("loss")])
            except ValueError as error:
                raise ValueError(f"schedule.{group}.{name}.{error}") from None
    return schedule


def _with_watch(node: Any) -> Any:
    """The configuration with the graders themselves where `watch` names their options."""
    if not isinstance(node, dict):
        return node
    whole = {key: _with_watch(value) for key, value in node.items() if key != "watch"}
    names = node.get("watch", [])
    if not isinstance(names, list):
        raise ValueError(f"grader.watch={names}: must be a list, as in [gsm8k_strict]")
    if not names:
        return whole
    watch = {str(name): _grader_option(str(name)) for name in names}
    return {"_target_": "rlcotrain.grader.watched.Watched", "grader": whole, "watch": watch}


def _grader_option(name: str) -> Any:
    """What the file of an option says. ValueError where there is none that stands alone."""
    folder = Path(__file__).parents[1] / "conf" / "grader"
    options = {file.stem: OmegaConf.load(file) for file in sorted(folder.glob("*.yaml"))}
    known = [name for name, option in options.items() if "defaults" not in option]
    if name not in known:
        raise ValueError(f"grader.watch=[{name}]: no such grader; allowed: {', '.join(known)}")
    if missing := sorted(OmegaConf.missing_keys(options[name])):
        raise ValueError(
            f"grader.watch.{name}.{missing[0]}: has no default; say grader={name} and watch others"
        )
    return OmegaConf.to_container(options[name])


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain data, interpolations followed; Hydra's own part is none of it."""
    try:
        return {str(key): _plain(cfg[key]) for key in cfg if key != "hydra"}
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key}: has no default; say {error.full_key}=...") from None
    except InterpolationKeyError as error:
        (key,) = re.findall(r"'(.+)'", str(error))
        hint = " (verifier=llm_steps does)" if "verifier" in key else ""
        if hint and str(error.full_key).startswith("schedule."):
            hint += "; schedule=single has no such phase"
        raise ValueError(
            f"{error.full_key}: refers to {key}, which no chosen option sets{hint}"
        ) from None
    except InterpolationResolutionError as error:
        if "Recursive" not in str(error):
            raise
        raise ValueError(
            f"{error.full_key}: refers to itself; an option `inherit` is for phases and policies, "
            "as loss@schedule.cycle.verify.loss=inherit"
        ) from None


def _plain(node: Any) -> Any:
    if not OmegaConf.is_config(node):
        return node
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


def prelude_signature(config: Mapping[str, Any]) -> str:
    """Signature of all that a prelude's result depends on, the code and its libraries included."""
    prelude = {
        name: phase
        for name, phase in (config["schedule"].get("prelude") or {}).items()
        if phase["steps"]
    }
    borrowers = {
        name for p in prelude.values() if p.get("optimizer") is None for name in p["train"]
    }
    policies = {
        name: {key: value for key, value in node.items() if key != "optimizer" or name in borrowers}
        for name, node in config["policy"].items()
    }
    names = ["seed", "grader", "roles", "sampling", "balance"]
    names += ["hardware", "engine", "buffer", "share_base", "sampler"]
    # Stages are followed by the phases, and what is paid matters only where it is learned from.
    data = {key: value for key, value in config["data"].items() if key != "stages"}
    judge = config["roles"].get("verifier")
    paid = [p for p in prelude.values() if p["loss"]["baseline"] != "constant"]
    names += ["verifier"] if paid else []
    # alpha weighs what the generator earns and nothing that a verifier does.
    reward = dict(config["reward"])
    if not any(set(p["train"]) - {judge} for p in paid):
        reward = {key: reward[key] for key in ("weights", "normalise")}
    paths = [*_paths(config["data"]), *_paths(config["sampler"])]
    paths += [node["model"].get("path") for node in policies.values()]
    return signature(
        {key: config[key] for key in names}
        | {
            "reward": reward if paid else None,
            "data": data,
            "prelude": prelude,
            "policies": policies,
            "code": code_hash(),
            "versions": versions(),
        }
        | {"lines": config["record"], "files": [_stamps(path) for path in paths if path]}
    )


def _paths(node: Any) -> Iterator[str | None]:
    """What is read from disk, however deep it is named."""
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if key in ("path", "test_path", "pass_rates"):
            yield value
        yield from _paths(value)


def _stamps(path: str) -> list[tuple[str, int, int]]:
    """Name, bytes and time of a file or of a folder's: a changed input is another one."""
    where = Path(path).expanduser()
    files = sorted(where.iterdir()) if where.is_dir() else [where]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
