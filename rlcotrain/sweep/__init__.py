"""A sweep's folder, read: what became of its points, and what those that run are doing.

    notes      sweep.json: the points, the jobs that run them, the MLflow run they hang on
    rows       what became of each point
    table      rows for the screen and for a program; figure: for the eye
    slurm      what SLURM says of jobs
    progress   how far a run has come
    standing   what each point is doing, from all of these
    screen     standings, live on a terminal, as plain lines elsewhere
    watch      points until they end

`python -m rlcotrain.sweep status FOLDER` shows how a sweep stands, also where no launch watches it.
"""

from rlcotrain.sweep.figure import plot
from rlcotrain.sweep.notes import Noted, Sweep
from rlcotrain.sweep.rows import (
    MOMENTS,
    UNCHANGED,
    Interval,
    Row,
    finished,
    label,
    read,
    result,
    varying,
)
from rlcotrain.sweep.table import table, write_csv

__all__ = [
    "MOMENTS",
    "UNCHANGED",
    "Interval",
    "Noted",
    "Row",
    "Sweep",
    "finished",
    "label",
    "plot",
    "read",
    "result",
    "table",
    "varying",
    "write_csv",
]
