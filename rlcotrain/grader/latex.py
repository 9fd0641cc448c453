r"""LaTeX answers: where they stand in a text, and one form for ways of writing the same.

The normal form follows the string rules of the MATH paper's own grader (arXiv 2103.03874, as
lm-eval's hendrycks_math has them), and goes on where those stop: text marks, brackets, relations.
"""

import re

BOX = re.compile(r"\\(?:boxed|fbox)\s*")
BARE = re.compile(r"[^$\n]{0,200}")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
MARKUP = re.compile(
    r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?|displaystyle|textstyle|limits)(?![a-zA-Z])"
    r"|(?<!\\)\\[!,;:> ]|\\q?quad(?![a-zA-Z])|[~\n\t]"
)
WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it)|operatorname)\s*\{([^{}]*)\}"
)
# A text after a number says what is counted: 3\text{ boxes}. One before it does not: \text{odd}.
UNIT = re.compile(
    r"(?:(?<=[0-9})$])|(?<=\\pi))\s*\\(?:text(?:rm|normal)?|mbox|mathrm)\s*\{\s*[^{}0-9]*\}"
    r"(?:\^\{?[23]\}?)?$"
)
# The same in plain words: 18 square feet, 60 degrees, 5 cm^2.
COUNTED = re.compile(
    r"(?<=[0-9])\s+(?=[a-zA-Z]{2})(?!.*\b(?:and|or|mod|factorial|dozen|hundred|thousand|[mb]illion)\b)"
    r"(?:[a-zA-Z]{3,}|[ckm]m|in|ft|[km]g|lb|oz)(?:\s+[a-zA-Z]{2,}){0,3}(?:\^\{?[23]\}?)?$"
)
SPELLINGS = (
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\degree", ""),
    ("\\$", ""),
    ("$", ""),
    ("\\%", ""),
    ("%", ""),
    ("\\lbrace", "\\{"),
    ("\\rbrace", "\\}"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\neq", "\\ne"),
    ("\\infinity", "\\infty"),
    ("\\varnothing", "\\emptyset"),
    ("\u2212", "-"),
    ("\u03c0", "\\pi"),
    ("\u221e", "\\infty"),
)
GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
AND = re.compile(r",?\s*\\(?:text|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}\s*")
SHORT_FRACTION = re.compile(
    r"\\frac(?:([0-9]|\\pi)([0-9a-zA-Z])|([0-9])(?=\{)|(\{[^{}]*\})([0-9a-zA-Z]))"
)
SHORT_ROOT = re.compile(r"\\sqrt(\[[^\[\]]*\])?([0-9a-zA-Z])")
SLASH = re.compile(r"([+-]?)([0-9]+)/([0-9]+)")
REPEATING = re.compile(r"([+-]?)([0-9]{0,20})\.([0-9]{0,20})\\overline\{([0-9]{1,20})\}")
NAMED = re.compile(r"(?:[a-zA-Z]|[a-zA-Z]{2}|[a-zA-Z]\([a-zA-Z]\))=([^=<>]+)")
WORD = re.compile(r"[a-zA-Z]{2,}")


def boxed(text: str) -> list[str]:
    r"""What the closed `\boxed{...}` hold, in order; `\boxed 5` holds what comes up to a `$`."""
    found, at = [], 0
    while (match := BOX.search(text, at)) is not None:
        at = match.end()
        if text[at : at + 1] == "{":
            end = closing(text, at)
            if end is None:
                break  # and so are all that open within
            found.append(text[at + 1 : end])
            at = end
        elif match[0][-1:].isspace():
            bare = BARE.match(text, at)
            found.append(bare[0].strip() if bare else "")
    return found


def closing(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` closes; None where it does not."""
    depth = 0
    for match in BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] == "}":
            return match.start()
    return None


def normal(answer: str) -> str:
    """One form for an answer that may be written in several ways; of words, in lower case."""
    text = answer.strip()
    inner = boxed(text)
    text = inner[-1] if inner and text.startswith("\\") and text.endswith("}") else text
    text = text.replace(",\\!", "").replace("{,}", "")
    text = MARKUP.sub(lambda mark: "" if mark[0] != "\\ " else " ", text).strip().rstrip(".,;")
    for written, meant in SPELLINGS:
        text = text.replace(written, meant)
    text = COUNTED.sub("", UNIT.sub("", AND.sub(",", text)))
    text = WRAPPED.sub(r"\1", text)
    text = text.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]")
    text = "".join(text.split())
    text = SHORT_FRACTION.sub(_braced, text)
    text = SHORT_ROOT.sub(r"\\sqrt\1{\2}", text)
    if (named := NAMED.fullmatch(text)) is not None:
        text = named[1]
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if (slash := SLASH.fullmatch(text)) is not None:
        text = f"{slash[1]}\\frac{{{slash[2]}}}{{{slash[3]}}}"
    if (repeating := REPEATING.fullmatch(text)) is not None:
        text = _fraction(*repeating.groups())
    if text.startswith("."):
        text = f"0{text}"
    return text.lower() if WORD.fullmatch(text) else text


def _fraction(sign: str, whole: str, places: str, period: str) -> str:
    r"""0.1\overline{6} is \frac{15}{90}: (16 - 1) / 90."""
    above = int(f"{whole}{places}{period}") - int(f"{whole}{places}" or 0)
    return f"{sign}\\frac{{{above}}}{{{'9' * len(period)}{'0' * len(places)}}}"


def _braced(match: re.Match[str]) -> str:
    r"""`\frac12`, `\frac1{2}` and `\frac{1}2` with all their braces."""
    both, below, above, last, under = match.groups()
    if both:
        return f"\\frac{{{both}}}{{{below}}}"
    return f"\\frac{{{above}}}" if above else f"\\frac{last}{{{under}}}"
