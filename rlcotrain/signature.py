"""What a configuration *is*: the identity of a run, a sweep point or a kept result.

Light imports only: the launcher plugin, which every command loads, stands on this.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Where and how a run is watched or placed; the numbers that come out do not depend on it.
OUTSIDE = (
    *("hydra", "tracking", "sweep", "launch", "folder", "cache_dir"),
    *("name", "export", "record", "checkpoint"),
    *("dry_run", "estimate", "budget", "profile", "peak_tflops"),
)
# How a run is spread over processes, whose numbers differ by rounding only, and what it costs.
OUTSIDE_HARDWARE = ("gpus", "parallel", "price_per_gpu_hour")


def signature(config: Mapping[str, Any]) -> str:
    """12 hex digits over the resolved effective configuration, whatever overrides led to it.

    `config` is a plain resolved mapping (`OmegaConf.to_container(cfg, resolve=True)`).
    """
    effective = {key: value for key, value in config.items() if key not in OUTSIDE}
    if hardware := effective.get("hardware"):
        effective["hardware"] = {k: v for k, v in hardware.items() if k not in OUTSIDE_HARDWARE}
    text = json.dumps(effective, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
