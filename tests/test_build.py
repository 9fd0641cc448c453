"""Bad input: refused before anything is loaded, naming the key, its value and what is allowed."""

import copy
import json
import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from rlcotrain.build import build, check, resolved
from rlcotrain.job import run
from tests.runs import SMALL, TINY, compose


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    return compose(tmp_path_factory.mktemp("unused"), *SMALL)


def changed(config: DictConfig, *words: str) -> DictConfig:
    """The configuration with words of a command line, `+` and `~` among them."""
    config = copy.deepcopy(config)
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        with open_dict(config):
            if word.startswith("~"):
                parent, _, name = key.rpartition(".")
                del OmegaConf.select(config, parent)[name]
            else:
                (found,) = OmegaConf.from_dotlist([f"value={value}"]).values()
                OmegaConf.update(config, key, found, force_add=word.startswith("+"))
    return config


def assert_refused(config: DictConfig, message: str) -> None:
    """One clear line that says `message`, word by word (... is any words)."""
    with pytest.raises(ValueError) as found:
        check(config)
    text = str(found.value)
    assert "\n" not in text
    assert re.search(re.escape(message).replace(r"\.\.\.", ".*"), text), text


LOSS_KEYS = "baseline, scale, credit"
ADAMW_KEYS = "algorithm, lr, betas, eps, momentum, weight_decay, warmup_steps"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+optimizer.foo=1", f"optimizer.foo: no such key; allowed: {ADAMW_KEYS}"),
        ("+loss.foo=1", f"loss.foo: no such key; allowed: {LOSS_KEYS}"),
        ("+schedule.cycle.solve.foo=1", "schedule.cycle.solve.foo: no such key; allowed: steps,"),
        ("+data.wording.foo=1", "data.wording.foo: no such key; allowed: template, system"),
        ("+checkpoint.foo=1", "checkpoint.foo: no such key; allowed: "),
        ("+sampling.foo=1", "sampling.foo: no such key; allowed: temperature, top_p, top_k"),
        ("+tracking.foo=1", "tracking.foo: no such key; allowed: uri, experiment, parent"),
        ("+policy.generator.foo=1", "policy.generator.foo: no such key; allowed: model, optimizer"),
        ("+foo=1", "foo: no such key; allowed: ...seed, folder, sweep"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones(
    composed: DictConfig, word: str, message: str
) -> None:
    assert_refused(changed(composed, word), message)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.lr=abc", "optimizer.lr=abc: input should be a valid number"),
        ("optimizer.lr=true", "optimizer.lr=True: input should be a valid number"),
        ("optimizer.lr=null", "optimizer.lr=None: input should be a valid number"),
        ("schedule.steps=2.5", "schedule.steps=2.5: input should be a valid integer"),
        ("schedule.steps='5'", "schedule.steps=5: input should be a valid integer"),
        ("seed=abc", "seed=abc: input should be a valid integer"),
        ("export=1", "export=1: input should be a valid boolean"),
        ("grader.tolerance=abc", "grader.tolerance=abc: input should be a valid number"),
        ("sampling.max_tokens=abc", "sampling.max_tokens=abc: input should be a valid integer"),
        ("sampling.stop=abc", "sampling.stop=abc: input should be a valid list"),
        ("evaluation.levels=8", "evaluation.levels=8: input should be "),
        ("model.words=[1,2]", "model.words=[1, 2]: input should be a valid string"),
        ("loss.surrogate=clop", "loss.surrogate=clop: input should be 'clip', 'cispo' or 'rein"),
        ("buffer.keep=some", "buffer.keep=some: input should be 'all' or 'signal'"),
        ("reward.weights=1", "reward.weights=1: input should be "),
    ],
)
def test_a_wrong_type_is_refused_where_it_was_said(
    composed: DictConfig, word: str, message: str
) -> None:
    with pytest.raises(ValueError) as found:
        check(changed(composed, word))
    assert str(found.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule.cycle.solve.group_size=1"], "group_size=1: a group baseline ... needs 2 or"),
        (
            ["schedule.cycle.solve.train=[verifier]"],
            "phase solve trains verifier; there are generator",
        ),
        (["roles.generator=judge"], "roles.generator=judge: no such policy; allowed: generator"),
        (["+roles.judge=judge"], "roles.judge=judge: no such policy; allowed: generator"),
        (["~roles.generator"], "roles.generator: missing, though it is evaluated; allowed: gen"),
        (
            ["+reward.weights.step=0.5"],
            "reward.weights.step: phase solve emits only the streams outcome",
        ),
        (["reward.weights.outcome=0.0"], "reward.weights={'outcome': 0.0}: at least one must not"),
        (
            ["loss.minibatches=17"],
            "loss.minibatches=17: phase solve draws 16 problems a step, and groups stay whole",
        ),
        (
            ["checkpoint.metric=accuracy"],
            "checkpoint.metric=accuracy: allowed: accuracy/sampled, accuracy/greedy",
        ),
        (["optimizer.schedule=linear"], "optimizer.decay_steps=None: schedule=linear needs a num"),
        (["loss.reference_every=5"], "loss.reference_every=5: must be null while loss.beta is 0"),
        (["evaluation.levels=[99]"], "levels=[99]: data set 'arithmetic' has levels [2, 3, 4,"),
        (
            ["schedule.cycle.solve.levels=[99]"],
            "levels=[99]: data set 'arithmetic' has levels [2, 3, 4",
        ),
        (["hardware.micro_batch_tokens=100"], "hardware.micro_batch_tokens=100: must hold one row"),
        (["sampling.temperature=-1"], "sampling.temperature=-1: must be 0 (greedy) or more"),
        (["sampling.top_p=0.0"], "sampling.top_p=0.0: must be above 0 and at most 1 (off)"),
        (["evaluation.temperature=-1"], "evaluation.temperature=-1: must be 0 (greedy) or more"),
        (["data.slip_rate=2"], "data.slip_rate=2 must lie in 0..1"),
    ],
)
def test_contradictions_are_refused(composed: DictConfig, words: list[str], message: str) -> None:
    assert_refused(changed(composed, *words), message)


def jsonl(folder: Path, sums: Path, *words: str) -> DictConfig:
    """Sums from a file, two of them held out, RL only."""
    few = ("evaluation.num_problems=2", "evaluation.between_problems=1", "schedule=rl")
    return compose(folder, *SMALL, *TINY, "data=jsonl", f"data.path={sums}", *few, *words)


def test_a_value_without_a_default_is_asked_for(tmp_path: Path) -> None:
    assert_refused(compose(tmp_path, *SMALL, "data=jsonl"), "data.path: has no default; say data.p")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    assert_refused(jsonl(tmp_path, file), f"data.path: {file} does not exist; expected a .jsonl")


def test_a_broken_line_is_named(tmp_path: Path, sums: Path) -> None:
    with sums.open("a") as stream:
        stream.write('{"question": "1+1?", "ans')
    assert_refused(jsonl(tmp_path, sums), f"data.path: {sums} line 41 is no JSON")


def test_more_problems_than_are_held_out(tmp_path: Path, sums: Path) -> None:
    config = jsonl(tmp_path, sums, "evaluation.num_problems=30")
    assert_refused(config, "evaluation.num_problems=30: data set 'sums' has 1..")


def test_imitation_of_what_has_no_solutions(tmp_path: Path, sums: Path) -> None:
    config = jsonl(tmp_path, sums, "schedule=imitate_then_rl")
    assert_refused(config, "phase imitate imitates worked solutions and problem sums/")
    check(jsonl(tmp_path, sums, "schedule=imitate_then_rl", "data.solution_field=solution"))


def test_answers_that_the_grader_cannot_read(tmp_path: Path, sums: Path) -> None:
    with sums.open("a") as stream:
        stream.write(json.dumps({"question": "Who?", "answer": "nobody"}) + "\n")
    message = "problem sums/41: known answer 'nobody' is no number, as grader=number needs"
    assert_refused(jsonl(tmp_path, sums), message)
    check(jsonl(tmp_path, sums, "grader=exact"))


def test_problems_without_answers_want_a_verifier_that_needs_none(
    tmp_path: Path, sums: Path
) -> None:
    with sums.open("a") as stream:
        stream.write(json.dumps({"question": "1+1+1?", "answer": None}) + "\n")
    message = "problem sums/41 has no known answer, as verifier=rule needs"
    assert_refused(jsonl(tmp_path, sums), message)
    check(jsonl(tmp_path, sums, "verifier=majority"))


def test_what_would_teach_the_wrong_thing_is_refused(tmp_path: Path) -> None:
    solve = ("schedule=rl", *SMALL)
    assert_refused(compose(tmp_path, *solve, "loss=nll"), "a supervised loss (loss=nll) would")
    assert_refused(compose(tmp_path, *solve, "sampling.temperature=0"), "sampling.temperature=0")
    whitened = compose(tmp_path, *solve, "loss=reinforce_pp", "buffer=signal")
    assert_refused(whitened, "buffer.keep=signal: the loss of phase solve does not compare peers")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, "model=qwen3_0.6b", f"model.path={tmp_path}/nowhere")
    assert_refused(config, f"model.path={tmp_path}/nowhere: no config.json there; give a folder")


def test_a_prompt_longer_than_the_limit_is_refused_before_the_first_step(
    tmp_path: Path, sums: Path
) -> None:
    """However late it would have been drawn."""
    with sums.open("a") as stream:
        stream.write(json.dumps({"question": "7" * 90 + "+1?", "answer": "8"}) + "\n")
    config = jsonl(tmp_path, sums, "model.max_length=100")
    folder = tmp_path / "run"
    message = r"model\.max_length=100: problem sums/41 has a prompt of 92 tokens and needs 16 more"
    with pytest.raises(ValueError, match=message):
        run(config, folder)
    assert not (folder / "metrics.jsonl").exists() and not (folder / "checkpoints").exists()
    shorter = jsonl(tmp_path, sums, "model.max_length=108")
    build(shorter, check(shorter), folder)


def test_a_solution_longer_than_the_limit_is_refused_before_the_first_step(
    tmp_path: Path, sums: Path
) -> None:
    with sums.open("a") as stream:
        long = {"question": "1+1?", "answer": "2", "solution": "2" * 100}
        stream.write(json.dumps(long) + "\n")
    words = ("data.solution_field=solution", "schedule=imitate", "model.max_length=100")
    config = jsonl(tmp_path, sums, *words)
    message = r"model\.max_length=100: problem sums/41 has a prompt of 3 tokens and needs 101 more"
    with pytest.raises(ValueError, match=message):
        build(config, check(config), tmp_path / "run")


def test_a_table_of_a_schedule_that_is_not_chosen(tmp_path: Path) -> None:
    """As an experiment's file leaves it when another schedule is chosen on the command line."""
    words = ("schedule=rl", "+schedule.prelude.warm.optimizer.lr=0.1")
    message = "schedule.prelude.warm: the chosen schedule has no such phase to set optimizer of"
    assert_refused(compose(tmp_path, *SMALL, *words), message)


def test_a_resolved_configuration_is_plain(composed: DictConfig) -> None:
    config = resolved(composed)
    assert json.loads(json.dumps(config)) == config
    assert config["policy"]["generator"]["optimizer"] == config["optimizer"]
