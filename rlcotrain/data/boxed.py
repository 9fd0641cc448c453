r"""What a worked solution puts into its last \boxed{}."""

MARKS = ("\\boxed", "\\fbox")


def last_boxed(text: str) -> str:
    r"""The content of the last \boxed{...} or `\boxed 5`, as it stands there; empty without one."""
    start = max(text.rfind(mark) for mark in MARKS)
    if start < 0:
        return ""
    rest = text[start:].removeprefix(MARKS[0]).removeprefix(MARKS[1]).lstrip()
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip()
    depth = 0
    for place, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return rest[1:place]
    return ""
