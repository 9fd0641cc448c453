"""Where numbers come from: code, versions, machine."""

import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
SUBMITTED = "commit.json"  # in a snapshot: the tags of the checkout that it was taken of


def git_tags() -> dict[str, str]:
    """Commit and whether the tree differs from it; `none` where this is no checkout."""
    submitted = PACKAGE.parent / SUBMITTED
    if submitted.exists():
        tags: dict[str, str] = json.loads(submitted.read_text())
        return tags

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=PACKAGE, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {
        "git_commit": commit or "none",
        "git_dirty": "unknown" if changes is None else str(bool(changes)).lower(),
        "code": code_hash(),
    }


def machine_tags() -> dict[str, str]:
    """Host, processor and the SLURM job, if there is one."""
    slurm = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
    tags = {"host": platform.node(), "processor": platform.machine()}
    return tags | {key.lower(): os.environ[key] for key in slurm if key in os.environ}


@cache
def code_hash() -> str:
    """12 hex digits over the package's own source: results kept by other code are not used."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
