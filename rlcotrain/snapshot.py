"""The code as it was submitted: a job that starts hours later imports this copy.

SWEEP/.code/HASH/            the sources, as they lie in the checkout
SWEEP/.code/HASH/commit.json tags of the checkout, which the jobs record as their own
SWEEP/.code/HASH/diff.patch  what differs from that commit
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rlcotrain.files import place
from rlcotrain.provenance import PACKAGE, SUBMITTED, git_tags

ROOT = PACKAGE.parent
SOURCES = ("*.py", "conf/**.yaml")


def snapshot(folder: Path) -> Path:
    """Copy the sources to folder/.code/HASH, unless they are there; returns that folder."""
    texts = {file: (ROOT / file).read_bytes() for file in sorted(_sources())}
    digest = hashlib.sha256()
    for file, text in texts.items():
        digest.update(file.encode() + b"\0" + text + b"\0")
    target = folder / ".code" / digest.hexdigest()[:12]
    if target.exists():
        return target
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    for file, text in texts.items():
        (aside / file).parent.mkdir(parents=True, exist_ok=True)
        (aside / file).write_bytes(text)
    (aside / SUBMITTED).write_text(json.dumps(git_tags(), indent=1))
    (aside / "diff.patch").write_text(_git("diff", "HEAD") or "")
    place(aside, target)
    return target


def environment(code: Path) -> dict[str, str]:
    """By which a Python process imports from `code`, and what is not there as it would anyway.

    Without PYTHONSAFEPATH the folder that a job is started in, the checkout, would come first.
    """
    path = [str(code), *filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()]
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def _sources() -> Iterator[str]:
    """What git would commit; where this is no checkout, what is installed."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES)
    if listed is not None:
        yield from (file for file in listed.split("\0") if file and (ROOT / file).is_file())
        return
    for room in ("rlcotrain", "hydra_plugins", "conf"):
        for file in (ROOT / room).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                yield str(file.relative_to(ROOT))


def _git(*words: str) -> str | None:
    """What git says; None where this is no checkout or there is no git."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
