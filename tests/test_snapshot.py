"""The code that runs is the code that was submitted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlcotrain import snapshot as module
from rlcotrain.provenance import git_tags
from rlcotrain.snapshot import ROOT, environment, snapshot

ASK = "import json, rlcotrain.provenance as p; print(json.dumps([p.__file__, p.git_tags()]))"


def git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


def test_a_job_imports_the_copy_and_tells_its_commit(tmp_path: Path) -> None:
    code = snapshot(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,  # where a job starts, too: the checkout must not come first
        env={**os.environ, **environment(code)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [str(code / "rlcotrain/provenance.py"), git_tags()]
    assert (code / "hydra_plugins/rlcotrain_launcher.py").exists()
    assert (code / "conf/grader/number.yaml").exists()


def test_a_changed_tree_is_another_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes and new files count though nobody committed them; what git ignores does not."""
    root = tmp_path / "checkout"
    (root / "conf" / "loss").mkdir(parents=True)
    (root / "a.py").write_text("a = 1\n")
    (root / "conf" / "loss" / "grpo.yaml").write_text("clip: 0.2\n")
    (root / ".gitignore").write_text("ignored.py\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    monkeypatch.setattr(module, "ROOT", root)
    first = snapshot(tmp_path)
    assert snapshot(tmp_path) == first
    assert (first / "diff.patch").read_text() == ""
    assert (first / "conf" / "loss" / "grpo.yaml").read_text() == "clip: 0.2\n"
    (root / "ignored.py").touch()
    assert snapshot(tmp_path) == first

    (root / "a.py").write_text("a = 2\n")
    (root / "new.py").write_text("new = 1\n")
    second = snapshot(tmp_path)
    assert second != first and (second / "new.py").exists()
    assert "+a = 2" in (second / "diff.patch").read_text()
    assert (first / "a.py").read_text() == "a = 1\n"
