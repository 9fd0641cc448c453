"""`python -m rlcotrain.sweep status SWEEP`: how a sweep stands; a name in multirun or a folder."""

import sys
from pathlib import Path

from rlcotrain.sweep.notes import Sweep
from rlcotrain.sweep.screen import lines, summary
from rlcotrain.sweep.slurm import SlurmSilent, ask
from rlcotrain.sweep.standing import Standings

USAGE = "usage: python -m rlcotrain.sweep status SWEEP"
MULTIRUN = Path("multirun")


def main(words: list[str]) -> int:
    match words:
        case ["status", name]:
            folder = MULTIRUN / name  # which is `name` itself if that is an absolute path
            return status(folder if folder.exists() else Path(name))
    print(USAGE, file=sys.stderr)
    return 2


def status(folder: Path) -> int:
    """Print the table; exit status 1 if there is no sweep or SLURM does not answer."""
    if not (folder / "sweep.json").exists():
        print(f"{folder}: there is no sweep here", file=sys.stderr)
        return 1
    try:
        sweep = Sweep.read(folder)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    ids = {name: point.job for name, point in sweep.points.items() if point.job is not None}
    try:
        jobs = ask(ids.values())
    except SlurmSilent as error:
        print(f"{error}; without it, nobody knows which points still run", file=sys.stderr)
        return 1
    found = Standings(folder)(sweep, {name: jobs[id] for name, id in ids.items()})
    print("\n".join([*lines(found), summary(found)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
