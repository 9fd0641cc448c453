r"""LaTeX answers: where they stand in a text, and one form for ways of writing the same.

The normal form follows the string rules of the MATH paper's own grader (arXiv 2103.03874, as
lm-eval's hendrycks_math has them), and goes on where those stop: text marks, brackets, relations,
symbols of Unicode, units, names, repeating decimals, mixed numbers.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from rlcotrain.grader.closed_form import as_fraction, number
from rlcotrain.grader.named import VARIABLE, named
from rlcotrain.grader.symbols import to_latex
from rlcotrain.grader.units import WRAPPED, WRAPPER, compound, counted

BOX = re.compile(r"\\(?:boxed|fbox)\s*")
BARE = re.compile(r"[^$\n]{0,200}")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
SIZES = re.compile(
    r"\\(?:left|right|bigl?|bigr?|Bigl?|Bigr?|displaystyle|textstyle|limits)(?![a-zA-Z])"
    r"|(?<!\\)\\!"
)
SPACE = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![a-zA-Z])|[~\n\t]")
SPELLINGS = (
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\dbinom", "\\binom"),
    ("\\tbinom", "\\binom"),
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
    ("\\lt", "<"),
    ("\\gt", ">"),
    ("\\dots", "\\ldots"),
    ("...", "\\ldots"),
    ("\\bar{", "\\overline{"),
    ("\u2248", "\\approx "),
    ("\\pounds", ""),
    ("\\euro", ""),
)
BASES = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
BASE = re.compile(rf"_\{{?({'|'.join(BASES)}|sixteen)\}}?")
SPACED = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9]| *[/\\])")
AND = re.compile(
    r",?\s*\\(?:text|mbox|textrm)\s*\{\s*,?\s*(?:and|or)\s*\}\s*"
    r"|(?<=[0-9})\]])\s*,?\s+(?:and|or)\s+(?=[-+]?(?:[0-9]|\\[a-z]|\(|[a-zA-Z]\s*=))"
)
SHORT_FRACTION = re.compile(
    r"\\frac ?(?:([0-9]|\\pi)([0-9a-zA-Z])|([0-9])(?=\{)|(\{[^{}]*\})([0-9a-zA-Z]))"
)
SHORT_BINOMIAL = re.compile(r"\\binom ?([0-9])([0-9])")
ANGLE = re.compile(r"\\angle[ \0]?\{?([A-Z])([A-Z])([A-Z])(?![a-zA-Z])\}?")
SHORT_ROOT = re.compile(r"\\sqrt(\[[^\[\]]*\])? ?([0-9a-zA-Z]|\\pi|\([^()]*\))")
MIXED = re.compile(r"(?<![0-9.])([0-9]+) +(?:([0-9]+)/([0-9]+)|(?=\\frac))")
SHOWN = re.compile(r"(\.[0-9]{0,20}?)([0-9]{1,6}?)\2{2,20}\\ldots")
DOTTED = re.compile(
    r"\\dot\{?([0-9])\}?([0-9]*)\\dot\{?([0-9])\}?|\\(?:dot|overline|bar) ?(?:([0-9])|\{([0-9])\})"
)
PARENTHESISED = re.compile(r"(\.[0-9]{0,20})\(([0-9]{1,20})\)")
EXPONENT = re.compile(r"\^(-[0-9a-zA-Z])(?![0-9])")
# 11th, 11^{\\text{th}}
ORDINAL = re.compile(rf"(?<=[0-9])\s*\^?\s*\{{?(?:{WRAPPER}\{{)?\s*(?:st|nd|rd|th)\s*\}}{{0,2}}$")
ABOUT = re.compile(rf"^({VARIABLE}?)\s*\\approx(?![a-zA-Z])\s*")
METRE = re.compile(r"([0-9.,]{1,40})\s+[mgshlLNJWVCFK]")
WORD = re.compile(r"[a-zA-Z]{2,}")


class Form(NamedTuple):
    r"""An answer in its normal form.

    text: without name, unit and percent sign; name: of what equals or lies in it, "x" or "x,y";
    unit: a known unit behind it; percent: whether it is in percent; words: whether it is a word;
    short: the text without a last letter that may be a unit, as in 7 m.
    """

    text: str
    name: str = ""
    unit: str = ""
    percent: bool = False
    words: bool = False
    short: str = ""


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
    return read(answer).text


@lru_cache(maxsize=4096)
def read(answer: str) -> Form:
    """The normal form of an answer, and what was taken off it."""
    text = answer.strip()
    inner = boxed(text)
    text = inner[-1] if inner and text.startswith("\\") and text.endswith("}") else text
    text = to_latex(text).replace(",\\!", "").replace("{,}", "")
    text = SPACE.sub(" ", SIZES.sub("", text)).strip()
    text = text if text.endswith("..") else text.rstrip(".,;")
    percent, money = text.rstrip("$ ").endswith("%"), "\\$" in text
    for written, meant in SPELLINGS:
        text = text.replace(written, meant)
    text = ABOUT.sub(lambda about: about[1] and f"{about[1]}=", text.strip())
    text = ORDINAL.sub("", AND.sub(",", text))
    if several := compound(text):
        return Form(f"\\text{{{several}}}", words=True)
    text, scale, unit = counted(text)
    metre = METRE.fullmatch(text)
    words = bool(WRAPPED.search(text))
    text = WRAPPED.sub(r"\1", text)
    text = text.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]")
    name, text = named(_tidy(text))
    text = _scaled(text, "" if scale == "%" else scale)
    if WORD.fullmatch(text):
        return Form(text.lower(), name, unit, words=words)
    return Form(
        text,
        name,
        f"dollar {unit}".strip() if money else unit,
        percent or scale == "%",
        short=metre[1] if metre else "",
    )


def _tidy(text: str) -> str:
    """Spaces, fractions, roots and repeating decimals in one way."""
    text = MIXED.sub(_mixed, " ".join(text.split()))
    text = re.sub(r"_([0-9a-zA-Z])(?![0-9a-zA-Z]) ?", r"_{\1}", BASE.sub(_base, text))
    text = SPACED.sub(lambda run: run[1].replace(" ", ""), text)
    # A space stays where it holds a command and a letter, or two numbers, apart.
    text = re.sub(r"(?<!\\) (?![0-9.])|(?<![0-9.]) (?=[0-9.])", "", _commands_apart(text))
    text = text.replace("\0", " ")
    text = SHORT_FRACTION.sub(_braced, text)
    text = SHORT_BINOMIAL.sub(r"\\binom{\1}{\2}", text)
    text = ANGLE.sub(_angle, text)
    text = SHORT_ROOT.sub(_rooted, text)
    text = EXPONENT.sub(r"^{\1}", text)
    text = SHOWN.sub(r"\1\\overline{\2}", text)
    text = PARENTHESISED.sub(r"\1\\overline{\2}", DOTTED.sub(_dotted, text))
    return as_fraction(text)


def _angle(match: re.Match[str]) -> str:
    """Its arms have no order: ABC is CBA."""
    arms = sorted([match[1], match[3]])
    return f"\\angle {arms[0]}{match[2]}{arms[1]}"


def _base(match: re.Match[str]) -> str:
    return f"_{{{BASES.index(match[1]) + 2 if match[1] in BASES else 16}}}"


def _commands_apart(text: str) -> str:
    return re.sub(r"(\\[a-zA-Z]+) (?=[a-zA-Z])", "\\1\0", text)


def _scaled(text: str, scale: str) -> str:
    if not scale:
        return text
    return f"{text if number(text) is not None else f'({text})'}\\cdot{scale}"


def _mixed(match: re.Match[str]) -> str:
    r"""1 1/2 and 1 \frac{1}{2} without the space."""
    return f"{match[1]}\\frac{{{match[2]}}}{{{match[3]}}}" if match[2] else match[1]


def _rooted(match: re.Match[str]) -> str:
    return f"\\sqrt{match[1] or ''}{{{match[2].strip('()') if match[2][0] == '(' else match[2]}}}"


def _dotted(match: re.Match[str]) -> str:
    r"""\dot{1}4285\dot{7} and \bar6 with a line over what repeats."""
    first, between, last, lone, braced = match.groups()
    return f"\\overline{{{lone or braced or first + between + last}}}"


def _braced(match: re.Match[str]) -> str:
    r"""`\frac12`, `\frac1{2}` and `\frac{1}2` with all their braces."""
    both, below, above, last, under = match.groups()
    if both:
        return f"\\frac{{{both}}}{{{below}}}"
    return f"\\frac{{{above}}}" if above else f"\\frac{last}{{{under}}}"
