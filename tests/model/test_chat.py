from collections.abc import Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

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


def sentencepiece() -> PreTrainedTokenizerBase:
    """As Llama 2's: spaces are marked, the first is not shown, unknown characters are bytes."""
    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["\u2581", "\u2581\u2581", *"ab<>/12", "\u2581a", "</step>", ">\n", "\u2581<", "中"]
    core = Tokenizer(
        models.BPE({w: i for i, w in enumerate(words)}, [], byte_fallback=True, unk_token="<unk>")
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    core.add_special_tokens(["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")


def metaspace() -> PreTrainedTokenizerBase:
    """Whole words with a marked space, of which a first word loses all."""
    words = ["<unk>", "</s>", "\u2581", "\u2581\u2581", "\u2581a", "b", "\u2581<step>", "</step>"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.add_special_tokens(["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")


def words_only() -> PreTrainedTokenizerBase:
    """Nine words and no way to write another; its clean-up would take spaces away."""
    words = ["<unk>", "<eos>", "a", "b", "right", "wrong", *"</.>", "step"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece(cleanup=False)
    core.add_special_tokens(["<eos>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=True,
    )


def rewriting() -> PreTrainedTokenizerBase:
    """Its decoder changes what stands at the seam of two tokens."""
    found = byte_tokenizer(["a.", " b"])
    found.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Fuse(), decoders.Replace(". b", "...")]
    )
    return found


TOKENIZERS = {
    "bytes": lambda: byte_tokenizer([">\n", "</step>", "\ufffd"]),
    "bpe": bpe_tokenizer,
    "sentencepiece": sentencepiece,
    "metaspace": metaspace,
    "words": words_only,
    "rewriting": rewriting,
}


def naive_ends(speaker: Chat, ids: np.ndarray, ends: Sequence[int]) -> list[int]:
    """Token ends by their definition: every prefix is decoded, from the first on."""
    text = speaker.decode(ids)
    texts = [speaker.decode(ids[:t]) for t in range(len(ids) + 1)]
    return [next(t for t, held in enumerate(texts) if held.startswith(text[:end])) for end in ends]


def tokens_of(tokenizer: PreTrainedTokenizerBase, *pieces: str) -> np.ndarray:
    """Each piece encoded apart: not what encoding the joined text gives."""
    ids = [i for piece in pieces for i in tokenizer.encode(piece, add_special_tokens=False)]
    return np.asarray(ids, np.int32)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_token_ends_of_any_ids_are_those_of_the_definition(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    speaker, random = chat(tokenizer, "raw"), np.random.default_rng(0)
    searched = 0
    for _ in range(150):
        # Ids past the last token exist, where a model pads its vocabulary.
        ids = random.integers(0, len(tokenizer) + 2, random.integers(1, 14)).astype(np.int32)
        ends = list(range(len(speaker.decode(ids)) + 1))
        assert speaker.token_ends(ids, ends) == naive_ends(speaker, ids, ends), ids
        searched += len(ends)
    assert searched > 500


@pytest.mark.parametrize("name", ["bytes", "bpe", "sentencepiece"])
def test_token_ends_in_text_whose_characters_several_tokens_share(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    speaker = chat(tokenizer, "raw")
    steps = ["<step>1 a 中é</step>", "\n<step>👩‍🔬 b</step>", " ab<step>🏳</step>\n"]
    ids = tokens_of(tokenizer, *steps, "12")
    text = "".join(steps)
    assert speaker.decode(ids).startswith(text)
    ends = [text.index("</step>", text.index(mark)) + 7 for mark in "中👩🏳"]
    assert speaker.token_ends(ids, ends) == naive_ends(speaker, ids, ends)
    assert speaker.token_ends(ids, range(len(text) + 1)) == naive_ends(
        speaker, ids, range(len(text) + 1)
    )


def test_token_ends_by_hand() -> None:
    tokenizer = byte_tokenizer(["<step>", "</step>", ">\n"])
    speaker = chat(tokenizer, "raw")
    # <step> é(2 bytes) </step> | <step> 1 < / s t e p >\n | <eos>
    ids = tokens_of(tokenizer, "<step>", "é", "</step>", "<step>", "1", *"</step", ">\n", "<eos>")
    assert len(ids) == 4 + 2 + 6 + 1 + 1
    assert speaker.decode(ids) == "<step>é</step><step>1</step>\n"
    # Nothing; within a tag; é; the step; the next, whose last token holds a line end as well.
    ends = [0, 3, 7, 14, 20, 21, 28, 29]
    assert speaker.token_ends(ids, ends) == [0, 1, 3, 4, 5, 6, 13, 13]
    assert speaker.token_ends(ids, []) == []


def test_token_ends_where_a_space_is_not_shown() -> None:
    tokenizer = sentencepiece()
    speaker = chat(tokenizer, "raw")
    ids = np.array(tokenizer.convert_tokens_to_ids(["\u2581a", "\u2581a", "</step>"]), np.int32)
    assert speaker.decode(ids) == "a a</step>"
    assert speaker.token_ends(ids, [1, 2, 3, 10]) == [1, 2, 2, 3]


def test_token_ends_pass_by_special_tokens() -> None:
    tokenizer = byte_tokenizer([])
    speaker = chat(tokenizer, "raw")
    ids = tokens_of(tokenizer, "<eos>", "a", "<pad>", "<eos>", "b", "<eos>")
    assert speaker.token_ends(ids, [0, 1, 2]) == [0, 2, 5]
    # The bytes of one character, with a special token among them.
    first, second = tokens_of(tokenizer, "é")
    split = np.array([first, ids[0], second, *tokens_of(tokenizer, "b")], np.int32)
    assert speaker.decode(split) == "éb"
    assert speaker.token_ends(split, [1, 2]) == [3, 4]


def test_bytes_that_are_no_character_have_ends_too() -> None:
    # A run of byte tokens is text as a whole or not at all: its first three alone are 中.
    tokenizer = sentencepiece()
    speaker = chat(tokenizer, "raw")
    tokens = ["<0xE4>", "<0xB8>", "<0xAD>", "<0xFF>", "a"]
    ids = np.array(tokenizer.convert_tokens_to_ids(tokens), np.int32)
    assert speaker.decode(ids) == "\ufffd" * 4 + "a"
    assert speaker.token_ends(ids, [1, 2, 3, 4, 5]) == [1, 2, 4, 4, 5]


class Counting(Chat):
    """Counts what it decodes."""

    decoded = 0

    def _text(self, ids: list[int], special: bool = False) -> str:
        self.decoded += 1
        return super()._text(ids, special)


@pytest.mark.parametrize("name", ["bytes", "bpe", "sentencepiece"])
def test_token_ends_of_many_steps_cost_one_decoding(name: str) -> None:
    speaker = Counting(TOKENIZERS[name](), "raw", [1], 64)
    ids = np.array([*speaker.tokenizer.encode("1", add_special_tokens=False)] * 50, np.int32)
    ids[::2] = speaker.tokenizer.convert_tokens_to_ids(
        {"bytes": "</step>", "bpe": "\u0120ba", "sentencepiece": "▁a"}[name]
    )
    speaker.token_ends(ids, [])
    speaker.decoded = 0
    assert speaker.token_ends(ids, range(1, 50))[0] == 1
    assert speaker.decoded == 1


def test_an_end_past_the_text_is_named() -> None:
    speaker = chat(byte_tokenizer([]), "raw")
    ids = speaker.completion_ids("ab")
    for end in (-1, 3):
        with pytest.raises(ValueError, match=rf"^character {end} lies outside the row's 0\.\.2$"):
            speaker.token_ends(ids, [end])


def test_text_keeps_the_spaces_that_were_written() -> None:
    tokenizer = words_only()
    assert chat(tokenizer, "raw").decode(tokens_of(tokenizer, "a", ".")) == "a ."


def test_marks_that_a_tokenizer_can_write() -> None:
    marks = ["<step>", "</step>", "<verdict>", "</verdict>", "right", "wrong"]
    for name in ("bytes", "bpe"):
        speaker = chat(TOKENIZERS[name](), "raw")
        assert all(speaker.can_write(mark) for mark in marks)
    # Its words stand apart (< step >), and it has none for a verdict.
    speaker = chat(words_only(), "raw")
    assert [mark for mark in marks if speaker.can_write(mark)] == ["right", "wrong"]


def test_marks_that_are_special_tokens_cannot_be_written() -> None:
    tokenizer = byte_tokenizer([])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<step>"]})
    assert not chat(tokenizer, "raw").can_write("<step>")
    assert chat(tokenizer, "raw").can_write("</step>")


def test_a_reply_that_is_begun_stands_behind_the_prompt(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """The model reads it and goes on; a template does not end the turn behind it."""
    begun: Messages = (*MESSAGES, {"role": "assistant", "content": " Let us see."})
    for style in ("raw", "template"):
        spoken = chat(tokenizer, style)
        assert spoken.render(begun) == spoken.render(MESSAGES) + " Let us see."
