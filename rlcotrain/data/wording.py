"""How a problem is put to a model: what stands around the question, and where the reply ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlcotrain.types import Messages, Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """`template` is the user's message; `stop` are the strings that end a completion.

    max_tokens: room for a completion, unless `sampling.max_tokens` says otherwise.
    """

    template: str = "{question}"
    system: str | None = None
    stop: Sequence[str] = ()
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise ValueError(f"data.wording.template={self.template!r} must contain {{question}}")

    def messages(self, problem: Problem) -> Messages:
        """The system message, if there is one, then the question as the user's message."""
        # replace, not format: a template may hold other braces, as in "put it in \boxed{}".
        user = {"role": "user", "content": self.template.replace("{question}", problem.question)}
        return (
            (user,) if self.system is None else ({"role": "system", "content": self.system}, user)
        )
