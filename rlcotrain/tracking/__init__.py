"""The MLflow mirror, the only home of mlflow. The run folder is the truth; what is here copies it.

    store      the tracker: made safely, found again, a sweep's parent run
    delivery   one run folder -> one MLflow run, whatever is missing, each number exactly once
    receipt    how far a delivery has come
    uri        no secrets in a tracker's address, nor in what is shown of it
    mirror     a process beside the training that delivers while it runs; `sync` for later

`python -m rlcotrain.tracking sync ROOT...` delivers what the trackers have missed.
"""

from rlcotrain.tracking.mirror import Mirror, deliver, sync_command
from rlcotrain.tracking.store import close_sweep, open_sweep, prepare, resolve, ui_command
from rlcotrain.tracking.uri import redacted

__all__ = [
    "Mirror",
    "close_sweep",
    "deliver",
    "open_sweep",
    "prepare",
    "redacted",
    "resolve",
    "sync_command",
    "ui_command",
]
