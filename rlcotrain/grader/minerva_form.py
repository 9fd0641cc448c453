r"""Minerva's string rules for final answers (arXiv 2206.14858, appendix D), as lm-eval has them.

The tables are the published ones; where lm-eval 0.4.13 changed a rule (unit words only as whole
words first, no `ft` taken out of `\left`, commas only between thousands), its rule holds.
"""

import re

SUBSTITUTED = (
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    ("\\$", ""),
    ("\\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (",\\text{and}", ","),
    ("\\text{and}", ","),
    ("\\text{m}", "\\text{}"),
)
UNIT_WORDS = (
    *("square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units"),
    *("sue", "points", "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds"),
    *("meters", "meals", "edges", "students", "childrentickets", "multiples"),
)
REMOVED = (
    *("\\ldots", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3"),
    *("\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!", "{,}"),
    *('"', "\\dots"),
)
WHOLE_UNIT = re.compile(rf"(?<!\\)\b(?:{'|'.join(UNIT_WORDS)})\b")
COMMAND = re.compile(r"(\\[a-zA-Z]+)")
THOUSANDS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+")
BEGIN, END = "Final Answer: The final answer is", ". I hope it is correct."


def stated(text: str) -> str | None:
    """What Minerva's closing sentence says; its end may be missing, as lm-eval allows."""
    for line in f"{text}{END}".split("\n"):
        _, begun, rest = line.partition(BEGIN)
        answer, ended, _ = rest.partition(END)
        if begun and ended:
            return answer.strip() or None
    return None


def normal(answer: str) -> str:
    """The normal form of a final answer: of an equation, its right side."""
    return tidy(answer.rpartition("=")[2])


def tidy(answer: str) -> str:
    """The normal form without a cut at =."""
    text = WHOLE_UNIT.sub("", answer)
    for written, meant in SUBSTITUTED:
        text = text.replace(written, meant)
    # Commands stand at the odd places: what looks like a unit there is part of a name.
    parts = COMMAND.split(text)
    for word in UNIT_WORDS:
        parts[::2] = [part.replace(word, "") for part in parts[::2]]
    text = "".join(parts)
    for written in REMOVED:
        text = text.replace(written, "")
    if text.count("$") > 1:
        text = text.split("$", maxsplit=2)[1]
    for command in ("text", "textbf", "overline"):
        text = re.sub(rf"\\{command}\{{([^}}\n]*)\}}", r"\1", text)
    text = re.sub(r"\\boxed\{(.*)\}", r"\1", text)
    text = re.sub(r"(frac)([^{])(.)", r"frac{\2}{\3}", text)
    text = re.sub(r"(sqrt)(\[[^\]]*\])(\w)", r"\1\2{\3}", text)
    text = re.sub(r"(sqrt)(?!\[)([^{])", r"sqrt{\2}", text)
    text = text.replace("$", "")
    return text.replace(",", "") if THOUSANDS.fullmatch(text) else text
