"""Published problems with answers: files or splits of the hub, and which fields hold what.

MATH (arXiv 2103.03874), AIME, AMC, OlympiadBench (arXiv 2402.14008) and their like differ in no
more than that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlcotrain.data.boxed import last_boxed
from rlcotrain.data.dataset import Finite, Stages, check_share, is_held_out
from rlcotrain.data.rows import Row, hub_rows, read_problems, read_rows
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

PARTS = ("question", "context", "answer", "solution", "level", "subject", "id", "task")
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where one split is: `file` of the folder data.path (also as .gz), or `split` of `hub`.

    skip: rows in which a field has this value are not of the split.
    """

    file: str
    hub: str
    config: str | None
    split: str
    skip: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, path: str | None, key: str) -> list[Row]:
        """All rows. ValueError where they are not; `key` is the configuration key of this."""
        rows = (
            hub_rows(self.hub, self.config, self.split) if path is None else self._read(path, key)
        )
        return [row for row in rows if not self.skip.items() & row.values.items()]

    def _read(self, path: str, key: str) -> list[Row]:
        folder = Path(path).expanduser()
        files = [folder / self.file, folder / f"{self.file}.gz"]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            there = sorted(file.name for file in folder.glob("*.jsonl*"))
            raise ValueError(
                f"data.path={path}: holds no {self.file} or {self.file}.gz, but "
                f"{', '.join(there) or 'no .jsonl file'} (see {key}.file)"
            )
        return read_rows(found, "data.path")


class Benchmark(Finite):
    r"""`fields` says where a row holds its parts: of several names the first that it has.

    The parts: question, context (before the question), answer (where a row has none, what its
    solution puts into \boxed{}), solution, level (a number, alone or as in "Level 5"; 0 where it is
    not known), subject, id (without one: the line) and task (without one: `name`).

    answer_form: what every answer is, as a regular expression; null: any text. Rows with another
    are left out and counted. levels, subjects: read only these; null means all. Subjects are
    written alike: "Counting & Probability" is counting_and_probability, also in ids, which are
    name/split/subject/line. train null: for evaluation only; test null: a share `held_out` of the
    questions to train on is for testing.
    """

    def __init__(
        self,
        *,
        name: str,
        seed: int,
        path: str | None,
        train: Origin | None,
        test: Origin | None,
        held_out: float,
        fields: Fields,
        answer_form: str | None,
        levels: Sequence[int] | None,
        subjects: Sequence[str] | None,
        stages: Stages,
        wording: Wording,
    ) -> None:
        if wrong := sorted(set(fields) ^ set(PARTS)):
            raise ValueError(f"data.fields.{wrong[0]}: needs {', '.join(PARTS)} and no others")
        check_share(held_out)
        try:
            self.fields, self.form = fields, re.compile(answer_form or ".+", re.DOTALL)
        except re.error as error:
            raise ValueError(
                f"data.answer_form={answer_form}: is no regular expression ({error})"
            ) from error

        def load(split: str, origin: Origin | None) -> tuple[list[Problem], list[str]]:
            if origin is None:
                return [], []
            rows = origin.rows(path, f"data.{split}")
            problems, notes = read_problems(rows, lambda row: self._problem(name, row, split))
            return _chosen(problems, levels, subjects), notes

        (trained, notes), (tested, more) = load("train", train), load("test", test)
        if test is None:
            tested = [problem for problem in trained if is_held_out(problem.question, held_out)]
        if not tested:
            raise ValueError(f"data={name}: no problems are left to be tested on (see data.test)")
        super().__init__(name, wording, trained, tested, seed, stages, notes + more)

    def _problem(self, name: str, row: Row, split: str) -> Problem:
        def at(part: str) -> str | None:
            """The first field that holds the part."""
            return next(filter(row.holds, self.fields[part]), None)

        def text(part: str) -> str:
            found = at(part)
            return row.text(found).strip() if found else ""

        # Of these the first field is named by the error where none is there.
        question, answered = (at(part) or self.fields[part][0] for part in ("question", "answer"))
        worked = at("solution")
        solution = row.texts(worked)[0].strip() if worked else None
        if solution is not None and not row.holds(answered):
            answer = last_boxed(solution)
        else:
            answer = ", ".join(map(bare, row.texts(answered)))
        subject, context = subject_name(text("subject")), text("context")
        key = text("id") or str(row.line)
        return Problem(
            id="/".join(part for part in (name, split, subject, key) if part),
            question=f"{context}\n{row.question(question)}".strip(),
            answer=answer if self.form.fullmatch(answer) else "",  # unusable: left out
            solution=solution,
            level=level_number(text("level")) if at("level") else 1,
            subject=subject,
            task=text("task").lower() or name,
            columns=row.values,
        )


def bare(text: str) -> str:
    """A formula without the dollars around it; several of them keep theirs."""
    text = text.strip()
    formula = re.fullmatch(r"\$([^$]*)\$", text)
    return formula[1].strip() if formula else text


def subject_name(text: str) -> str:
    """ "Counting & Probability" is counting_and_probability."""
    return "_".join(re.findall(r"\w+", text.lower().replace("&", " and ")))


def level_number(text: str) -> int:
    """ "Level 5" and "5" are 5, "Level ?" is 0."""
    found = re.search(r"[0-9]{1,18}", text)
    return int(found[0]) if found else 0


def _chosen(
    problems: list[Problem], levels: Sequence[int] | None, subjects: Sequence[str] | None
) -> list[Problem]:
    """The problems of these levels and subjects. ValueError for one that there is none of."""
    for key, names, there in (
        ("levels", levels, {problem.level for problem in problems}),
        ("subjects", subjects, {problem.subject for problem in problems}),
    ):
        if names is not None and (not names or not set(names) <= there):
            known = ", ".join(map(str, sorted(there)))
            raise ValueError(f"data.{key}={list(names)}: allowed: {known}, one or more")
    return [
        problem
        for problem in problems
        if (levels is None or problem.level in levels)
        and (subjects is None or problem.subject in subjects)
    ]
