"""Bad input: refused before anything is loaded, naming the key, its value and what is allowed."""

import copy
import json
import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from rlcotrain.build import build, check, resolved
from rlcotrain.job import run
from rlcotrain.ranks import Ranks
from rlcotrain.schema import target
from rlcotrain.types import Problem
from tests.runs import ALONE, CONF, PAIR, SMALL, TINY, competition, compose, gsm8k


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    return compose(tmp_path_factory.mktemp("unused"), *SMALL, *ALONE)


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


ELSEWHERE = "must be a class of rlcotrain, named with its module; ...grader=function grader.path="


CALLED = "+bonus.x={_target_: TARGET, cmd: touch MARKER}"
PLACES = [
    (CALLED, "bonus.x"),
    ("+bonus.x={_target_: TARGET, cmd: touch MARKER, _partial_: true}", "bonus.x"),
    ("+bonus.x={_target_: TARGET, _args_: [touch MARKER]}", "bonus.x"),
    ("+bonus.x=[{y: [{_target_: TARGET, cmd: touch MARKER}]}]", "bonus.x[0].y[0]"),
    ("grader._target_=TARGET", "grader"),
    ("engine._target_=TARGET", "engine"),
    ("policy.generator.optimizer._target_=TARGET", "policy.generator.optimizer"),
    ("schedule.cycle.solve.loss._target_=TARGET", "schedule.cycle.solve.loss"),
    ("+schedule.prelude.x={_target_: TARGET}", "schedule.prelude.x"),
]
NO_CLASSES = [
    *("os.system", "builtins.print", "Loss", "null", "3", "[1]"),
    "rlcotrain.grader.pool.os.system",  # behind a module of ours
    "rlcotrain.provenance.subprocess.getoutput",
    "rlcotrain.provenance.git_tags",  # a function
    "rlcotrain.record.Path",  # imported there
    "rlcotrain.loss.objective",  # a module
    *("rlcotrain.nope.Loss", "rlcotrainer.loss.objective.Loss", "rlcotrain..Loss"),
]


@pytest.mark.parametrize(
    ("word", "at", "named"),
    [
        *((word, at, "subprocess.getoutput") for word, at in PLACES),
        *((CALLED, "bonus.x", named) for named in NO_CLASSES),
    ],
)
def test_a_configuration_calls_classes_of_this_project_only(
    composed: DictConfig, tmp_path: Path, word: str, at: str, named: str
) -> None:
    marker = tmp_path / "marker"
    word = word.replace("TARGET", named).replace("MARKER", str(marker))
    said = {"null": "None"}.get(named, named)
    assert_refused(changed(composed, word), f"{at}._target_={said}: {ELSEWHERE}")
    assert not marker.exists()


def test_every_target_of_conf_is_one_that_may_be_called() -> None:
    named = re.compile(r"_target_: (rlcotrain\S+)")
    targets = {name for file in CONF.rglob("*.yaml") for name in named.findall(file.read_text())}
    assert len(targets) > 40
    for name in targets:
        assert f"{target(name).__module__}.{target(name).__name__}" == name


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+optimizer.foo=1", f"optimizer.foo: no such key; allowed: {ADAMW_KEYS}"),
        ("+loss.foo=1", f"loss.foo: no such key; allowed: {LOSS_KEYS}"),
        ("+schedule.cycle.solve.foo=1", "schedule.cycle.solve.foo: no such key; allowed: steps,"),
        ("+data.wording.foo=1", "data.wording.foo: no such key; allowed: template, system"),
        ("+checkpoint.foo=1", "checkpoint.foo: no such key; allowed: "),
        ("+sampling.foo=1", "sampling.foo: no such key; allowed: temperature, top_p, top_k"),
        ("+tracking.foo=1", "tracking.foo: no such key; allowed: uri, live, experiment, parent"),
        (
            "+policy.generator.foo=1",
            "policy.generator.foo: no such key; allowed: model, optimizer, fr",
        ),
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
        ("cache_dir=null", "cache_dir=None: must be the name of a folder"),
        ("cache_dir=''", "cache_dir=: must be the name of a folder"),
        ("cache_dir=[a]", "cache_dir=['a']: must be the name of a folder"),
        ("folder=null", "folder=None: must be the name of a folder"),
        ("tracking.uri=5", "tracking.uri=5: input should be a valid string"),
        ("+grader._partial_=true", "grader._partial_=True: must be false, no key is missing"),
        (
            "+schedule.cycle.solve.loss._partial_=1",
            "schedule.cycle.solve.loss._partial_=1: must be",
        ),
        ("export=1", "export=1: input should be a valid boolean"),
        ("profile=yes please", "profile=yes please: input should be a valid boolean"),
        ("peak_tflops=0", "peak_tflops=0: must be above 0, or null"),
        ("hardware.logprob_chunk=0", "hardware.logprob_chunk=0: must be 1 or more"),
        (
            "hardware.micro_batch_tokens=1000",
            "hardware.micro_batch_tokens=1000: must hold one row, so at least 1024",
        ),
        (
            "hardware.engine_tokens=1000",
            "hardware.engine_tokens=1000: must hold one row, so at least 1024",
        ),
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
        (
            ["schedule.cycle.solve.group_size=1"],
            "group_size=1: phase solve trains the generator, and a group baseline ... needs 2 or",
        ),
        (
            ["schedule.cycle.solve.train=[verifier]"],
            "phase solve trains verifier; there are generator",
        ),
        (["roles.generator=judge"], "roles.generator=judge: no such policy; allowed: generator"),
        (["+roles.judge=judge"], "roles.judge=judge: no such policy; allowed: generator"),
        (["~roles.generator"], "roles.generator: missing, though it is evaluated; allowed: gen"),
        (
            ["+reward.weights.step=0.5", "reward.alpha=0.5"],
            "reward.weights.step: phase solve emits only the streams outcome",
        ),
        (["reward.alpha=1.5"], "reward.alpha=1.5: must lie in 0..1"),
        (["reward.alpha=0.5"], "reward.alpha=0.5: pays the stream step, which ... does not name"),
        (["schedule.cycle.solve.steps=0"], "schedule.cycle: needs a phase of 1 step or more, here"),
        (
            ["policy.generator.frozen=true"],
            "policy.generator.frozen=true: phase solve trains it by RL; allowed: false, or",
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
        (["optimizer.schedule=linear"], "optimizer.decay_steps=None: its schedule=linear needs a"),
        (
            [
                f"schedule.prelude.imitate.{word}"
                for word in ("steps=2", "optimizer.warmup_steps=5")
            ],
            "schedule.prelude.imitate.optimizer.decay_steps=2: its schedule=linear needs a number",
        ),
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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """Generator and verifier that learn in turn."""
    return compose(tmp_path_factory.mktemp("unused"), *SMALL, *PAIR)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["schedule.cycle.solve.steps=0", "schedule.cycle.verify.steps=0"],
            "schedule.cycle: needs a phase of 1 step or more, here schedule.cycle.solve.steps=0, "
            "schedule.cycle.verify.steps=0",
        ),
        (["reward.alpha=1.5"], "reward.alpha=1.5: must lie in 0..1"),
        (["reward.alpha=-0.5"], "reward.alpha=-0.5: must lie in 0..1"),
        (
            ["roles.verifier=generator"],
            "roles.verifier=generator: the generator's own policy, which would judge itself; "
            "allowed: verifier",
        ),
        (["~roles.verifier"], "roles.verifier: missing, though the verifier is a model that sp"),
        (
            ["policy.verifier.frozen=true"],
            "policy.verifier.frozen=true: phase verify trains it by RL; allowed: false, or "
            "a schedule that does not (schedule=frozen_verifier)",
        ),
        (
            ["schedule.cycle.verify.verifications=1"],
            "verifications=1: phase verify trains the verifier, and a group baseline compares ... "
            "needs 2 or more",
        ),
        (
            ["schedule.cycle.solve.rollouts=shared"],
            "schedule.cycle.solve.rollouts=shared: the first phase of a cycle has no solutions",
        ),
        (
            ["reward.weights.verdict=0.0"],
            "reward.weights.verdict: must not be 0, phase verify trains the verifier by it",
        ),
        (["verifier.gold_weight=2.0"], "verifier.gold_weight=2.0: must lie in 0..1"),
        (["verifier.format=some"], "verifier.format=some: input should be 'strict' or 'graded'"),
        (["balance.power=-1.0"], "balance.power=-1.0: must be 0 (off) or more"),
        (
            ["policy.verifier.model.hidden_size=64"],
            "schedule.prelude.judge_short.start_from={'verifier': 'generator'}: verifier and "
            "generator are different models; allowed: null, as in schedule=interleaved_apart",
        ),
    ],
)
def test_contradictions_of_two_are_refused(
    pair: DictConfig, words: list[str], message: str
) -> None:
    assert_refused(changed(pair, *words), message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["reward=steps"],
            "reward.weights.step: phase solve emits only the streams outcome",
        ),
        (
            ["schedule=interleaved"],
            "schedule.prelude.judge_short.game.blind_spot: refers to verifier.blind_spot, which no "
            "chosen option sets (verifier=llm_steps does); schedule=single has no such phase",
        ),
        (
            ["schedule=interleaved", "verifier=llm", "reward=steps"],
            "reward.weights.step: phase solve emits only the streams outcome, verdict",
        ),
        (
            [
                *("schedule=frozen_verifier", "verifier=llm_steps", "reward=steps"),
                *("schedule.prelude.judge.steps=1", "schedule.prelude.judge.game.worked=false"),
                "schedule.prelude.judge.optimizer.schedule=constant",
            ],
            "game.worked=false: phase judge_short shows no marks of steps",
        ),
        (["evaluation=verifier"], "quality: verifier Rule is no model that could be asked"),
    ],
)
def test_options_that_need_another_are_refused(
    tmp_path: Path, words: list[str], message: str
) -> None:
    assert_refused(compose(tmp_path, *SMALL, *ALONE, *words), message)


def test_a_frozen_verifier_may_learn_before_the_cycle(tmp_path: Path) -> None:
    words = ("schedule=frozen_verifier", "policy.verifier.frozen=true")
    parts = check(compose(tmp_path, *SMALL, *PAIR, *words))
    assert [phase.name for phase in parts.schedule.cycle] == ["solve"]
    assert "judge" in [phase.name for phase in parts.schedule.prelude]


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([], {"judge_short": "generator"}),
        (["schedule.prelude.judge_short.steps=0"], {"judge": "generator"}),
        (["schedule.prelude.judge.steps=0"], {"judge_short": "generator"}),
        (["schedule.prelude.judge_short.start_from=null"], {}),
    ],
)
def test_a_verifier_begins_as_its_generator_whatever_is_left_out(
    pair: DictConfig, words: list[str], begins: dict[str, str]
) -> None:
    prelude = check(changed(pair, *words)).schedule.prelude
    assert {p.name: p.start_from["verifier"] for p in prelude if p.start_from} == begins


def test_one_verification_is_enough_where_the_verifier_does_not_learn(pair: DictConfig) -> None:
    """Or where the loss compares over the batch."""
    word = "schedule.cycle.verify.verifications=1"
    check(changed(pair, word, "schedule.cycle.verify.steps=0", "schedule.prelude.warmup.steps=0"))
    check(changed(pair, word, "loss.baseline=batch", "loss.scale=batch"))


def test_data_without_demonstrations_of_judging(tmp_path: Path, sums: Path) -> None:
    words = ("data=jsonl", f"data.path={sums}", "data.solution_field=solution")
    few = ("evaluation.num_problems=2", "evaluation.between_problems=1", "evaluation=accuracy")
    given = (*SMALL, *(word for word in PAIR if not word.startswith("quality")), *words, *few)
    given = (*given, "schedule.prelude.judge_short.steps=0")
    message = "schedule.prelude.judge.steps=30: data=sums has no judgements to imitate; must be 0"
    assert_refused(compose(tmp_path, *given, "schedule.prelude.judge.steps=30"), message)
    check(compose(tmp_path, *given, "schedule.prelude.judge.steps=0"))


def test_data_that_cannot_tell_leave_the_verifier_its_canaries(
    tmp_path: Path, checkpoint: Path
) -> None:
    words = ("data=gsm8k", f"data.path={gsm8k(tmp_path)}", "model=qwen3_0.6b")
    paths = [f"{at}.path={checkpoint}" for at in ("model", "policy.verifier.model")]
    parts = check(compose(tmp_path, *SMALL, *words, *paths))
    assert parts.quality is not None
    assert parts.quality.solutions == [] and len(parts.quality.canaries) > 0


def write_word_model(folder: Path) -> None:
    """A model whose tokenizer knows some words and writes <unk> for any other."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = ["<unk>", "<eos>", "right", "wrong", *map(str, range(10))]
    vocabulary = {word: index for index, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_that_cannot_write_the_marks(tmp_path: Path) -> None:
    write_word_model(tmp_path / "words")
    words = (
        "model@policy.verifier.model=qwen3_0.6b_base",
        f"policy.verifier.model.path={tmp_path}/words",
        "schedule=interleaved_apart",
    )
    given = (*SMALL, *TINY, *(word for word in PAIR if "quality" in word), *words)
    config = compose(tmp_path, *given, "policy.verifier.model.max_length=1024")
    message = r"policy\.verifier\.model: its tokenizer cannot write '<step>', as judgements must;"
    with pytest.raises(ValueError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def jsonl(folder: Path, sums: Path, *words: str) -> DictConfig:
    """Sums from a file, two of them held out, RL only."""
    few = ("evaluation.num_problems=2", "evaluation.between_problems=1", "schedule=rl")
    return compose(folder, *SMALL, *TINY, *ALONE, "data=jsonl", f"data.path={sums}", *few, *words)


def test_a_value_without_a_default_is_asked_for(tmp_path: Path) -> None:
    assert_refused(
        compose(tmp_path, *SMALL, *ALONE, "data=jsonl"), "data.path: has no default; say data.p"
    )


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
    config = jsonl(tmp_path, sums, "schedule=single")
    assert_refused(config, "phase pretrain imitates worked solutions and problem sums/")
    check(jsonl(tmp_path, sums, "schedule=single", "data.solution_field=solution"))


def test_answers_that_the_grader_cannot_read_are_left_out_and_counted(
    tmp_path: Path, sums: Path
) -> None:
    with sums.open("a") as stream:
        stream.write(json.dumps({"question": "Who?", "answer": "nobody"}) + "\n")
    parts = check(jsonl(tmp_path, sums))
    assert "sums/41" not in {problem.id for problem in parts.sampler.problems(None)}
    note = "1 rows left out, the grader cannot use their answer: first sums/41 ('nobody')"
    assert note in parts.dataset.report
    every = check(jsonl(tmp_path, sums, "grader=exact"))
    assert "sums/41" in {problem.id for problem in every.sampler.problems(None)}


def test_an_answer_that_no_problem_gives_the_grader(tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, *ALONE, "data=last_letters", "grader=number", "schedule=rl")
    assert_refused(config, "problem last_letters/train/0: the grader cannot use its answer '")


def test_problems_without_answers_want_a_verifier_that_needs_none(
    tmp_path: Path, sums: Path
) -> None:
    with sums.open("a") as stream:
        stream.write(json.dumps({"question": "1+1+1?", "answer": None}) + "\n")
    message = (
        "problem sums/41 has no known answer, as the verifier of phase solve needs; verifier=m"
    )
    assert_refused(jsonl(tmp_path, sums), message)
    check(jsonl(tmp_path, sums, "verifier=majority"))


def test_what_would_teach_the_wrong_thing_is_refused(tmp_path: Path) -> None:
    solve = ("schedule=rl", *SMALL, *ALONE)
    assert_refused(compose(tmp_path, *solve, "loss=nll"), "a supervised loss (loss=nll) would")
    assert_refused(compose(tmp_path, *solve, "sampling.temperature=0"), "sampling.temperature=0")
    whitened = compose(tmp_path, *solve, "loss=reinforce_pp", "buffer=signal")
    assert_refused(whitened, "buffer.keep=signal: the loss of phase solve does not compare peers")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, *ALONE, "model=qwen3_0.6b", f"model.path={tmp_path}/nowhere")
    assert_refused(config, f"model.path={tmp_path}/nowhere: no config.json there; give a folder")


def test_problems_that_are_too_long_are_left_out_of_training_and_counted(
    tmp_path: Path, sums: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two questions of 90 digits; for imitation these fit, but a solution of 100 does not."""
    long = [{"question": "7" * 90 + f"+{n}?", "answer": "8", "solution": "8"} for n in (1, 2)]
    long.append({"question": "1+1?", "answer": "2", "solution": "2" * 100})
    with sums.open("a") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in long))
    words = ("data.solution_field=solution", "model.max_length=100")
    for schedule, count in (("rl", 2), ("imitate", 1)):
        config = jsonl(tmp_path, sums, *words, f"schedule={schedule}")
        parts = check(config)
        build(config, parts, tmp_path / "run", Ranks())
        told = f"data sums: {count} problems left out of training, with their completions they are"
        assert told in capfd.readouterr().err
        drawn = {problem.id for problem in parts.sampler.problems(None)}
        gone = {"sums/41", "sums/42"} if schedule == "rl" else {"sums/43"}
        assert {"sums/41", "sums/42", "sums/43"} - drawn == gone


def test_held_out_problems_that_are_too_long_are_refused(tmp_path: Path, sums: Path) -> None:
    """Leaving them out would make it another test."""
    config = jsonl(tmp_path, sums, "model.max_length=20")
    message = (
        r"model\.max_length=20: problem sums/\d+ has a prompt of [56] tokens and needs 16 more "
    )
    with pytest.raises(ValueError, match=message + r"for the completion \(.* are too long\)"):
        build(config, check(config), tmp_path / "run", Ranks())


def test_a_table_of_a_schedule_that_is_not_chosen(tmp_path: Path) -> None:
    """As an experiment's file leaves it when another schedule is chosen on the command line."""
    words = (*ALONE, "schedule=rl", "+schedule.prelude.warm.optimizer.lr=0.1")
    message = "schedule.prelude.warm: the chosen schedule has no such phase to set optimizer of"
    assert_refused(compose(tmp_path, *SMALL, *words), message)


def test_a_resolved_configuration_is_plain(composed: DictConfig) -> None:
    config = resolved(composed)
    assert json.loads(json.dumps(config)) == config
    assert config["policy"]["generator"]["optimizer"] == config["optimizer"]


def test_graders_that_ride_along(tmp_path: Path, sums: Path) -> None:
    parts = check(jsonl(tmp_path, sums, "grader=gsm8k", "grader.watch=[gsm8k_strict,number]"))
    (grade,) = parts.evaluation.grader.grade(["#### 5"], [Problem(id="", question="", answer="5")])
    assert grade.score == 1.0
    assert {name: other.score for name, other in grade.watched} == {"gsm8k_strict": 0, "number": 1}
    assert parts.verifier.grader.watch.keys() == {"gsm8k_strict", "number"}  # type: ignore[attr-defined]
    again = OmegaConf.create(resolved(jsonl(tmp_path, sums, "grader.watch=[number]")))
    assert check(again).verifier.grader.watch.keys() == {"number"}  # type: ignore[attr-defined]
    unknown = jsonl(tmp_path, sums, "grader.watch=[nobody]")
    assert_refused(unknown, "grader.watch=[nobody]: no such grader; allowed: allenai_gsm8k,")
    several = jsonl(tmp_path, sums, "grader.watch=[mixed]")
    assert_refused(several, "grader.watch=[mixed]: no such grader; allowed: allenai_gsm8k,")
    assert_refused(
        jsonl(tmp_path, sums, "grader.watch=exact"), "grader.watch=exact: must be a list"
    )
    missing = jsonl(tmp_path, sums, "grader.watch=[function]")
    assert_refused(missing, "grader.watch.function.path: has no default; say")


def test_every_set_of_a_mixture_has_a_grader_of_its_own(tmp_path: Path) -> None:
    (folder := tmp_path / "math").mkdir()
    words = ("data=mixed", f"data.sets.gsm8k.path={gsm8k(tmp_path)}", "evaluation.num_problems=2")
    words += (f"data.sets.math.path={competition(folder)}", "evaluation.between_problems=1")
    config = compose(tmp_path, *SMALL, *ALONE, *words)
    parts = check(config)
    texts = {"gsm8k": "#### {}", "math": r"\boxed{{{}}}"}
    assert parts.dataset.tasks == set(texts)
    for problem in parts.evaluation.problems:
        (grade,) = parts.evaluation.grader.grade(
            [texts[problem.task].format(problem.answer)], [problem]
        )
        assert (grade.score, grade.rule) == (1.0, {"gsm8k": "hash", "math": "boxed"}[problem.task])
    one = compose(tmp_path, *SMALL, *ALONE, *words, "grader=number")
    assert_refused(one, "grader: Number for all sets of data=mixed; allowed: grader=mixed")
    del config.grader.graders.math
    assert_refused(config, "grader.graders: has none for math, but for gsm8k; +grader@grader.")


def test_bonuses_are_weighed_and_phased_out(tmp_path: Path, sums: Path) -> None:
    parts = check(jsonl(tmp_path, sums, "bonus=format_overlong", "reward.phase_out.format=10"))
    assert parts.mix.streams == ("outcome", "format", "overlong")
    assert parts.mix.weights(5) == {"outcome": 1.0, "format": 0.05, "overlong": 1.0}
    assert set(parts.schedule.cycle[0].game.streams) == {"outcome", "format", "overlong"}
    nobody = jsonl(tmp_path, sums, "+reward.weights.format=0.1")
    assert_refused(nobody, "reward.weights.format: phase ... emits only the streams outcome")


def test_a_phase_follows_the_loss_of_the_run_but_for_keys_of_its_own(tmp_path: Path) -> None:
    words = ["loss.beta=0.01", "schedule.cycle.verify.loss.kl=k2"]
    words += ["schedule.prelude.warmup.loss.beta=0.5", "loss@schedule.cycle.solve.loss=rloo"]
    config = resolved(compose(tmp_path, *SMALL, *words))
    solve, verify = (config["schedule"]["cycle"][name]["loss"] for name in ("solve", "verify"))
    warmup = config["schedule"]["prelude"]["warmup"]["loss"]
    assert verify == config["loss"] | {"beta": 0.01, "kl": "k2"}
    assert warmup == config["loss"] | {"beta": 0.5}
    assert (solve["beta"], solve["kl"], solve["baseline"]) == (0.03, "k2", "leave_one_out")


@pytest.mark.parametrize("words", [[], ["loss=dapo", "loss.beta=0.04"], ["schedule=joint"]])
def test_without_keys_of_their_own_all_phases_have_the_loss_of_the_run(
    tmp_path: Path, words: list[str]
) -> None:
    config = resolved(compose(tmp_path, *SMALL, *words))
    for phase in ("solve", "verify"):
        assert config["schedule"]["cycle"][phase]["loss"] == config["loss"]
    assert config["policy"]["generator"]["optimizer"] == config["optimizer"]


def test_a_policy_follows_the_optimizer_of_the_run_but_for_keys_of_its_own(tmp_path: Path) -> None:
    words = ["optimizer.weight_decay=0.1", "policy.generator.optimizer.lr=0.5"]
    config = resolved(compose(tmp_path, *SMALL, *words))
    assert config["policy"]["generator"]["optimizer"] == config["optimizer"] | {"lr": 0.5}


@pytest.mark.parametrize(("group", "option"), [("loss", "grpo"), ("optimizer", "adamw")])
def test_inherit_has_every_key_of_its_group(group: str, option: str) -> None:
    inherit, whole = (OmegaConf.load(CONF / group / f"{n}.yaml") for n in ("inherit", option))
    assert {key: f"${{{group}.{key}}}" for key in whole} == OmegaConf.to_container(inherit)


@pytest.mark.parametrize(
    "at", ["loss", "schedule.cycle.verify.loss", "schedule.prelude.warmup.loss"]
)
def test_a_mistake_in_a_loss_is_named_where_it_was_said(tmp_path: Path, at: str) -> None:
    config = compose(tmp_path, *SMALL, *PAIR, f"{at}.beta=-1", "schedule.prelude.warmup.steps=1")
    with pytest.raises(ValueError, match=rf"^{re.escape(at)}\.beta=-1: must be 0 or more"):
        check(config)
