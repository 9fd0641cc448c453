"""The loop. It knows no scheme: phases say who plays, who learns, and from what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rlcotrain import stored
from rlcotrain.evaluate import accuracy_metrics, summary, wilson
from rlcotrain.hardware import peak_memory_gib
from rlcotrain.measure import Clock, on_its_axis, row_metrics, update_metrics
from rlcotrain.model.policy import NonFiniteUpdate
from rlcotrain.run import Run
from rlcotrain.schedule import Position
from rlcotrain.screen import Screen, say
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Rollout
from rlcotrain.verdict_intervals import METRICS, changes
from rlcotrain.verdicts import faults


def train(run: Run) -> dict[str, Any]:
    """Train from wherever the run folder stands to the end of the schedule; returns the result.

    Raises ArithmeticError, naming the step and the file that holds its rows, if numbers break.
    """
    with ExitStack() as turn:
        _take_up(run, turn)
        screen = Screen(run.schedule.total, run.schedule.step)
        with run.signals.watched():
            for position in run.schedule:
                if not position.in_prelude and "start" not in run.scores:
                    _begin(run, turn, screen)
                screen.step(position.phase.name, _step(run, position))
                screen.note(_between(run, position))
                if run.signals.pending is not None:
                    run.save()
                    say("a signal came: state saved, this run goes on when it is started again")
                    run.signals.obey()
        if "start" not in run.scores:  # no step to train
            _begin(run, turn, screen)
        if "final" not in run.scores:
            screen.note(_evaluate(run, run.schedule.steps, "final"))
            run.save()
        screen.close()
    return _result(run)


def _begin(run: Run, turn: ExitStack, screen: Screen) -> None:
    """Between prelude and cycle: keep what the prelude gave, see where training starts."""
    _keep_prelude(run)
    turn.close()
    screen.begin(_evaluate(run, 0, "start"))


def _take_up(run: Run, turn: ExitStack) -> None:
    """Go on from the newest checkpoint, else from a kept prelude, else from nothing."""
    state = run.checkpoints.load(lambda state: run.record.check(state["offsets"]))
    if state is None and any(run.record.offsets().values()):
        say("no checkpoint was saved before: this run starts over")
    run.record.cut(state["offsets"] if state else {})
    if state is not None:
        run.load_state_dict(state)
        say(f"resumed after step {run.schedule.step} of {run.schedule.total}")
    if run.kept is None or "start" in run.scores:
        return
    # A run that has nothing yet would rather wait than pay as well; one that has begun goes on.
    began = time.monotonic()
    turn.enter_context(run.kept.turn(wait=state is None))
    if state is None and (found := run.kept.load()) is not None:
        turn.close()
        run.load_state_dict(found[0])
        run.record.append_lines(found[1])
        run.timing["wait_seconds"] = time.monotonic() - began
        say(f"prelude of {run.schedule.prelude_steps} steps taken from {run.kept.folder}")


def _keep_prelude(run: Run) -> None:
    if run.kept is not None:
        run.kept.save(run.state_dict() | {"seconds": 0.0}, run.record.lines())


def _step(run: Run, position: Position) -> dict[str, float]:
    """One step: play, judge, select, learn, record."""
    phase, step, clock = position.phase, run.schedule.step, Clock()
    if position.step == 0:
        for name, other in (phase.start_from or {}).items():
            run.policies[name].load_weights(run.policies[other].weights())
    left_out = run.agents.no_room
    rollouts = run.player.next(position, step)
    left_out = run.agents.no_room - left_out
    clock.lap("generate")
    rollouts = run.balance(rollouts, phase.train)
    rollouts = _advantages(run, position, rollouts)
    run.buffer.add(rollouts)
    metrics = row_metrics(rollouts, phase.name, phase.train)
    _warn_of_rollouts(run, metrics, position)
    for name in phase.train:
        metrics |= _learn(run, name, position)
    dropped = run.buffer.clear()
    run.agents.sync()
    clock.lap("update")
    run.schedule.observe()
    whole = clock.metrics(rollouts) | {
        "rollout/rows_dropped": float(dropped),
        "rollout/problems_repeated": float(run.player.repeated),
    }
    if phase.game.samples and "verifier" in run.agents.roles:
        whole["verifier/no_room"] = float(left_out)
    if left_out:
        say(
            f"{phase.name} {position.step}: {left_out} solutions are too long for the verifier "
            "to read and go without a verdict (verifier/no_room)"
        )
    whole["reward/alpha"] = run.mix.alpha(position.lead)
    run.record.line(
        phase.name, position.step, on_its_axis(position, run.schedule.leader, metrics, whole)
    )
    run.record.sample(phase.name, position.step, rollouts)
    return metrics | whole


def _advantages(run: Run, position: Position, rows: Sequence[Rollout]) -> list[Rollout]:
    """Rows with advantages, each policy's by themselves: roles never share statistics.

    What a row has earned stays as it was, however it was weighed.
    """
    weighed, weights = run.mix.weigh(rows, position.lead)
    result = list(rows)
    for policy in {row.policy for row in rows}:
        mine = [i for i, row in enumerate(rows) if row.policy == policy]
        found = position.phase.loss.advantage([weighed[i] for i in mine], weights)
        for i, row in zip(mine, found, strict=True):
            result[i] = replace(rows[i], advantages=row.advantages)
    return result


def _learn(run: Run, name: str, position: Position) -> dict[str, float]:
    """The update of one policy from the rows that wait for it."""
    policy, phase, rows = run.policies[name], position.phase, run.buffer.take(name)
    policy.use(phase.name, phase.optimizer)
    if not rows:
        return {f"{name}/updates_skipped": 1.0}
    age = policy.version - min(int(row.versions.min()) for row in rows)
    step = run.schedule.step
    # A buffer may have left fewer groups than there are minibatches, and groups stay whole.
    groups = len({row.peers for row in rows})
    loss = replace(phase.loss, minibatches=min(phase.loss.minibatches, groups))
    try:
        stats = policy.update(rows, loss, derive_seed(run.seed, step, name, "update"))
    except NonFiniteUpdate as broken:
        file = run.record.folder / f"nonfinite_{step:06d}.pt"
        try:
            stored.write(file, broken.rows)
            kept = f"are in {file}"
        except (ValueError, OSError) as error:  # why the numbers broke is still to be told
            kept = f"could not be written: {error}"
        raise ArithmeticError(
            f"{broken.what} at step {position.step} of phase {phase.name} (policy {name}); "
            f"that step was not taken; its rows {kept}"
        ) from broken
    return update_metrics(name, stats, age) | {f"{name}/updates_skipped": 0.0}


def _between(run: Run, position: Position) -> dict[str, float]:
    """After a step: the evaluation and the checkpoint that are due."""
    last = run.schedule.step == run.schedule.total
    leads = not position.in_prelude and position.phase is run.schedule.leader
    metrics: dict[str, float] = {}
    if last:
        metrics = _evaluate(run, run.schedule.steps, "final")
    elif leads and (done := position.step + 1) % run.evaluation.every == 0:
        # Other phases may stand behind the leading one's last step: they come first.
        metrics = _evaluate(run, done, "between") if done < run.schedule.steps else {}
    best = _is_best(run, metrics)
    if best or last or run.schedule.step % run.checkpoints.every == 0:
        run.save(best)
    return metrics


def _evaluate(run: Run, done: int, moment: str) -> dict[str, float]:
    """Evaluate after `done` steps of the leading phase; start and final answer all problems."""
    evaluation, began = run.evaluation, time.monotonic()
    whole = moment != "between"
    count = len(evaluation.problems) if whole else evaluation.between_problems
    answers = evaluation.run(run.agents, "generator", count)
    verdicts, judged = ({}, {}) if run.quality is None else run.quality.run(run.agents, whole)
    metrics = accuracy_metrics(answers) | verdicts
    if run.pass_at_k is not None and moment == "start":
        metrics |= run.pass_at_k.run(run.agents, "generator", run.record.folder)
    metrics["time/evaluate"] = time.monotonic() - began
    run.record.line("evaluate", done, metrics)
    if whole:
        run.scores[moment] = {mode: answer.scores for mode, answer in answers.items()}
        run.verdicts[moment], run.judged[moment] = verdicts, judged
        shown = {mode: wilson(answer.scores) for mode, answer in answers.items()}
        words = [f"{mode} {i.mean:.3f} [{i.low:.3f}, {i.high:.3f}]" for mode, i in shown.items()]
        if moment == "start":
            _show(run, answers["sampled"].rows[0])
        say(f"held-out accuracy after {done} steps ({count} problems): {', '.join(words)}")
    for mode in judged:
        for name, fault in _verdict_faults(run, verdicts, "verifier/", f"/{mode}").items():
            say(f"warning: after {done} steps, {fault} ({name})")
    return metrics


def _verdict_faults(
    run: Run, metrics: Mapping[str, float], prefix: str, suffix: str = ""
) -> dict[str, str]:
    """Warnings about the verifier whose metrics are `<prefix><name><suffix>`, by metric."""
    bare = {
        key.removeprefix(prefix).removesuffix(suffix): value
        for key, value in metrics.items()
        if key.startswith(prefix) and key.endswith(suffix)
    }
    found = faults(bare, "step" in run.mix.streams)
    return {f"{prefix}{name}{suffix}": words for name, words in found.items()}


def _warn_of_rollouts(run: Run, metrics: Mapping[str, float], position: Position) -> None:
    """Say what is wrong with the verifier on a step's solutions, once until it has passed."""
    phase = position.phase.name
    own = "verifier/" if "verifier/positive_share" in metrics else f"{phase}/verifier/"
    found = _verdict_faults(run, metrics, own)
    for name in sorted(set(found) - run.warned):
        say(f"warning: in step {position.step} of phase {phase}, {found[name]} ({name})")
    run.warned = {name for name in run.warned if not name.startswith(own)} | set(found)


def _show(run: Run, row: Rollout) -> None:
    """The first prompt as the model reads it, and the first completion as it writes it."""
    chat = run.policies[row.policy].chat
    say(f"first prompt:     {chat.read_back(row.prompt_ids)!r}")
    say(f"first completion: {chat.read_back(row.token_ids)!r}")


def _verifier_result(run: Run) -> dict[str, Any]:
    """The verifier's metrics at start and end, and their paired changes as `metric/mode`."""
    start, final = run.judged["start"], run.judged["final"]
    found = {mode: changes(start[mode], final[mode], run.seed) for mode in start}
    change = {
        f"{name}/{mode}": intervals[name].as_dict()
        for name in METRICS
        for mode, intervals in found.items()
        if name in intervals
    }
    return {**run.verdicts, "change": change}


def _is_best(run: Run, metrics: Mapping[str, float]) -> bool:
    """Whether an evaluation beats all before it."""
    if not metrics:
        return False
    key = run.checkpoints.metric
    if run.best is not None and metrics[key] <= run.best:
        return False
    run.best = metrics[key]
    return True


def _result(run: Run) -> dict[str, Any]:
    """What result.json says of a finished run; the trained models are written beside it."""
    trained = {name for phase in run.schedule.phases for name in phase.train}
    if run.export:
        for name in sorted(trained):
            run.policies[name].export(run.record.folder / "model" / name)
    return {
        "status": "finished",
        "reason": None,
        "steps": run.schedule.steps,
        "prelude_steps": run.schedule.prelude_steps,
        "seconds": round(run.elapsed(), 1),
        "timing": {name: round(value, 3) for name, value in run.timing.items()},
        "accuracy": summary(run.scores["start"], run.scores["final"]),
        "verifier": _verifier_result(run) if run.quality is not None else None,
        "best": {run.checkpoints.metric: run.best},
        "replayed": run.record.replayed,
        "peak_memory_gib": round(peak_memory_gib(), 3),
    }
