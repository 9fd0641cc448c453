"""Texts to token ids, so that what data files and models wrote never becomes a control token.

A tokenizer reads `<|im_end|>` as the end of a turn wherever it stands. Here a twin of it reads,
which knows every control token by a spelling of its own, made anew in each process. Control tokens
that the configuration and the chat template write are put into that spelling; those that are quoted
are left alone. So ordinary text has the ids that the tokenizer itself gives it, merges and spaces
included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING

import numpy as np

from rlcotrain.types import Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


class Control:
    """Control tokens: those the tokenizer calls special, those that end a completion, and added
    tokens that its chat template writes. Other added tokens are words like any."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> None:
        """ValueError for a tokenizer that is not of the library `tokenizers`."""
        core = getattr(tokenizer, "backend_tokenizer", None)
        if core is None:
            raise ValueError(
                f"model: {type(tokenizer).__name__} is no tokenizer of the library tokenizers; "
                "allowed: a model with a tokenizer.json"
            )
        added = tokenizer.added_tokens_decoder
        marked = {i for i, token in added.items() if token.special or i in stop_ids}
        marked |= set(tokenizer.all_special_ids)
        template = str(tokenizer.chat_template or "")
        written = {i for i, token in added.items() if token.content.strip() in template}
        written -= {i for i, token in added.items() if not token.content.strip()}
        names = {i: str(tokenizer.convert_ids_to_tokens(i)) for i in sorted(marked | written)}
        self._spelled = {name: f"{name[0]}{token_hex(16)}{name[-1]}" for name in names.values()}
        self._guarded = {name: token_hex(16) for name in names.values()}
        # Some tokens are none within a word.
        apart = {i for i, token in added.items() if token.single_word}
        forms = {
            i: rf"(?<!\w){re.escape(name)}(?!\w)" if i in apart else re.escape(name)
            for i, name in names.items()
        }
        self._all = _any_of(forms.values())
        self._marked = _any_of(form for i, form in forms.items() if i in marked)
        self._guards = _any_of(self._guarded.values())
        self._plain = {guard: name for name, guard in self._guarded.items()}
        self._twin = _renamed(core, names, self._spelled)

    def guard(self, message: Mapping[str, str]) -> dict[str, str]:
        """The message with its quoted control tokens hidden, until `encode`.

        What a chat template looks for in an assistant's words, as thoughts, is left to it.
        """
        content = message["content"]
        spans = content.quoted if isinstance(content, Words) else ((0, len(content)),)
        pattern = self._marked if message["role"] == "assistant" else self._all

        def hidden(found: re.Match[str]) -> str:
            quoted = any(start < found.end() and found.start() < end for start, end in spans)
            return self._guarded[found[0]] if quoted else found[0]

        return {**message, "content": pattern.sub(hidden, content)}

    def encode(self, texts: Sequence[str], add_special_tokens: bool) -> list[np.ndarray]:
        """[T] int32 of each text; what is not guarded is read with its control tokens."""
        spelled = [self._all.sub(lambda found: self._spelled[found[0]], text) for text in texts]
        shown = [self._guards.sub(lambda found: self._plain[found[0]], text) for text in spelled]
        found = self._twin.encode_batch_fast(shown, add_special_tokens=add_special_tokens)
        return [np.asarray(one.ids, np.int32) for one in found]


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    """The longest of `forms` at each place; without any, nothing."""
    return re.compile("|".join(sorted(forms, key=len, reverse=True)) or r"(?!)")


def _renamed(core: Tokenizer, names: Mapping[int, str], spelled: Mapping[str, str]) -> Tokenizer:
    """A copy of a tokenizer in which the tokens `names` are spelled otherwise, with their ids."""
    from tokenizers import Tokenizer

    content = json.loads(core.to_str())
    content["truncation"] = content["padding"] = None
    for token in content["added_tokens"]:
        token["content"] = spelled.get(token["content"], token["content"])
    model = content["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {spelled.get(key, key): i for key, i in model["vocab"].items()}
    else:  # unigram: pieces with their scores
        model["vocab"] = [[spelled.get(key, key), score] for key, score in model["vocab"]]
    if model.get("unk_token") in spelled:
        model["unk_token"] = spelled[model["unk_token"]]
    if "merges" in model:  # one that makes a control token of its parts
        model["merges"] = [pair for pair in model["merges"] if "".join(_parts(pair)) not in spelled]
    twin = Tokenizer.from_str(json.dumps(content))
    for i, name in names.items():
        if twin.token_to_id(spelled[name]) != i:
            raise ValueError(f"model: its tokenizer gives {name!r} another id than {i} when copied")
    return twin


def _parts(pair: str | Sequence[str]) -> Sequence[str]:
    return pair.split(" ", 1) if isinstance(pair, str) else pair
