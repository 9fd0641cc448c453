import numpy as np
import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerBase

from rlcotrain.model.chat import Chat, Style, cut_at_stop
from rlcotrain.model.source import byte_tokenizer
from rlcotrain.types import Messages
from tests.model.tiny import TEMPLATE, WORDS, bpe_tokenizer

MESSAGES: Messages = (
    {"role": "system", "content": "Be brief!"},
    {"role": "user", "content": "1+1?"},
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    """Its post-processor writes a token before every text, as Llama's does."""
    found = bpe_tokenizer()
    found.chat_template = "{{ '<|endoftext|>' }}" + TEMPLATE
    bos = found.convert_tokens_to_ids("<|endoftext|>")
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", bos)]
    )
    return found


def chat(tokenizer: PreTrainedTokenizerBase, style: Style) -> Chat:
    return Chat(tokenizer, style, [3001], 64)


def test_raw_is_the_bare_text_and_template_the_models_own(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert chat(tokenizer, "raw").render(MESSAGES) == "Be brief!\n1+1?"
    assert chat(tokenizer, "template").render(MESSAGES) == (
        "<|endoftext|><|im_start|>system\nBe brief!<|im_end|>\n"
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("style", ["raw", "template"])
def test_the_first_token_is_written_once(tokenizer: PreTrainedTokenizerBase, style: Style) -> None:
    ids = chat(tokenizer, style).prompt_ids(MESSAGES)
    bos = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert ids.dtype == np.int32
    assert (ids == bos).tolist() == [True] + [False] * (len(ids) - 1)


def test_a_template_is_read_as_its_special_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = chat(tokenizer, "template").prompt_ids(MESSAGES)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert (ids == start).sum() == 3
    assert chat(tokenizer, "template").read_back(ids) == chat(tokenizer, "template").render(
        MESSAGES
    )


def test_a_completion_ends_with_the_eos_and_starts_with_nothing(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    speaker = chat(tokenizer, "raw")
    ids = speaker.completion_ids("hello! ")
    assert ids.dtype == np.int32
    assert speaker.read_back(ids) == "hello! <|im_end|>"
    assert speaker.decode(ids) == "hello! "
    assert speaker.completion_ids("").tolist() == [tokenizer.eos_token_id]


def test_without_an_eos_token_the_first_stop_token_ends_a_completion() -> None:
    tokenizer = byte_tokenizer(WORDS)
    tokenizer.eos_token = None
    assert Chat(tokenizer, "raw", [77, 78], 64).completion_ids("").tolist() == [77]


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "  two  spaces , and\n\n\ttabs .",
        "naïve café",
        "数学は楽しい",
        "👩‍🔬🏳️‍🌈",
        "\x00\x7f\u200b\ufeff",
        "<answer>4</answer>+1+12",
        "¯\\_(ツ)_/¯ <pad",
    ],
)
def test_every_text_survives_the_round_trip(text: str) -> None:
    for tokenizer in (byte_tokenizer(WORDS), bpe_tokenizer()):
        speaker = chat(tokenizer, "raw")
        ids = speaker.prompt_ids(({"role": "user", "content": text},))
        assert speaker.decode(ids) == speaker.read_back(ids) == text
        assert speaker.decode_all([ids, ids[:0], ids]) == [text, "", text]


def test_bytes_and_words_are_one_token_each() -> None:
    tokenizer = byte_tokenizer(WORDS)
    assert len(tokenizer) == 2 + 256 + 3

    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([token]) for token in tokenizer.encode(text)]

    assert pieces("ab<answer>5+12</answer>") == ["a", "b", "<answer>", "5", "+1", "2", "</answer>"]
    assert len(tokenizer.encode("é")) == 2
    assert len(tokenizer.encode("<answer>" * 3)) == 3
    assert sorted(tokenizer.encode("<pad><eos>")) == [0, 1]


def test_half_a_character_is_no_error() -> None:
    speaker = chat(byte_tokenizer(WORDS), "raw")
    ids = speaker.completion_ids("aé")
    assert speaker.decode(ids[:2]) == "a\ufffd"


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("4</answer> more", ("</answer>",), "4"),
        ("a b\nc", ("\n", "b"), "a "),
        ("a b\nc", ("b", "\n"), "a "),
        ("no mark", ("</answer>",), "no mark"),
        ("no stop", (), "no stop"),
        ("\nfirst", ("\n",), ""),
    ],
)
def test_the_text_ends_before_the_earliest_stop(
    text: str, stop: tuple[str, ...], expected: str
) -> None:
    assert cut_at_stop(text, stop) == expected
