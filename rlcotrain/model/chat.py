"""Messages to token ids and back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jinja2.exceptions import TemplateError

from rlcotrain.model.control import Control
from rlcotrain.types import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Style = Literal["raw", "template"]
BAD = "\ufffd"  # what bytes that are no character decode to


class Chat:
    """A tokenizer and the way its model is spoken to.

    `raw` gives the model the bare text of the messages, one below the other (base models);
    `template` the model's own chat template (instruct models), told `template_options`.
    `max_length` is prompt and completion together.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        style: Style,
        stop_ids: Sequence[int],
        max_length: int,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.style = style
        self.stop_ids = tuple(stop_ids)
        self.max_length = max_length
        self.template_options = dict(template_options or {})
        self._pieces: dict[int, str] = {}

    def prompt_ids(self, messages: Messages) -> np.ndarray:
        """[P] int32, ready to be continued by the model."""
        return self.all_prompt_ids([messages])[0]

    def all_prompt_ids(self, asked: Sequence[Messages]) -> list[np.ndarray]:
        """The same of several, in one call: a tokenizer takes longer to be asked than to answer."""
        if not asked:
            return []
        guarded = [tuple(map(self.control.guard, messages)) for messages in asked]
        texts = [self.render(messages) for messages in guarded]
        # A template writes its own special tokens; a bare text gets those the model knows.
        return self.control.encode(texts, add_special_tokens=self.style == "raw")

    @cached_property
    def control(self) -> Control:
        """Texts to ids, so that quoted text never becomes a control token."""
        return Control(self.tokenizer, self.stop_ids)

    def render(self, messages: Messages) -> str:
        """The text that the model reads. A last message of the assistant begins its reply.

        ValueError where the chat template refuses the messages.
        """
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        asked = list(messages[:-1] if begun else messages)
        if self.style == "raw":
            return "\n".join(message["content"] for message in asked) + begun
        try:  # a border: the template is the model's
            text = self.tokenizer.apply_chat_template(
                asked, tokenize=False, add_generation_prompt=True, **self.template_options
            )
        except (TemplateError, TypeError) as error:
            roles = [message["role"] for message in asked]
            cure = "; data.wording.system and judge_system must be null for it"
            raise ValueError(
                f"model.chat=template: the template of {self.tokenizer.name_or_path} refuses "
                f"messages of {', '.join(roles)} ({' '.join(str(error).split())})"
                f"{cure if 'system' in roles else ''}"
            ) from error
        assert isinstance(text, str)
        return text + begun

    def check(self, messages: Messages) -> None:
        """ValueError where messages that quote no control token would be read otherwise than by the
        tokenizer itself."""
        if any(self.control.guard(m)["content"] != m["content"] for m in messages):
            return
        own = self.tokenizer(self.render(messages), add_special_tokens=self.style == "raw")
        if self.prompt_ids(messages).tolist() != own["input_ids"]:
            raise ValueError(
                f"model: the control tokens of {self.tokenizer.name_or_path} are written otherwise "
                "than its tokenizer calls them: not supported"
            )

    def completion_ids(self, text: str) -> np.ndarray:
        """[T] int32 of a text the model should have said, its end-of-sequence token included."""
        guarded = self.control.guard({"role": "assistant", "content": text})["content"]
        (ids,) = self.control.encode([guarded], add_special_tokens=False)
        return np.append(ids, np.int32(self._eos))

    def decode(self, token_ids: np.ndarray) -> str:
        """Text without special tokens; ids that are no valid text become replacement characters."""
        return self._text(token_ids.tolist())

    def read_back(self, token_ids: np.ndarray) -> str:
        """Text with special tokens: exactly what the model reads or wrote."""
        return self._text(token_ids.tolist(), special=True)

    def decode_all(self, rows: Sequence[np.ndarray]) -> list[str]:
        """`decode` of many rows at once."""
        return [self.decode(row) for row in rows]

    def can_write(self, text: str) -> bool:
        """Whether the model can say exactly this.

        What it knows no token for, or only a special one, comes back as something else or not.
        """
        return self._text(self.tokenizer.encode(text, add_special_tokens=False)) == text

    def unsaid(self, text: str) -> str | None:
        """A special token whose text stands in this one, which `decode` therefore never shows."""
        tokens = self.tokenizer.added_tokens_decoder.values()
        return next((t.content for t in tokens if t.special and t.content in text), None)

    def token_ends(self, token_ids: np.ndarray, ends: Sequence[int]) -> list[int]:
        """For each of `ends`: of how many first tokens the text holds the row's text up to there.

        That is the end (exclusive) in tokens of what ends at that character of `decode(token_ids)`
        (exclusive), a token that reaches beyond it included. ValueError for one past the text.
        """
        ids, text = token_ids.tolist(), self.decode(token_ids)
        tokens, characters = self._seams(ids, text)
        found = []
        for end in ends:
            if not 0 <= end <= len(text):
                raise ValueError(f"character {end} lies outside the row's 0..{len(text)}")
            k = bisect_left(characters, end)
            first = tokens[k - 1] + 1 if k else 0
            found.append(self._fewest(ids, text[:end], first, tokens[k]))
        return found

    def _seams(self, ids: list[int], text: str) -> tuple[list[int], list[int]]:
        """Where text and tokens can be cut alike: positions in `ids`, and in `text`.

        Sampled ids are seldom what encoding their text gives, so they are never encoded anew. Whole
        tokens join up; bytes of a character that several tokens share are taken together.
        """
        for token in set(ids) - self._pieces.keys():
            self._pieces[token] = self._piece(token)
        pieces = [self._pieces[token] for token in ids]
        tokens = list(range(len(ids) + 1))
        joined = "".join(pieces)
        if BAD in joined:
            runs = self._runs(ids)
            pieces = [self._text(run) if len(run) > 1 else self._pieces[run[0]] for run in runs]
            tokens = [0, *accumulate(map(len, runs))]
            joined = "".join(pieces)
        stripped = len(joined) - len(text)
        # sentencepiece takes the space of the first word away. Whatever else a decoder does between
        # tokens: then the row has no seam but its ends, and is searched as a whole.
        if not joined.endswith(text) or joined[:stripped].strip():
            return [0, len(ids)], [0, len(text)]
        lengths = accumulate(map(len, pieces))
        return tokens, [0, *(max(length - stripped, 0) for length in lengths)]

    def _runs(self, ids: list[int]) -> list[list[int]]:
        """The tokens one by one, but neighbours that hold parts of characters together."""
        runs: list[list[int]] = []
        for broken, neighbours in groupby(ids, lambda token: BAD in self._pieces[token]):
            tokens = list(neighbours)
            runs += [tokens] if broken else [[token] for token in tokens]
        return runs

    def _piece(self, token: int) -> str:
        """What a token adds to a text. Said after itself, as a first one may lose its space."""
        return self._text([token, token]).removeprefix(self._text([token]))

    def _fewest(self, ids: list[int], text: str, first: int, last: int) -> int:
        """The smallest t in first..last such that the text of `ids[:t]` starts with `text`.

        Searched one by one: more bytes can turn good characters bad (a run of byte tokens is valid
        as a whole or not at all) and good again, so halving could pass by the first.
        """
        fits = (t for t in range(first, last) if self._text(ids[:t]).startswith(text))
        return next(fits, last) if first < last else last

    def _text(self, ids: list[int], special: bool = False) -> str:
        # Cleaning up would take spaces away that the model wrote.
        text = self.tokenizer.decode(
            ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    @property
    def _eos(self) -> int:
        eos = self.tokenizer.eos_token_id
        return eos if isinstance(eos, int) else self.stop_ids[0]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the earliest stop string."""
    ends = [text.find(mark) for mark in stop]
    return text[: min((end for end in ends if end >= 0), default=len(text))]
