import os
from pathlib import Path

import pytest

# The tests reach no model hub; said before any library that would ask one is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Qwen3 and a BPE tokenizer of 3000 tokens, as the hub would hold them."""
    from tests.model.tiny import write_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder)
    return folder
