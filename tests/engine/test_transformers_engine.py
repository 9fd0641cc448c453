from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.decoder.cache import LineCache
from rlcotrain.engine.transformers_engine import Speaker, TransformersEngine
from rlcotrain.model.chat import Chat
from rlcotrain.model.source import byte_tokenizer
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Completion, Sampling
from tests.model.test_chat import TOKENIZERS
from tests.model.tiny import parrot, tiny

MODEL, CHAT = tiny().load(3)
MODEL.train()  # an engine is lent a policy in whatever mode it learns
# Of 261 tokens some 25 end a completion, so that rows end at very different lengths.
ENDS = tuple(range(1, 250, 10))


def prompts(count: int, seed: int = 0) -> list[np.ndarray]:
    """Prompts of 1 to 9 tokens, every third one said twice."""
    random = np.random.default_rng(seed)
    made = [random.integers(0, 261, random.integers(1, 10)).astype(np.int32) for _ in range(count)]
    return [made[k - 1] if k % 3 == 2 else made[k] for k in range(count)]


def seeds(count: int) -> list[int]:
    return [derive_seed("engine", k) for k in range(count)]


def engine(rows: int = 64, model: Any = MODEL, **changes: Any) -> TransformersEngine:
    fields: dict[str, Any] = {"module": model, "stop_ids": ENDS, "decode": CHAT.decode}
    made = TransformersEngine(rows, 10**6)
    made.sync({"speaker": Speaker(**fields | changes)})
    return made


def same(ours: Sequence[Completion], theirs: Sequence[Completion]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert (one.stop, one.version) == (other.stop, other.version)
        np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=0, atol=1e-5)


SAMPLING = Sampling(temperature=0.9, max_tokens=40)


def test_tokens_do_not_depend_on_the_rows_beside_them() -> None:
    asked = prompts(30)
    together = engine().generate("speaker", asked, seeds(30), SAMPLING)
    lengths = [len(completion.token_ids) for completion in together]
    assert min(lengths) < 5 and max(lengths) > 25  # rows leave the batch early and late
    for rows in (1, 7):
        same(engine(rows).generate("speaker", asked, seeds(30), SAMPLING), together)
    order = np.random.default_rng(1).permutation(30)
    shuffled = engine(11).generate(
        "speaker", [asked[k] for k in order], [seeds(30)[k] for k in order], SAMPLING
    )
    same(shuffled, [together[k] for k in order])
    part = engine().generate("speaker", asked[4:9], seeds(30)[4:9], SAMPLING)
    same(part, together[4:9])


def branching(count: int) -> list[np.ndarray]:
    """Prompts of 10 to 20 tokens that begin alike in families, each asked two or three times."""
    random = np.random.default_rng(5)
    stems = [random.integers(0, 261, 10) for _ in range(3)]
    made = [
        np.concatenate([stems[k % 3], random.integers(0, 3, random.integers(0, 10))])
        for k in range(count // 2)
    ]
    return [made[k // 2 - (k % 7 == 6)].astype(np.int32) for k in range(2 * (count // 2))]


@pytest.mark.parametrize("share", [1e-9, 0.3, 2.0])
@pytest.mark.parametrize("vocabulary", [4, 261])
def test_what_is_said_alike_is_said_as_by_each_alone(
    share: float, vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few tokens rows part late, or again after lines have left the batch."""
    monkeypatch.setattr("rlcotrain.engine.transformers_engine.COMPACT_SHARE", share)
    sampling = Sampling(temperature=0.9, max_tokens=25, top_k=0 if vocabulary == 261 else 2)
    asked = branching(24)
    together = engine().generate("speaker", asked, seeds(24), sampling)
    alone = engine(1).generate("speaker", asked, seeds(24), sampling)
    same(together, alone)
    texts = [tuple(completion.token_ids.tolist()) for completion in together]
    parted = [
        next((n for n, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), -1)
        for pair in zip(texts[::2], texts[1::2], strict=True)
    ]
    assert vocabulary == 261 or max(parted) > 2, "some go on together for a while"


@pytest.mark.parametrize("share", [1e-9, 0.6, 2.0])  # at once, late, never
def test_tokens_do_not_depend_on_when_finished_rows_leave(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = prompts(20)
    usual = engine().generate("speaker", asked, seeds(20), SAMPLING)
    monkeypatch.setattr("rlcotrain.engine.transformers_engine.COMPACT_SHARE", share)
    same(engine().generate("speaker", asked, seeds(20), SAMPLING), usual)


def test_lines_that_nobody_goes_on_with_leave_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[tuple[int, int]] = []
    keep = LineCache.keep

    def watched(cache: LineCache, lines: torch.Tensor, most: int) -> None:
        left.append((cache.lines, len(lines)))
        keep(cache, lines, most)

    monkeypatch.setattr(LineCache, "keep", watched)
    engine().generate("speaker", prompts(20), seeds(20), SAMPLING)
    removed = [(before, after) for before, after in left if after < before]
    assert removed[0][0] >= 14 and removed[-1][1] == 1
    assert all(after <= 0.75 * before for before, after in removed)


def test_equal_prompts_with_other_seeds_say_other_things() -> None:
    asked = [np.array([5, 6, 7], np.int32)] * 8
    texts = {
        tuple(c.token_ids.tolist()) for c in engine().generate("speaker", asked, seeds(8), SAMPLING)
    }
    assert len(texts) == 8
    again = engine().generate("speaker", asked, [seeds(1)[0]] * 8, SAMPLING)
    assert len({tuple(c.token_ids.tolist()) for c in again}) == 1


def test_greedy_is_transformers_own_generate() -> None:
    asked = prompts(12)
    ends = ENDS[:4]
    ours = engine(stop_ids=ends).generate(
        "speaker", asked, seeds(12), Sampling(temperature=0, max_tokens=30)
    )
    MODEL.eval()
    for prompt, completion in zip(asked, ours, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        theirs = MODEL.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=30,
            eos_token_id=list(ends),
            pad_token_id=0,
        )
        assert completion.token_ids.tolist() == theirs[0, len(prompt) :].tolist()
    MODEL.train()
    assert {completion.stop for completion in ours} == {"stop", "length"}


def test_log_probabilities_are_the_models_own() -> None:
    asked = prompts(12)
    sampling = Sampling(temperature=0.7, top_k=20, max_tokens=15)
    for prompt, completion in zip(
        asked, engine().generate("speaker", asked, seeds(12), sampling), strict=True
    ):
        ids = torch.from_numpy(np.concatenate([prompt, completion.token_ids]).astype(np.int64))
        lines = MODEL(input_ids=ids[None]).logits[0].detach() / 0.7
        for t, token in enumerate(completion.token_ids.tolist()):
            line = lines[len(prompt) + t - 1]
            kept = line.topk(20)
            assert token in kept.indices
            # Of the distribution that was drawn from: renormalised over the twenty.
            expected = line[token] - kept.values.logsumexp(0)
            assert completion.logprobs[t] == pytest.approx(expected.item(), abs=1e-4)


def test_how_a_completion_ends() -> None:
    asked = prompts(30)
    for completion in engine().generate("speaker", asked, seeds(30), SAMPLING):
        ids = completion.token_ids
        assert ids.dtype == np.int32 and completion.logprobs.dtype == np.float32
        assert len(ids) == len(completion.logprobs)
        ending = np.isin(ids, ENDS)
        assert not ending[:-1].any()
        assert completion.stop == ("stop" if ending[-1] else "length")
        assert ending[-1] or len(ids) == 40
    assert [
        (len(c.token_ids), c.stop)
        for c in engine(stop_ids=()).generate(
            "speaker", asked[:3], seeds(3), Sampling(max_tokens=1)
        )
    ] == [(1, "length")] * 3


def test_an_ending_on_the_last_token_is_a_stop() -> None:
    asked = prompts(30)
    lengths = [len(c.token_ids) for c in engine().generate("speaker", asked, seeds(30), SAMPLING)]
    k = next(k for k, length in enumerate(lengths) if 2 < length < 40)
    for limit, stop in [(lengths[k], "stop"), (lengths[k] - 1, "length")]:
        (completion,) = engine().generate(
            "speaker", [asked[k]], [seeds(30)[k]], Sampling(temperature=0.9, max_tokens=limit)
        )
        assert (len(completion.token_ids), completion.stop) == (limit, stop)


def test_the_mode_is_given_back_and_the_version_noted() -> None:
    for training in (True, False):
        MODEL.train(training)
        (completion,) = engine(version=7).generate(
            "speaker", prompts(1), seeds(1), Sampling(max_tokens=2)
        )
        assert MODEL.training == training
        assert completion.version == 7
    MODEL.train()


def test_nothing_asked_nothing_said() -> None:
    assert engine().generate("speaker", [], [], SAMPLING) == []


TOKENIZER = byte_tokenizer(["<answer>", "</answer>"])
ENCODE = TOKENIZER.encode


def says(
    text: str, stop: tuple[str, ...], max_tokens: int = 40, end: tuple[int, ...] = (1,)
) -> tuple[list[int], str]:
    """What a model that goes on saying `text` after its first token says until it is stopped."""
    ids = ENCODE(text)
    made = engine(
        model=parrot([*ids, 1], len(TOKENIZER)),
        stop_ids=end,
        decode=lambda row: str(TOKENIZER.decode(row.tolist(), skip_special_tokens=True)),
    )
    (completion,) = made.generate(
        "speaker",
        [np.array(ids[:1], np.int32)],
        [0],
        Sampling(temperature=1.0, max_tokens=max_tokens, stop=stop),
    )
    return [ids[0], *completion.token_ids.tolist()], completion.stop


@pytest.mark.parametrize(
    ("text", "stop", "said"),
    [
        ("abcdefgh", ("e",), "abcde"),
        ("abcdefgh", ("def",), "abcdef"),  # over three tokens
        ("abcdefgh", ("fgh", "de"), "abcde"),
        ("a4</answer>bc", ("</answer>",), "a4</answer>"),  # one token
        ("a4</answer>bc", ("answer>b",), "a4</answer>b"),  # part of one and all of the next
        ("a4</answer>bc", ("</an",), "a4</answer>"),  # ends inside a token
        ("xé=ж", ("é",), "xé"),  # two bytes
        ("xé=ж", ("é=",), "xé="),
        ("x=数y", ("=数",), "x=数"),  # three bytes and one before
        ("a\nbc", ("\n",), "a\n"),
        ("abc", ("z",), "abc<eos>"),
        ("abc", (), "abc<eos>"),
        ("abc", ("bd", "ac"), "abc<eos>"),
    ],
)
def test_stop_strings(text: str, stop: tuple[str, ...], said: str) -> None:
    ids, why = says(text, stop)
    # Ids keep the whole stop: it is what the model has to learn to say.
    assert (ids, why) == (ENCODE(said), "stop")


def test_a_prompt_does_not_stop_its_completion() -> None:
    assert says("abcd", ("ab",)) == (ENCODE("abcd<eos>"), "stop")
    assert says("abcd", ("a",)) == (ENCODE("abcd<eos>"), "stop")


def test_a_limit_before_the_stop() -> None:
    assert says("abcdefgh", ("gh",), max_tokens=6) == (ENCODE("abcdefg"), "length")
    assert says("abcdefgh", ("gh",), max_tokens=7) == (ENCODE("abcdefgh"), "stop")


def test_stop_strings_change_no_token_before_them() -> None:
    """What was said without stops, cut where naive search in the growing text first finds one."""
    asked = prompts(20)
    free = engine(stop_ids=()).generate("speaker", asked, seeds(20), SAMPLING)
    stop = ("a", "+1", "\ufffd0", "Z")
    stopped = engine(stop_ids=()).generate(
        "speaker", asked, seeds(20), Sampling(temperature=0.9, max_tokens=40, stop=stop)
    )
    cut = 0
    for long, short in zip(free, stopped, strict=True):
        texts = [CHAT.decode(long.token_ids[: n + 1]) for n in range(40)]
        ends = [n + 1 for n, text in enumerate(texts) if any(mark in text for mark in stop)]
        length = ends[0] if ends else 40
        assert short.token_ids.tolist() == long.token_ids[:length].tolist()
        assert short.stop == ("stop" if ends else "length")
        cut += bool(ends) and length < 40
    assert cut >= 5


@pytest.mark.parametrize("name", ["bytes", "bpe", "sentencepiece", "metaspace"])
def test_stop_strings_are_found_where_decoding_everything_finds_them(name: str) -> None:
    """Whatever they begin and end with: spaces, parts of characters, parts of tokens."""
    chat = Chat(TOKENIZERS[name](), "raw", [1], 64)
    random, size = np.random.default_rng(0), len(chat.tokenizer)
    speaker = Speaker(module=parrot([0, 1], size), stop_ids=(1,), decode=chat.decode)
    found = spaces = 0
    for _ in range(60):
        ids = random.integers(0, size, 12).astype(np.int32)
        texts = [chat.decode(ids[: n + 1]) for n in range(12)]
        for start, length in random.integers(0, (max(len(texts[-1]), 1), 4), (8, 2)):
            stop = texts[-1][start : start + length + 1]
            if not stop:
                continue
            first = next(n for n, text in enumerate(texts) if stop in text)
            suspects = np.nonzero(speaker.may_stop((stop,))[ids])[0]
            assert next(n for n in suspects if stop in texts[n]) == first, (stop, ids)
            found, spaces = found + 1, spaces + stop.endswith(" ")
    assert found > 200 and (spaces > 5 or name in ("bytes", "bpe"))


def test_token_0_is_a_token_like_any_other() -> None:
    # Said, kept and gone on from, with and without padding beside it (which is made of zeros).
    chain = [9, 0, 4, 7, 2]
    made = engine(model=parrot(chain, 16), stop_ids=(2,), decode=lambda row: "")
    asked = [np.array(ids, np.int32) for ids in ([9], [3, 3, 3, 9], [0], [3, 0])]
    said = made.generate("speaker", asked, seeds(4), Sampling(max_tokens=9))
    assert [c.token_ids.tolist() for c in said] == [[0, 4, 7, 2]] * 2 + [[4, 7, 2]] * 2
    # Attended to: another token in its place changes what a real model says next.
    zero, other = (
        engine(stop_ids=()).generate("speaker", [prompt], [1], Sampling(max_tokens=3))[0]
        for prompt in (np.array([0, 0, 8], np.int32), np.array([5, 5, 8], np.int32))
    )
    assert abs(zero.logprobs - other.logprobs).max() > 1e-2
    alone = torch.tensor([[0, 0, 8, *zero.token_ids.tolist()]])
    lines = MODEL(input_ids=alone).logits[0].detach().log_softmax(-1)
    expected = [lines[2 + t, token].item() for t, token in enumerate(zero.token_ids.tolist())]
    assert zero.logprobs.tolist() == pytest.approx(expected, abs=1e-5)


def test_drawn_frequencies_are_the_models() -> None:
    prompt, count = np.array([12, 99, 40], np.int32), 4000
    said = engine(512, stop_ids=()).generate(
        "speaker", [prompt] * count, seeds(count), Sampling(temperature=0.8, max_tokens=1)
    )
    counts = np.bincount([int(c.token_ids[0]) for c in said], minlength=261)
    logits = MODEL(input_ids=torch.tensor([prompt.tolist()])).logits[0, -1].detach()
    expected = count * (logits / 0.8).softmax(-1).double().numpy()
    # Tokens expected less than five times are counted as one.
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    freedom = len(counts) - 1
    assert freedom > 50
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5
