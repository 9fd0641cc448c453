"""The losses of conf/loss, as Hydra composes and builds them."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from rlcotrain.loss.objective import Loss

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml") if path.stem != "inherit")
MAX_TOKENS = 8  # what `constant_length` follows


@cache
def _composed(name: str) -> Loss:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+loss={name}", f"+sampling.max_tokens={MAX_TOKENS}"])
    loss = instantiate(config.loss)
    assert isinstance(loss, Loss)
    return loss


def composed(name: str, **changes: Any) -> Loss:
    """The loss of conf/loss/`name`.yaml with some keys changed."""
    return replace(_composed(name), **changes)
