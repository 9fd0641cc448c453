"""The answer a completion marks with `<answer>...</answer>`."""


def tagged_answer(text: str) -> str | None:
    """What stands in the last closed pair of tags, None where there is none."""
    # Not a regular expression: `<answer>` repeated without an end would take quadratic time.
    before, closed, _ = text.rpartition("</answer>")
    _, opened, content = before.rpartition("<answer>")
    return content if closed and opened else None
