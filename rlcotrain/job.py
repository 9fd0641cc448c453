"""One run from its configuration to its result, whoever started it."""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlcotrain.build import build, build_agents, check, resolved
from rlcotrain.conversations import write_conversations
from rlcotrain.files import read_json, write_json
from rlcotrain.grader.pool import start_shared_pools
from rlcotrain.hardware import settled, versions
from rlcotrain.model.agents import Agents
from rlcotrain.parts import Parts
from rlcotrain.plan import ledger, lives
from rlcotrain.plan.ahead import look_ahead
from rlcotrain.plan.budget import binds, refuse
from rlcotrain.plan.calibrate import folder_of, shortened
from rlcotrain.plan.plan import prelude_kept
from rlcotrain.plan.report import report
from rlcotrain.plots import draw_cotraining, draw_curves
from rlcotrain.provenance import git_tags, machine_tags
from rlcotrain.ranks import Ranks, started
from rlcotrain.run import Run
from rlcotrain.screen import say
from rlcotrain.signals import Signals
from rlcotrain.signature import signature
from rlcotrain.summary import changes
from rlcotrain.tracking import Mirror, deliver, resolve, sync_command, ui_command
from rlcotrain.train import train

SECONDS_TO_DELIVER = 30.0


def run(cfg: DictConfig, folder: Path, accepted: Callable[[], None] = lambda: None) -> float:
    """Train the run of `cfg` in `folder`, or go on with it; returns its final sampled accuracy.

    `accepted` is called once the folder is ours to write, before anything else is written.

    A finished run returns its result at once. A failure is written to result.json and raised.
    Of several processes the first does so; the others return NaN.
    """
    parts = check(cfg)
    parts.hardware.prepare()
    with started(parts.hardware) as ranks:
        if ranks.leads:
            return _lead(cfg, parts, folder, ranks, accepted)
        ranks.follow(lambda: _followed(build_agents(cfg, parts, ranks)))
        return math.nan


def _followed(agents: Agents) -> dict[str, Any]:
    """What the first process may call, by name."""
    return {**agents.policies, agents.name: agents}


def _lead(
    cfg: DictConfig, parts: Parts, folder: Path, ranks: Ranks, accepted: Callable[[], None]
) -> float:
    config = resolved(cfg)
    record, tracking = parts.record(folder), config["tracking"]
    if tracking["uri"] is not None:
        tracking["uri"] = resolve(tracking["uri"])
    with _alone(folder):
        record.open(signature(config), name_of(config), _tags(config), tracking)
        result = record.result()
        if result is None or result["status"] != "finished":
            accepted()
            (folder / "result.json").unlink(missing_ok=True)  # of a life that failed
            _warn(parts)
            OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
            with _accounted(config, folder):
                result = _train(cfg, parts, folder, ranks)
        else:
            if cfg.profile:
                say("profile=true: this run has ended before; a new folder= has one to watch")
            if tracking["uri"] is not None and tracking["live"]:
                _lacks(folder, deliver(folder, SECONDS_TO_DELIVER))
    _tell(result, folder, tracking)
    return float(result["accuracy"]["final"]["sampled"]["mean"])


def plan(cfg: DictConfig, folder: Path) -> bool:
    """Whether the run of `cfg` is to be started. Says its plan where `dry_run` asks for that alone.

    ValueError where the estimate is above a limit.
    """
    config = resolved(cfg)
    if not (cfg.dry_run or cfg.estimate.calibrate or binds(config)):
        return True
    if (cfg.dry_run or cfg.estimate.calibrate) and "RANK" in os.environ:
        raise ValueError(
            "dry_run, estimate.calibrate: say them without torchrun; each process would plan"
        )
    check(cfg)

    def calibrate(labels: Sequence[str]) -> None:
        short = shortened(cfg, prelude_kept(config))
        run(short, folder_of(config) / signature(resolved(short)))

    found = look_ahead({name_of(config): config}, 1, True, calibrate)
    if cfg.dry_run:
        print(f"{folder}, in this process\n\n{report(found, 'this process')}", flush=True)
    refuse(found)
    return not cfg.dry_run


@contextmanager
def _accounted(config: Mapping[str, Any], folder: Path) -> Iterator[None]:
    """A life of the run, in its folder and in the ledger of its phase."""
    try:
        with lives.live(folder):
            yield
    finally:
        if config["budget"]["phase"] is not None:
            seconds = sum(life.seconds for life in lives.read(folder))
            known = read_json(folder / "run.json") or {}
            line = ledger.entry(config, known["id"], folder, seconds)
            ledger.append(Path(config["budget"]["ledger"]), line)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: two writers would mix their lines. A dead holder's place is free at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"folder={folder}: another process is at this run; let it end, or choose another"
            ) from None
        yield


def _train(cfg: DictConfig, parts: Parts, folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Train with a mirror beside; however it ends, result.json says how."""
    start_shared_pools()  # they are ready by the time that the first solutions are
    live = cfg.tracking.uri is not None and cfg.tracking.live
    mirror = Mirror(folder) if live else None
    if mirror is not None:
        mirror.start()
    try:
        built = build(cfg, parts, folder, ranks)
        for name, policy in built.policies.items():
            every, trained = policy.num_parameters
            apart = ", no beginnings shared" if policy.source.gradient_checkpointing else ""
            say(f"policy {name}: {every:,} parameters, {trained:,} of them trained{apart}")
        with _profile(cfg, parts, built), settled():
            result = train(built)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        with Signals().watched():  # where one process fails, torchrun ends the others
            _close(cfg, folder, {"status": "failed", "reason": reason}, mirror)
        raise
    return _close(cfg, folder, result, mirror)


def _profile(cfg: DictConfig, parts: Parts, built: Run) -> AbstractContextManager[None]:
    if not cfg.profile:
        return nullcontext()
    from rlcotrain.profile import Profile

    return Profile(built, parts.hardware, cfg.peak_tflops).watching()


def _close(
    cfg: DictConfig, folder: Path, result: dict[str, Any], mirror: Mirror | None
) -> dict[str, Any]:
    """What people look at, then result.json, then whatever the tracker still lacks."""
    config = resolved(cfg)
    result = result | {"signature": signature(config)}
    if (folder / "metrics.jsonl").exists():
        _show(folder, name_of(config))
    write_json(folder / "result.json", result)
    if mirror is not None:
        _lacks(folder, mirror.close(SECONDS_TO_DELIVER))
    return result


def _show(folder: Path, name: str) -> None:
    """Figures and conversations; a full disk, or a line that cannot be read, must not hide how the
    run ended."""
    try:
        draw_curves(folder, name)
        draw_cotraining(folder, name)
        write_conversations(folder)
    except (OSError, ValueError) as error:
        say(f"no curves or conversations: {error}")


def _lacks(folder: Path, reason: str | None) -> None:
    """Say what to type where the tracker did not get everything."""
    if reason is not None:
        say(f"MLflow lacks a part of this run ({reason}); to deliver it: {sync_command(folder)}")


def name_of(config: Mapping[str, Any]) -> str:
    """What a person calls the run: its experiment and seed."""
    return f"{config['name']}-s{config['seed']}"


def _tags(config: Mapping[str, Any]) -> dict[str, str]:
    numbers = {f"version_{name}": version for name, version in versions().items()}
    return {"seed": str(config["seed"])} | git_tags() | machine_tags() | numbers


def _warn(parts: Parts) -> None:
    """What a person should know before it begins."""
    for line in (*parts.dataset.report, *parts.sampler.report):
        say(f"data {parts.dataset.name}: {line}")
    draws = parts.schedule.total and not parts.dataset.endless
    for phase in parts.schedule.phases if draws else ():
        if (count := len(parts.sampler.problems(phase.levels))) < phase.num_prompts:
            say(
                f"warning: phase {phase.name} draws {phase.num_prompts} problems a step of {count} "
                "that there are: they repeat within a step (rollout/problems_repeated)"
            )
    if names := [phase.name for phase in parts.schedule.phases if phase.loss.kl_is_noise]:
        say(
            f"warning: loss.kl=k1 with loss.beta above 0 (phases: {', '.join(names)}): as a loss, "
            "k1 has an expected gradient of 0, so beta only adds noise and holds nothing to the "
            "reference; loss.kl=k2 or k3 does"
        )
    if parts.sampling.truncated:
        say(
            "warning: sampling.top_p or top_k cut the distribution that training rollouts are "
            "drawn from; their log-probabilities then differ from the trainer's "
            "(generator/mismatch_kl)"
        )


def _tell(result: Mapping[str, Any], folder: Path, tracking: Mapping[str, Any]) -> None:
    """The result, where it lies, and how to look at it."""
    print("\n".join(changes(result)))
    print(f"{result['status']} after {result['steps']} steps, {result['seconds']:.0f} s: {folder}")
    if tracking["uri"] is not None:
        if not tracking["live"]:
            print(f"to deliver it to MLflow: {sync_command(folder)}")
        print(f"to look at it: {ui_command(tracking['uri'])}", flush=True)
