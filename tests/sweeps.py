"""`python launch.py -m ...` as a user types it, on runs of a second."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TINY = """# @package _global_
defaults: [override /schedule: imitate]
folder: unused
export: false
schedule: {steps: 2, cycle: {imitate: {num_prompts: 2}}}
sampling: {max_tokens: 4}
evaluation: {num_problems: 4, between_problems: 4}
checkpoint: {every: 1}
cache_dir: /nowhere
"""


def write_conf(folder: Path, **experiments: str) -> Path:
    """A folder of experiment files beside the project's own, `tiny` among them."""
    (folder / "experiment").mkdir(parents=True)
    for name, text in {"tiny": TINY, **experiments}.items():
        (folder / "experiment" / f"{name}.yaml").write_text(text)
    return folder


def command(conf: Path, folder: Path, *words: str) -> list[str]:
    given = [f"hydra.searchpath=[file://{conf}]", f"hydra.sweep.dir={folder}", *words]
    if not any(word.startswith("tracking") for word in words):
        given.append("tracking=none")
    if not any(word.startswith("experiment") for word in words):
        given.append("experiment=tiny")
    return [sys.executable, "launch.py", "-m", *given]


def launch(conf: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    words = tuple(command(conf, folder, *words))
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)


@contextmanager
def launching(words: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A launch on its way; what still runs of it in the end is ended."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # As at a terminal, though a script may have put the tests into the background.
    hears = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(words, cwd=ROOT, preexec_fn=hears, **(pipes | more)) as launcher:
        try:
            yield launcher
        finally:
            launcher.terminate()


def wait_until(happened: Callable[[], object], limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
