"""A grader for each data set of a mixture."""

from collections.abc import Mapping, Sequence

from rlcotrain.grader.single import waits
from rlcotrain.types import Grade, Grader, Problem


class ByTask:
    """`graders` by the task of the problems that each grades (Problem.task)."""

    def __init__(self, *, graders: Mapping[str, Grader]) -> None:
        self.graders = dict(graders)
        self.waits = all(waits(grader) for grader in self.graders.values())

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order; every grader is asked once."""
        places: dict[str, list[int]] = {}
        for place, problem in enumerate(problems):
            places.setdefault(problem.task, []).append(place)
        grades: dict[int, Grade] = {}
        for task, those in places.items():
            asked = [texts[place] for place in those], [problems[place] for place in those]
            grades |= zip(those, self.of(task).grade(*asked), strict=True)
        return [grades[place] for place in range(len(problems))]

    def check(self, problem: Problem) -> None:
        """ValueError where the known answer is of no use to the problem's grader."""
        self.of(problem.task).check(problem)

    def of(self, task: str) -> Grader:
        """The grader of a task. ValueError without one."""
        if task not in self.graders:
            raise ValueError(
                f"grader.graders: has none for {task}, but for {', '.join(self.graders)}; "
                f"+grader@grader.graders.{task}=OPTION adds one"
            )
        return self.graders[task]
