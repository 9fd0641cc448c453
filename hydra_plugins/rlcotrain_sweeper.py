"""Hydra's basic sweeper, without its own composing of every point: the launcher composes each, and
a tenth of a second for nothing is much over a large grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class SweeperConf:
    """`hydra/sweeper: rlcotrain`. params: a grid that an experiment carries."""

    _target_: str = "hydra_plugins.rlcotrain_sweeper.RlcotrainSweeper"
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="rlcotrain", node=SweeperConf, provider="rlcotrain"
)


class RlcotrainSweeper(BasicSweeper):
    """The product of all that is swept over."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run all points. ValueError for a secret, before Hydra writes down what was typed."""
        from rlcotrain.tracking.uri import check_uri

        for word in arguments:
            key, _, values = word.lstrip("+").partition("=")
            if key.startswith("tracking"):
                check_uri(values)
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass
