"""The sbatch script that submitit would submit, written where there may be no SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def sbatch_script(
    folder: Path, count: int, parallel: int | None, resources: Mapping[str, Any]
) -> str:
    """The script of an array of `count` points, `parallel` at once.

    resources: as submitit's AutoExecutor takes them, SLURM's own with the prefix `slurm_`.
    """
    from submitit import AutoExecutor, SlurmExecutor

    class Anywhere(SlurmExecutor):
        """Writes scripts and submits nothing, so it asks for no SLURM."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    asked = {key: value for key, value in resources.items() if value is not None}
    shared = {key: asked[key] for key in asked if key in AutoExecutor._typed_parameters()}
    own = {key.removeprefix("slurm_"): asked[key] for key in asked if key not in shared}
    executor = Anywhere(folder)
    executor.update_parameters(
        **executor._convert_parameters({**shared, "stderr_to_stdout": True}), **own
    )
    executor.parameters |= {"map_count": count, "array_parallelism": parallel or count}
    return executor._make_submission_file_text(executor._submitit_command_str, "")
