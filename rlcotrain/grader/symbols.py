# ruff: noqa: RUF001
r"""Symbols of Unicode and of keyboards, as LaTeX writes them: √2, x², ½, ≤, full-width digits."""

import re
import unicodedata

_UPPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ", "0123456789+-()nix")
_LOWER = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")
RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ]+")
LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+")
VULGAR = re.compile("[¼-¾⅐-⅞↉]")
ROOT = re.compile(r"([√∛∜])\s*([0-9]+(?:\.[0-9]+)?|[a-zA-Z]|π)?")
DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
STYLED = re.compile("[\U0001d400-\U0001d7ff]")  # letters and digits of mathematical alphabets
SINGLE = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([0x200B, 0x200C, 0x200D, 0x2060, 0xFE0F, 0xFEFF], ""),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣➖"), "-"),
    **dict.fromkeys(map(ord, "·⋅∙•"), "\\cdot "),
    **dict.fromkeys(map(ord, "⁄∕"), "/"),
    **{
        ord(symbol): f"\\{command} "
        for symbol, command in {
            **{"×": "times", "÷": "div", "±": "pm", "≤": "le", "≥": "ge", "⩽": "le", "⩾": "ge"},
            **{"≠": "ne", "∞": "infty", "∪": "cup", "∩": "cap", "∈": "in", "∅": "emptyset"},
            **{"π": "pi", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "θ": "theta"},
            **{"λ": "lambda", "μ": "mu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi"},
            **{"ω": "omega", "⟨": "langle", "⟩": "rangle", "ℝ": "mathbb{R}"},
        }.items()
    },
    **dict.fromkeys(map(ord, "€£¥"), ""),
    ord("∶"): ":",
    ord("°"): "^\\circ ",
    ord("¢"): "\\text{ cents}",
    ord("…"): "\\ldots ",
    ord("′"): "'",
}
FOREIGN = re.compile(r"[^\x00-\x7f]")
# What is typed without LaTeX: sqrt(2), pi, x**2, x >= 2.
TYPED = (
    (re.compile(r"(?<![a-zA-Z\\])sqrt(?=[ ]*[({0-9])"), r"\\sqrt"),
    (re.compile(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
)


def digits(text: str) -> str:
    """The text with ASCII digits, dashes, spaces, brackets for those of other scripts; ½ as 1/2."""
    if text.isascii():
        return text
    simple = {code: to for code, to in SINGLE.items() if len(to) <= 1}
    text = VULGAR.sub(lambda one: f" {'/'.join(_parts(one[0]))}", text)
    return FOREIGN.sub(_digit, text.translate(simple))


def to_latex(text: str) -> str:
    """The text with LaTeX's commands, and ASCII digits, for symbols and typed names."""
    if not text.isascii():
        text = RAISED.sub(lambda run: f"^{{{run[0].translate(_UPPER)}}}", text)
        text = LOWERED.sub(lambda run: f"_{{{run[0].translate(_LOWER)}}}", text)
        text = VULGAR.sub(_fraction, text)
        text = ROOT.sub(_root, text)
        text = STYLED.sub(lambda one: unicodedata.normalize("NFKC", one[0]), text)
        text = FOREIGN.sub(_digit, text.translate(SINGLE))
    for pattern, meant in TYPED:
        text = pattern.sub(meant, text)
    return text


def _digit(match: re.Match[str]) -> str:
    value = unicodedata.decimal(match[0], None)
    return match[0] if value is None else str(value)


def _fraction(match: re.Match[str]) -> str:
    above, below = _parts(match[0])
    return f"\\frac{{{above}}}{{{below}}}"


def _parts(fraction: str) -> list[str]:
    """Above and below the line of a fraction that is one character."""
    return unicodedata.normalize("NFKC", fraction).split("⁄")


def _root(match: re.Match[str]) -> str:
    root = f"\\sqrt{DEGREES[match[1]]}"
    return f"{root}{{{match[2]}}}" if match[2] else root
