"""Messages to token ids and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlcotrain.types import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Style = Literal["raw", "template"]


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

    def prompt_ids(self, messages: Messages) -> np.ndarray:
        """[P] int32, ready to be continued by the model."""
        text = self.render(messages)
        # A template writes its own special tokens; a bare text gets those the model knows.
        ids = self.tokenizer.encode(text, add_special_tokens=self.style == "raw")
        return np.asarray(ids, np.int32)

    def render(self, messages: Messages) -> str:
        """The text that the model reads."""
        if self.style == "raw":
            return "\n".join(message["content"] for message in messages)
        text = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **self.template_options
        )
        assert isinstance(text, str)
        return text

    def completion_ids(self, text: str) -> np.ndarray:
        """[T] int32 of a text the model should have said, its end-of-sequence token included."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return np.asarray([*ids, self._eos], np.int32)

    def decode(self, token_ids: np.ndarray) -> str:
        """Text without special tokens; ids that are no valid text become replacement characters."""
        text = self.tokenizer.decode(token_ids.tolist(), skip_special_tokens=True)
        assert isinstance(text, str)
        return text

    def read_back(self, token_ids: np.ndarray) -> str:
        """Text with special tokens: exactly what the model reads or wrote."""
        text = self.tokenizer.decode(token_ids.tolist(), skip_special_tokens=False)
        assert isinstance(text, str)
        return text

    def decode_all(self, rows: Sequence[np.ndarray]) -> list[str]:
        """`decode` of many rows at once."""
        return self.tokenizer.batch_decode([row.tolist() for row in rows], skip_special_tokens=True)

    @property
    def _eos(self) -> int:
        eos = self.tokenizer.eos_token_id
        return eos if isinstance(eos, int) else self.stop_ids[0]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the earliest stop string."""
    ends = [text.find(mark) for mark in stop]
    return text[: min((end for end in ends if end >= 0), default=len(text))]
