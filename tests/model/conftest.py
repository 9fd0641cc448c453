from pathlib import Path

import pytest

from tests.model.tiny import write_checkpoint


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a tiny Qwen3 in which, as in the real one, token 0 is "!"."""
    folder = tmp_path_factory.mktemp("qwen")
    write_checkpoint(folder)
    return folder
