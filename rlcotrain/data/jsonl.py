"""Any JSON-lines file of the user's, one problem a line."""

from pathlib import Path

from rlcotrain.data.dataset import Finite, Stages, check_share, is_held_out
from rlcotrain.data.rows import Row, read_rows
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem


class Jsonl(Finite):
    """Named after its file. Without `test_path`, a share `held_out` of `path` is for testing.

    Fields for solutions and levels may be None: no worked solutions, all of level 1. A row may hold
    null for its answer: it is trained on by verifiers that need none, and never for testing.
    """

    def __init__(
        self,
        *,
        seed: int,
        path: str,
        test_path: str | None,
        held_out: float,
        question_field: str,
        answer_field: str,
        solution_field: str | None,
        level_field: str | None,
        stages: Stages,
        wording: Wording,
    ) -> None:
        check_share(held_out)
        name = Path(path).name.partition(".")[0]
        fields = (question_field, answer_field, solution_field, level_field)
        train = [read_problem(name, row, *fields) for row in read_rows(Path(path), "data.path")]
        if test_path is not None:
            rows = read_rows(Path(test_path), "data.test_path")
            test = [read_problem(f"{name}/test", row, *fields) for row in rows]
        else:
            test = [problem for problem in train if is_held_out(problem.question, held_out)]
        test = [problem for problem in test if problem.answer is not None]
        tested = {problem.question for problem in test}
        train = [problem for problem in train if problem.question not in tested]
        if not train or not test:
            raise ValueError(
                f"data.path={path}: {len(train)} problems are left to train on and {len(test)} to "
                "be tested on; both need one or more (see data.held_out and data.test_path)"
            )
        super().__init__(name, wording, train, test, seed, stages)


def read_problem(
    name: str,
    row: Row,
    question_field: str,
    answer_field: str,
    solution_field: str | None,
    level_field: str | None,
) -> Problem:
    """One row as a Problem; its id holds the line of the file, counted from 1."""
    return Problem(
        id=f"{name}/{row.line}",
        question=row.text(question_field),
        answer=None if row.holds_null(answer_field) else row.text(answer_field),
        solution=None if solution_field is None else row.text(solution_field),
        level=1 if level_field is None else row.number(level_field),
        task=name,
    )
