import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.grader.minerva import Minerva
from rlcotrain.grader.minerva_form import normal, stated
from tests.grader.graded import POOL, graded

MINERVA = Minerva(**POOL)


@pytest.mark.parametrize(
    ("text", "gold", "score", "status"),
    [
        (r"so $\boxed{\frac{1}{2}}$", r"\frac12", 1.0, "ok"),
        (r"\boxed{3 \text{ cm}}", "3", 1.0, "ok"),
        (r"\boxed{x = 5}", "5", 1.0, "ok"),
        (r"\boxed{2x}", "x + x", 1.0, "ok"),
        (r"\boxed{(1,2)}", "(1, 2)", 1.0, "ok"),
        (r"\boxed{(1,2)}", "(2, 1)", 0.0, "ok"),
        (r"\boxed{1,000}", "1000", 1.0, "ok"),
        (r"\boxed{41}", "42", 0.0, "ok"),
        ("The answer is 42.", "42", 0.0, "no_answer"),
        ("42", "42", 0.0, "no_answer"),
        (r"\boxed{42", "42", 0.0, "no_answer"),
        (r"\boxed{\frac{}{}}", "x", 0.0, "unparsable"),
    ],
)
def test_the_box_and_nothing_else(text: str, gold: str, score: float, status: str) -> None:
    grade = graded(MINERVA, text, gold)
    assert (grade.score, grade.rule, grade.status) == (score, "boxed", status)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("x = 5", "5"),
        (r"2\pi cm", r"2\pi"),
        (r"\left(1, 2\right)", r"\left(1,2\right)"),
        (r"\frac12", r"\frac{1}{2}"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\sqrt[3]8", r"\sqrt[3]{8}"),
        ("100,000", "100000"),
        ("0,1", "0,1"),
        (r"5 \text{ feet}", "5"),
        (r"\text{even}", "even"),
        (r"about $3$ or so", "3"),
        (r"90^\circ", "90"),
    ],
)
def test_the_normal_form(answer: str, form: str) -> None:
    assert normal(answer) == form


def test_the_normal_form_is_lm_evals() -> None:
    """Its module wants another antlr than Hydra does, so the one function is read from its file."""
    files = importlib.metadata.files("lm_eval") or []
    (file,) = [f for f in files if str(f).endswith("minerva_math/utils.py")]
    source = Path(str(file.locate())).read_text()
    theirs: dict[str, Any] = {"re": re}
    exec(source[source.index("SUBSTITUTIONS = [") :], theirs)
    shared = Path(__file__).parents[1] / "grader"
    cases = re.findall(r'"([^"\n]{1,40})"', (shared / "test_math.py").read_text())
    cases += [r"5\,\text{m}", "an apple", "2 meals=3", r"\textbf{a}", "x$1$y$2$", r"\overline{AB}"]
    different = [c for c in cases if theirs["normalize_final_answer"](c) != normal(c)]
    assert len(cases) > 100 and not different


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: The final answer is $3$. I hope it is correct.", "$3$"),
        ("so\nFinal Answer: The final answer is 3", "3"),
        ("Final Answer: The final answer is 3. I hope it is correct. Or 4", "3"),
        ("The final answer is 3.", None),
        ("Final Answer: The final answer is", None),
    ],
)
def test_the_closing_sentence(text: str, answer: str | None) -> None:
    assert stated(text) == answer
