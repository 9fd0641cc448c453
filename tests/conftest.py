"""What tests of whole runs share."""

import json
import os
from pathlib import Path

import pytest

# Tests are offline: what asks the hub is refused at once, in place of minutes of retries.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of random weights as save_pretrained writes it, with a chat template."""
    from tests.model.tiny import write_checkpoint

    folder = tmp_path_factory.mktemp("qwen3")
    write_checkpoint(folder)
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """A JSON-lines file of 40 worked sums of two levels."""
    rows = [
        {
            "question": f"{n}+{n + 1}?",
            "answer": str(2 * n + 1),
            "solution": f"<step>{n}+{n + 1}={2 * n + 1}</step><answer>{2 * n + 1}</answer>",
            "level": 1 + n % 2,
        }
        for n in range(40)
    ]
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
