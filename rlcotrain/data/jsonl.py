"""Any JSON-lines file of the user's, one problem a line."""

from pathlib import Path

from rlcotrain.data.dataset import Finite, Stages, check_share, is_held_out
from rlcotrain.data.rows import Row, read_problems, read_rows
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem


class Jsonl(Finite):
    """Named after its file. Without `test_path`, a share `held_out` of `path` is for testing.

    Fields for solutions, levels and ids may be None: no worked solutions, all of level 1, and ids
    by line. A row may hold null for its answer: it is trained on by verifiers that need none, and
    never for testing.
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
        id_field: str | None,
        stages: Stages,
        wording: Wording,
    ) -> None:
        check_share(held_out)
        name = Path(path).name.partition(".")[0]
        fields = (question_field, answer_field, solution_field, level_field, id_field)
        train, notes = read_problems(
            read_rows(Path(path), "data.path"), lambda row: read_problem(name, row, *fields)
        )
        if test_path is not None:
            test, more = read_problems(
                read_rows(Path(test_path), "data.test_path"),
                lambda row: read_problem(f"{name}/test", row, *fields),
            )
            notes += more
        else:
            test = [problem for problem in train if is_held_out(problem.question, held_out)]
            train = [problem for problem in train if not is_held_out(problem.question, held_out)]
        test = [problem for problem in test if problem.answer is not None]
        super().__init__(name, wording, train, test, seed, stages, notes)
        count = len(self.train_problems(None))
        if not count or not test:
            raise ValueError(
                f"data.path={path}: {count} problems are left to train on and {len(test)} to "
                "be tested on; both need one or more (see data.held_out and data.test_path)"
            )


def read_problem(
    name: str,
    row: Row,
    question_field: str,
    answer_field: str,
    solution_field: str | None,
    level_field: str | None,
    id_field: str | None,
) -> Problem:
    """One row as a Problem; its id is that of the row, or its line counted from 1."""
    return Problem(
        id=f"{name}/{row.line if id_field is None else row.text(id_field)}",
        question=row.text(question_field),
        answer=None if row.holds_null(answer_field) else row.text(answer_field).strip(),
        solution=None if solution_field is None else row.text(solution_field),
        level=1 if level_field is None else row.number(level_field),
        task=name,
        columns=row.values,
    )
