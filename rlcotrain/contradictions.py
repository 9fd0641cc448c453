"""What cannot go together: refused at start, with the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcotrain.data.dataset import Dataset
from rlcotrain.data.mixed import Mixed
from rlcotrain.game.demonstrate import Demonstrate
from rlcotrain.grader.by_task import ByTask
from rlcotrain.grader.function import Function
from rlcotrain.grader.watched import Watched
from rlcotrain.parts import Parts
from rlcotrain.schedule import Phase
from rlcotrain.types import Grader

ROWS = 100  # problems whose columns are looked at


def refuse_contradictions(parts: Parts, config: Mapping[str, Any]) -> None:
    """ValueError for roles, policies, phases and rewards that do not fit each other."""
    _refuse_roles(parts, config["roles"], config["policy"])
    metric, accuracies = config["checkpoint"]["metric"], parts.evaluation.accuracies
    if metric not in accuracies:
        raise ValueError(f"checkpoint.metric={metric}: allowed: {', '.join(accuracies)}")
    for name, node in config["policy"].items():
        longest = node["model"]["max_length"]
        for key in ("micro_batch_tokens", "engine_tokens"):
            if (budget := getattr(parts.hardware, key)) < longest:
                raise ValueError(
                    f"hardware.{key}={budget}: must hold one row, so at least {longest}, the "
                    f"max_length of policy {name}'s model"
                )
    if parts.hardware.parallel == "fsdp" and config["share_base"]:
        raise ValueError(
            "hardware.parallel=fsdp: each policy is sharded by itself, and share_base=true has one "
            "base for all; allowed: ddp"
        )
    for phase in parts.schedule.phases:
        _refuse_training(phase, parts, config)
        if phase.game.samples:
            _refuse_sampling(phase, parts, config["roles"])
        elif phase.loss.baseline != "constant":
            raise ValueError(
                f"schedule: phase {phase.name} samples nothing, so its loss must be supervised "
                "(loss=nll)"
            )


def _refuse_roles(parts: Parts, roles: Mapping[str, str], policies: Mapping[str, Any]) -> None:
    if "generator" not in roles:
        raise ValueError(
            f"roles.generator: missing, though it is evaluated; allowed: {', '.join(policies)}"
        )
    for role, policy in roles.items():
        if policy not in policies:
            raise ValueError(
                f"roles.{role}={policy}: no such policy; allowed: {', '.join(policies)}"
            )
    others = sorted(set(policies) - {roles["generator"]})
    if roles.get("verifier") == roles["generator"]:
        raise ValueError(
            f"roles.verifier={roles['verifier']}: the generator's own policy, which would judge "
            f"itself; allowed: {', '.join(others) or 'a policy of its own, as verifier=llm adds'}"
        )
    if "verdict" in parts.verifier.streams and "verifier" not in roles:
        raise ValueError("roles.verifier: missing, though the verifier is a model that speaks")


def _refuse_training(phase: Phase, parts: Parts, config: Mapping[str, Any]) -> None:
    policies = config["policy"]
    begins = phase.start_from or {}
    for name in [*phase.train, *begins, *begins.values()]:
        if name not in policies:
            raise ValueError(
                f"schedule: phase {phase.name} trains {name}; there are {', '.join(policies)}"
                + (
                    " (verifier=llm_steps adds a verifier)"
                    if "verifier" not in config["roles"]
                    else ""
                )
            )
    for name, other in begins.items():
        if _weights(policies[name]["model"]) != _weights(policies[other]["model"]):
            raise ValueError(
                f"schedule.prelude.{phase.name}.start_from={dict(begins)}: {name} and {other} are "
                f"different models; allowed: null, as in schedule=interleaved_apart, or the same "
                f"for both (policy.{name}.model has keys of its own)"
            )
    for name in phase.train:
        if policies[name].get("frozen") and phase.game.samples:
            raise ValueError(
                f"policy.{name}.frozen=true: phase {phase.name} trains it by RL; allowed: "
                f"false, or a schedule that does not (schedule=frozen_{name})"
            )
    marked = "step" in parts.verifier.streams
    if isinstance(phase.game, Demonstrate) and marked and not phase.game.worked:
        raise ValueError(
            f"game.worked=false: phase {phase.name} shows no marks of steps, as "
            "verifier.steps=true asks for; allowed: true, or verifier=llm"
        )
    if phase.loss.minibatches > phase.num_prompts:
        raise ValueError(
            f"loss.minibatches={phase.loss.minibatches}: phase {phase.name} draws "
            f"{phase.num_prompts} problems a step, and groups stay whole"
        )


def _weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """What the weights of a model depend on."""
    others = ("rates", "steps", "max_length", "gradient_checkpointing", "export_dtype")
    return {key: value for key, value in model.items() if key not in others}


def _refuse_sampling(phase: Phase, parts: Parts, roles: Mapping[str, str]) -> None:
    if phase.loss.baseline == "constant":
        raise ValueError(
            f"schedule: phase {phase.name} samples, and a supervised loss (loss=nll) would "
            "teach it whatever it said"
        )
    missing = sorted(set(parts.mix.streams) - set(phase.game.streams))
    if missing:
        raise ValueError(
            f"reward.weights.{missing[0]}: phase {phase.name} emits only the "
            f"streams {', '.join(phase.game.streams)}"
        )
    if roles.get("verifier") in phase.train and "verdict" not in parts.mix.streams:
        raise ValueError(
            f"reward.weights.verdict: must not be 0, phase {phase.name} trains the verifier by it"
        )
    for key, role, size in (
        ("group_size", "generator", phase.group_size),
        ("verifications", "verifier", phase.verifications),
    ):
        if roles.get(role) in phase.train and phase.loss.compares_peers and size == 1:
            raise ValueError(
                f"{key}=1: phase {phase.name} trains the {role}, and a group baseline compares "
                "rows of one problem or solution, so it needs 2 or more (or loss=reinforce_pp, "
                "which compares over the batch)"
            )
    if parts.buffer.keep == "signal" and not phase.loss.compares_peers:
        raise ValueError(
            f"buffer.keep=signal: the loss of phase {phase.name} does not compare peers, so "
            "groups that are all right or all wrong have a signal too"
        )
    if parts.sampling.temperature == 0:
        raise ValueError(
            f"sampling.temperature=0: phase {phase.name} learns from samples, and greedy rows "
            "of one problem are all the same; it must be above 0"
        )


def refuse_problems(parts: Parts, roles: Mapping[str, str]) -> None:
    """ValueError for problems that a phase cannot use."""
    for phase in parts.schedule.phases:
        if isinstance(phase.game, Demonstrate) and not parts.dataset.demonstrates:
            raise ValueError(
                f"schedule.prelude.{phase.name}.steps={phase.steps}: data={parts.dataset.name} has "
                "no judgements to imitate; must be 0"
            )
        judged = phase.game.samples and roles.get("verifier") in phase.train
        problems = parts.sampler.problems(phase.levels)
        if not problems and parts.schedule.total:
            raise ValueError(
                f"data={parts.dataset.name}: phase {phase.name} has no problems to train on; "
                "allowed: schedule=rl schedule.steps=0, which only evaluates, or other data"
            )
        for problem in problems:
            if problem.answer is None and (phase.game.needs_answers or judged):
                raise ValueError(
                    f"problem {problem.id} has no known answer, as the verifier of phase "
                    f"{phase.name} needs; verifier=majority does without"
                )
            if not phase.game.samples and problem.solution is None:
                raise ValueError(
                    f"schedule: phase {phase.name} imitates worked solutions and problem "
                    f"{problem.id} has none; choose data that have them or schedule=rl"
                )


def refuse_ungraded(grader: Grader, dataset: Dataset) -> None:
    """ValueError for a mixed data set, of which a set has no grader of its own, and for a reward
    function that names a column which the data do not have."""
    paying = grader.grader if isinstance(grader, Watched) else grader
    if isinstance(dataset, Mixed) and not isinstance(paying, ByTask):
        raise ValueError(
            f"grader: {type(paying).__name__} for all sets of data=mixed; allowed: grader=mixed, "
            "with one for each, as +grader@grader.graders.aime=math adds it"
        )
    if isinstance(paying, ByTask):
        for task in sorted(dataset.tasks):
            paying.of(task)
    watched = grader.watch.values() if isinstance(grader, Watched) else ()
    for one in (paying, *watched):
        _refuse_columns(one.graders if isinstance(one, ByTask) else {"": one}, dataset)


def _refuse_columns(graders: Mapping[str, Grader], dataset: Dataset) -> None:
    """ValueError for a reward function that names a column of none of the first problems."""
    functions = {task: one for task, one in graders.items() if isinstance(one, Function)}
    if not functions:
        return
    problems = dataset.test_problems(min(ROWS, dataset.num_tests(None)), None)
    for task, function in functions.items():
        rows = [problem.columns for problem in problems if task in ("", problem.task)]
        function.check_columns({name for row in rows for name in row})
