"""Watch points until they end."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from rlcotrain.sweep.job import Job
from rlcotrain.sweep.notes import Sweep
from rlcotrain.sweep.screen import Screen
from rlcotrain.sweep.slurm import SlurmSilent
from rlcotrain.sweep.standing import Standing, Standings


class Runner(Protocol):
    """Whoever runs the jobs. `poll_s`: seconds between two questions."""

    @property
    def poll_s(self) -> float: ...

    def poll(self) -> Mapping[str, Job]: ...


def watch(
    folder: Path, sweep: Sweep, names: set[str], runner: Runner, screen: Screen
) -> Iterator[Standing]:
    """Each point of `names` as it ends, until all have. A silent SLURM is asked again."""
    standings, waiting, found = Standings(folder), set(names), list[Standing]()
    while True:
        note = ""
        try:
            jobs = runner.poll()
        except SlurmSilent as silent:
            note = f"{silent}; asking again"
        else:
            found = [one for one in standings(sweep, jobs) if one.signature in names]
        for one in found:
            if one.over and one.signature in waiting:
                waiting.remove(one.signature)
                yield one
        screen.show(found, note)
        if not waiting:
            return
        time.sleep(runner.poll_s)
